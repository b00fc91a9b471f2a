package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// limitedClient is a client that may get an error about a limit at once, for instance because it may have no subscriptions.
func limitedClient(t *testing.T, s *harness.Server, cred harness.Credential) *harness.Raw {
	t.Helper()
	c := harness.Dial(t, s)
	c.Connect(cred)
	subscriptionsRefused(t, c)
	subscriptionsRefused(t, c)
	return c
}

// subscriptionsRefused returns how many subscriptions the server has refused until it answers a PING, and fails if it has
// refused anything else.
func subscriptionsRefused(t *testing.T, c *harness.Raw) int {
	t.Helper()
	lines := untilPong(t, c)
	for _, line := range lines {
		if !strings.Contains(line, "maximum subscriptions exceeded") {
			t.Fatalf("expected a limit of subscriptions or PONG; the server sent %q", line)
		}
	}
	return len(lines)
}

// stampRoom is more than the stamps of these tests take of max_payload.
const stampRoom = 200

// expectLimits checks how many subscriptions a new connection may have, and how large its messages may be. -1 stands for the
// server's own limit.
func expectLimits(t *testing.T, c *harness.Raw, subs, payload int) {
	t.Helper()
	const many, large = 60, 200_000 // below the server's own limits
	want := many
	if subs >= 0 {
		want = subs
	}
	for sid := range many {
		c.Send("SUB limits.%d %d\r\n", sid, sid+100)
	}
	// A connection that may have no subscriptions gets that error once more, at some time after its authentication.
	if got := max(0, many-subscriptionsRefused(t, c)); got != want {
		t.Errorf("%d of %d subscriptions are made, expected %d", got, many, want)
	}
	size := large
	if payload >= 0 {
		size = max(0, payload-stampRoom)
	}
	c.Pub("other.x", strings.Repeat("x", size))
	if late := subscriptionsRefused(t, c); late > 0 && subs != 0 {
		t.Errorf("%d subscriptions were refused where nothing subscribed", late)
	}
	if payload >= 0 {
		c.Pub("other.x", strings.Repeat("x", payload+1))
		c.Expect("-ERR 'Maximum Payload Violation'")
	}
}

// limitsCases are grants, and the limits that their connections have.
var limitsCases = []struct {
	name, limits  string
	subs, payload int
}{
	{"none", "", -1, -1},
	{"said to be none", "limits {subscriptions: -1, payload: -1, data: -1}", -1, -1},
	{"subscriptions", "limits {subscriptions: 3}", 3, -1},
	{"payload", "limits {payload: 2000}", -1, 2000},
	{"both", "limits {subscriptions: 1, payload: 1000, data: 100}", 1, 1000},
}

// From 2.15.3 on, a limit of 0 in a user JWT allows nothing. Our handler has to write -1 if a grant sets no limit.
func TestLimitsOfGrants(t *testing.T) {
	for _, test := range limitsCases {
		grant := `grants: [{account: APP, publish: ">", subscribe: ">", headers: {N: "1"}, ` + test.limits + `}]`
		t.Run("inside, "+test.name, func(t *testing.T) {
			s := harness.Start(t, `accounts { APP { users: [{user: svc, password: svc}] } }
				callout { sessions: [{kind: anonymous}], `+grant+` }`)
			expectLimits(t, limitedClient(t, s, harness.Nobody), test.subs, test.payload)
		})
		t.Run("nats-callout, "+test.name, func(t *testing.T) {
			issuer := harness.NewAccountKey(t)
			s := harness.Start(t, fmt.Sprintf(calloutConf, harness.Public(t, issuer), ""))
			harness.StartCallout(t, fmt.Sprintf(`connect { urls: ["nats://%s"], user: auth, password: auth }
				issuer: %s
				sessions: [{kind: anonymous}]
				%s`, s.Addr(t), harness.Seed(t, issuer), grant))
			expectLimits(t, limitedClient(t, s, harness.Nobody), test.subs, test.payload)
		})
		t.Run("stock server, "+test.name, func(t *testing.T) {
			issuer := harness.NewAccountKey(t)
			s := harness.StartStock(t, fmt.Sprintf(`
				accounts { AUTH { users: [{user: auth, password: auth}] }, APP {} }
				authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth] } }`, harness.Public(t, issuer)))
			harness.StartCallout(t, fmt.Sprintf(`connect { urls: ["nats://%s"], user: auth, password: auth }
				issuer: %s
				sessions: [{kind: anonymous}]
				%s`, s.Addr(t), harness.Seed(t, issuer), grant))
			expectLimits(t, limitedClient(t, s, harness.Nobody), test.subs, test.payload)
		})
	}
}

