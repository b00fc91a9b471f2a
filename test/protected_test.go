package test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// protectedConf: only forwarder has permission for protected names.
const protectedConf = `
	headers { protected: [Session, "X-Auth-*"] }
	authorization { users: [
		{user: plain, password: plain}
		{user: stamped, password: stamped, headers: {Session: real}}
		{user: forwarder, password: forwarder, header_permissions: {publish: {allow: [Session]}}}
	] }
`

// forged has a protected name in two spellings, a name that a protected pattern matches, and a name that is not
// protected.
var forged = []string{"Session: forged", "x_auth.user:forged", "SESSION: again", "Color: blue"}

// expectStripped checks that pub's forged message reaches sub with these lines, and without the protected ones.
func expectStripped(t testing.TB, pub, sub *harness.Raw, lines ...string) {
	t.Helper()
	pub.Hpub("t.x", block(forged...), "payload")
	expectMsg(t, sub, "a forged message", block(lines...))
}

// Protected names are removed from messages of every connection without permission for them.
func TestProtected(t *testing.T) {
	s := harness.Start(t, protectedConf+`websocket { listen: "127.0.0.1:-1", no_tls: true }`)
	sub := subscriber(t, s, password("plain"))
	expectStripped(t, harness.Client(t, s, password("plain")), sub, "Color: blue")
	expectStripped(t, harness.Client(t, s, password("stamped")), sub, "Color: blue", "Session: real")
	expectStripped(t, harness.Client(t, s, password("forwarder")), sub, "Session: forged", "SESSION: again", "Color: blue")
	expectStripped(t, mustBrowse(t, s, http.Header{}, password("plain")), sub, "Color: blue")
	pub := harness.Client(t, s, password("plain"))
	pub.Pub("t.x", "payload")
	expectMsg(t, sub, "a message without a header", "")
	pub.Hpub("t.x", block("session: forged"), "payload")
	expectMsg(t, sub, "a message with nothing else", block()+"NATS/1.0\r\n\r\n")
}

// If names are protected, no connection can publish a block that client libraries read differently.
func TestProtectedRefusesMalformedBlocks(t *testing.T) {
	s := harness.Start(t, protectedConf)
	sub := subscriber(t, s, password("plain"))
	for _, user := range []string{"plain", "forwarder"} {
		pub := harness.Client(t, s, password(user))
		for _, b := range []string{
			"NATS/1.0\r\nA: b\nSession: forged\r\n\r\n",
			"NATS/1.0\r\nA: b\r\n Session: forged\r\n\r\n",
			"NATS/1.0\r\n\r\nSession: forged\r\n\r\n",
			"NATS/1.0\r\nSession : forged\r\n\r\n",
		} {
			pub.Hpub("t.x", b, "payload")
			pub.Expect("-ERR 'Permissions Violation for Publish to \"t.x\": header line")
		}
		pub.Pub("t.x", "payload")
		expectMsg(t, sub, "the connection lives", "")
	}
}

// Protected names are removed from the replies of a service, too.
func TestProtectedServiceReply(t *testing.T) {
	s := harness.Start(t, protectedConf)
	service := s.Connect(t, userInfo("plain"))
	if _, err := service.Subscribe("svc", func(m *nats.Msg) {
		_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Session": {"forged"}, "Color": {"blue"}}})
	}); err != nil {
		t.Fatal(err)
	}
	if err := service.Flush(); err != nil {
		t.Fatal(err)
	}
	m := request(t, s.Connect(t, userInfo("plain")), "svc", "")
	if fmt.Sprint(m.Header) != "map[Color:[blue]]" {
		t.Errorf("expected the service's own header Color: blue; the reply has %v", m.Header)
	}
}

