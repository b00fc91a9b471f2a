package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// insideConf is a server with the handler inside: the sessions are in a bucket of
// account APP, whose backend writes them.
const insideConf = `
	jetstream { store_dir: %q }
	accounts { APP { jetstream: enabled, users: [{user: backend, password: backend}] } }
	websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: sid, allowed_origins: ["http://app.test"] }
	callout {
		request { cookies: [theme], headers: [User-Agent] }
		%s
		sessions: [{kind: kv, bucket: sessions, account: APP}]
		grants: [
			{ name: admin, when: 'session.role == "admin"', account: APP, publish: ">", subscribe: ">"
			  headers: {Session: "{{ credential }}", Roles: "{{ session.roles }}"} }
			{ name: visitor, when: 'session.user != nil', account: APP, user: "{{ session.user }}"
			  publish: ["t.>"], subscribe: ["inbox.{{ session.user }}.>"], limits {subscriptions: 2, payload: 1000}
			  headers: {Session: "{{ credential }}", X-User: "{{ session.user }}", X-Kind: "{{ request.credential }}"} }
		]
	}`

func startInside(t *testing.T, fields string, args ...string) (*harness.Server, jetstream.KeyValue) {
	t.Helper()
	s := harness.Start(t, fmt.Sprintf(insideConf, t.TempDir(), fields), args...)
	return s, sessionBucket(t, s)
}

// sessionBucket makes the bucket, as the backend.
func sessionBucket(t *testing.T, s *harness.Server) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(s.Connect(t, userInfo("backend")))
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sessions"})
	if err != nil {
		t.Fatal(err)
	}
	return bucket
}

// login puts a session into the bucket.
func login(t *testing.T, bucket jetstream.KeyValue, id string, session map[string]any) {
	t.Helper()
	data, err := json.Marshal(session)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Put(t.Context(), id, data); err != nil {
		t.Fatal(err)
	}
}

func token(value string) harness.Credential {
	return func(string) map[string]any { return map[string]any{"auth_token": value} }
}

func alice() map[string]any { return map[string]any{"user": "alice"} }

// browser is a raw client over the websocket, with these request headers. A
// refused upgrade is an error.
func browser(t testing.TB, s *harness.Server, header http.Header) (*harness.Raw, error) {
	t.Helper()
	if header.Get("Origin") == "" {
		header.Set("Origin", "http://app.test")
	}
	ctx, cancel := context.WithTimeout(t.Context(), harness.Timeout)
	defer cancel()
	ws, response, err := websocket.Dial(ctx, "ws://"+s.Websocket(t), &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		if response != nil {
			return nil, fmt.Errorf("upgrade: %s", response.Status)
		}
		return nil, err
	}
	var conn net.Conn = websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
	return harness.NewRaw(t, conn), nil
}

func cookies(values ...string) http.Header {
	return http.Header{"Cookie": {strings.Join(values, "; ")}}
}

// mustBrowse is browser for one that gets in.
func mustBrowse(t testing.TB, s *harness.Server, header http.Header, cred harness.Credential) *harness.Raw {
	t.Helper()
	raw, err := browser(t, s, header)
	if err != nil {
		t.Fatal(err)
	}
	raw.Connect(cred)
	raw.Flush()
	raw.Flush()
	return raw
}

func expectBrowserRefused(t testing.TB, s *harness.Server, header http.Header, cred harness.Credential) {
	t.Helper()
	raw, err := browser(t, s, header)
	if err != nil {
		t.Fatal(err)
	}
	raw.Connect(cred)
	if lines := raw.ExpectClosed(); !slices.Contains(lines, "-ERR 'Authorization Violation'") {
		t.Errorf("expected an Authorization Violation; the server sent %q", lines)
	}
}

