package test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// node is a server of a cluster whose binary is replaced.
type node struct {
	name, listen, monitor, route, store string

	*harness.Server
}

// fleet is a cluster that is upgraded server by server while clients publish.
type fleet struct {
	nodes []*node
	stamp string // the binary under test
}

// The parts of a fleet's configuration that only Stamp knows.
type stampParts struct{ user, block string }

var (
	noStamp    = stampParts{}
	withStamp  = stampParts{`, headers: {Session: "s1"}`, "headers { protected: [Session] }"}
	onlyStamps = stampParts{`, headers: {Session: "s1"}`, "headers { protected: [Session], require_stamping_peers: true }"}
)

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{stamp: harness.Binary(t)}
	for _, name := range []string{"a", "b", "c"} {
		f.nodes = append(f.nodes, &node{name: name, listen: harness.FreeAddr(t), monitor: harness.FreeAddr(t), route: harness.FreeAddr(t), store: t.TempDir()})
	}
	return f
}

// conf is the configuration of a node. It is the same for all binaries, except for the parts of Stamp.
func (f *fleet) conf(n *node, parts stampParts) string {
	var routes []string
	for _, other := range f.nodes {
		routes = append(routes, fmt.Sprintf("\"nats://%s\"", other.route))
	}
	return fmt.Sprintf(`
		server_name: %s
		listen: %q
		http: %q
		jetstream { store_dir: %q }
		lame_duck_grace_period: "1s"
		lame_duck_duration: "30s"
		cluster { name: C, listen: %q, routes: [%s] }
		accounts {
			APP { jetstream: enabled, users: [ {user: app, password: app%s} ] }
			SYS { users: [ {user: sys, password: sys} ] }
		}
		system_account: SYS
		%s`, n.name, n.listen, n.monitor, n.store, n.route, strings.Join(routes, ", "), parts.user, parts.block)
}

// start starts a node.
func (f *fleet) start(t *testing.T, n *node, binary string, parts stampParts) {
	t.Helper()
	n.Server = harness.StartBinary(t, binary, f.conf(n, parts))
}

// roll replaces the binary of the nodes one by one, as docs/upgrade.md says: the node ends as lame
// duck, starts with the other binary, and is waited for.
func (f *fleet) roll(t *testing.T, binary string, parts stampParts, p *publishers) {
	t.Helper()
	for _, n := range f.nodes {
		n.Signal(t, syscall.SIGUSR2)
		n.Exit(t)
		f.start(t, n, binary, parts)
		n.waitHealthy(t)
		p.more(t)
	}
}

// begin starts the cluster with a stream and publishers.
func (f *fleet) begin(t *testing.T, binary string, parts stampParts) (jetstream.JetStream, *publishers) {
	t.Helper()
	for _, n := range f.nodes {
		f.start(t, n, binary, parts)
	}
	for _, n := range f.nodes {
		n.waitHealthy(t)
	}
	js := must(jetstream.New(f.connect(t)))
	mustStream(t, js, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Replicas: 3})
	p := startPublishers(t, f, 3)
	p.more(t)
	return js, p
}

func (n *node) waitHealthy(t *testing.T) {
	t.Helper()
	harness.Eventually(t, "server "+n.name+" is healthy", func() bool {
		return statusOf(t, "http://"+n.monitor+"/healthz") == http.StatusOK
	})
}

