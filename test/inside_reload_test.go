package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"stamp.example/claim"
	"stamp/test/harness"
)

// application is a session source that counts, and can be made to hang or to fail.
type application struct {
	url    string
	asked  atomic.Int64
	status atomic.Int64 // of the answers; 200 lets everybody in

	mu   sync.Mutex
	hold chan struct{} // not nil: answers wait until it is closed
}

func startApplication(t *testing.T) *application {
	t.Helper()
	app := &application{}
	app.status.Store(http.StatusOK)
	stop := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		app.asked.Add(1)
		app.mu.Lock()
		hold := app.hold
		app.mu.Unlock()
		if hold != nil {
			select {
			case <-hold:
			case <-stop:
			case <-r.Context().Done():
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(app.status.Load()))
		fmt.Fprintf(w, `{"user":%q}`, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}))
	t.Cleanup(func() { close(stop); s.Close() })
	app.url = s.URL
	return app
}

// block holds back all answers until the returned function is called.
func (app *application) block() (release func()) {
	hold := make(chan struct{})
	app.mu.Lock()
	app.hold = hold
	app.mu.Unlock()
	return func() {
		app.mu.Lock()
		app.hold = nil
		app.mu.Unlock()
		close(hold)
	}
}

// liveConf is a server with the handler inside. Its parts can be changed by a reload, one by one.
type liveConf struct {
	url     string
	top     string // fields at the top
	users   string // of APP, beside svc and sys
	svc     string // password of svc
	headers string // fields of the headers block
	grant   string // fields of the grant
	timeout string // of the source
	auth    int    // seconds that an authentication may take
}

func (c liveConf) String() string {
	grant := c.grant
	if grant == "" {
		grant = `publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"}`
	}
	svc := c.svc
	if svc == "" {
		svc = "svc"
	}
	timeout := c.timeout
	if timeout == "" {
		timeout = "60s"
	}
	auth := c.auth
	if auth == 0 {
		auth = 120
	}
	return fmt.Sprintf(`
		server_name: S
		%s
		leafnodes { listen: "127.0.0.1:-1" }
		websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: sid, allowed_origins: ["http://app.test"] }
		headers { %s }
		accounts {
			APP { users: [
				{user: svc, password: %q, header_permissions: {publish: {allow: ["*"]}, subscribe: {allow: ["*"]}}}
				%s
			] }
			OTHER { users: [{user: other, password: other}] }
			SYS { users: [{user: sys, password: sys}] }
		}
		system_account: SYS
		authorization { timeout: %d }
		callout {
			sessions: [{kind: http, url: %q, header: Authorization, scheme: Bearer, cache: 0, negative_cache: 0, timeout: %q}]
			grants: [{account: APP, %s}]
		}`, c.top, c.headers, svc, c.users, auth, c.url, timeout, grant)
}

// live are connections by a callout, which a reload must not disturb.
type live struct {
	t     *testing.T
	s     *harness.Server
	names []string
	conns map[string]*harness.Raw
	cids  map[string]uint64
}

// connectLive opens n connections, each with a credential of its own.
func connectLive(t *testing.T, s *harness.Server, n int) *live {
	t.Helper()
	l := &live{t: t, s: s, conns: map[string]*harness.Raw{}, cids: map[string]uint64{}}
	for i := range n {
		l.add(fmt.Sprintf("live%d", i), token(fmt.Sprintf("live%d", i)))
	}
	return l
}

func (l *live) add(name string, cred harness.Credential) *harness.Raw {
	l.t.Helper()
	l.names = append(l.names, name)
	l.conns[name] = harness.Client(l.t, l.s, named(cred, name))
	l.cids[name] = cid(l.t, l.s, name)
	return l.conns[name]
}

// expectAlive checks that they are the same connections as before.
func (l *live) expectAlive() {
	l.t.Helper()
	now := map[string]uint64{}
	for _, c := range l.s.Connz(l.t, "limit=10000").Conns {
		now[c.Name] = c.Cid
	}
	for _, name := range l.names {
		if now[name] != l.cids[name] {
			l.t.Fatalf("connection %s, id %d, was closed; open are %v", name, l.cids[name], now)
		}
		l.conns[name].Flush()
	}
}

