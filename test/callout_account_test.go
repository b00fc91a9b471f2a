package test

import (
	"fmt"
	"strings"
	"testing"

	"stamp/test/harness"
)

// A grant that can put a user into the account of the authorization requests is refused at start and by -t, whatever names that
// account.
func TestGrantIntoTheCalloutsAccount(t *testing.T) {
	const accounts = "accounts { APP { users: [{user: u, password: u}] }, AUTH { users: [{user: auth, password: auth}] } }\n"
	grant := func(account string) string {
		return "  sessions: [{kind: anonymous, data: {a: AUTH}}]\n  grants: [{account: " + account + `, publish: [], subscribe: ">"}]` + "\n}"
	}
	for _, test := range []struct{ name, conf, want string }{
		{"the default account", accounts + "callout {\n" + grant("CALLOUT"), `server.conf:4:13: account "CALLOUT" is where servers send authorization requests`},
		{"the account of the block", accounts + "callout {\n  account: AUTH\n" + grant("AUTH"), `server.conf:5:13: account "AUTH" is where`},
		{"a template", accounts + "callout {\n  account: AUTH\n" + grant(`"{{ session.a }}"`), `server.conf:5:13: account is a template, so it needs a list`},
		{"a listed account", accounts + "callout {\n  account: AUTH\n" + grant(`"{{ session.a }}", accounts: [APP, AUTH]`), `account "AUTH" is where`},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, args := range [][]string{nil, {"-t"}} {
				s := harness.Launch(t, test.conf, args...)
				if code := s.Exit(t); code != 1 || !strings.Contains(s.Text(), test.want) {
					t.Errorf("%v: exit code %d, want 1 and %q in\n%s", args, code, test.want, s.Text())
				}
			}
		})
	}
}

// A reload that moves the callout to an account with users of grants is refused, and changes nothing.
func TestReloadMovesTheCalloutToTheAccountOfItsUsers(t *testing.T) {
	app := startApplication(t)
	conf := liveConf{url: app.url}.String()
	s := harness.Start(t, conf)
	l := connectLive(t, s, 1)
	line := s.TryReload(t, strings.Replace(conf, "callout {\n", "callout {\n account: APP\n", 1))
	if !strings.Contains(line, "Failed") || !strings.Contains(s.Text(), `account "APP" is where servers send authorization requests`) {
		t.Errorf("expected the reload to be refused since APP has the callout; the server logged %q", line)
	}
	l.add("fresh", token("fresh"))
	l.expectAlive()
}

// With FIPS-140 mode the handler's keys cannot be made, and upstream refuses auth_callout. Our block is
// refused too, with its place, by -t and at start. Without the block the server starts.
func TestCalloutInFIPSMode(t *testing.T) {
	for _, mode := range []string{"on", "only"} {
		t.Run(mode, func(t *testing.T) {
			t.Setenv("GODEBUG", "fips140="+mode)
			for _, args := range [][]string{nil, {"-t"}} {
				for _, keys := range []string{"", "  xkey: " + harness.Seed(t, harness.NewXKey(t)) + "\n"} {
					s := harness.Launch(t, fmt.Sprintf("accounts { APP: {} }\ncallout {\n%s  sessions: [{kind: anonymous}]\n  grants: [{account: APP, publish: [], subscribe: []}]\n}", keys), args...)
					code := s.Exit(t)
					if code != 1 || !strings.Contains(s.Text(), "server.conf:2:1: a callout handler cannot be used in FIPS-140 mode") || strings.Contains(s.Text(), "panic") {
						t.Errorf("%v: expected exit code 1 and the place of the block; found exit code %d:\n%s", args, code, s.Text())
					}
				}
			}
			harness.Start(t, `headers { all: {A: b} }`)
		})
	}
}