func (f *fleet) connect(t *testing.T) *nats.Conn {
	t.Helper()
	var urls []string
	for _, n := range f.nodes {
		urls = append(urls, "nats://"+n.listen)
	}
	nc, err := nats.Connect(strings.Join(urls, ","), userInfo("app"), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // servers end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// publishers publish until they are stopped, and count what the stream has acknowledged.
type publishers struct {
	acknowledged atomic.Int64
	running      sync.WaitGroup
	stop         context.CancelFunc

	mu    sync.Mutex
	known map[string]bool // payloads that were acknowledged
}

func startPublishers(t *testing.T, f *fleet, count int) *publishers {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &publishers{stop: cancel, known: map[string]bool{}}
	t.Cleanup(p.end)
	for i := range count {
		js := must(jetstream.New(f.connect(t)))
		p.running.Go(func() {
			for number := 0; ctx.Err() == nil; number++ {
				p.publish(ctx, js, fmt.Sprintf("%d-%d", i, number))
			}
		})
	}
	return p
}

// publish publishes a message until it is acknowledged. The stream drops the repetitions by the
// message's id.
func (p *publishers) publish(ctx context.Context, js jetstream.JetStream, payload string) {
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := js.Publish(once, "orders.new", []byte(payload), jetstream.WithMsgID(payload))
		cancel()
		if err == nil {
			p.mu.Lock()
			p.known[payload] = true
			p.mu.Unlock()
			p.acknowledged.Add(1)
			return
		}
	}
}

// more waits until some more messages are acknowledged.
func (p *publishers) more(t *testing.T) {
	t.Helper()
	target := p.acknowledged.Load() + 50
	harness.Eventually(t, "publishing goes on", func() bool { return p.acknowledged.Load() >= target })
}

func (p *publishers) end() {
	p.stop()
	p.running.Wait()
}

// TestUpgradeFromStockAndBack does what docs/upgrade.md says: a cluster of three stock servers is
// upgraded one by one, stamps, and is taken back, while messages are published. No message that the
// stream has acknowledged is lost, and none is stored twice.
func TestUpgradeFromStockAndBack(t *testing.T) {
	stock := harness.Tool(t, "stock-nats-server")
	f := newFleet(t)
	js, p := f.begin(t, stock, noStamp)
	f.roll(t, f.stamp, noStamp, p)
	f.reload(t, withStamp)
	harness.Eventually(t, "messages are stamped", func() bool { return lastStamp(js) == "s1" })
	f.reload(t, onlyStamps)
	p.more(t)

	// Back. A stock server refuses the configuration while it has parts of Stamp.
	if refused := harness.LaunchBinary(t, stock, f.conf(f.nodes[0], withStamp), "-t"); refused.Exit(t) == 0 {
		t.Error("the stock server takes a configuration with parts of Stamp")
	} else {
		refused.WaitLog(t, `unknown field "headers"`)
	}
	f.reload(t, withStamp)
	f.reload(t, noStamp)
	harness.Eventually(t, "messages are not stamped", func() bool { return lastStamp(js) == "" })
	f.roll(t, stock, noStamp, p)
	p.end()
	p.expectStored(t, js)
}

func (f *fleet) reload(t *testing.T, parts stampParts) {
	t.Helper()
	for _, n := range f.nodes {
		n.Reload(t, f.conf(n, parts))
	}
}

// lastStamp returns the stamped header of the newest message in the stream, or "" if it has none or
// the stream does not answer now.
func lastStamp(js jetstream.JetStream) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, "ORDERS")
	if err != nil {
		return "?"
	}
	m, err := stream.GetLastMsgForSubject(ctx, "orders.new")
	if err != nil {
		return "?"
	}
	return m.Header.Get("Session")
}

// expectStored reads the stream, and compares it with what was acknowledged.
func (p *publishers) expectStored(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Timeout)
	defer cancel()
	stream := must(js.Stream(ctx, "ORDERS"))
	total := int(stream.CachedInfo().State.Msgs)
	consumer := must(stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{}))
	messages := must(consumer.Messages())
	defer messages.Stop()
	stored := map[string]int{}
	for range total {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		stored[string(m.Data())]++
	}
	for payload := range p.known {
		if stored[payload] != 1 {
			t.Errorf("message %s was acknowledged, and is stored %d times", payload, stored[payload])
		}
	}
	t.Logf("%d acknowledged, %d stored", len(p.known), total)
}