// expectStamps checks the stamp of each connection's next message. %s in a line is its user.
func (l *live) expectStamps(sub *harness.Raw, lines ...string) {
	l.t.Helper()
	for _, name := range l.names {
		expectStamp(l.t, l.conns[name], sub, stampsOf(name, lines)...)
	}
}

// awaitStamps is expectStamps for stamps that come some time after the reload, by renewals.
func (l *live) awaitStamps(sub *harness.Raw, lines ...string) {
	l.t.Helper()
	for _, name := range l.names {
		harness.Eventually(l.t, "the new stamp of "+name, func() bool {
			l.conns[name].Pub("t.await", "payload")
			return slices.Equal(sub.Msg().Lines(), stampsOf(name, lines))
		})
	}
}

func stampsOf(name string, lines []string) (all []string) {
	for _, line := range lines {
		all = append(all, strings.ReplaceAll(line, "%s", name))
	}
	return all
}

// auth_callout is set up automatically, with a list of the configuration's users that the server lets in without a callout. The
// list comes out of a Go map, and its order must not look like a change.
func TestReloadInsideOfAnUnchangedFile(t *testing.T) {
	var accounts strings.Builder
	for a := range 8 {
		fmt.Fprintf(&accounts, "A%d { users: [", a)
		for u := range 3 {
			fmt.Fprintf(&accounts, "{user: u%d%d, password: p}, ", a, u)
		}
		fmt.Fprintf(&accounts, "{nkey: %s}] }\n", harness.Public(t, harness.NewUserKey(t)))
	}
	conf := fmt.Sprintf(`accounts { %s }
		callout { sessions: [{kind: anonymous}], grants: [{account: A0, publish: ">", subscribe: ">"}] }`, accounts.String())
	failed := 0
	const processes, reloads = 4, 6
	for range processes {
		s := harness.Start(t, conf)
		for range reloads {
			if line := s.TryReload(t, conf); strings.Contains(line, "Failed") {
				if failed == 0 {
					t.Errorf("the reload of an unchanged file was refused: %s", line)
				}
				failed++
			}
		}
		s.Stop()
	}
	if failed > 0 {
		t.Errorf("%d of %d reloads of an unchanged file were refused", failed, processes*reloads)
	}
}

// A change of static users does not concern the callout: its connections stay, and its source is not asked.
func TestReloadInsideOfStaticUsers(t *testing.T) {
	const added = "{user: added, password: added}"
	for _, test := range []struct {
		name          string
		before, after func(c *liveConf)
		// Credentials that are let in after the reload, and credentials that are not.
		in, out harness.Credential
	}{
		{"unchanged", func(*liveConf) {}, func(*liveConf) {}, password("svc"), password("nobody")},
		{"a user is added", func(*liveConf) {}, func(c *liveConf) { c.users = added }, password("added"), password("nobody")},
		{"a user is removed", func(c *liveConf) { c.users = added }, func(*liveConf) {}, password("svc"), password("added")},
		{"a password is changed", func(*liveConf) {}, func(c *liveConf) { c.svc = "new" }, harness.Password("svc", "new"), password("svc")},
		{"permissions are changed", func(c *liveConf) { c.users = added }, func(c *liveConf) {
			c.users = `{user: added, password: added, permissions: {publish: "t.>"}}`
		}, password("added"), password("nobody")},
	} {
		t.Run(test.name, func(t *testing.T) {
			app := startApplication(t)
			before, after := liveConf{url: app.url}, liveConf{url: app.url}
			test.before(&before)
			test.after(&after)
			s := harness.Start(t, before.String())
			l := connectLive(t, s, 3)
			asked := app.asked.Load()
			s.Reload(t, after.String())
			l.expectAlive()
			in := harness.Client(t, s, test.in)
			if n := app.asked.Load() - asked; n != 0 {
				t.Errorf("the source was asked %d times, though the callout block is unchanged", n)
			}
			if got := varzHeaders(t, s)["renewals"]; got != 0 {
				t.Errorf("a change of static users renewed %v connections, expected none", got)
			}
			in.Flush()
			expectRefused(t, s, test.out)
			l.expectAlive()
		})
	}
}

