package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// version is a package of upstream; the texts in braces differ between the older and the newer one.
const version = `package server

import "sync"

type conn struct {
	sync.Mutex
	name string{field}
}

type kindOf interface { kind() int }

const (
	{const}first = iota
	second
)

var unused = {value}

func (c *conn) called() int { return c.below() {called} }

func (c *conn) below() int { return {below} }

func (c *conn) comment() { // {comment}
}

func inOneOfOurLines() int {
	// held here
	return {held}
}

func stored() any { return {stored} }

func (c *conn) kind() int { return {kind} }

func gone() {}

func other() int { return {other} }
`

// ourFile is a file that the series adds.
const ourFile = `package server

import "example.com/missing"

func oursCalls(c *conn, k kindOf) int {
	f := stored
	f()
	gone()
	c.comment()
	missing.Thing().kind()
	oursOnly()
	return c.called() + len(c.name) + second
}

func oursOnly() {}
`

func versionOf(words ...string) string {
	text := strings.NewReplacer(words...).Replace(version)
	return strings.NewReplacer("{field}", "", "{const}", "", "{value}", "1", "{called}", "", "{below}", "1", "{comment}", "x",
		"{held}", "1", "{stored}", "1", "{kind}", "1", "{other}", "1").Replace(text)
}

// drift runs the program; ours is the third file of the patched tree, and the line "held here".
func drift(t *testing.T, newer string, deep bool) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("tree/server/up.go", versionOf())
	put("tree/server/ours.go", ourFile)
	put("from/server/up.go", versionOf())
	put("to/server/up.go", newer)
	put("exports", "")
	put("ours", "new server/ours.go\nline server/up.go 27 27\n")
	var out strings.Builder
	err := run(&out, filepath.Join(dir, "tree"), filepath.Join(dir, "from"), filepath.Join(dir, "to"),
		filepath.Join(dir, "ours"), filepath.Join(dir, "exports"), deep)
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestDrift(t *testing.T) {
	if line := strings.Split(versionOf(), "\n")[26]; line != "\t// held here" {
		t.Fatalf("line 27 of the test's version is %q; the cases below expect the comment \"held here\"", line)
	}
	for _, tt := range []struct {
		name, newer string
		deep        bool
		want        []string
	}{
		{"nothing", versionOf(), false, []string{"changed: 0 of 5 called functions, 0 of 1 functions that have our lines, 0 of 2 types that we use, 0 of 1 constants"}},
		{"called", versionOf("{called}", "+ 1"), false, []string{"server/up.go:conn.called changed (called in server/ours.go:12)", "    +func (c *conn) called() int { return c.below() + 1 }", "1 of 5 called"}},
		{"stored in a variable", versionOf("{stored}", "2"), false, []string{"up.go:stored changed", "1 of 5 called"}},
		{"type unknown", versionOf("{kind}", "2"), false, []string{"up.go:conn.kind changed", "1 of 5 called"}},
		{"gone", strings.Replace(versionOf(), "func gone() {}", "", 1), false, []string{"server/up.go:gone is gone (called in server/ours.go:8)", "1 of 5 called"}},
		{"comment", versionOf("{comment}", "y"), false, []string{"0 of 5 called"}},
		{"held", versionOf("{held}", "2"), false, []string{"up.go:inOneOfOurLines changed (has lines of ours)", "1 of 1 functions that have"}},
		{"field", versionOf("{field}", "; more int"), false, []string{"up.go:type conn changed (used in server/ours.go:5)", "1 of 2 types"}},
		{"constant", versionOf("{const}", "zeroth = iota\n"), false, []string{"up.go:value second changed", "1 of 1 constants"}},
		{"below", versionOf("{below}", "2"), false, []string{"0 of 5 called", "one level below the called functions: 1 of 1 functions changed; --deep lists them"}},
		{"below, deep", versionOf("{below}", "2"), true, []string{"up.go:conn.below changed (called by conn.called, which our files call)"}},
		{"not ours", versionOf("{other}", "2", "{value}", "2"), false, []string{"0 of 5 called", "0 of 1 constants"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := drift(t, tt.newer, tt.deep)
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("expected %q in\n%s", want, out)
				}
			}
		})
	}
}

func TestReadOursRefuses(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ours")
	if err := os.WriteFile(name, []byte("line a.go 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readOurs(name); err == nil || !strings.Contains(err.Error(), `found "line a.go 1"`) {
		t.Errorf("expected an error that shows the faulty line; found %v", err)
	}
}