// In operator mode the handler signs with a key of the account, or with a scoped key. With a scope, the limits are those of the
// scope's template, and the user JWT must have none of its own.
func TestLimitsOfGrantsInOperatorMode(t *testing.T) {
	for name, test := range map[string]struct {
		grant         string
		template      jwt.NatsLimits
		subs, payload int
	}{
		"not scoped, none":          {`publish: ">", subscribe: ">"`, jwt.NatsLimits{}, -1, -1},
		"not scoped, subscriptions": {`publish: ">", subscribe: ">", limits {subscriptions: 2}`, jwt.NatsLimits{}, 2, -1},
		"scoped, none":              {`scoped: true`, jwt.NatsLimits{Subs: -1, Data: -1, Payload: -1}, -1, -1},
		"scoped, both":              {`scoped: true`, jwt.NatsLimits{Subs: 2, Data: -1, Payload: 1500}, 2, 1500},
	} {
		t.Run(name, func(t *testing.T) {
			o := newCalloutOperator(t, nil)
			key := o.app.SigningKey(t)
			if strings.HasPrefix(name, "scoped") {
				key = o.app.ScopedKey(t, nil)
				scope, _ := o.app.Claims.SigningKeys.GetScope(harness.Public(t, key))
				template := scope.(*jwt.UserScope)
				template.Template.NatsLimits = test.template
				o.app.Claims.SigningKeys.AddScopedSigner(template)
			}
			s := harness.Start(t, o.Conf(t))
			seed := filepath.Join(t.TempDir(), "app.nk")
			if err := os.WriteFile(seed, []byte(harness.Seed(t, key)), 0o600); err != nil {
				t.Fatal(err)
			}
			h := fmt.Sprintf(`
				connect { urls: ["nats://%s"], creds: %q }
				issuer: %s
				signing_keys { APP: {account: %s, seed_file: %q} }
				sessions: [{kind: jwt, issuers: [%s]}]
				grants: [{account: APP, %s}]`,
				s.Addr(t), o.service.Creds(t), harness.Seed(t, o.auth.Key), o.app.ID(), seed, o.auth.ID(), test.grant)
			harness.StartCallout(t, h)
			visitor := o.auth.User(t, "visitor", nil)
			expectLimits(t, limitedClient(t, s, visitor.Credential), test.subs, test.payload)
		})
	}
}