// The whole way: a cookie comes in, trusted headers go out, and no other process is needed.
func TestInsideCookieToHeaders(t *testing.T) {
	s, bucket := startInside(t, "")
	login(t, bucket, "cookie1", alice())
	login(t, bucket, "cookie2", map[string]any{"role": "admin", "roles": []string{"a", "b"}})
	sub := subscriber(t, s, password("backend")) // a user of the configuration logs in as ever
	expectStamp(t, mustBrowse(t, s, cookies("sid=cookie1"), harness.Nobody), sub,
		"Session: cookie1", "X-Kind: cookie", "X-User: alice")
	expectStamp(t, harness.Client(t, s, token("cookie1")), sub, "Session: cookie1", "X-Kind: token", "X-User: alice")
	expectStamp(t, harness.Client(t, s, token("cookie2")), sub, "Roles: a", "Roles: b", "Session: cookie2")
	expectStamp(t, harness.Client(t, s, password("backend")), sub)
	for _, bad := range []string{"nobody", "*", ">", "cookie1.", "cookie1 ", "COOKIE1"} {
		expectRefused(t, s, token(bad))
	}
	expectRefused(t, s, harness.Nobody)
	expectRefused(t, s, harness.Password("backend", "wrong"))
}

// The permissions and limits of a grant apply to its connections.
func TestInsidePermissionsAndLimits(t *testing.T) {
	s, bucket := startInside(t, "")
	login(t, bucket, "c", alice())
	login(t, bucket, "wide", map[string]any{"user": "*"})
	raw := harness.Client(t, s, token("c"))
	if raw.Info.MaxPayload >= 1000 {
		t.Errorf("max_payload is %d, above the grant's less the stamp", raw.Info.MaxPayload)
	}
	raw.Pub("other", "x")
	raw.Expect("-ERR 'Permissions Violation for Publish to")
	raw.Send("SUB inbox.bob.x 1\r\n")
	raw.Expect("-ERR 'Permissions Violation for Subscription to")
	for sid := range 3 {
		raw.Send("SUB inbox.alice.%d %d\r\n", sid, sid+10)
	}
	raw.Expect("-ERR 'maximum subscriptions exceeded'")
	// What a session holds never widens a permission.
	expectRefused(t, s, token("wide"))
	s.WaitLog(t, `refused .*grant visitor`)
}

// The handler uses what the server forwarded. Credentials of kinds that are not listed are refused.
func TestInsideCredentialKinds(t *testing.T) {
	s, bucket := startInside(t, "credential: [cookie]")
	login(t, bucket, "c", alice())
	sub := subscriber(t, s, password("backend"))
	expectStamp(t, mustBrowse(t, s, cookies("sid=c"), harness.Nobody), sub, "Session: c", "X-Kind: cookie", "X-User: alice")
	// A script that has learnt a session's id cannot use it as a token.
	expectRefused(t, s, token("c"))
	expectBrowserRefused(t, s, http.Header{}, token("c"))
	// Upstream prefers the credential in CONNECT to the cookie. It is a token then.
	login(t, bucket, "d", alice())
	expectBrowserRefused(t, s, cookies("sid=c"), token("d"))
}

// Two cookies of the credential's name are refused, in any order: one of them may have been planted.
func TestInsideCookieTossing(t *testing.T) {
	s, bucket := startInside(t, "")
	login(t, bucket, "good", alice())
	login(t, bucket, "evil", alice())
	expectBrowserRefused(t, s, cookies("sid=good", "sid=evil"), harness.Nobody)
	expectBrowserRefused(t, s, cookies("sid=evil", "sid=good"), harness.Nobody)
	// Package net/http reads only one of these.
	for _, odd := range []string{"sid=ü", `sid=a\b`, `sid=a"b`, `sid="a b"c`} {
		expectBrowserRefused(t, s, cookies("sid=evil", odd), harness.Nobody)
		expectBrowserRefused(t, s, cookies(odd, "sid=evil"), harness.Nobody)
	}
	mustBrowse(t, s, cookies("sid=good", "other=1", "other=2"), harness.Nobody)
}

// A page of another origin cannot connect with the cookie.
func TestInsideForeignOrigin(t *testing.T) {
	s, bucket := startInside(t, "")
	login(t, bucket, "c", alice())
	header := cookies("sid=c")
	header.Set("Origin", "http://evil.test")
	if _, err := browser(t, s, header); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("expected status 403 for another origin; found %v", err)
	}
}