// On a server without authorization, no client has permission for protected names, with
// CONNECT or without.
func TestProtectedWithoutAuthorization(t *testing.T) {
	s := harness.Start(t, `headers { protected: [Session, "X-Auth-*"] }`)
	sub := subscriber(t, s, harness.Nobody)
	expectStripped(t, harness.Client(t, s, harness.Nobody), sub, "Color: blue")
	says := harness.Client(t, s, password("forwarder"))
	expectStripped(t, says, sub, "Color: blue")

	all := harness.Start(t, `headers { all: {Where: "{{server-name()}}"} }, server_name: here`)
	sub = subscriber(t, all, harness.Nobody)
	mute := harness.Dial(t, all)
	mute.Send("PUB t.x 7\r\npayload\r\n")
	expectMsg(t, sub, "of one that has not said CONNECT", block("Where: here"))
}

// Protected names are removed from messages of connections that no_auth_user lets in.
func TestProtectedNoAuthUser(t *testing.T) {
	s := harness.Start(t, protectedConf+"no_auth_user: plain")
	sub := subscriber(t, s, password("plain"))
	expectStripped(t, harness.Client(t, s, harness.Nobody), sub, "Color: blue")
}

// Messages from behind a leafnode have the permissions of the leafnode's user.
func TestProtectedLeafnode(t *testing.T) {
	hub := harness.Start(t, protectedConf+`
		leafnodes { listen: "127.0.0.1:-1", authorization { users: [
			{user: site, password: site}
			{user: trusted_site, password: trusted_site, header_permissions: {publish: {allow: ["*"]}}} ] } }`)
	sub := subscriber(t, hub, password("plain"))
	for user, lines := range map[string][]string{"site": {"Color: blue"}, "trusted_site": forged} {
		spoke := harness.Start(t, fmt.Sprintf(`server_name: %[1]s, leafnodes { remotes: [ {url: "nats://%[1]s:%[1]s@%[2]s"} ] }`, user, hub.Leaf(t)))
		harness.Eventually(t, "the leafnode connection", func() bool { return len(spoke.Leafz(t).Leafs) == 1 })
		pub := harness.Client(t, spoke, harness.Nobody)
		through(t, pub, sub)
		expectStripped(t, pub, sub, lines...)
	}
}

// On the server that made a leafnode connection, the permissions of the remote apply.
func TestProtectedTowardsTheLeafnode(t *testing.T) {
	hub := harness.Start(t, `leafnodes { listen: "127.0.0.1:-1" }`)
	for permissions, lines := range map[string][]string{
		"": {"Color: blue", "Via: hub"},
		", header_permissions: {publish: {allow: [Session]}}": {"Session: forged", "SESSION: again", "Color: blue", "Via: hub"},
	} {
		spoke := harness.Start(t, fmt.Sprintf(`
			headers { protected: [Session, "X-Auth-*"], all: {Where: "{{server-name()}}"} }
			server_name: spoke, leafnodes { remotes: [ {url: "nats://%s" %s} ] }`, hub.Leaf(t), permissions))
		harness.Eventually(t, "the leafnode connection", func() bool { return len(spoke.Leafz(t).Leafs) == 1 })
		sub := subscriber(t, spoke, harness.Nobody)
		pub := harness.Client(t, hub, harness.Nobody)
		through(t, pub, sub)
		pub.Hpub("t.x", block(append(forged, "where: forged", "Via: hub")...), "payload")
		expectMsg(t, sub, "from the hub", block(lines...))
	}
}

// through waits until a message of pub reaches sub, and drops all messages that sub has got.
func through(t *testing.T, pub, sub *harness.Raw) {
	t.Helper()
	n := 0
	harness.Eventually(t, "interest at the other server", func() bool {
		n++
		pub.Pub("t.probe", fmt.Sprint(n))
		pub.Flush()
		return sub.Peek()
	})
	for sub.Msg().Payload != fmt.Sprint(n) {
	}
}

