package test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/stamptest"

	"stamp/test/harness"
	"stamp/test/proven"
)

// place says to which servers the stamped publisher, the forger and the readers are connected.
type place struct {
	pub, forge, read *harness.Server
	replicas         int // of streams; 0: there are no streams
}

// topologies are the rows of a table in docs/conformance.md, which says what holds in each.
var topologies = map[string]func(servers) place{
	"one server":                                     oneServer,
	"route":                                          func(t servers) place { return pair(t, routed, "ours", "ours") },
	"route, the forger on a stock server":            func(t servers) place { return withThird(t, routed) },
	"route, the readers on a stock server":           func(t servers) place { return pair(t, routed, "ours", "stock") },
	"gateway":                                        func(t servers) place { return pair(t, gatewayed, "ours", "ours") },
	"gateway, the forger in a stock cluster":         func(t servers) place { return withThird(t, gatewayed) },
	"gateway, the readers in a stock cluster":        func(t servers) place { return pair(t, gatewayed, "ours", "stock") },
	"hub to leafnode, permitted":                     func(t servers) place { return toLeaf(t, "open") },
	"hub to leafnode":                                func(t servers) place { return toLeaf(t, "site") },
	"leafnode to hub, permitted":                     func(t servers) place { return fromLeaf(t, "open") },
	"leafnode to hub":                                func(t servers) place { return fromLeaf(t, "site") },
	"leafnode to leafnode by a stock hub, permitted": func(t servers) place { return byHub(t, "stock", "open", 0) },
	"leafnode to leafnode by a stock hub":            func(t servers) place { return byHub(t, "stock", "site", 0) },
	"streams of the hub, permitted":                  func(t servers) place { return byHub(t, "ours", "open", 1) },
	"streams of a stock hub, permitted":              func(t servers) place { return byHub(t, "stock", "open", 1) },
	"JetStream cluster":                              func(t servers) place { return cluster(t, "ours") },
	"JetStream cluster with a stock server":          func(t servers) place { return cluster(t, "stock") },
}

// servers are started with the same headers block.
type servers struct {
	*testing.T
	headers string // further fields of the block of a Stamp server
}

// start runs a Stamp server or a stock server, with the same accounts, users and imports.
func start(t servers, kind, name, more string) *harness.Server {
	t.Helper()
	stamp, trust, link := `headers: {Session: "top-secret", X-User: pub}`, `header_permissions: {subscribe: {allow: [Session]}}`,
		`header_permissions: {publish: {allow: ["*"]}, subscribe: {allow: ["*"]}}`
	block := "headers { sealed: [Session], protected: [Session, X-User]\n" + t.headers + "}"
	run, enabled := harness.Start, ""
	if strings.Contains(more, "jetstream") {
		enabled = "jetstream: enabled"
	}
	if kind == "stock" {
		stamp, trust, link, block, run = "", "", "", "", harness.StartStock
	}
	return run(t.T, fmt.Sprintf(`
		server_name: %[1]s
		%[2]s
		accounts {
			APP {
				%[8]s
				mappings { "m.a": "t.mapped" }
				users: [ {user: pub, password: pub, %[3]s}, {user: trusted, password: trusted, %[4]s}
					{user: reader, password: reader}, {user: forger, password: forger} ]
				exports: [ {stream: "t.>"}, {service: "svc.>"} ]
				imports: [ {service: {account: SVC, subject: "far.>"}} ]
			}
			SVC {
				users: [ {user: svc_trusted, password: svc_trusted, %[4]s}, {user: svc_reader, password: svc_reader} ]
				exports: [ {service: "far.>"} ]
				imports: [ {stream: {account: APP, subject: "t.>"}, prefix: from} ]
			}
			SYS { users: [ {user: sys, password: sys} ] }
		}
		system_account: SYS
		leafnodes { listen: "127.0.0.1:-1", authorization { users: [
			{user: site, password: site, account: APP}, {user: open, password: open, account: APP, %[5]s} ] } %[7]s }
		%[6]s`, name, block, stamp, trust, link, more, remotes(kind, more), enabled))
}

// remotes returns the leafnode remote of a configuration. more names its user and address in a comment, "# remote USER ADDRESS".
func remotes(kind, more string) string {
	_, line, ok := strings.Cut(more, "# remote ")
	if !ok {
		return ""
	}
	f := strings.Fields(line)
	permissions := ""
	if f[0] == "open" && kind == "ours" {
		permissions = `, header_permissions: {publish: {allow: ["*"]}, subscribe: {allow: ["*"]}}`
	}
	return fmt.Sprintf(`, remotes: [ {url: "nats://%[1]s:%[1]s@%[2]s", account: APP %[3]s} ]`, f[0], f[1], permissions)
}