// A logout deletes the session, which closes its connections and no others.
func TestInsideLogoutClosesConnections(t *testing.T) {
	s, bucket := startInside(t, "")
	login(t, bucket, "one", alice())
	login(t, bucket, "two", alice())
	tab1, tab2 := harness.Client(t, s, token("one")), mustBrowse(t, s, cookies("sid=one"), harness.Nobody)
	other := harness.Client(t, s, token("two"))
	if err := bucket.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	tab1.ExpectClosed()
	tab2.ExpectClosed()
	other.Flush()
	expectRefused(t, s, token("one"))
}

// A reload of the callout block applies to live connections and to new ones.
func TestInsideReload(t *testing.T) {
	dir := t.TempDir()
	conf := func(user string) string {
		return fmt.Sprintf(insideConf, dir, "") + "\n" + user
	}
	s := harness.Start(t, conf(""))
	bucket := sessionBucket(t, s)
	login(t, bucket, "c", alice())
	sub := subscriber(t, s, password("backend"))
	live := harness.Client(t, s, token("c"))
	changed := strings.ReplaceAll(conf(""), "X-User:", "X-Name:")
	mark := s.Mark()
	s.Reload(t, changed)
	mark.WaitLog(t, "Reloaded: callout handler") // a reload does not wait for the handler
	expectStamp(t, harness.Client(t, s, token("c")), sub, "Session: c", "X-Kind: token", "X-Name: alice")
	harness.Eventually(t, "the new stamp of a live connection", func() bool {
		live.Pub("t.await", "payload")
		return slices.Contains(sub.Msg().Lines(), "X-Name: alice")
	})
	if line := s.TryReload(t, strings.ReplaceAll(changed, "kind: kv", "kind: kx")); !strings.Contains(line, "Failed") {
		t.Errorf("a bad configuration was taken: %s", line)
	}
	expectStamp(t, harness.Client(t, s, token("c")), sub, "Session: c", "X-Kind: token", "X-Name: alice")
}

// A server without accounts keeps JetStream in its global account.
func TestInsideGlobalAccount(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`
		jetstream { store_dir: %q }
		authorization { users: [{user: backend, password: backend}] }
		callout {
			sessions: [{kind: kv, bucket: sessions, account: "$G"}]
			grants: [{account: "$G", publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"}}]
		}`, t.TempDir()))
	bucket := sessionBucket(t, s)
	login(t, bucket, "c", alice())
	sub := subscriber(t, s, password("backend"))
	expectStamp(t, harness.Client(t, s, token("c")), sub, "X-User: alice")
}

// All faults are reported at once, with their places, and the server does not start.
func TestInsideFaults(t *testing.T) {
	const sources = `sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: ">"}]`
	const accounts = "accounts { APP { users: [{user: u, password: u}] } }\n"
	const issuer = "ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA"
	tests := []struct {
		name, conf string
		want       []string
	}{
		{"unknown fields", accounts + "callout {\n  sesions: []\n  sessions: [{kind: kv, bukket: b}, {kind: kx}]\n  grants: []\n}", []string{
			`server.conf:3:3: unknown field "sesions"`, `unknown field "bukket"`, `field "bucket" is missing`, `unknown kind "kx"`,
		}},
		{"no origins", accounts + `websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: sid }` + "\ncallout {" + sources + "}",
			[]string{"its origins are not restricted"}},
		{"no origins for forwarded cookies", accounts + `websocket { listen: "127.0.0.1:-1", no_tls: true }` + "\ncallout { request {cookies: [a]}\n" + sources + "}",
			[]string{"its origins are not restricted"}},
		{"token", `authorization { token: secret-of-mine }` + "\ncallout {" + sources + "}", []string{"authorization.token"}},
		{"cluster", accounts + `cluster { name: c, listen: "127.0.0.1:-1" }` + "\ncallout {" + sources + "}", []string{"fields \"issuer\" and \"xkey\" are missing: all servers of a cluster need the same keys"}},
		{"account", "callout { sessions: [{kind: kv, bucket: b, account: NONE}], grants: [{account: APP, publish: \">\", subscribe: \">\"}] }",
			[]string{`account "NONE"`}},
		{"no account with JetStream", accounts + "jetstream { store_dir: js }\ncallout {\n  sessions: [{kind: kv, bucket: b}]\n  grants: [{account: APP, publish: \">\", subscribe: \">\"}]\n}",
			[]string{"server.conf:4:35: session source kv: expected the account that has the bucket in the field account; found the account CALLOUT, which the server makes without JetStream"}},
		{"connect", accounts + "callout { connect {urls: [\"nats://x\"]}\n" + sources + "}", []string{"server.conf:2:11: connect is for nats-callout only"}},
		{"own auth_callout, no keys", "accounts { AUTH { users: [{user: u, password: u}] } }\n" + "authorization { auth_callout { issuer: " + issuer + ", account: AUTH, auth_users: [u] } }\ncallout {" + sources + "}", []string{
			`field "issuer" is missing: auth_callout.issuer is ` + issuer + ", so set issuer_file in callout",
			"an auth_callout block needs the same xkey as the callout block: set xkey_file in callout, and auth_callout.xkey to its public key",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, args := range [][]string{nil, {"-t"}} {
				s := harness.Launch(t, tt.conf, args...)
				if code := s.Exit(t); code != 1 {
					t.Errorf("with arguments %v: expected exit code 1; found %d", args, code)
				}
				for _, want := range tt.want {
					if !strings.Contains(s.Text(), want) {
						t.Errorf("%v: expected %q in\n%s", args, want, s.Text())
					}
				}
				if strings.Contains(s.Text(), "secret-of-mine") {
					t.Error("the log shows a secret")
				}
			}
		})
	}
}