// headersWay is a kind of connection that a changed headers block has to reach.
type headersWay struct {
	name string
	// start starts a server whose headers block has these fields. conf makes the configuration
	// for others.
	start func(t *testing.T, fields string) (s *harness.Server, conf func(fields string) string)
	// connect opens the connection.
	connect func(t *testing.T, s *harness.Server) *harness.Raw
	stamp   []string // that it has without the block
}

func headersWays(t *testing.T) []headersWay {
	inside := func(t *testing.T, fields string) (*harness.Server, func(string) string) {
		app := startApplication(t)
		conf := func(fields string) string {
			return liveConf{url: app.url, headers: fields, users: `{user: static, password: static, headers: {X-User: static}}`}.String()
		}
		return harness.Start(t, conf(fields)), conf
	}
	const besideConf = `
		headers { %s }
		leafnodes { listen: "127.0.0.1:-1" }
		accounts {
			AUTH { users: [{user: auth, password: auth}] }
			APP { users: [{user: svc, password: svc, header_permissions: {publish: {allow: ["*"]}, subscribe: {allow: ["*"]}}}] }
		}
		authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, svc] } }`
	beside := func(serve func(t *testing.T, s *harness.Server, issuer harness.Callout)) func(*testing.T, string) (*harness.Server, func(string) string) {
		return func(t *testing.T, fields string) (*harness.Server, func(string) string) {
			issuer := harness.NewAccountKey(t)
			conf := func(fields string) string { return fmt.Sprintf(besideConf, fields, harness.Public(t, issuer)) }
			s := harness.Start(t, conf(fields))
			serve(t, s, harness.Callout{Issuer: issuer})
			return s, conf
		}
	}
	external := beside(func(t *testing.T, s *harness.Server, c harness.Callout) {
		harness.StartCallout(t, fmt.Sprintf(`
			connect { urls: ["nats://%s"], user: auth, password: auth }
			issuer: %s
			sessions: [{kind: users, users: [{user: live, password: %q}]}]
			grants: [{account: APP, publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"}}]`,
			s.Addr(t), harness.Seed(t, c.Issuer), bcryptOf(t, "live")))
	})
	third := beside(func(t *testing.T, s *harness.Server, c harness.Callout) {
		c.Answer = answers("APP", c.Issuer, map[string]*claim.Claim{"live": header("X-User", "live")})
		c.Serve(t, s.Connect(t, userInfo("auth")))
	})
	client := func(cred harness.Credential) func(*testing.T, *harness.Server) *harness.Raw {
		return func(t *testing.T, s *harness.Server) *harness.Raw { return harness.Client(t, s, named(cred, "live")) }
	}
	behind := func(login string) func(*testing.T, *harness.Server) *harness.Raw {
		return func(t *testing.T, s *harness.Server) *harness.Raw {
			spoke := harness.Start(t, fmt.Sprintf(`leafnodes { remotes: [{url: "nats://%s@%s"}] }`, login, s.Leaf(t)))
			harness.Eventually(t, "the leafnode connection", func() bool { return len(s.Leafz(t).Leafs) == 1 })
			return harness.Client(t, spoke, harness.Nobody)
		}
	}
	return []headersWay{
		{"callout inside", inside, client(token("live")), []string{"X-User: live"}},
		{"callout by nats-callout", external, client(password("live")), []string{"X-User: live"}},
		{"callout by a third party", third, client(password("live")), []string{"X-User: live"}},
		{"static user", inside, client(password("static")), []string{"X-User: static"}},
		{"leafnode of a static user", inside, behind("static:static"), []string{"X-User: static"}},
		{"leafnode of a callout by nats-callout", external, behind("live:live"), []string{"X-User: live"}},
		{"leafnode of a callout by a third party", third, behind("live:live"), []string{"X-User: live"}},
	}
}