// A protected name that is bound to accounts can be trusted even on messages that were imported.
func TestProtectedAccounts(t *testing.T) {
	s := harness.Start(t, `
		headers { protected: [ {name: "X-User", accounts: [APP]} ] }
		accounts {
			APP {
				users: [ {user: app, password: app, headers: {X-User: ann}}, {user: app_forwarder, password: app_forwarder, header_permissions: {publish: {allow: ["*"]}}} ]
				exports: [ {service: "t.>"} ]
			}
			OTHER {
				users: [
					{user: stamped, password: stamped, headers: {X-User: admin, Own: "1"}}
					{user: permitted, password: permitted, header_permissions: {publish: {allow: ["*"]}}}
				]
				imports: [ {service: {account: APP, subject: "t.>"}} ]
			}
		}`)
	sub := subscriber(t, s, password("app"))
	for user, lines := range map[string][]string{
		"app": {"X-User: ann"}, "app_forwarder": {"X-User: forged"}, "stamped": {"Own: 1"}, "permitted": nil,
	} {
		pub := harness.Client(t, s, password(user))
		pub.Hpub("t.x", block("X-User: forged"), "payload")
		// The server adds a header about the import in front.
		got := slices.DeleteFunc(sub.Msg().Lines(), func(l string) bool { return strings.HasPrefix(l, "Nats-Request-Info:") })
		if !slices.Equal(got, lines) {
			t.Errorf("publisher %s: the header lines are %q, expected %q", user, got, lines)
		}
	}
	s.WaitLog(t, `Headers left out, because headers.protected binds them to other accounts than "OTHER": "X-User"`)
}

// headers.all tells a receiver who published a message, on every kind of connection.
func TestHeadersOfAll(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`
		server_name: here
		headers { all: {IP: "{{client-ip()}}", Who: "{{name()}} in {{account-name()}} over {{connection-type()}} at {{server-name()}}", TLS: "{{tls-subject()}}"} }
		jetstream { store_dir: %q }
		mqtt { listen: "127.0.0.1:-1" }
		websocket { listen: "127.0.0.1:-1", no_tls: true }
		leafnodes { listen: "127.0.0.1:-1" }
		accounts { APP { jetstream: enabled, users: [
			{user: ann, password: ann}, {user: bob, password: bob, headers: {Own: "1"}}, {user: site, password: site} ] } }`, t.TempDir()))
	sub := subscriber(t, s, password("ann"))
	who := func(name, over string) []string {
		return []string{"IP: 127.0.0.1", fmt.Sprintf("Who: %s in APP over %s at here", name, over)}
	}
	expect := func(pub *harness.Raw, lines ...string) {
		t.Helper()
		pub.Hpub("t.x", block("WHO: forged", "tls: forged", "Color: blue"), "payload")
		expectMsg(t, sub, lines[1], block(append([]string{"Color: blue"}, lines...)...))
	}
	expect(harness.Client(t, s, password("ann")), who("ann", "nats")...)
	expect(harness.Client(t, s, password("bob")), append(who("bob", "nats"), "Own: 1")...)
	expect(mustBrowse(t, s, http.Header{}, password("ann")), who("ann", "websocket")...)

	c, _ := device(t, s, "ann")
	wait(t, c.Publish("t/x", 0, false, "payload"))
	m := sub.Msg()
	if got := m.Lines(); len(got) < 2 || strings.Join(got[len(got)-2:], "|") != strings.Join(who("ann", "mqtt"), "|") {
		t.Errorf("expected the headers of ann over MQTT; the message has %q", m.Header)
	}
	spoke := harness.Start(t, fmt.Sprintf(`leafnodes { remotes: [ {url: "nats://site:site@%s"} ] }`, s.Leaf(t)))
	harness.Eventually(t, "the leafnode connection", func() bool { return len(spoke.Leafz(t).Leafs) == 1 })
	pub := harness.Client(t, spoke, harness.Nobody)
	through(t, pub, sub)
	expect(pub, who("site", "leafnode")...)
}