// The limits in the user JWT of another handler apply as they do at stock, at first and after a renewal: 0 allows nothing.
func TestLimitsOfAnotherHandler(t *testing.T) {
	unlimited := jwt.NatsLimits{Subs: -1, Data: -1, Payload: -1}
	few := jwt.NatsLimits{Subs: 1, Data: -1, Payload: 500}
	// start starts a server whose callout gives those limits, and others after the first time.
	start := func(t *testing.T, start func(testing.TB, string, ...string) *harness.Server, first, later jwt.NatsLimits) *service {
		t.Helper()
		issuer := harness.NewAccountKey(t)
		v := &service{counts: map[uint64]int{}}
		v.Server = start(t, fmt.Sprintf(`
			accounts {
				AUTH { users: [{user: auth, password: auth}] }
				APP {}
				SYS { users: [{user: sys, password: sys}] }
			}
			system_account: SYS
			authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, sys] } }`, harness.Public(t, issuer)))
		v.set(func(a asked, uc *jwt.UserClaims) error {
			if uc.NatsLimits = first; a.number > 1 {
				uc.NatsLimits = later
			}
			return nil
		})
		callout := harness.Callout{Issuer: issuer, Answer: v.answer("APP", issuer)}
		callout.Serve(t, v.Connect(t, userInfo("auth")))
		return v
	}
	renew := func(t *testing.T, v *service) {
		t.Helper()
		ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, "alice")})
		harness.Eventually(t, "the renewal", func() bool {
			got := varzHeaders(t, v.Server)
			return got["renewals"]+got["refused_renewals"] == 1
		})
	}
	alice := named(password("alice"), "alice")
	for _, test := range []struct {
		name          string
		limits        jwt.NatsLimits
		subs, payload int
	}{
		{"unlimited", unlimited, -1, -1},
		{"some", jwt.NatsLimits{Subs: 4, Data: -1, Payload: 3000}, 4, 3000},
		{"no subscriptions", jwt.NatsLimits{Subs: 0, Data: -1, Payload: -1}, 0, -1},
	} {
		for name, starts := range map[string]func(testing.TB, string, ...string) *harness.Server{"stock": harness.StartStock, "ours": harness.Start} {
			t.Run(test.name+", "+name, func(t *testing.T) {
				v := start(t, starts, test.limits, test.limits)
				expectLimits(t, limitedClient(t, v.Server, alice), test.subs, test.payload)
			})
		}
		for name, before := range map[string]jwt.NatsLimits{"unlimited": unlimited, "limited": few} {
			t.Run(test.name+", by a renewal of who was "+name, func(t *testing.T) {
				v := start(t, harness.Start, before, test.limits)
				c := limitedClient(t, v.Server, alice)
				renew(t, v)
				untilPong(t, c)
				expectLimits(t, c, test.subs, test.payload)
			})
		}
	}
	none := jwt.NatsLimits{Subs: -1, Data: -1, Payload: 0}
	t.Run("no payload, stock", func(t *testing.T) {
		v := start(t, harness.StartStock, none, none)
		expectLimits(t, limitedClient(t, v.Server, alice), -1, 0)
	})
	t.Run("no payload", func(t *testing.T) { // there is no room for the stamp
		v := start(t, harness.Start, none, none)
		expectRefused(t, v.Server, alice)
		v.WaitLog(t, "no room in a max_payload of 0")
	})
	t.Run("no payload, by a renewal", func(t *testing.T) {
		v := start(t, harness.Start, unlimited, none)
		c := limitedClient(t, v.Server, alice)
		renew(t, v)
		// The renewal, or the connection's first message, closes the connection, as a login would.
		c.Send("PUB other.x 1\r\nx\r\nPING\r\n")
		for {
			line, err := c.Line()
			if err != nil {
				return
			}
			if line == "PONG" {
				t.Fatal("the server takes a message of 1 byte")
			}
		}
	})
}

// Secrets of the connections in the next test. Each may only go where it is meant to.
const (
	tagCredential = planted + "-credential"
	tagPassword   = planted + "-password"
	tagSession    = planted + "-content"
	tagForwarded  = planted + "-forwarded"
	tagUser       = "nobody"
)

