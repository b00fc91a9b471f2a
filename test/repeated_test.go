package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stamp/test/harness"
)

// repeatedFiles writes the files, each "name: text", and returns the path of the first one.
func repeatedFiles(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name, text, _ := strings.Cut(f, ": ")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, _, _ := strings.Cut(files[0], ": ")
	return filepath.Join(dir, first)
}

// The parser of nats-server keeps the last of equal fields. In the blocks headers and callout that would drop protection
// in silence, so it is a fault with both places, for -t and at start.
func TestRepeatedFieldsOfTheBlocks(t *testing.T) {
	const (
		accounts = "accounts { APP { users: [] } }\n"
		callout  = `callout { sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }` + "\n"
	)
	for name, tt := range map[string]struct {
		files []string
		want  string
	}{
		"two blocks headers": {[]string{"server.conf: headers { protected: [A] }\nheaders { sealed: [B] }"}, `server.conf:2:1: duplicate field "headers": it is set at DIR/server.conf:1:1 already`},
		"three blocks":       {[]string{"server.conf: headers { protected: [A] }\nheaders { sealed: [B] }\nheaders { sealed: [C] }"}, `server.conf:3:1: duplicate field "headers": it is set at DIR/server.conf:2:1 already`},
		"two blocks callout": {[]string{"server.conf: " + accounts + callout + callout}, `server.conf:3:1: duplicate field "callout": it is set at DIR/server.conf:2:1 already`},
		"a block of an include and one after it": {[]string{"server.conf: include \"more.conf\"\nheaders { sealed: [B] }", "more.conf: headers { protected: [A] }"},
			`server.conf:2:1: duplicate field "headers": it is set at DIR/more.conf:1:1 already`},
		"a block and one of an include after it": {[]string{"server.conf: headers { sealed: [B] }\ninclude \"more.conf\"", "more.conf: \nheaders { protected: [A] }"},
			`more.conf:2:1: duplicate field "headers": it is set at DIR/server.conf:1:1 already`},
		"blocks of two includes": {[]string{"server.conf: include \"one.conf\"\ninclude \"two.conf\"", "one.conf: headers { sealed: [B] }", "two.conf: headers { protected: [A] }"},
			`two.conf:1:1: duplicate field "headers": it is set at DIR/one.conf:1:1 already`},
		"two blocks in one include": {[]string{"server.conf: include \"one.conf\"", "one.conf: headers { sealed: [B] }\nheaders { protected: [A] }"},
			`one.conf:2:1: duplicate field "headers": it is set at DIR/one.conf:1:1 already`},
		"a field of headers":       {[]string{"server.conf: headers {\n protected: [A]\n protected: [B]\n}"}, `server.conf:3:2: duplicate field "protected": it is set at DIR/server.conf:2:2 already`},
		"a name of all":            {[]string{"server.conf: headers {\n all {\n A: x\n A: y\n} }"}, `server.conf:4:2: duplicate field "A": it is set at DIR/server.conf:3:2 already`},
		"a field of a grant":       {[]string{"server.conf: " + accounts + "callout { sessions: [{kind: anonymous}]\n grants: [{account: APP, publish: \">\"\n subscribe: []\n subscribe: \">\"}] }"}, `server.conf:5:2: duplicate field "subscribe": it is set at DIR/server.conf:4:2 already`},
		"a field through includes": {[]string{"server.conf: headers {\n include \"one.conf\"\n sealed: [B]\n}", "one.conf: sealed: [A]"}, `server.conf:3:2: duplicate field "sealed": it is set at DIR/one.conf:1:1 already`},
	} {
		t.Run(name, func(t *testing.T) {
			file := repeatedFiles(t, tt.files...)
			want := strings.ReplaceAll(tt.want, "DIR", filepath.Dir(file))
			p := harness.Run(t, harness.Binary(t), "-t", "-c", file)
			if code := p.Exit(t); code != 1 || !strings.Contains(p.Text(), want) {
				t.Errorf("exit code %d, expected the fault %q: %s", code, want, p.Text())
			}
		})
	}
	const twice = "headers { protected: [A] }\nheaders { sealed: [B] }"
	if s := harness.Launch(t, twice); s.Exit(t) != 1 {
		t.Error("it starts")
	}
	s := harness.Start(t, "headers { protected: [A] }")
	if line := s.TryReload(t, twice); !strings.Contains(line, `duplicate field "headers"`) {
		t.Errorf("reload: %s", line)
	}
}

// What stock takes outside of the blocks is taken: the last one counts there. So are variables that are defined anew.
func TestRepeatedFieldsElsewhere(t *testing.T) {
	for name, files := range map[string][]string{
		"a number":                {"server.conf: max_connections: 5\nmax_connections: 6\nheaders { sealed: [A] }"},
		"accounts":                {"server.conf: accounts { A { users: [] } }\naccounts { B { users: [] } }"},
		"a user":                  {"server.conf: authorization { users: [{user: a, user: b, password: a, password: b, headers: {X: a}}] }"},
		"an include":              {"server.conf: include \"more.conf\"\nmax_connections: 6\naccounts { A { users: [] } }", "more.conf: max_connections: 5\naccounts { B { users: [] } }"},
		"variables":               {"server.conf: x = A\nheaders { sealed: $x }\nx = 5\nmax_connections: $x"},
		"variables inside":        {"server.conf: headers { x = A\n sealed: $x\n x = B\n protected: $x }"},
		"a variable of that name": {"server.conf: headers = 5\nmax_connections: $headers"},
	} {
		file := repeatedFiles(t, files...)
		p := harness.Run(t, harness.Binary(t), "-t", "-c", file)
		if code := p.Exit(t); code != 0 {
			t.Errorf("%s: exit code %d: %s", name, code, p.Text())
		}
	}
}