// {{client-ip()}} uses X-Forwarded-For only if it comes from a trusted proxy.
func TestClientIP(t *testing.T) {
	const conf = `
		headers { all: {IP: "{{client-ip()}}"}, trusted_proxies: [%s] }
		websocket { listen: "127.0.0.1:-1", no_tls: true }`
	forwarded := http.Header{"X-Forwarded-For": {"6.6.6.6, 192.0.2.1"}}
	for proxies, want := range map[string]string{`"10.0.0.1"`: "127.0.0.1", `"127.0.0.0/8"`: "192.0.2.1"} {
		s := harness.Start(t, fmt.Sprintf(conf, proxies))
		sub := subscriber(t, s, harness.Nobody)
		pub := mustBrowse(t, s, forwarded, harness.Nobody)
		pub.Pub("t.x", "payload")
		expectMsg(t, sub, "trusted "+proxies, block("IP: "+want))
	}
	s := harness.Start(t, `headers { all: {IP: "{{client-ip()}}"} }, proxy_protocol: true`)
	proxied := func(ip string) *harness.Raw {
		conn, err := net.Dial("tcp", s.Addr(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "PROXY TCP4 %s 127.0.0.1 4000 4222\r\n", ip); err != nil {
			t.Fatal(err)
		}
		return harness.NewRaw(t, conn)
	}
	sub, pub := proxied("192.0.2.1"), proxied("192.0.2.2")
	for _, c := range []*harness.Raw{sub, pub} {
		c.Connect(harness.Nobody)
		c.Flush()
		c.Flush()
	}
	sub.Sub("t.>", "1")
	pub.Pub("t.x", "payload")
	expectMsg(t, sub, "PROXY protocol", block("IP: 192.0.2.2"))
}

// If a client forges a header, operators see it in the counters, in one line of the log and in one event, with names but no
// values.
func TestForgeryIsNews(t *testing.T) {
	s := harness.Start(t, `
		headers { protected: [Session] }
		accounts {
			APP { users: [ {user: plain, password: plain}, {user: stamped, password: stamped, headers: {Role: x}} ] }
			SYS { users: [ {user: sys, password: sys} ] }
		}
		system_account: SYS`)
	events, err := s.Connect(t, userInfo("sys")).SubscribeSync("$SYS.ACCOUNT.*.HEADERS.FORGERY")
	if err != nil {
		t.Fatal(err)
	}
	sys := s.Connect(t, userInfo("sys"))
	if err := sys.Flush(); err != nil {
		t.Fatal(err)
	}
	sub := subscriber(t, s, password("plain"))
	pub := harness.Dial(t, s)
	pub.Connect(func(string) map[string]any {
		return map[string]any{"user": "plain", "pass": "plain", "name": "mallory"}
	})
	pub.Flush()
	pub.Flush()
	for range 20 {
		pub.Hpub("t.x", block("x: y", "session: forged-value"), "payload")
		sub.Msg()
	}
	line := s.WaitLog(t, `\[WRN\].*Header forgery by user "plain" of account "APP": removed headers that this user may not publish: \["session"\]`)
	var e struct {
		Type   string
		Server struct{ Name, ID string }
		Client struct {
			ID                  uint64
			User, Account, Name string
		}
		Headers []string
		Count   int
	}
	m := next(t, events, nil)
	if err := json.Unmarshal(m.Data, &e); err != nil {
		t.Fatal(err)
	}
	if m.Subject != "$SYS.ACCOUNT.APP.HEADERS.FORGERY" || e.Type != "io.stamp.server.advisory.v1.header_forgery" || e.Server.ID == "" ||
		e.Client.ID == 0 || e.Client.User != "plain" || e.Client.Account != "APP" || e.Client.Name != "mallory" ||
		fmt.Sprint(e.Headers) != "[session]" || e.Count != 1 {
		t.Errorf("the event on %s is not that of mallory's attempt: %+v", m.Subject, e)
	}
	if n := strings.Count(s.Text(), "Header forgery"); n != 1 {
		t.Errorf("expected one line in the log about the forgery; found %d", n)
	}
	if strings.Contains(line+string(m.Data), "forged-value") {
		t.Error("the log or the event shows the value")
	}
	// The event names everything that was removed from a message.
	several := harness.Client(t, s, password("plain"))
	several.Hpub("t.x", block("session: x", "Session: y", "SESSION: z"), "payload")
	sub.Msg()
	s.WaitLog(t, `removed headers that this user may not publish: \["session" "Session" "SESSION"\]`)
	// The same for a refused block, from another connection.
	bad := harness.Client(t, s, password("stamped"))
	bad.Hpub("t.x", "NATS/1.0\r\nno colon\r\n\r\n", "")
	bad.Expect("-ERR")
	s.WaitLog(t, `Header forgery by user "stamped" of account "APP": header block refused: header line 2`)
	bad.Pub("t.x", "payload")
	sub.Msg()
	v := varzHeaders(t, s)
	for name, want := range map[string]float64{
		"stripped_lines": 23, "refused_messages": 1, "stamped_messages": 1, "stamped_connections": 1, "stamped_bytes": float64(len(block("Role: x"))),
	} {
		if v[name] != want {
			t.Errorf("%s is %v, want %v", name, v[name], want)
		}
	}
	var names [][]string
	for _, c := range s.Connz(t, "auth=1").Conns {
		if c.AuthorizedUser == "stamped" {
			names = append(names, c.Headers)
		} else if c.Headers != nil {
			t.Errorf("connz shows headers of %s, which is not stamped: %q", c.AuthorizedUser, c.Headers)
		}
	}
	if fmt.Sprint(names) != "[[Role]]" {
		t.Errorf("expected connz to show Role for the stamped connection; found %v", names)
	}
}

// SIGHUP applies a changed block to live connections, without closing them.
func TestHeadersBlockReload(t *testing.T) {
	const users = `
		leafnodes { listen: "127.0.0.1:-1", authorization { users: [ {user: site, password: site} ] } }
		authorization { users: [ {user: plain, password: plain} ] }
		`
	s := harness.Start(t, users)
	spoke := harness.Start(t, fmt.Sprintf(`leafnodes { remotes: [ {url: "nats://site:site@%s"} ] }`, s.Leaf(t)))
	harness.Eventually(t, "the leafnode connection", func() bool { return len(spoke.Leafz(t).Leafs) == 1 })
	sub, pub, leaf := subscriber(t, s, password("plain")), harness.Client(t, s, password("plain")), harness.Client(t, spoke, harness.Nobody)
	through(t, leaf, sub)
	for _, step := range []struct{ conf, want string }{
		{"", block(forged...)},
		{"headers { protected: [Session] }", block("x_auth.user:forged", "Color: blue")},
		{"headers { sealed: [Color] }", block(forged[:3]...)},
		{`headers { all: {Who: "{{name()}}"} }`, block(append(forged, "Who: USER")...)},
		{"headers { check_replies: true }", block(forged...)},
		{"headers { protected: [A, B, C, \"X-*\"] }", block(forged[0], forged[2], forged[3])},
		{"", block(forged...)},
	} {
		s.Reload(t, users+step.conf)
		for user, c := range map[string]*harness.Raw{"plain": pub, "site": leaf} {
			c.Hpub("t.x", block(forged...), "payload")
			expectMsg(t, sub, user+" after "+step.conf, strings.Replace(step.want, "USER", user, 1))
		}
	}
	line := s.TryReload(t, users+"headers { protected: [Session], seald: [A], max_bytes: 0 }")
	if !strings.Contains(line, `unknown field "seald"`) || !strings.Contains(s.Text(), "max_bytes: expected a number") {
		t.Errorf("expected the reload of a bad block to fail with both faults; the server logged %s", line)
	}
	pub.Hpub("t.x", block(forged...), "payload")
	expectMsg(t, sub, "after a bad block", block(forged...))
	for _, c := range s.Connz(t, "state=closed").Conns {
		t.Errorf("the reload closed a connection: %s", c.Reason)
	}
}

// A reload applies a change of the headers block alone, which upstream does not know.
func TestHeadersBlockReloadAlone(t *testing.T) {
	s := harness.Start(t, "headers { sealed: [A] }")
	pub := harness.Client(t, s, harness.Nobody)
	sub := subscriber(t, s, harness.Nobody)
	for _, test := range []struct{ conf, want string }{
		{"headers { sealed: [A] }", block(forged...)},
		{"headers { protected: [Session] }", block("x_auth.user:forged", "Color: blue")},
		{"headers { protected: [Color] }", block(forged[:3]...)},
		{"headers { sealed: [Color] }", block(forged[:3]...)},
	} {
		s.Reload(t, test.conf)
		pub.Hpub("t.x", block(forged...), "payload")
		expectMsg(t, sub, test.conf, test.want)
	}
}
