package test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// place says to which servers the stamped publisher, the forger and the readers are connected.
type place struct {
	pub, forge, read *harness.Server
	replicas         int // of streams; 0: there are no streams
}

// topologies are the rows of a table in docs/conformance.md, which says what holds in each.
var topologies = map[string]func(*testing.T) place{
	"one server":                                     oneServer,
	"route":                                          func(t *testing.T) place { return pair(t, routed, "ours", "ours") },
	"route, the forger on a stock server":            func(t *testing.T) place { return withThird(t, routed) },
	"route, the readers on a stock server":           func(t *testing.T) place { return pair(t, routed, "ours", "stock") },
	"gateway":                                        func(t *testing.T) place { return pair(t, gatewayed, "ours", "ours") },
	"gateway, the forger in a stock cluster":         func(t *testing.T) place { return withThird(t, gatewayed) },
	"gateway, the readers in a stock cluster":        func(t *testing.T) place { return pair(t, gatewayed, "ours", "stock") },
	"hub to leafnode, permitted":                     func(t *testing.T) place { return toLeaf(t, "open") },
	"hub to leafnode":                                func(t *testing.T) place { return toLeaf(t, "site") },
	"leafnode to hub, permitted":                     func(t *testing.T) place { return fromLeaf(t, "open") },
	"leafnode to hub":                                func(t *testing.T) place { return fromLeaf(t, "site") },
	"leafnode to leafnode by a stock hub, permitted": func(t *testing.T) place { return byHub(t, "stock", "open", 0) },
	"leafnode to leafnode by a stock hub":            func(t *testing.T) place { return byHub(t, "stock", "site", 0) },
	"streams of the hub, permitted":                  func(t *testing.T) place { return byHub(t, "ours", "open", 1) },
	"streams of a stock hub, permitted":              func(t *testing.T) place { return byHub(t, "stock", "open", 1) },
	"JetStream cluster":                              func(t *testing.T) place { return cluster(t, "ours") },
	"JetStream cluster with a stock server":          func(t *testing.T) place { return cluster(t, "stock") },
}

