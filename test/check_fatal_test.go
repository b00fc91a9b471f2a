package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stamp/test/harness"
)

// What start would reject, or what would let nobody in, is found by -t.
func TestCheckFindsWhatStartRejects(t *testing.T) {
	const accounts = "accounts { APP { users: [] } }\n"
	for _, test := range []struct{ conf, want string }{
		{accounts + `callout { http: "127.0.0.1:99999", sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }`, "http: expected an address"},
		{accounts + `callout { sessions: [{kind: anonymous}], grants: [{account: NOPE, publish: ">", subscribe: []}] }`, `account "NOPE" is not in the configuration`},
		{accounts + `callout { sessions: [{kind: anonymous}], grants: [{account: "{{ session.x }}", accounts: [APP, NOPE], publish: ">", subscribe: []}] }`, `account "NOPE" is not in the configuration`},
		{"max_control_line: 256\n" + accounts + `callout { sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }`, "max_control_line"},
		{"headers { all: {X: \"1\"} }\nHeaders { all: {X: \"2\"} }", `more than one block "headers"`},
		{"no_header_support: true\nheaders { all: {A: x} }", "no_header_support"},
		{"no_header_support: true\nauthorization { users: [{user: u, password: u, headers: {A: x}}] }", "no_header_support"},
	} {
		file := filepath.Join(t.TempDir(), "server.conf")
		if err := os.WriteFile(file, []byte("listen: \"127.0.0.1:-1\"\n"+test.conf), 0o600); err != nil {
			t.Fatal(err)
		}
		out, code := run(t, "-t", "-c", file)
		if code == 0 || !strings.Contains(out, test.want) {
			t.Errorf("%s\nexit code %d: %s", test.conf, code, out)
		}
		s := harness.Launch(t, "listen: \"127.0.0.1:-1\"\n"+test.conf)
		if s.Exit(t) == 0 {
			t.Errorf("%s\nstarts", test.conf)
		}
	}
}

// What stock takes as variables is taken: names of ours among them.
func TestCheckTakesVariables(t *testing.T) {
	for _, conf := range []string{
		"callout = secret\nauthorization { token: $callout }",
		"headers = 0\nport: $headers",
		"authorization { users = [ {headers: pw, user: a, password: $headers} ] }",
	} {
		file := filepath.Join(t.TempDir(), "server.conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code := run(t, "-t", "-c", file); code != 0 {
			t.Errorf("%s\nexit code %d: %s", conf, code, out)
		}
	}
}