func jetStream(t *testing.T) string {
	return fmt.Sprintf("jetstream { store_dir: %q }\n", t.TempDir())
}

func oneServer(t servers) place {
	s := start(t, "ours", "A", jetStream(t.T))
	return place{s, s, s, 1}
}

// routed and gatewayed start a server that joins other. It is the first one if other is nil.
func routed(t servers, kind, name string, first *harness.Server) *harness.Server {
	routes := ""
	if first != nil {
		routes = fmt.Sprintf(", routes: [\"nats://%s\"]", first.Route(t.T))
	}
	return start(t, kind, name, fmt.Sprintf(`cluster { name: C, listen: "127.0.0.1:-1" %s }`, routes))
}

func gatewayed(t servers, kind, name string, first *harness.Server) *harness.Server {
	gateways := ""
	if first != nil {
		gateways = fmt.Sprintf(", gateways: [ {name: A, urls: [\"nats://%s\"]} ]", first.Gateway(t.T))
	}
	return start(t, kind, name, fmt.Sprintf(`gateway { name: %s, listen: "127.0.0.1:-1" %s }`, name, gateways))
}

type join func(t servers, kind, name string, first *harness.Server) *harness.Server

// pair has the forger on the publisher's server.
func pair(t servers, j join, kinds ...string) place {
	a := j(t, kinds[0], "A", nil)
	return place{a, a, j(t, kinds[1], "B", a), 0}
}

// withThird has the forger on a stock server, in a cluster with two Stamp servers.
func withThird(t servers, j join) place {
	a := j(t, "ours", "A", nil)
	return place{a, j(t, "stock", "M", a), j(t, "ours", "B", a), 0}
}

func leaf(t servers, kind, name, user string, hub *harness.Server) *harness.Server {
	return start(t, kind, name, fmt.Sprintf("# remote %s %s\ndefault_js_domain: {APP: hub}\n", user, hub.Leaf(t.T)))
}

func toLeaf(t servers, user string) place {
	hub := start(t, "ours", "hub", "")
	return place{hub, hub, leaf(t, "ours", "leaf", user, hub), 0}
}

func fromLeaf(t servers, user string) place {
	hub := start(t, "ours", "hub", "")
	l := leaf(t, "ours", "leaf", user, hub)
	return place{l, l, hub, 0}
}

// byHub has the forger at the hub.
func byHub(t servers, kind, user string, replicas int) place {
	more := ""
	if replicas > 0 {
		more = strings.Replace(jetStream(t.T), "{", "{ domain: hub,", 1)
	}
	hub := start(t, kind, "hub", more)
	return place{leaf(t, "ours", "one", user, hub), hub, leaf(t, "ours", "two", user, hub), replicas}
}

// cluster has three servers. The last is of the given kind, and the forger is there.
func cluster(t servers, kind string) place {
	var at []string
	for range 3 {
		at = append(at, harness.FreeAddr(t.T))
	}
	var servers []*harness.Server
	for i, k := range []string{"ours", "ours", kind} {
		servers = append(servers, start(t, k, string(rune('A'+i)), jetStream(t.T)+
			fmt.Sprintf("cluster { name: C, listen: %q, routes: [\"nats://%s\"] }", at[i], strings.Join(at, "\", \"nats://"))))
	}
	return place{servers[0], servers[2], servers[1], 3}
}

