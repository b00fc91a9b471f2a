package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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

// faultUsers are two users with stamps and a reader. The headers are such that each kind of mix-up would show.
const faultUsers = `
	accounts {
		APP { jetstream: enabled, users: [
			{user: alice, password: alice, headers: {Session: "alice", Roles: ["a", "b"]}}
			{user: bob, password: bob, headers: {Session: "bob"}}
			{user: sub, password: sub} ] }
		SYS { users: [ {user: sys, password: sys} ] }
	}
	system_account: SYS
	`

// trusted checks the stamp of a message. Its payload begins with the publisher's name.
func trusted(t testing.TB, h nats.Header, payload []byte) {
	t.Helper()
	who, _, _ := strings.Cut(string(payload), " ")
	want := map[string]string{"alice": "map[Roles:[a b] Session:[alice]]", "bob": "map[Session:[bob]]"}[who]
	got := nats.Header{}
	for name, values := range h {
		if name == "Session" || name == "Roles" || strings.EqualFold(name, "session") {
			got[name] = values
		}
	}
	if want == "" || fmt.Sprint(got) != want {
		t.Errorf("a message of %q has the stamp %v", who, got)
	}
}

// load publishes to a stream as alice and as bob, with forged headers and without, until it is stopped. It records what was
// acknowledged.
type load struct {
	stop  context.CancelFunc
	done  sync.WaitGroup
	mu    sync.Mutex
	acked map[string]bool
	n     atomic.Int64
}

func startLoad(t *testing.T, urls string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel, acked: map[string]bool{}}
	for _, user := range []string{"alice", "bob"} {
		nc, err := nats.Connect(urls, userInfo(user), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
			nats.ReconnectJitter(0, 0), nats.RetryOnFailedConnect(true), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(1), nats.Timeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		l.done.Add(1)
		go l.publish(ctx, nc, user)
	}
	t.Cleanup(cancel)
	return l
}

func (l *load) publish(ctx context.Context, nc *nats.Conn, user string) {
	defer l.done.Done()
	js, err := jetstream.New(nc)
	if err != nil {
		return
	}
	for i := 0; ctx.Err() == nil; i++ {
		m := &nats.Msg{Subject: "t." + user, Data: []byte(fmt.Sprint(user, " ", i)), Header: nats.Header{}}
		if i%2 == 1 {
			m.Header["session"], m.Header["Own"] = []string{"forged"}, []string{"1"}
		}
		// What is not acknowledged may be stored or not, and is not sent again.
		soon, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		if _, err := js.PublishMsg(soon, m, jetstream.WithRetryAttempts(0)); err == nil {
			l.mu.Lock()
			l.acked[string(m.Data)] = true
			l.mu.Unlock()
			l.n.Add(1)
		}
		cancel()
	}
}

// more waits until further messages were acknowledged.
func (l *load) more(t testing.TB, n int64) {
	t.Helper()
	from := l.n.Load()
	harness.Eventually(t, fmt.Sprintf("%d further messages to be acknowledged", n), func() bool { return l.n.Load() >= from+n })
}

// end stops the load and reads the whole stream: each message has its stamp, and no acknowledged message is missing.
func (l *load) end(t *testing.T, nc *nats.Conn) {
	t.Helper()
	l.stop()
	l.done.Wait()
	js := newJetStream(t, nc)
	var last uint64
	harness.Eventually(t, "the stream", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s, err := js.Stream(ctx, "S")
		if err == nil {
			last = s.CachedInfo().State.LastSeq
		}
		return err == nil
	})
	var messages jetstream.MessagesContext
	harness.Eventually(t, "a consumer", func() bool { // there may be no leader yet
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		c, err := js.OrderedConsumer(ctx, "S", jetstream.OrderedConsumerConfig{})
		if err != nil {
			return false
		}
		messages, err = c.Messages()
		return err == nil
	})
	defer messages.Stop()
	stored := 0
	for seq := uint64(0); seq < last; stored++ {
		m, err := messages.Next(jetstream.NextMaxWait(harness.Timeout))
		if err != nil {
			t.Fatalf("the stream ends after message %d of %d: %v", seq, last, err)
		}
		trusted(t, m.Headers(), m.Data())
		delete(l.acked, string(m.Data()))
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		seq = meta.Sequence.Stream
	}
	t.Logf("%d messages stored, %d acknowledged", stored, l.n.Load())
	if len(l.acked) > 0 {
		t.Errorf("%d acknowledged messages are lost", len(l.acked))
	}
}