// The server's configuration says which account is the system account. A grant for that account causes a warning.
func TestGrantOfTheSystemAccountIsSaid(t *testing.T) {
	s := harness.Launch(t, `accounts { SYS { users: [{user: s, password: s}] } }
system_account: SYS
callout { sessions: [{kind: anonymous}], grants: [{account: SYS, publish: [], subscribe: []}] }`, "-t")
	if code := s.Exit(t); code != 0 || !strings.Contains(s.Text(), `server.conf:3:52: grant 1: account: "SYS" is the system account`) {
		t.Errorf("expected exit code 0 and a warning about the grant of the system account; found exit code %d:\n%s", code, s.Text())
	}
}

// Without our handler, upstream decides about a cookie listener that pages of any origin may use. The server warns of it.
func TestCookieWithoutOriginsIsSaid(t *testing.T) {
	for _, conf := range []string{
		`websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: sid }`,
		// A callout block that only forwards cookies, for a handler that runs elsewhere.
		`websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: sid }
		callout { request: { cookies: [theme] } }`,
		`websocket { listen: "127.0.0.1:-1", no_tls: true }
		callout { request: { cookies: [sid] } }`,
	} {
		s := harness.Start(t, conf)
		if !strings.Contains(s.Text(), "a page of any origin can connect") {
			t.Errorf("expected a warning that a page of any origin can connect; the log has:\n%s", s.Text())
		}
	}
}