// coreWays are the ways in which messages are delivered without being stored.
func coreWays(t *testing.T, p place) []way {
	asked := p.pub.Connect(t, userInfo("pub"))
	_, err := asked.Subscribe("t.ask", func(m *nats.Msg) { _ = m.RespondMsg(colored("")) })
	if err == nil {
		err = asked.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return []way{
		{"core", subscribing("t.core", sub("t.core"))},
		{"queue group", subscribing("t.queue", func(nc *nats.Conn) (*nats.Subscription, error) { return nc.QueueSubscribeSync("t.queue", "q") })},
		{"subject mapping", subscribing("m.a", sub("t.mapped"))},
		{"reply", func(t *testing.T, nc *nats.Conn, _ func(string)) *nats.Msg {
			var answer *nats.Msg
			harness.Eventually(t, "an answer", func() (ok bool) {
				var err error
				answer, err = nc.Request("t.ask", nil, time.Second)
				return err == nil
			})
			return answer
		}},
		{"svc stream import", subscribing("t.import", sub("from.t.import"))},
		{"svc service import", subscribing("far.a", sub("far.a"))},
	}
}

// In each topology of docs/conformance.md, a header arrives, is sealed and can be forged exactly as the table says.
func TestTopologies(t *testing.T) {
	keys, file := proofKeys(t)
	proofs := fmt.Sprintf("proof { key_file: %q, receivers: {\"*\": %q}, encrypt: [Session] }\n", file, keys.Receiver)
	holds := documented(t)
	for name, build := range topologies {
		row, ok := holds[name]
		if !ok {
			t.Errorf("docs/conformance.md says nothing of %q", name)
		}
		delete(holds, name)
		t.Run(name, func(t *testing.T) { row.check(t, build(servers{t, ""})) })
		t.Run(name+", with proofs", func(t *testing.T) { row.checkProven(t, build(servers{t, proofs}), keys) })
	}
	for name := range holds {
		t.Errorf("docs/conformance.md has a row %q, which is not tested", name)
	}
}

// row is a row of the table: what holds in a topology. In each topology, proofs hold too: no forgery is accepted, and nobody
// without permission can read what is encrypted.
type row struct{ arrives, forged, sealed bool }

// documented reads the table.
func documented(t *testing.T) map[string]row {
	t.Helper()
	text, err := os.ReadFile("../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	_, rest, _ := strings.Cut(string(text), "\n| servers |")
	for _, line := range strings.Split(rest, "\n")[2:] {
		f := strings.Split(line, "|")
		if len(f) != 8 {
			break
		}
		says := func(i int, yes, no string) bool {
			if s := strings.TrimSpace(f[i]); s != yes && s != no {
				t.Errorf("row %q of docs/conformance.md: %q is neither %q nor %q", f[1], s, yes, no)
			}
			return strings.TrimSpace(f[i]) == yes
		}
		if strings.TrimSpace(f[5]) != "is refused" || strings.TrimSpace(f[6]) != "unreadable" {
			t.Errorf("row %q of docs/conformance.md says %q and %q of proofs", f[1], f[5], f[6])
		}
		rows[strings.TrimSpace(f[1])] = row{says(2, "arrives", "is taken off"), says(3, "**arrives**", "is taken off"), says(4, "sealed", "**readable**")}
	}
	return rows
}

func (r row) check(t *testing.T, p place) {
	r.eachWay(t, p, func(t *testing.T, user string, m *nats.Msg) {
		expectSeen(t, m, !r.arrives || user == "reader" && r.sealed)
	})
	t.Run("forged", func(t *testing.T) {
		forge := repeatedly(t, p.forge.Connect(t, userInfo("forger")), nats.Header{"Session": {"forged"}})
		m := subscribing("t.forged", sub("t.forged"))(t, p.read.Connect(t, userInfo("trusted")), forge)
		if got := m.Header.Get("Session"); (got == "forged") != r.forged || got != "" && got != "forged" {
			t.Errorf("expected the forged header to arrive: %t; found %q", r.forged, got)
		}
	})
}

// eachWay reads a message of pub on each way, as a user with permission for the header and as one without.
func (r row) eachWay(t *testing.T, p place, check func(t *testing.T, user string, m *nats.Msg)) {
	publish := repeatedly(t, p.pub.Connect(t, userInfo("pub")), nil)
	ways := coreWays(t, p)
	if p.replicas > 0 {
		storeIn(t, p.pub, p.replicas)
		ways = append(ways, storedWays...)
	}
	for _, w := range ways {
		prefix := ""
		if strings.HasPrefix(w.name, "svc ") {
			prefix = "svc_"
		}
		for _, user := range []string{"trusted", "reader"} {
			t.Run(w.name+", "+user, func(t *testing.T) {
				check(t, user, w.read(t, p.read.Connect(t, userInfo(prefix+user)), publish))
			})
		}
	}
}

// checkProven checks the same with proofs.
func (r row) checkProven(t *testing.T, p place, keys *proven.Keys) {
	r.eachWay(t, p, func(t *testing.T, user string, m *nats.Msg) {
		for name, values := range m.Header {
			if strings.Contains(strings.Join(values, ""), "top-secret") {
				t.Errorf("the value of %s can be read without the key", name)
			}
		}
		id, err := stamp.Identify(stamp.Message{Header: m.Header, Payload: m.Data}, trustOf(t, keys, ">"))
		readable := r.arrives && (user == "trusted" || !r.sealed) // a receiver has the key, whatever it may subscribe to
		if (err == nil) != readable || err == nil && (id.User != "pub" || id.Value("Session") != "top-secret" || !id.Proven) {
			t.Errorf("expected a proof that the receiver can read: %t; found user %q, error %v", readable, id.User, err)
		}
	})
	t.Run("forged", func(t *testing.T) {
		trust := trustOf(t, keys, "t.forged")
		original := overheard(t, p)
		incoming := subscribedTo(t, p.read.Connect(t, userInfo("trusted")), "t.forged")
		// A message that is sent again may be accepted once.
		if _, err := stamp.Identify(stamp.Message{Header: original.Header, Payload: original.Data}, trust); err != nil {
			t.Fatal(err)
		}
		missing := forgeries(original, keys)
		for name, forgery := range missing {
			forgery.Header["Forgery"] = []string{name}
			again(t, p.forge.Connect(t, userInfo("forger")), forgery)
		}
		for len(missing) > 0 {
			m, err := incoming.NextMsg(harness.Timeout)
			if err != nil {
				t.Fatalf("%d forged messages did not arrive: %v", len(missing), err)
			}
			name := m.Header.Get("Forgery")
			delete(missing, name)
			if id, err := stamp.Identify(stamp.Message{Header: m.Header, Payload: m.Data}, trust); err == nil {
				t.Fatalf("forgery %s: the receiver accepts it as a message of %q", name, id.User)
			}
		}
	})
}

// trustOf trusts what a server with these keys proves to have been published on a subject.
func trustOf(t *testing.T, keys *proven.Keys, subject string) *stamp.Trust {
	t.Helper()
	trust, err := stamp.NewTrust(stamp.Options{
		User: "X-User", One: []string{"Session"}, Accounts: map[string][]string{"APP": {subject}, "SVC": {subject}},
		Servers: []string{keys.ServerX, keys.ServerN}, Keys: []string{keys.ReceiverSeed}, Replays: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// overheard is a message of pub on t.forged, as it is on pub's server for somebody who may read all headers.
func overheard(t *testing.T, p place) *nats.Msg {
	t.Helper()
	heard := subscribedTo(t, p.pub.Connect(t, userInfo("trusted")), "t.forged")
	if err := p.pub.Connect(t, userInfo("pub")).PublishMsg(colored("t.forged")); err != nil {
		t.Fatal(err)
	}
	m, err := heard.NextMsg(harness.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// forgeries are what somebody who has heard a message, and knows every public key, can make of it.
func forgeries(original *nats.Msg, keys *proven.Keys) map[string]*nats.Msg {
	changed := func(change func(m *nats.Msg)) *nats.Msg {
		m := &nats.Msg{Subject: original.Subject, Data: original.Data, Header: nats.Header{}}
		for name, values := range original.Header {
			m.Header[name] = slices.Clone(values)
		}
		change(m)
		return m
	}
	own := stamptest.NewServer() // with keys of the forger
	own.Receiver, own.Encrypt = keys.Receiver, []string{"Session"}
	byOwnKeys := own.Stamp(nats.Header{"X-User": {"pub"}, "Session": {"forged"}}, original.Subject, original.Data)
	return map[string]*nats.Msg{
		"own keys":        {Subject: original.Subject, Data: byOwnKeys.Payload, Header: byOwnKeys.Header},
		"headers alone":   {Subject: original.Subject, Data: original.Data, Header: nats.Header{"X-User": {"pub"}, "Session": {"forged"}}},
		"sent again":      changed(func(*nats.Msg) {}),
		"another user":    changed(func(m *nats.Msg) { m.Header["X-User"] = []string{"admin"} }),
		"a second user":   changed(func(m *nats.Msg) { m.Header["X-User"] = append(m.Header["X-User"], "admin") }),
		"an alias":        changed(func(m *nats.Msg) { m.Header["x_user"] = []string{"admin"} }),
		"another payload": changed(func(m *nats.Msg) { m.Data = []byte("another") }),
		"another time":    changed(func(m *nats.Msg) { m.Header["Stamp-Time"] = []string{"2026-01-01T00:00:00.000000000Z"} }),
		"another value":   changed(func(m *nats.Msg) { m.Header["Session"] = []string{"forged"} }),
		"no session":      changed(func(m *nats.Msg) { delete(m.Header, "Session") }),
	}
}

// repeatedly publishes a message again and again until the test ends, since it cannot be known when a server knows of
// a subscription.
func repeatedly(t *testing.T, nc *nats.Conn, more nats.Header) func(string) {
	return func(subject string) {
		m := colored(subject)
		for name, values := range more {
			m.Header[name] = values
		}
		again(t, nc, m)
	}
}

// again publishes one message again and again until the test ends.
func again(t *testing.T, nc *nats.Conn, m *nats.Msg) {
	ctx := t.Context()
	go func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
				_ = nc.PublishMsg(m) // if the connection is closed, the test fails elsewhere
			}
		}
	}()
}
