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

// The parser of nats-server keeps the last of several equal fields. In the blocks headers and callout that would remove
// protection without a word, so -t and the start report a fault with both places.
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
		"a variable of all":  {[]string{"server.conf: headers {\nall {\nv = foo\nX: $v } }"}, `server.conf:3:1: all: "v" is used as a variable, and would be one of the fields too`},
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
		t.Error("the server starts with two blocks headers")
	}
	s := harness.Start(t, "headers { protected: [A] }")
	if line := s.TryReload(t, twice); !strings.Contains(line, `duplicate field "headers"`) {
		t.Errorf("expected the reload to be refused because of the duplicate field \"headers\"; the server logged %q", line)
	}
}

// Outside of the blocks, duplicates are accepted as at stock, which uses the last one. Variables may be redefined, too.
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
			t.Errorf("%s: -t refuses what stock accepts; exit code %d:\n%s", name, code, p.Text())
		}
	}
}

// A user may have each of the two fields once, in any case. Stock would use a random one of two spellings. The fault is the
// same whenever the file is read, and shows no value.
func TestRepeatedFieldsOfUsers(t *testing.T) {
	users := func(fields string) string {
		return "server.conf: authorization { users: [ {user: a, password: a\n" + fields + "} ] }"
	}
	for name, tt := range map[string]struct {
		files []string
		want  string
	}{
		"headers":                     {[]string{users("headers: {X: hunter2}\nheaders: {Y: hunter2}")}, `server.conf:3:1: error parsing headers: duplicate field "headers": it is set at DIR/server.conf:2:1 already`},
		"headers in another case":     {[]string{users("headers: {X: hunter2}\nHeaders: {Y: hunter2}")}, `server.conf:2:1: duplicate field "headers": names of fields are the same if they differ in case alone`},
		"permissions":                 {[]string{users("header_permissions: {publish: {allow: [X]}}\nheader_permissions: {publish: {allow: [Y]}}")}, `server.conf:3:1: error parsing headers: duplicate field "header_permissions": it is set at DIR/server.conf:2:1 already`},
		"permissions in another case": {[]string{users("HEADER_PERMISSIONS: {publish: {allow: [X]}}\nheader_permissions: {publish: {allow: [Y]}}")}, `server.conf:3:1: duplicate field "header_permissions": names of fields are`},
		"a name":                      {[]string{users("headers: {\nX: hunter2\nX: hunter2}")}, `server.conf:2:1: error parsing headers: duplicate field "X": it is set at DIR/server.conf:3:1 already`},
		"a variable among headers":    {[]string{users("headers: {\npw = hunter2\nAuthorization: $pw}")}, `server.conf:2:1: error parsing headers: headers: "pw" is used as a variable, and would be one of the fields too`},
		"a header that is a variable": {[]string{users("headers: {X: hunter2\nY: $X\nX: other\nZ: $X}")}, `error parsing headers: headers: "X" is used as a variable`},
		"the list of a permission":    {[]string{users("header_permissions: {publish: {\nallow: [X]\nallow: [Y]}}")}, `duplicate field "allow": it is set at DIR/server.conf:3:1 already`},
		"an include":                  {[]string{users("include \"more.conf\"\nheaders: {Y: hunter2}"), "more.conf: headers: {X: hunter2}"}, `server.conf:3:1: error parsing headers: duplicate field "headers": it is set at DIR/more.conf:1:1 already`},
		"an account's user": {[]string{"server.conf: accounts { A { users: [ {user: a, password: a\nheaders: {X: hunter2}\nheaders: {Y: hunter2}} ] } }"},
			`server.conf:3:1: error parsing headers: duplicate field "headers"`},
		"a leafnode's user": {[]string{"server.conf: leafnodes { listen: \"127.0.0.1:-1\", authorization { users: [ {user: a, password: a\nheaders: {X: hunter2}\nHeaders: {Y: hunter2}} ] } }"},
			`server.conf:2:1: duplicate field "headers"`},
		"a remote": {[]string{"server.conf: leafnodes { remotes: [ {url: \"nats://127.0.0.1:7422\"\nheader_permissions: {publish: {allow: [X]}}\nheader_permissions: {publish: {allow: [Y]}}} ] }"},
			`server.conf:3:1: error parsing headers: duplicate field "header_permissions"`},
		"blocks in two cases": {[]string{"server.conf: headers { sealed: [A] }\nHeaders { sealed: [B] }"}, `server.conf:1:0: there is more than one block "headers"`},
	} {
		t.Run(name, func(t *testing.T) {
			file := repeatedFiles(t, tt.files...)
			want := strings.ReplaceAll(tt.want, "DIR", filepath.Dir(file))
			for range 6 { // the order of fields is random
				p := harness.Run(t, harness.Binary(t), "-t", "-c", file)
				if code := p.Exit(t); code != 1 || !strings.Contains(p.Text(), want) || strings.Contains(p.Text(), "hunter2") {
					t.Fatalf("exit code %d, expected the fault %q: %s", code, want, p.Text())
				}
			}
		})
	}
	for name, conf := range map[string]string{
		"a variable of that name":                "server.conf: authorization { users: [ {headers: pw, user: a, password: $headers} ] }",
		"a variable beside the field":            "server.conf: authorization { users: [ {Headers: pw, user: a, password: $Headers, headers: {X: a}} ] }",
		"one value in two users":                 "server.conf: x = {A: b}\nauthorization { users: [{user: u, password: u, headers: $x}, {user: v, password: v, headers: $x}] }",
		"fields in any case that are there once": "server.conf: authorization { users: [{user: u, password: u, HEADERS: {X: a}, Header_Permissions: {publish: {allow: [X]}}}] }",
	} {
		p := harness.Run(t, harness.Binary(t), "-t", "-c", repeatedFiles(t, conf))
		if code := p.Exit(t); code != 0 {
			t.Errorf("%s: -t refuses fields that are there once; exit code %d:\n%s", name, code, p.Text())
		}
	}
}