// start runs a Stamp server or a stock server, with the same accounts, users and imports.
func start(t *testing.T, kind, name, more string) *harness.Server {
	t.Helper()
	stamp, trust, link := `headers: {Session: "top-secret"}`, `header_permissions: {subscribe: {allow: [Session]}}`,
		`header_permissions: {publish: {allow: ["*"]}, subscribe: {allow: ["*"]}}`
	block := "headers { sealed: [Session], protected: [Session] }"
	run, enabled := harness.Start, ""
	if strings.Contains(more, "jetstream") {
		enabled = "jetstream: enabled"
	}
	if kind == "stock" {
		stamp, trust, link, block, run = "", "", "", "", harness.StartStock
	}
	return run(t, fmt.Sprintf(`
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

func oneServer(t *testing.T) place {
	s := start(t, "ours", "A", jetStream(t))
	return place{s, s, s, 1}
}

// routed and gatewayed start a server that joins other. It is the first one if other is nil.
func routed(t *testing.T, kind, name string, first *harness.Server) *harness.Server {
	routes := ""
	if first != nil {
		routes = fmt.Sprintf(", routes: [\"nats://%s\"]", first.Route(t))
	}
	return start(t, kind, name, fmt.Sprintf(`cluster { name: C, listen: "127.0.0.1:-1" %s }`, routes))
}

func gatewayed(t *testing.T, kind, name string, first *harness.Server) *harness.Server {
	gateways := ""
	if first != nil {
		gateways = fmt.Sprintf(", gateways: [ {name: A, urls: [\"nats://%s\"]} ]", first.Gateway(t))
	}
	return start(t, kind, name, fmt.Sprintf(`gateway { name: %s, listen: "127.0.0.1:-1" %s }`, name, gateways))
}

type join func(t *testing.T, kind, name string, first *harness.Server) *harness.Server

// pair has the forger on the publisher's server.
func pair(t *testing.T, j join, kinds ...string) place {
	a := j(t, kinds[0], "A", nil)
	return place{a, a, j(t, kinds[1], "B", a), 0}
}

// withThird has the forger on a stock server, in a cluster with two Stamp servers.
func withThird(t *testing.T, j join) place {
	a := j(t, "ours", "A", nil)
	return place{a, j(t, "stock", "M", a), j(t, "ours", "B", a), 0}
}

func leaf(t *testing.T, kind, name, user string, hub *harness.Server) *harness.Server {
	return start(t, kind, name, fmt.Sprintf("# remote %s %s\ndefault_js_domain: {APP: hub}\n", user, hub.Leaf(t)))
}

func toLeaf(t *testing.T, user string) place {
	hub := start(t, "ours", "hub", "")
	return place{hub, hub, leaf(t, "ours", "leaf", user, hub), 0}
}

func fromLeaf(t *testing.T, user string) place {
	hub := start(t, "ours", "hub", "")
	l := leaf(t, "ours", "leaf", user, hub)
	return place{l, l, hub, 0}
}

// byHub has the forger at the hub.
func byHub(t *testing.T, kind, user string, replicas int) place {
	more := ""
	if replicas > 0 {
		more = strings.Replace(jetStream(t), "{", "{ domain: hub,", 1)
	}
	hub := start(t, kind, "hub", more)
	return place{leaf(t, "ours", "one", user, hub), hub, leaf(t, "ours", "two", user, hub), replicas}
}

// cluster has three servers. The last is of the given kind, and the forger is there.
func cluster(t *testing.T, kind string) place {
	var at []string
	for range 3 {
		at = append(at, harness.FreeAddr(t))
	}
	var servers []*harness.Server
	for i, k := range []string{"ours", "ours", kind} {
		servers = append(servers, start(t, k, string(rune('A'+i)), jetStream(t)+
			fmt.Sprintf("cluster { name: C, listen: %q, routes: [\"nats://%s\"] }", at[i], strings.Join(at, "\", \"nats://"))))
	}
	return place{servers[0], servers[2], servers[1], 3}
}

// coreWays are the ways of a message that is not stored.
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

func TestTopologies(t *testing.T) {
	holds := documented(t)
	for name, build := range topologies {
		row, ok := holds[name]
		if !ok {
			t.Errorf("docs/conformance.md says nothing of %q", name)
		}
		delete(holds, name)
		t.Run(name, func(t *testing.T) { row.check(t, build(t)) })
	}
	for name := range holds {
		t.Errorf("docs/conformance.md has a row %q, which is not tested", name)
	}
}

// row is a row of the table: what holds in a topology.
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
		if len(f) != 6 {
			break
		}
		says := func(i int, yes, no string) bool {
			if s := strings.TrimSpace(f[i]); s != yes && s != no {
				t.Errorf("%q: %q is neither %q nor %q", f[1], s, yes, no)
			}
			return strings.TrimSpace(f[i]) == yes
		}
		rows[strings.TrimSpace(f[1])] = row{says(2, "arrives", "is taken off"), says(3, "**arrives**", "is taken off"), says(4, "sealed", "**readable**")}
	}
	return rows
}

func (r row) check(t *testing.T, p place) {
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
				m := w.read(t, p.read.Connect(t, userInfo(prefix+user)), publish)
				expectSeen(t, m, !r.arrives || user == "reader" && r.sealed)
			})
		}
	}
	t.Run("forged", func(t *testing.T) {
		forge := repeatedly(t, p.forge.Connect(t, userInfo("forger")), nats.Header{"Session": {"forged"}})
		m := subscribing("t.forged", sub("t.forged"))(t, p.read.Connect(t, userInfo("trusted")), forge)
		if got := m.Header.Get("Session"); (got == "forged") != r.forged || got != "" && got != "forged" {
			t.Errorf("forged header: %q", got)
		}
	})
}

// repeatedly publishes a message again and again until the test ends, since it cannot be known when a server knows of
// a subscription.
func repeatedly(t *testing.T, nc *nats.Conn, more nats.Header) func(string) {
	return func(subject string) {
		m := colored(subject)
		for name, values := range more {
			m.Header[name] = values
		}
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
}