// watch reads messages as core NATS delivers them. A message may be lost, but each one that arrives has its stamp.
func watch(t *testing.T, urls string) {
	nc, err := nats.Connect(urls, userInfo("sub"), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Subscribe("t.>", func(m *nats.Msg) { trusted(t, m.Header, m.Data) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
}

func createStream(t *testing.T, nc *nats.Conn, cfg jetstream.StreamConfig) {
	t.Helper()
	cfg.Name, cfg.Subjects = "S", []string{"t.>"}
	mustStream(t, newJetStream(t, nc), cfg)
}

// Servers of a cluster are killed while messages are published: no acknowledged message is lost, and each message has its own
// stamp.
func TestKillUnderLoad(t *testing.T) {
	var clients, routes, conf []string
	for range 3 {
		clients, routes = append(clients, harness.FreeAddr(t)), append(routes, harness.FreeAddr(t))
	}
	for i := range 3 {
		conf = append(conf, faultUsers+fmt.Sprintf(`
			server_name: %c
			listen: %q
			jetstream { store_dir: %q, sync_interval: always }
			cluster { name: C, listen: %q, routes: ["nats://%s"] }`, 'A'+i, clients[i], t.TempDir(), routes[i], strings.Join(routes, `", "nats://`)))
	}
	var servers []*harness.Server
	for _, c := range conf {
		servers = append(servers, harness.Start(t, c))
	}
	urls := "nats://" + strings.Join(clients, ",nats://")
	createStream(t, servers[0].Connect(t, userInfo("sub")), jetstream.StreamConfig{Replicas: 3})
	watch(t, urls)
	l := startLoad(t, urls)
	l.more(t, 100)
	for i := range servers {
		servers[i].Signal(t, syscall.SIGKILL)
		servers[i].Exit(t)
		l.more(t, 50) // by the other two
		servers[i] = harness.Start(t, conf[i])
		l.more(t, 50)
	}
	// All at once.
	for _, s := range servers {
		s.Signal(t, syscall.SIGKILL)
	}
	for i, s := range servers {
		s.Exit(t)
		servers[i] = harness.Start(t, conf[i])
	}
	l.more(t, 50)
	l.end(t, servers[0].Connect(t, userInfo("sub")))
}

// network is a bridge with hosts behind it, each a network namespace.
type network struct {
	t     *testing.T
	id    int
	hosts int
}

// newNetwork skips the test if this user may not make network namespaces.
func newNetwork(t *testing.T) *network {
	n := &network{t: t, id: os.Getpid() % 10000}
	if out, err := exec.Command("ip", "link", "add", n.bridge(), "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("no networks can be made here: %v %s", err, strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() { n.ip("link", "del", n.bridge()) })
	n.ip("addr", "add", fmt.Sprintf("198.18.%d.1/24", n.id%250), "dev", n.bridge())
	n.ip("link", "set", n.bridge(), "up")
	return n
}

func (n *network) bridge() string    { return fmt.Sprintf("stbr%d", n.id) }
func (n *network) host(i int) string { return fmt.Sprintf("st%dh%d", n.id, i) }
func (n *network) link(i int) string { return fmt.Sprintf("st%dv%d", n.id, i) }
func (n *network) addr(i int) string { return fmt.Sprintf("198.18.%d.%d", n.id%250, 10+i) }
func (n *network) cut(i int)         { n.ip("link", "set", n.link(i), "down") }
func (n *network) heal(i int)        { n.ip("link", "set", n.link(i), "up") }

func (n *network) in(i int, args ...string) {
	n.t.Helper()
	n.ip(append([]string{"-n", n.host(i)}, args...)...)
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("the command ip %s failed: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// add adds a host.
func (n *network) add() int {
	i := n.hosts
	n.hosts++
	n.ip("netns", "add", n.host(i))
	n.t.Cleanup(func() { n.ip("netns", "del", n.host(i)) })
	n.ip("link", "add", n.link(i), "type", "veth", "peer", "name", "eth0", "netns", n.host(i))
	n.t.Cleanup(func() { n.ip("link", "del", n.link(i)) }) // the namespace may outlive its name
	n.ip("link", "set", n.link(i), "master", n.bridge(), "up")
	n.in(i, "addr", "add", n.addr(i)+"/24", "dev", "eth0")
	n.in(i, "link", "set", "eth0", "up")
	n.in(i, "link", "set", "lo", "up")
	return i
}

// The network of a cluster is cut while messages are published: no acknowledged message is lost, and each message has its own
// stamp.
func TestPartition(t *testing.T) {
	n := newNetwork(t)
	var servers []*harness.Server
	var urls, routes []string
	for range 3 {
		i := n.add()
		urls, routes = append(urls, "nats://"+n.addr(i)+":4222"), append(routes, fmt.Sprintf("%q", "nats://"+n.addr(i)+":6222"))
	}
	for i := range 3 {
		servers = append(servers, harness.StartIn(t, n.host(i), faultUsers+fmt.Sprintf(`
			server_name: %c
			listen: "%s:4222"
			ping_interval: "500ms", ping_max: 2
			jetstream { store_dir: %q }
			cluster { name: C, listen: "%s:6222", ping_interval: "500ms", ping_max: 2, routes: [%s] }`,
			'A'+i, n.addr(i), t.TempDir(), n.addr(i), strings.Join(routes, ", "))))
	}
	all := strings.Join(urls, ",")
	createStream(t, servers[0].Connect(t, userInfo("sub")), jetstream.StreamConfig{Replicas: 3})
	watch(t, all)
	l := startLoad(t, all)
	l.more(t, 100)
	for i := range servers {
		n.cut(i)
		l.more(t, 50) // by the other two, whoever led before
		n.heal(i)
		l.more(t, 50)
	}
	l.end(t, servers[0].Connect(t, userInfo("sub")))
}

// A reader that stops is cut off. The other readers get everything, in order, and with the right stamps.
func TestSlowConsumers(t *testing.T) {
	s := harness.Start(t, faultUsers+"max_pending: 1MB, write_deadline: 1s\n")
	var got atomic.Int64
	const each = 20000
	reader := s.Connect(t, userInfo("sub"))
	next := map[string]int{}
	if _, err := reader.Subscribe("t.>", func(m *nats.Msg) {
		trusted(t, m.Header, m.Data)
		var who string
		var i int
		if _, err := fmt.Sscan(string(m.Data), &who, &i); err != nil || i != next[who] {
			t.Errorf("message %d of %q came, expected number %d", i, who, next[who])
		}
		next[who] = i + 1
		got.Add(1)
	}); err != nil {
		t.Fatal(err)
	}
	if err := reader.Flush(); err != nil {
		t.Fatal(err)
	}
	stuck := harness.Client(t, s, password("sub"))
	stuck.Sub("t.>", "1")
	var done sync.WaitGroup
	for _, user := range []string{"alice", "bob"} {
		nc := s.Connect(t, userInfo(user))
		done.Add(1)
		go func() {
			defer done.Done()
			for i := range each {
				m := &nats.Msg{Subject: "t." + user, Data: []byte(fmt.Sprintf("%s %d %s", user, i, strings.Repeat("x", i%700)))}
				if i%3 == 0 {
					m.Header = nats.Header{"Session": {"forged"}}
				}
				if err := nc.PublishMsg(m); err != nil {
					t.Errorf("%s could not publish: %v", user, err)
				}
				if i%200 == 0 {
					_ = nc.Flush() // so that who reads is not slow itself
				}
			}
			_ = nc.Flush()
		}()
	}
	done.Wait()
	s.WaitLog(t, "Slow Consumer Detected")
	harness.Eventually(t, "all messages", func() bool { return got.Load() == 2*each })
	// What the server sent to the slow reader before it was cut off has the right stamps, too.
	n, subject := 0, ""
	for {
		line, err := stuck.Line()
		if err != nil {
			break
		}
		if rest, ok := strings.CutPrefix(line, "HMSG "); ok {
			subject, _, _ = strings.Cut(rest, " ")
			n++
		}
		if who, ok := strings.CutPrefix(line, "Session: "); ok && subject != "t."+who {
			t.Fatalf("a message on %s has the stamp of %q", subject, who)
		}
	}
	if n == 0 {
		t.Error("nothing was delivered to the connection that was cut off")
	}
}

// The disk is full, and gets room again: all acknowledged messages are there.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	conf := faultUsers + fmt.Sprintf("jetstream { store_dir: %q, max_file: 1GB }\n", dir)
	s := harness.Start(t, conf)
	createStream(t, s.Connect(t, userInfo("sub")), jetstream.StreamConfig{})
	js := newJetStream(t, s.Connect(t, userInfo("alice")))
	l := &load{stop: func() {}, acked: map[string]bool{}}
	filler := strings.Repeat("x", 100_000)
	full := 0
	for i := 0; full < 3; i++ {
		if i == 1000 {
			t.Fatal("the disk does not fill up")
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		data := fmt.Sprintf("alice %d %s", i, filler)
		_, err := js.Publish(ctx, "t.alice", []byte(data), jetstream.WithRetryAttempts(0))
		cancel()
		if err != nil {
			full++
			continue
		}
		l.acked[data] = true
		l.n.Add(1)
	}
	// Core NATS does not need the disk.
	sub := subscriber(t, s, password("sub"))
	harness.Client(t, s, password("bob")).Pub("t.core", "payload")
	expectMsg(t, sub, "core", block("Session: bob"))
	s.Signal(t, syscall.SIGKILL)
	s.Exit(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	s = harness.Start(t, conf)
	nc := s.Connect(t, userInfo("sub"))
	purgeCore(t, nc)
	l.end(t, nc)
}

// purgeCore removes the messages that were published to show that core NATS works, in case they are stored.
func purgeCore(t *testing.T, nc *nats.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Timeout)
	defer cancel()
	s, err := newJetStream(t, nc).Stream(ctx, "S")
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject("t.core"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// If the stamp exceeds a limit, the publisher gets an error, and nothing is stored in part.
func TestLimitsThatTheStampExceeds(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`
		max_payload: 1MB
		accounts { APP { jetstream: { max_mem: 20000, max_file: 1GB }, users: [
			{user: pub, password: pub, headers: {Session: %q}}, {user: sub, password: sub} ] } }
		jetstream { store_dir: %q, max_mem: 1GB }`, strings.Repeat("s", 5000), t.TempDir()))
	nc := s.Connect(t, userInfo("pub"))
	js := newJetStream(t, nc)
	ctx := t.Context()
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "SIZE", Subjects: []string{"size"}, MaxMsgSize: 5000},
		{Name: "BYTES", Subjects: []string{"bytes"}, MaxBytes: 12000, Discard: jetstream.DiscardNew},
		{Name: "HEADER", Subjects: []string{"header"}},
		{Name: "MEMORY", Subjects: []string{"memory"}, Storage: jetstream.MemoryStorage},
	} {
		if _, err := js.CreateStream(ctx, cfg); err != nil {
			t.Fatal(err)
		}
	}
	publish := func(subject string, h nats.Header) error {
		_, err := js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: h, Data: []byte("payload")})
		return err
	}
	for subject, test := range map[string]struct {
		header nats.Header
		stored int
		want   string
	}{
		"size":   {nil, 0, "message size exceeds maximum allowed"},
		"bytes":  {nil, 2, "maximum bytes exceeded"},
		"header": {nats.Header{"Large": {strings.Repeat("l", 61000)}}, 0, "header size exceeds maximum allowed of 64k"},
		"memory": {nil, 3, "exceeded"},
	} {
		t.Run(subject, func(t *testing.T) {
			var err error
			n := 0
			for ; err == nil && n < 10; n++ {
				err = publish(subject, test.header)
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("expected the error %q; found %v", test.want, err)
			}
			info, err := js.Stream(ctx, strings.ToUpper(subject))
			if err != nil {
				t.Fatal(err)
			}
			if got := info.CachedInfo().State.Msgs; got != uint64(test.stored) || n-1 != test.stored {
				t.Errorf("%d messages are stored, %d were acknowledged, expected %d", got, n-1, test.stored)
			}
		})
	}
}
