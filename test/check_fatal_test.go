package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stamp/test/harness"
)

// -t finds settings with which the server would not start, or would let no connection in.
func TestCheckFindsWhatStartRejects(t *testing.T) {
	const accounts = "accounts { APP { users: [] } }\n"
	const guests = "accounts { APP { users: [{user: guest, password: guest}] } }\n"
	const webGuests = `websocket { listen: "127.0.0.1:-1", no_tls: true, same_origin: true, no_auth_user: guest }` + "\n"
	const guestCallout = `callout { sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }`
	for _, test := range []struct{ conf, want string }{
		{accounts + `callout { http: "127.0.0.1:99999", sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }`, "http: expected an address"},
		{accounts + `callout { sessions: [{kind: anonymous}], grants: [{account: NOPE, publish: ">", subscribe: []}] }`, `account "NOPE" is not in the configuration`},
		{accounts + `callout { sessions: [{kind: anonymous}], grants: [{account: "{{ session.x }}", accounts: [APP, NOPE], publish: ">", subscribe: []}] }`, `account "NOPE" is not in the configuration`},
		{"max_control_line: 256\n" + accounts + `callout { sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }`, "max_control_line"},
		{"no_auth_user: guest\n" + guests + `callout { request { cookies: [app] }, sessions: [{kind: http, url: "http://127.0.0.1:1", cookie: app}], grants: [{account: APP, publish: ">", subscribe: []}] }`, `no_auth_user would admit as a guest, without asking the handler, a connection whose only credential is the cookie of session source "http"`},
		{guests + webGuests + `callout { request { cookies: [app] }, sessions: [{kind: http, url: "http://127.0.0.1:1", cookie: app}], grants: [{account: APP, publish: ">", subscribe: []}] }`, "websocket.no_auth_user would admit as a guest"},
		{"no_auth_user: guest\n" + guests + `callout { sessions: [{kind: jwt, issuers: [AAMFN7VYNBIGFWQBNAADV42FJKUM3FUTMW37E4AOTDJNL63EE7ZS5WYO]}], grants: [{account: APP, publish: ">", subscribe: []}] }`, `a user JWT for session source "jwt"`},
		{"no_auth_user: guest\n" + guests + `callout { request { cookies: [app] } }`, "a cookie of request.cookies"},
		{"no_auth_user: guest\n" + guests + `callout { request { headers: [User-Agent] } }`, "a user JWT, which a handler elsewhere may accept"},
		{`accounts { APP { users: [] }, CALLOUT { limits { max_connections: 0 } } }
		callout { sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }`, `account "CALLOUT" has max_connections: 0`},
		{`accounts { APP { limits { max_connections: 0 }, users: [] } }
		callout { sessions: [{kind: kv, bucket: b, account: APP}], grants: [{account: APP, publish: ">", subscribe: []}] }`, `account "APP" has max_connections: 0`},
		{accounts + `authorization { timeout: 0.0001 }
		callout { sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }`, "authorization.timeout: expected at least 0.1 seconds"},
		{accounts + `authorization { timeout: -1 }
		callout { sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }`, "authorization.timeout: expected at least 0.1 seconds"},
		{accounts + `callout { timeout: 0, sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }`, "timeout: expected 100ms to 5m0s; found 0s"},
		{accounts + `callout { timeout: "6m", sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }`, "timeout: expected 100ms to 5m0s; found 6m0s"},
		{accounts + "no_header_support: true\n" + guestCallout, "no_header_support is set"},
		{accounts + "no_system_account: true\n" + guestCallout, "no_system_account is set"},
		{accounts + "max_payload: 500\n" + guestCallout, "max_payload: expected at least 2048 for the answer to a callout; found 500"},
		{accounts + "max_subscriptions: 2\n" + guestCallout, "max_subscriptions: expected at least 8 for a connection of the handler; found 2"},
		{accounts + "prof_port: 8291\n" + `callout { http: "127.0.0.1:8291", sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: []}] }`, `the server's prof_port too`},
		{`accounts { APP { users: [] }, CALLOUT { limits { max_payload: 100 } } }` + "\n" + guestCallout, `account "CALLOUT": max_payload: expected at least 2048 for the answer to a callout; found 100`},
		{`accounts { APP { users: [] }, CALLOUT { limits { max_subscriptions: 0 } } }` + "\n" + guestCallout, `account "CALLOUT": max_subscriptions: expected at least 8 for the connection of the handler there; found 0`},
		{`accounts { APP { limits { max_subscriptions: 1 }, users: [] } }
		callout { sessions: [{kind: kv, bucket: b, account: APP}], grants: [{account: APP, publish: ">", subscribe: []}] }`, `account "APP": max_subscriptions: expected at least 12 for the connection of the handler there; found 1`},
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
			t.Errorf("configuration %s\nexpected -t to fail with %q; found exit code %d:\n%s", test.conf, test.want, code, out)
		}
		s := harness.Launch(t, "listen: \"127.0.0.1:-1\"\n"+test.conf)
		if s.Exit(t) == 0 {
			t.Errorf("the server starts with a configuration that -t refuses:\n%s", test.conf)
		}
	}
}