// otherRelease returns the directory of another release of Stamp: the build of the other line of
// upstream.
func otherRelease(t *testing.T) string {
	t.Helper()
	under := must(filepath.Abs(harness.Binary(t)))
	for _, dir := range []string{filepath.Join("..", "bin", "2.14"), filepath.Join("..", "bin")} {
		file := must(filepath.Abs(filepath.Join(dir, "nats-server")))
		if _, err := os.Stat(file); err == nil && file != under {
			return filepath.Dir(file)
		}
	}
	missing(t, "there is no other release; `scripts/build --line 2.14` builds one")
	return ""
}

// TestUpgradeFromAnotherRelease replaces the servers one by one with those of another release of Stamp, and back, while the
// cluster stamps and lets in only servers that stamp.
func TestUpgradeFromAnotherRelease(t *testing.T) {
	other := filepath.Join(otherRelease(t), "nats-server")
	f := newFleet(t)
	js, p := f.begin(t, other, onlyStamps)
	f.roll(t, f.stamp, onlyStamps, p)
	f.roll(t, other, onlyStamps, p)
	p.end()
	harness.Eventually(t, "the last message is stamped", func() bool { return lastStamp(js) == "s1" })
	p.expectStored(t, js)
}

// TestMixedReleases: servers of two releases of Stamp are one cluster, with a handler of either.
func TestMixedReleases(t *testing.T) {
	other := otherRelease(t)
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	conf := func(name, routes string) string {
		return fmt.Sprintf(`
			server_name: %s
			headers { protected: ["X-*"], sealed: [X-Secret], require_stamping_peers: true }
			cluster { name: C, listen: "127.0.0.1:-1" %s }
			`, name, routes) + fmt.Sprintf(calloutConf, harness.Public(t, issuer), "xkey: "+harness.Public(t, xkey))
	}
	first := harness.Start(t, conf("new", ""))
	second := harness.StartBinary(t, filepath.Join(other, "nats-server"), conf("old", fmt.Sprintf(", routes: [\"nats://%s\"]", first.Route(t))))
	first.WaitLog(t, "Route connection created")
	keys := fmt.Sprintf("issuer: %s\nxkey: %s", harness.Seed(t, issuer), harness.Seed(t, xkey))
	handlers := map[string]string{"handler of this release": harness.CalloutBinary(t), "handler of the other release": filepath.Join(other, "nats-callout")}
	for name, binary := range handlers {
		t.Run(name, func(t *testing.T) {
			for _, from := range []*harness.Server{first, second} {
				h := harness.StartCalloutBinary(t, binary, handlerConf(t, from, "user: auth, password: auth", keys, "APP"))
				expectReady(t, h, http.StatusOK)
				for _, servers := range [][2]*harness.Server{{first, second}, {second, first}} {
					expectStampAcross(t, servers[0], servers[1])
				}
				h.Stop()
			}
		})
	}
}

// expectStampAcross publishes at one server what is read at the other.
func expectStampAcross(t *testing.T, from, to *harness.Server) {
	t.Helper()
	alice := nats.UserInfo("alice", "open")
	publisher, reader := from.Connect(t, alice), to.Connect(t, alice)
	sub := must(reader.SubscribeSync("t.x"))
	message := nats.NewMsg("t.x")
	message.Header.Set("X-User", "forged")
	var got *nats.Msg
	harness.Eventually(t, "a message arrives", func() bool {
		if publisher.PublishMsg(message) != nil {
			return false
		}
		var err error
		got, err = sub.NextMsg(100 * time.Millisecond)
		return err == nil
	})
	if user, team := got.Header.Values("X-User"), got.Header.Values("X-Team"); !slices.Equal(user, []string{"alice"}) || !slices.Equal(team, []string{"red"}) {
		t.Errorf("from %s to %s, expected alice of team red; found X-User %q, X-Team %q", from.Varz(t).Name, to.Varz(t).Name, user, team)
	}
	publisher.Close()
	reader.Close()
}