// Upstream shows the tags of a callout's answer in connz and in events. Our handler's tags name
// the session; they must not give away the credential, what the session holds, or what the
// server has told the handler of the websocket's request.
func TestTagsOfTheHandlerHoldNoSecrets(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if !strings.Contains(r.Header.Get("Cookie"), "http-"+tagCredential) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"secret":%q}`, tagSession)
	}))
	defer app.Close()
	hash := bcryptOf(t, tagPassword)
	nkey, issuer := harness.NewUserKey(t), harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(`
		jetstream { store_dir: %q }
		accounts {
			APP { jetstream: enabled, users: [{user: backend, password: backend}] }
			SYS { users: [{user: sys, password: sys}] }
		}
		system_account: SYS
		websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: sid, allowed_origins: ["http://app.test"] }
		callout {
			request { cookies: [theme], headers: [User-Agent] }
			sessions: [
				{kind: kv, bucket: sessions, account: APP}
				{kind: http, url: %q, cookie_name: sid, forward { cookies: [theme], headers: [User-Agent] }}
				{kind: users, users: [{user: nobody, password: %q, secret: %q}]}
				{kind: nkey, users: [{nkey: %s, secret: %q}]}
				{kind: jwt, issuers: [%s]}
				{kind: anonymous, data: {secret: %q}}
			]
			grants: [{account: APP, user: %q, tags: ["Team:Red"], publish: ">", subscribe: ">", headers: {Session: "{{ session.secret ?? 'none' }}"}}]
		}`, t.TempDir(), app.URL, hash, tagSession, harness.Public(t, nkey), tagSession, harness.Public(t, issuer), tagSession, tagUser))
	sys := s.Connect(t, userInfo("sys"))
	events := listen(t, sys)
	login(t, sessionBucket(t, s), "kv-"+tagCredential, map[string]any{"secret": tagSession})
	upgrade := func(id string) http.Header {
		h := cookies("sid="+id, "theme="+tagForwarded)
		h.Set("User-Agent", tagForwarded)
		return h
	}
	account := &harness.Account{Key: issuer}
	conns := map[string]*harness.Raw{
		"kv, a cookie":   mustBrowse(t, s, upgrade("kv-"+tagCredential), named(nobody, "kv cookie")),
		"kv, a token":    harness.Client(t, s, named(token("kv-"+tagCredential), "kv token")),
		"http, a cookie": mustBrowse(t, s, upgrade("http-"+tagCredential), named(nobody, "http cookie")),
		"http, a token":  harness.Client(t, s, named(token("http-"+tagCredential), "http token")),
		"users":          harness.Client(t, s, named(harness.Password(tagUser, tagPassword), "users")),
		"nkey":           harness.Client(t, s, named(harness.NkeyCredential(nkey), "nkey")),
		"jwt":            harness.Client(t, s, named(account.UserOf(t, "mail").Credential, "jwt")),
		"anonymous":      harness.Client(t, s, named(nobody, "anonymous")),
	}
	renewedBefore := varzHeaders(t, s)["renewals"]
	if n := ask(t, s, forwarded.Renew{User: tagUser}); n != len(conns) {
		t.Fatalf("the request to renew concerned %d connections, expected %d", n, len(conns))
	}
	harness.Eventually(t, "the renewals", func() bool { return int(varzHeaders(t, s)["renewals"]-renewedBefore) == len(conns) })
	shown := map[string]string{
		"connz":              string(s.Get(t, "/connz?auth=1")),
		"connz by a request": string(pingConnz(t, sys)),
		"varz":               string(s.Get(t, "/varz")),
		"accountz":           string(s.Get(t, "/accountz?acc=APP")),
	}
	for _, c := range s.Connz(t, "auth=1").Conns {
		if c.AuthorizedUser == tagUser || c.Tags != nil {
			t.Logf("%s: tags %q", c.Name, c.Tags)
		}
		if c.Name == "" {
			continue
		}
		for _, tag := range c.Tags {
			if !strings.HasPrefix(tag, "stamp-session:") && tag != "team:red" && forwarded.RevisionOf([]string{tag}) == (forwarded.Revision{}) {
				t.Errorf("connection %s has the unexpected tag %q", c.Name, tag)
			}
		}
	}
	for _, c := range conns {
		c.Close()
	}
	harness.Eventually(t, "the events of all ends", func() bool {
		return strings.Count(events.text(), ".DISCONNECT ") >= len(conns)
	})
	shown["connz of closed connections"] = string(s.Get(t, "/connz?auth=1&state=closed"))
	shown["events"] = events.text()
	shown["the log"] = s.Text()
	for where, text := range shown {
		if leaks(text) {
			t.Errorf("a secret can be seen in %s", where)
		}
		for _, secret := range []string{tagCredential, tagPassword, tagSession, tagForwarded, hash, "stamp-request:"} {
			if exposes(text, secret) {
				t.Errorf("the secret %q can be seen in %s", secret, where)
			}
		}
	}
	if !strings.Contains(shown["connz"], "stamp-session:") || !strings.Contains(shown["events"], "stamp-session:") {
		t.Error("no tag is shown, so that this test shows nothing")
	}
}

func nobody(string) map[string]any { return map[string]any{} }

// pingConnz is what a system user gets to see of the connections.
func pingConnz(t *testing.T, sys *nats.Conn) []byte {
	t.Helper()
	m, err := sys.Request("$SYS.REQ.SERVER.PING.CONNZ", []byte(`{"auth":true}`), harness.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	return m.Data
}