// A variable may have any name that stock accepts, also a name of one of our fields.
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
			t.Errorf("-t refuses the configuration %s\nexit code %d:\n%s", conf, code, out)
		}
	}
}

// A no_auth_user is allowed beside tokens, since it takes no connections that the handler would recognize.
func TestCheckTakesGuests(t *testing.T) {
	const conf = `listen: "127.0.0.1:-1"
		no_auth_user: guest
		accounts { APP { users: [{user: guest, password: guest}] } }
		callout { credential: [token], sessions: [{kind: http, url: "http://127.0.0.1:1"}], grants: [{account: APP, publish: "a", subscribe: []}] }`
	file := filepath.Join(t.TempDir(), "server.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := run(t, "-t", "-c", file); code != 0 {
		t.Errorf("expected -t to accept a no_auth_user beside tokens; found exit code %d:\n%s", code, out)
	}
}

// -t, the start and a reload print the warnings of nats-callout check, and one more if the server waits for a shorter time than
// a source may take.
func TestWarningsOfTheCalloutBlock(t *testing.T) {
	const inbox = "the connection may subscribe to everybody's _INBOX"
	conf := func(subscribe string) string {
		return `listen: "127.0.0.1:-1"
			accounts { APP { users: [] } }
			callout { timeout: "2s", sessions: [{kind: http, url: "http://127.0.0.1:1", timeout: "7s"}], grants: [{account: APP, publish: "a", subscribe: "` + subscribe + `"}] }`
	}
	const patience = "the server waits 2s for an answer (callout.timeout), and a look-up in the session source http may take 7s"
	file := filepath.Join(t.TempDir(), "server.conf")
	if err := os.WriteFile(file, []byte(conf(">")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := run(t, "-t", "-c", file)
	if code != 0 || !strings.Contains(out, inbox) || !strings.Contains(out, patience) {
		t.Errorf("expected exit code 0 and both warnings from -t; found exit code %d:\n%s", code, out)
	}
	s := harness.Start(t, conf("b"))
	if text := s.Text(); strings.Contains(text, inbox) || !strings.Contains(text, patience) {
		t.Errorf("expected the start to warn of the time-out alone; the log has:\n%s", text)
	}
	mark := s.Mark()
	s.Reload(t, conf(">"))
	mark.WaitLog(t, "Reloaded: callout handler")
	if !strings.Contains(mark.Text(), inbox) {
		t.Errorf("expected the reload to warn of the inbox; the log has:\n%s", mark.Text())
	}
	// A reload refuses an account that the server does not have, as -t does.
	if line := s.TryReload(t, strings.Replace(conf("b"), "account: APP", "account: NOPE", 1)); !strings.Contains(line, "Failed") {
		t.Errorf("an unknown account was taken: %s", line)
	}
}

// A callout block without sessions starts no handler. -t, the start and a reload warn of that.
func TestWarningOfABlockWithoutSessions(t *testing.T) {
	const warning = "callout: there are no sessions, so the server runs no handler"
	conf := func(block string) string { return "listen: \"127.0.0.1:-1\"\n" + block }
	lacking := conf("callout { credential: [cookie] }")
	if code, said := checkConf(t, lacking); code != 0 || !strings.Contains(said, warning) {
		t.Errorf("expected exit code 0 and the warning that there are no sessions; found exit code %d:\n%s", code, said)
	}
	if code, said := checkConf(t, conf("callout { request { cookies: [sid] } }")); code != 0 || strings.Contains(said, "warning") {
		t.Errorf("expected no warning about a block for a handler elsewhere; found exit code %d:\n%s", code, said)
	}
	if text := harness.Start(t, lacking).Text(); !strings.Contains(text, warning) {
		t.Errorf("expected the start to warn that there are no sessions; the log has:\n%s", text)
	}
	s := harness.Start(t, conf(""))
	mark := s.Mark()
	s.Reload(t, lacking)
	mark.WaitLog(t, warning)
}

// If a source's cookie has another name than the websocket's, -t, the start and a reload warn of that.
func TestWarningOfAnotherCookie(t *testing.T) {
	conf := func(cookie string) string {
		return `listen: "127.0.0.1:-1"
			accounts { APP { users: [] } }
			websocket { listen: "127.0.0.1:-1", no_tls: true, same_origin: true, token_cookie: sid }
			callout { sessions: [{kind: http, url: "http://127.0.0.1:1", cookie_name: ` + cookie + `}], grants: [{account: APP, publish: "a", subscribe: "b"}] }`
	}
	const warning = `no connection brings the cookie "session" (cookie_name) to it, since the server does not take that: it takes "sid" (websocket.token_cookie)`
	if code, said := checkConf(t, conf("session")); code != 0 || !strings.Contains(said, warning) {
		t.Errorf("expected a warning about the cookie \"session\", which the websocket does not take; found exit code %d:\n%s", code, said)
	}
	if code, said := checkConf(t, conf("sid")); code != 0 || strings.Contains(said, "cookie") {
		t.Errorf("expected no warning about the cookie \"sid\", which the websocket takes; found exit code %d:\n%s", code, said)
	}
	s := harness.Start(t, conf("sid"))
	if strings.Contains(s.Text(), "cookie_name") {
		t.Errorf("expected no warning at the start; the log has:\n%s", s.Text())
	}
	mark := s.Mark()
	s.Reload(t, conf("session"))
	mark.WaitLog(t, "Reloaded: callout handler")
	if !strings.Contains(mark.Text(), warning) {
		t.Errorf("expected the reload to warn of the cookie; the log has:\n%s", mark.Text())
	}
}

// If a bucket's account has no JetStream, -t warns of that, unless the bucket is on another server.
func TestWarningOfAnAccountWithoutJetStream(t *testing.T) {
	conf := func(jetstream, source string) string {
		return `listen: "127.0.0.1:-1"
			jetstream { store_dir: "js" }
			accounts { APP { users: [], ` + jetstream + ` } }
			callout { sessions: [{kind: kv, bucket: b, account: APP, ` + source + `}], grants: [{account: APP, publish: "a", subscribe: "b"}] }`
	}
	const warning = "session source kv: the account APP, which has the bucket, has no jetstream in this configuration"
	for _, tt := range []struct {
		jetstream, source string
		want              bool
	}{{"", "", true}, {"jetstream: enabled", "", false}, {"", "domain: hub", false}} {
		if code, said := checkConf(t, conf(tt.jetstream, tt.source)); code != 0 || strings.Contains(said, warning) != tt.want {
			t.Errorf("with %q and %q: expected exit code 0 and a warning: %t; found exit code %d:\n%s", tt.jetstream, tt.source, tt.want, code, said)
		}
	}
}

// A reload to limits that leave the handler no subscription is refused, and the handler continues.
func TestReloadRefusesLimitsOfTheHandler(t *testing.T) {
	conf := func(limits string) string {
		return `accounts { APP { users: [] }, CALLOUT { ` + limits + ` } }
			callout { sessions: [{kind: anonymous}], grants: [{account: APP, publish: "a", subscribe: []}] }`
	}
	s := harness.Start(t, conf(""))
	for _, limits := range []string{"limits { max_subscriptions: 0 }", "limits { max_payload: 100 }", "limits { max_connections: 0 }"} {
		if line := s.TryReload(t, conf(limits)); !strings.Contains(line, "Failed") {
			t.Errorf("a reload to %s was not refused, though it leaves the handler no subscription: %s", limits, line)
		}
	}
	harness.Client(t, s, harness.Nobody)
}