// A changed headers block applies to the next message of every live connection, and closes no connection.
func TestReloadOfTheHeadersBlockReachesEverybody(t *testing.T) {
	for _, way := range headersWays(t) {
		t.Run(way.name, func(t *testing.T) {
			s, conf := way.start(t, "")
			watcher := subscriber(t, s, password("svc"))
			conn := way.connect(t, s)
			conn.Sub("down.>", "1")
			through(t, conn, watcher)
			harness.Eventually(t, "interest of the connection", func() bool {
				watcher.Pub("down.probe", "")
				watcher.Flush()
				return conn.Peek()
			})
			settle(t, watcher, conn)
			ids := connectionIDs(t, s)
			own := []string{"X-Guarded: forged", "Own: 1"}
			for _, step := range []struct {
				name, fields string
				guarded      bool     // protected takes the client's line off
				hidden       bool     // sealed cuts the line that comes down
				stamps       []string // beside those of the user
				subject      bool     // provenance
			}{
				{"nothing", "debug_nothing", false, false, nil, false},
				{"all", `all: {X-Server: one}`, false, false, []string{"X-Server: one"}, false},
				{"all, another value", `all: {X-Server: two}`, false, false, []string{"X-Server: two"}, false},
				{"protected", `protected: [X-Guarded]`, true, false, nil, false},
				{"sealed", `sealed: [X-Secret]`, false, true, nil, false},
				{"everything", `all: {X-Server: three}, protected: [X-Guarded], sealed: [X-Secret], provenance: true`, true, true, []string{"X-Server: three"}, true},
				{"nothing again", "", false, false, nil, false},
			} {
				if step.fields != "debug_nothing" {
					s.Reload(t, conf(step.fields))
				}
				if now := connectionIDs(t, s); !slices.Equal(now, ids) {
					t.Fatalf("%s: the connections are %v, and were %v before the reload", step.name, now, ids)
				}
				conn.Hpub("t.x", block(own...), "payload")
				m := watcher.Msg()
				got := m.Lines()
				want := slices.Concat(own, way.stamp, step.stamps)
				if step.guarded {
					want = want[1:]
				}
				if step.subject {
					if !slices.Contains(got, "Stamp-Subject: t.x") {
						t.Errorf("%s: provenance is not in the header %q", step.name, got)
					}
					got = slices.DeleteFunc(got, func(l string) bool { return strings.HasPrefix(l, "Stamp-") })
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%s: the next message has %q, expected %q", step.name, got, want)
				}
				watcher.Hpub("down.x", block("X-Secret: s", "Open: o"), "payload")
				wantDown := []string{"X-Secret: s", "Open: o"}
				if step.hidden {
					wantDown = wantDown[1:]
				}
				got = slices.DeleteFunc(conn.Msg().Lines(), func(l string) bool { return strings.HasPrefix(l, "X-Server:") || strings.HasPrefix(l, "Stamp-") })
				if !slices.Equal(got, wantDown) {
					t.Errorf("%s: the connection is delivered %q, expected %q", step.name, got, wantDown)
				}
			}
		})
	}
}

// settle reads the lines that the probes of both sides have left.
func settle(t *testing.T, watcher, conn *harness.Raw) {
	t.Helper()
	watcher.Pub("down.last", "last")
	for conn.Msg().Subject != "down.last" {
	}
	conn.Pub("t.last", "last")
	for watcher.Msg().Subject != "t.last" {
	}
}

// connectionIDs returns the ids of all clients and leafnodes, without those of a handler inside, since a changed callout block
// starts another handler.
func connectionIDs(t *testing.T, s *harness.Server) (ids []uint64) {
	t.Helper()
	for _, c := range s.Connz(t, "auth=1").Conns {
		// A probe has neither name nor user until the server has read its CONNECT.
		if c.Name != "callout handler" && c.Name != "stamp-probe" && c.AuthorizedUser != "" {
			ids = append(ids, c.Cid)
		}
	}
	for _, leaf := range s.Leafz(t).Leafs {
		ids = append(ids, leaf.ID)
	}
	slices.Sort(ids)
	return ids
}

