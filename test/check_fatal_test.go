package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stamp/test/harness"
)

// -t finds what would prevent the start, and what would let no connection in.
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
			t.Errorf("%s\nexit code %d: %s", test.conf, code, out)
		}
		s := harness.Launch(t, "listen: \"127.0.0.1:-1\"\n"+test.conf)
		if s.Exit(t) == 0 {
			t.Errorf("%s\nstarts", test.conf)
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
			t.Errorf("%s\nexit code %d: %s", conf, code, out)
		}
	}
}

// A no_auth_user is allowed if it does not take connections that the handler would recognize: guests beside tokens.
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
		t.Errorf("exit code %d: %s", code, out)
	}
}

// -t, the start and a reload have the warnings of nats-callout check. They also warn of a server that waits for a shorter
// time than a source may take.
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
		t.Errorf("exit code %d: %s", code, out)
	}
	s := harness.Start(t, conf("b"))
	if text := s.Text(); strings.Contains(text, inbox) || !strings.Contains(text, patience) {
		t.Errorf("log of the start:\n%s", text)
	}
	mark := s.Mark()
	s.Reload(t, conf(">"))
	mark.WaitLog(t, "Reloaded: callout handler")
	if !strings.Contains(mark.Text(), inbox) {
		t.Errorf("log of the reload:\n%s", mark.Text())
	}
	// A reload refuses an account that the server does not have, as -t does.
	if line := s.TryReload(t, strings.Replace(conf("b"), "account: APP", "account: NOPE", 1)); !strings.Contains(line, "Failed") {
		t.Errorf("an unknown account was taken: %s", line)
	}
}

// A callout block whose sessions were forgotten starts no handler: -t, the start and a reload say so.
func TestWarningOfABlockWithoutSessions(t *testing.T) {
	const warning = "callout: there are no sessions, so the server runs no handler"
	conf := func(block string) string { return "listen: \"127.0.0.1:-1\"\n" + block }
	lacking := conf("callout { credential: [cookie] }")
	if code, said := checkConf(t, lacking); code != 0 || !strings.Contains(said, warning) {
		t.Errorf("exit code %d: %s", code, said)
	}
	if code, said := checkConf(t, conf("callout { request { cookies: [sid] } }")); code != 0 || strings.Contains(said, "warning") {
		t.Errorf("a block for a handler elsewhere: exit code %d: %s", code, said)
	}
	if text := harness.Start(t, lacking).Text(); !strings.Contains(text, warning) {
		t.Errorf("log of the start:\n%s", text)
	}
	s := harness.Start(t, conf(""))
	mark := s.Mark()
	s.Reload(t, lacking)
	mark.WaitLog(t, warning)
}

// A source that has another name for its cookie than the websocket is told of by -t, at the start and at a reload.
func TestWarningOfAnotherCookie(t *testing.T) {
	conf := func(cookie string) string {
		return `listen: "127.0.0.1:-1"
			accounts { APP { users: [] } }
			websocket { listen: "127.0.0.1:-1", no_tls: true, same_origin: true, token_cookie: sid }
			callout { sessions: [{kind: http, url: "http://127.0.0.1:1", cookie_name: ` + cookie + `}], grants: [{account: APP, publish: "a", subscribe: "b"}] }`
	}
	const warning = `no connection brings the cookie "session" (cookie_name) to it, since the server does not take that: it takes "sid" (websocket.token_cookie)`
	if code, said := checkConf(t, conf("session")); code != 0 || !strings.Contains(said, warning) {
		t.Errorf("exit code %d: %s", code, said)
	}
	if code, said := checkConf(t, conf("sid")); code != 0 || strings.Contains(said, "cookie") {
		t.Errorf("exit code %d: %s", code, said)
	}
	s := harness.Start(t, conf("sid"))
	if strings.Contains(s.Text(), "cookie_name") {
		t.Errorf("log of the start:\n%s", s.Text())
	}
	mark := s.Mark()
	s.Reload(t, conf("session"))
	mark.WaitLog(t, "Reloaded: callout handler")
	if !strings.Contains(mark.Text(), warning) {
		t.Errorf("log of the reload:\n%s", mark.Text())
	}
}

// A bucket in an account without JetStream is told of, unless it is on a server elsewhere.
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
			t.Errorf("%q, %q: exit code %d: %s", tt.jetstream, tt.source, code, said)
		}
	}
}

// A reload to limits that leave the handler no subscription is refused, and it goes on.
func TestReloadRefusesLimitsOfTheHandler(t *testing.T) {
	conf := func(limits string) string {
		return `accounts { APP { users: [] }, CALLOUT { ` + limits + ` } }
			callout { sessions: [{kind: anonymous}], grants: [{account: APP, publish: "a", subscribe: []}] }`
	}
	s := harness.Start(t, conf(""))
	for _, limits := range []string{"limits { max_subscriptions: 0 }", "limits { max_payload: 100 }", "limits { max_connections: 0 }"} {
		if line := s.TryReload(t, conf(limits)); !strings.Contains(line, "Failed") {
			t.Errorf("%s was taken: %s", limits, line)
		}
	}
	harness.Client(t, s, harness.Nobody)
}