// The log shows nothing of a session, a credential or a key, at any level that does not print payloads.
func TestInsideLogsNoSecrets(t *testing.T) {
	s, bucket := startInside(t, "")
	login(t, bucket, "credential-4711", map[string]any{"user": "user-4711"})
	login(t, bucket, "credential-4712", map[string]any{"user": "user.4712"})
	s2 := s.Mark()
	harness.Client(t, s, token("credential-4711"))
	expectRefused(t, s, token("credential-4712"))
	expectRefused(t, s, token("credential-4713"))
	s2.WaitLog(t, "no session: the credential is unknown")
	for _, secret := range []string{"4711", "4712", "4713"} {
		if strings.Contains(s2.Text(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	if seed.MatchString(s2.Text()) {
		t.Error("the log shows a seed")
	}
}

// At the level that prints payloads, the log does not show those that the handler reads.
func TestInsideIsNotTraced(t *testing.T) {
	s, bucket := startInside(t, "", "-DV")
	login(t, bucket, "credential-4711", map[string]any{"user": "user-4711", "note": "content-4711"})
	harness.Eventually(t, "the bucket's watcher is done", func() bool { return strings.Contains(s.Text(), "content-4711") })
	mark := s.Mark()
	pub := harness.Client(t, s, token("credential-4711"))
	pub.Pub("t.x", "payload")
	pub.Flush()
	mark.WaitLog(t, `<<- \[PUB t.x`)
	for _, secret := range []string{"credential-4711", "content-4711"} {
		if strings.Contains(mark.Text(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
}

// seed is that of an nkey (nkeys, strkey.go).
var seed = regexp.MustCompile(`\bS[A-Z2-7]{57}\b`)

// Services beside the browsers log in with an nkey, or with a user JWT, which a server without operators would otherwise drop.
func TestInsideServicesWithKeys(t *testing.T) {
	issuer, nkey := harness.NewAccountKey(t), harness.NewUserKey(t)
	s := harness.Start(t, fmt.Sprintf(`
		accounts { APP { users: [{user: backend, password: backend}] } }
		callout {
			sessions: [{kind: nkey, users: [{nkey: %s, service: billing}]}, {kind: jwt, issuers: [%s]}]
			grants: [
				{when: 'source == "nkey"', account: APP, publish: ">", subscribe: ">", headers: {X-Service: "{{ session.service }}"}}
				{when: 'source == "jwt"', account: APP, publish: ">", subscribe: ">", headers: {X-Service: "{{ session.name }}"}}
			]
		}`, harness.Public(t, nkey), harness.Public(t, issuer)))
	sub := subscriber(t, s, password("backend"))
	expectStamp(t, harness.Client(t, s, harness.NkeyCredential(nkey)), sub, "X-Service: billing")
	expectRefused(t, s, harness.NkeyCredential(harness.NewUserKey(t)))
	// The nonce of another connection.
	old := harness.NkeyCredential(nkey)("another nonce")
	expectRefused(t, s, func(string) map[string]any { return old })

	account := &harness.Account{Key: issuer}
	mail := account.UserOf(t, "mail")
	expectStamp(t, harness.Client(t, s, mail.Credential), sub, "X-Service: mail")
	stolen := mail.Credential("another nonce")
	expectRefused(t, s, func(string) map[string]any { return stolen })
	other := &harness.Account{Key: harness.NewAccountKey(t)}
	expectRefused(t, s, other.UserOf(t, "mail").Credential)
}

// If a source takes another cookie than the credential, nothing else that the client presented counts as verified.
func TestInsideOtherCookie(t *testing.T) {
	dir := t.TempDir()
	s := harness.Start(t, fmt.Sprintf(`
		jetstream { store_dir: %q }
		accounts { APP { jetstream: enabled, users: [{user: backend, password: backend}] } }
		websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: sid, allowed_origins: ["http://app.test"] }
		callout {
			request { cookies: [other] }
			credential: [cookie]
			sessions: [{kind: kv, bucket: sessions, account: APP, cookie: other}]
			grants: [{account: APP, publish: ">", subscribe: ">", headers: {Session: "{{ credential }}", X-Kind: "{{ request.credential }}"}}]
		}`, dir))
	bucket := sessionBucket(t, s)
	login(t, bucket, "good", alice())
	sub := subscriber(t, s, password("backend"))
	for _, cred := range []harness.Credential{harness.Nobody, token("forged"), harness.Password("admin", "x")} {
		expectStamp(t, mustBrowse(t, s, cookies("other=good", "sid=x"), cred), sub, "Session: good", "X-Kind: cookie")
	}
	expectBrowserRefused(t, s, cookies("sid=good"), token("good"))
	expectBrowserRefused(t, s, cookies("other=bad"), token("good"))
}

// A scoped grant needs signing keys, so the server refuses it without operator mode.
func TestInsideScopedIsRefused(t *testing.T) {
	s := harness.Launch(t, `accounts { APP {} }
		callout { sessions: [{kind: anonymous}], grants: [{account: APP, scoped: true}] }`)
	if s.Exit(t) != 1 || !strings.Contains(s.Text(), "scoped is for signing_keys") {
		t.Errorf("expected the server to refuse scoped without signing_keys; the log has:\n%s", s.Text())
	}
}

// If an upgrade request has more than can be forwarded, it is refused at once, with the reason. A header that is not forwarded
// may be as long as the web server allows.
func TestTooLongToBeForwarded(t *testing.T) {
	s, bucket := startInside(t, "")
	login(t, bucket, "cookie1", alice())
	sub := subscriber(t, s, password("backend"))
	for name, header := range map[string]http.Header{
		"User-Agent":   {"User-Agent": {strings.Repeat("u", 9<<10)}, "Cookie": {"sid=cookie1"}},
		"theme":        {"Cookie": {"sid=cookie1; theme=" + strings.Repeat("t", 9<<10)}},
		"(User-Agent)": {"User-Agent": {strings.Repeat("u", 900<<10)}, "Cookie": {"sid=cookie1"}},
	} {
		mark := s.Mark()
		raw, err := browser(t, s, header)
		if err != nil {
			t.Fatal(err)
		}
		raw.Connect(harness.Nobody)
		mark.WaitLog(t, `refused .*upgrade request: too long to be forwarded: .*`+strings.Trim(name, "()")+`.*at most 8192 bytes`)
	}
	// The credential itself, of which no browser keeps that much.
	mark := s.Mark()
	raw, err := browser(t, s, cookies("sid="+strings.Repeat("s", 900<<10)))
	if err != nil {
		t.Fatal(err)
	}
	raw.Connect(harness.Nobody)
	raw.ExpectClosed()
	if strings.Contains(mark.Text(), "too large") {
		t.Error("the request was too large for the handler, which gave no answer")
	}
	header := cookies("sid=cookie1", "other="+strings.Repeat("o", 100<<10))
	header.Set("X-Other", strings.Repeat("o", 100<<10))
	raw = mustBrowse(t, s, header, harness.Nobody)
	raw.Pub("t.x", "payload")
	if m := sub.Msg(); !strings.Contains(m.Header, "X-User: alice") {
		t.Errorf("expected the header X-User: alice; the message has %q", m.Header)
	}
}

// A forwarded header or cookie with bytes beyond ASCII reaches the grants unchanged. If it is not UTF-8, the connection is
// refused, since the value must not be taken for absent.
func TestForwardedBeyondASCII(t *testing.T) {
	s := harness.Start(t, `accounts { APP { users: [{user: backend, password: backend}] } }
		websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: sid, allowed_origins: ["http://app.test"] }
		callout {
			request { cookies: [city], headers: [X-City] }
			sessions: [{kind: anonymous}]
			grants: [{ account: APP, publish: ["t.>"], subscribe: []
				headers: {Cookie-City: "{{ request.cookies.city ?? 'none' }}", Header-City: "{{ request.headers['X-City'] ?? 'none' }}"} }]
		}`)
	sub := subscriber(t, s, password("backend"))
	raw := mustBrowse(t, s, http.Header{"X-City": {"Zürich"}, "Cookie": {`city={"a": "Zürich"}`}}, harness.Nobody)
	raw.Pub("t.x", "payload")
	if m := sub.Msg(); !strings.Contains(m.Header, "Header-City: Zürich\r\n") || !strings.Contains(m.Header, `Cookie-City: {"a": "Zürich"}`) {
		t.Errorf("expected Zürich in the header and in the cookie; the message has %q", m.Header)
	}
	for name, header := range map[string]http.Header{
		"X-City": {"X-City": {"Z\xfcrich"}}, "city": {"Cookie": {"city=Z\xfcrich"}},
	} {
		mark := s.Mark()
		raw, err := browser(t, s, header)
		if err != nil {
			t.Fatal(err)
		}
		raw.Connect(harness.Nobody)
		mark.WaitLog(t, `refused .*upgrade request: not UTF-8, so that they cannot be forwarded: .*`+name)
	}
}

// A logout closes its connections even while the server is in lame duck mode: the handler inside serves until the end.
func TestLogoutWhileTheServerIsALameDuck(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(insideConf, t.TempDir(), "")+`
		lame_duck_duration: "120s"
		lame_duck_grace_period: "110s"`)
	bucket := sessionBucket(t, s)
	login(t, bucket, "cookie1", alice())
	raw := mustBrowse(t, s, cookies("sid=cookie1"), harness.Nobody)
	s.Signal(t, syscall.SIGUSR2)
	s.WaitLog(t, "Entering lame duck mode")
	if err := bucket.Delete(t.Context(), "cookie1"); err != nil {
		t.Fatal(err)
	}
	raw.ExpectClosed()
}