// A changed grant reaches live connections by renewals: its headers, and its permissions.
func TestReloadInsideOfAGrant(t *testing.T) {
	app := startApplication(t)
	conf := liveConf{url: app.url}
	s := harness.Start(t, conf.String())
	sub := subscriber(t, s, password("svc"))
	l := connectLive(t, s, 5)
	l.expectStamps(sub, "X-User: %s")
	asked := app.asked.Load()

	conf.grant = `publish: ">", subscribe: ">", headers: {X-Name: "{{ session.user }}", X-Two: "2"}`
	s.Reload(t, conf.String())
	l.awaitStamps(sub, "X-Name: %s", "X-Two: 2")
	l.expectAlive()
	if n := app.asked.Load() - asked; n != int64(len(l.names)) {
		t.Errorf("the source was asked %d times for %d connections", n, len(l.names))
	}

	for _, name := range l.names {
		l.conns[name].Sub("wide.>", "7")
	}
	conf.grant = `publish: "t.>", subscribe: "narrow.>", headers: {X-Name: "{{ session.user }}", X-Two: "3"}`
	s.Reload(t, conf.String())
	for _, name := range l.names {
		l.conns[name].Expect(`-ERR 'Permissions Violation for Subscription to "wide.>"`)
	}
	l.awaitStamps(sub, "X-Name: %s", "X-Two: 3")
	for _, name := range l.names {
		l.conns[name].Pub("other", "x")
		l.conns[name].Expect("-ERR 'Permissions Violation for Publish to")
	}
	l.expectAlive()
	expectStamp(t, harness.Client(t, s, token("new")), sub, "X-Name: new", "X-Two: 3")
}

// The same for a websocket that logged in by its cookie, and for a leafnode.
func TestReloadInsideOfAGrantOnEveryWay(t *testing.T) {
	app := startApplication(t)
	conf := liveConf{url: app.url}
	s := harness.Start(t, conf.String())
	sub := subscriber(t, s, password("svc"))
	spoke := harness.Start(t, fmt.Sprintf(`leafnodes { remotes: [{url: "nats://leaf@%s"}] }`, s.Leaf(t)))
	harness.Eventually(t, "the leafnode connection", func() bool { return len(s.Leafz(t).Leafs) == 1 })
	ways := map[string]*harness.Raw{
		"page":  mustBrowse(t, s, cookies("sid=page"), harness.Nobody),
		"plain": harness.Client(t, s, token("plain")),
		"leaf":  harness.Client(t, spoke, harness.Nobody),
	}
	for user, conn := range ways {
		through(t, conn, sub)
		expectStamp(t, conn, sub, "X-User: "+user)
	}
	ids := connectionIDs(t, s)
	for n := range 3 {
		conf.grant = fmt.Sprintf(`publish: ">", subscribe: ">", headers: {X-Name: "{{ session.user }}", X-N: "%d"}`, n)
		s.Reload(t, conf.String())
		for user, conn := range ways {
			harness.Eventually(t, fmt.Sprintf("the stamp of change %d on what %s sends", n, user), func() bool {
				conn.Pub("t.await", "payload")
				return slices.Equal(sub.Msg().Lines(), []string{fmt.Sprintf("X-N: %d", n), "X-Name: " + user})
			})
		}
		if now := connectionIDs(t, s); !slices.Equal(now, ids) {
			t.Fatalf("the connections are %v, and were %v before the reload", now, ids)
		}
	}
}

// A callout gets the server's tags. If they change, connections are renewed, and none is closed.
func TestReloadInsideOfServerTags(t *testing.T) {
	app := startApplication(t)
	conf := liveConf{url: app.url, top: "server_tags: [one]"}
	s := harness.Start(t, conf.String())
	sub := subscriber(t, s, password("svc"))
	l := connectLive(t, s, 3)
	asked := app.asked.Load()
	conf.top = "server_tags: [two]"
	s.Reload(t, conf.String())
	harness.Eventually(t, "the source is asked again about each connection", func() bool {
		return app.asked.Load()-asked == int64(len(l.names))
	})
	l.expectAlive()
	l.expectStamps(sub, "X-User: %s")
}

// While the source gives no answer, a reload is done, and no connection is closed.
func TestReloadInsideWhileTheSourceHangs(t *testing.T) {
	app := startApplication(t)
	conf := liveConf{url: app.url}
	s := harness.Start(t, conf.String())
	sub := subscriber(t, s, password("svc"))
	l := connectLive(t, s, 4)
	l.expectStamps(sub, "X-User: %s")
	release := app.block()
	asked := app.asked.Load()
	conf.grant = `publish: ">", subscribe: ">", headers: {X-Name: "{{ session.user }}"}`
	conf.users = "{user: added, password: added}"
	reload := s.BeginReload(t, conf.String())
	harness.Eventually(t, "the source is asked", func() bool { return app.asked.Load() > asked })
	// A static user gets in while the source hangs, and what it publishes goes through.
	static := harness.Client(t, s, harness.Password("other", "other"))
	static.Sub("mine", "1")
	static.Pub("mine", "payload")
	if m := static.Msg(); m.Payload != "payload" {
		t.Errorf("the static user's message is %q", m.Payload)
	}
	reload.EndReload(t) // before the source answers anybody
	harness.Client(t, s, password("added"))
	l.expectAlive()
	l.expectStamps(sub, "X-User: %s")
	release()
	l.awaitStamps(sub, "X-Name: %s")
	l.expectAlive()
}

// While the source fails, a reload is done, and no connection is closed.
func TestReloadInsideWhileTheSourceFails(t *testing.T) {
	app := startApplication(t)
	// If the handler cannot judge a renewal, the renewal ends when the server stops waiting, a second after the source's
	// time-out.
	conf := liveConf{url: app.url, auth: 2, timeout: "1s"}
	s := harness.Start(t, conf.String())
	sub := subscriber(t, s, password("svc"))
	l := connectLive(t, s, 4)
	app.status.Store(http.StatusServiceUnavailable)
	asked := app.asked.Load()
	conf.grant = `publish: ">", subscribe: ">", headers: {X-Name: "{{ session.user }}"}`
	s.Reload(t, conf.String())
	harness.Eventually(t, "the source is asked about each connection", func() bool {
		return app.asked.Load()-asked >= int64(len(l.names))
	})
	l.expectAlive()
	l.expectStamps(sub, "X-User: %s")
	app.status.Store(http.StatusOK)
	for _, name := range l.names { // nobody has to wait for the server's next attempt
		request(t, s.Connect(t, userInfo("sys")), "$SYS.REQ.SERVER."+s.ID(t)+".RENEW", fmt.Sprintf(`{"cid":%d}`, l.cids[name]))
	}
	l.awaitStamps(sub, "X-Name: %s")
	l.expectAlive()
}

// A reload adds a static user whose name a live callout connection logged in with. From then on the configuration decides about
// that name: the connection has to show the user's password.
func TestReloadInsideTakesANameFromTheCallout(t *testing.T) {
	hash := bcryptOf(t, "open")
	conf := func(users string) string {
		return fmt.Sprintf(`
			accounts { APP { users: [{user: svc, password: svc}, %s] } }
			callout {
				sessions: [{kind: users, users: [{user: alice, password: %q}, {user: bob, password: %q}]}, {kind: anonymous, data: {user: alice}}]
				grants: [{account: APP, user: "{{ session.user }}", publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"}}]
			}`, users, hash, hash)
	}
	s := harness.Start(t, conf(""))
	sub := subscriber(t, s, password("svc"))
	taken := harness.Client(t, s, harness.Password("alice", "open"))
	l := &live{t: t, s: s, conns: map[string]*harness.Raw{}, cids: map[string]uint64{}}
	l.add("bob", harness.Password("bob", "open"))
	// The name in an answer is not a credential: this connection still belongs to the callout.
	guest := l.add("guest", nobody)
	s.Reload(t, conf("{user: alice, password: another}"))
	taken.ExpectClosed()
	l.expectAlive()
	expectStamp(t, guest, sub, "X-User: alice")
	expectRefused(t, s, harness.Password("alice", "open"))
	expectStamp(t, harness.Client(t, s, harness.Password("alice", "another")), sub)
}

// bcryptOf is the cheapest hash of a password.
func bcryptOf(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}
