package test

import (
	"bufio"
	"cmp"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// The tests of this file measure the figures of docs/scale.md, and print a row for each. `scripts/bench scale` runs them: they
// take minutes, and assert no durations.

func scaleOnly(t *testing.T) {
	t.Helper()
	if os.Getenv("STAMP_SCALE") == "" {
		t.Skip("STAMP_SCALE is not set")
	}
}

// scaleSide is what a figure is measured of: our server with the handler inside, or a stock server with nats-callout beside it.
type scaleSide struct {
	server    *harness.Server
	processes []*harness.Process // the server, and the handler if it is one of its own
}

// scaleSides are measured one after the other. What differs between the two of stock is the noise of the machine.
var scaleSides = []struct {
	name  string
	stock bool
}{{"stock", true}, {"ours", false}, {"stock again", true}}

// scaleFigures are the figures of the sides, by what was measured.
type scaleFigures struct {
	what    []string
	figures map[string][]string
}

// measure calls run for each side, and prints the figures.
func measure(t *testing.T, run func(t *testing.T, stock bool, figure func(what, format string, args ...any))) {
	var f scaleFigures
	for i, side := range scaleSides {
		t.Run(side.name, func(t *testing.T) {
			run(t, side.stock, func(what, format string, args ...any) { f.add(i, what, fmt.Sprintf(format, args...)) })
		})
	}
	f.print()
}

func (f *scaleFigures) add(side int, what, figure string) {
	if f.figures == nil {
		f.figures = map[string][]string{}
	}
	if f.figures[what] == nil {
		f.what = append(f.what, what)
		f.figures[what] = make([]string, len(scaleSides))
	}
	f.figures[what][side] = figure
}

func (f *scaleFigures) print() {
	for _, what := range f.what {
		figures := f.figures[what]
		fmt.Printf("| %s | %s | %s | %s |\n", what, figures[1], cmp.Or(figures[0], "-"), cmp.Or(figures[2], "-"))
	}
}

// scaleConf is a server, and how its handler looks connections up.
type scaleConf struct {
	sessions string
	server   string // what else is in the server's configuration
	timeout  int    // of authorization, in seconds, or 0
	issuer   nkeys.KeyPair
}

// start starts a side with a configuration.
func (c scaleConf) start(t *testing.T, stock bool) *scaleSide {
	t.Helper()
	accounts := `
		accounts {
			AUTH { jetstream: enabled, users: [{user: backend, password: backend}, {user: handler, password: handler}] }
			APP {}
			SYS { users: [{user: sys, password: sys}] }
		}
		system_account: SYS
		` + c.server + "\n"
	timeout := ""
	if c.timeout > 0 {
		timeout = fmt.Sprintf("timeout: %d", c.timeout)
	}
	handler := fmt.Sprintf(`
		issuer: %s
		sessions: [%s]
		grants: [{account: APP, publish: ">", subscribe: ">"}]`, harness.Seed(t, c.issuer), c.sessions)
	if !stock {
		s := harness.Start(t, accounts+fmt.Sprintf("authorization { %s }\ncallout { account: AUTH %s }", timeout, handler))
		return &scaleSide{s, []*harness.Process{s.Process}}
	}
	s := harness.StartStock(t, accounts+fmt.Sprintf(`authorization { %s
		auth_callout { issuer: %s, account: AUTH, auth_users: [backend, handler, sys] } }`, timeout, harness.Public(t, c.issuer)))
	h := harness.StartCallout(t, fmt.Sprintf(`
		connect { urls: ["nats://%[1]s"], user: handler, password: handler, system { urls: ["nats://%[1]s"], user: sys, password: sys } }`,
		s.Addr(t))+handler)
	return &scaleSide{s, []*harness.Process{s.Process, h}}
}

// cpu returns how much CPU time the side has taken, in ticks of 10 ms.
func (s *scaleSide) cpu(t *testing.T) (sum time.Duration) {
	t.Helper()
	for _, p := range s.processes {
		sum += cpuOf(t, p)
	}
	return sum
}

// memory returns how much memory the side has, in bytes.
func (s *scaleSide) memory(t *testing.T) (sum int64) {
	t.Helper()
	for _, p := range s.processes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.PID()))
		if err != nil {
			t.Fatal(err)
		}
		var size, resident int64
		if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
			t.Fatal(err)
		}
		sum += resident * int64(os.Getpagesize())
	}
	return sum
}

// cpuOf returns how much CPU time a process has taken, in ticks of 10 ms.
func cpuOf(t *testing.T, p *harness.Process) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var user, system int
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// tokenCrowd are connections that stay open.
type tokenCrowd struct {
	mu    sync.Mutex
	conns []net.Conn
}

// come connects with a token, which waits for as long as it takes.
func (c *tokenCrowd) come(addr, token string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.conns = append(c.conns, conn)
	c.mu.Unlock()
	_ = conn.SetDeadline(time.Now().Add(2 * harness.Timeout))
	if _, err := fmt.Fprintf(conn, "CONNECT {\"auth_token\":%q,\"verbose\":false}\r\nPING\r\n", token); err != nil {
		return err
	}
	for lines := bufio.NewReader(conn); ; {
		switch line, err := lines.ReadString('\n'); {
		case err != nil:
			return err
		case strings.HasPrefix(line, "PONG"):
			return nil
		case strings.HasPrefix(line, "-ERR"):
			return fmt.Errorf("refused: %s", line)
		}
	}
}

func (c *tokenCrowd) close() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// 10,000 clients come at once to a source that takes 50 ms.
func TestScaleStorm(t *testing.T) {
	scaleOnly(t)
	const clients = 10_000
	measure(t, func(t *testing.T, stock bool, figure func(what, format string, args ...any)) {
		var asked, refused atomic.Int64
		site := slowSource(t, &asked)
		// Until CONNECT is read, and at stock until the callout is answered: clients and server share the machine.
		s := scaleConf{sessions: fmt.Sprintf(`{kind: http, url: %q, timeout: "40s"}`, site.URL), timeout: 30, issuer: harness.NewAccountKey(t)}.start(t, stock)
		c := &tokenCrowd{}
		defer c.close()
		began, cpu := time.Now(), s.cpu(t)
		var storm sync.WaitGroup
		for i := range clients {
			storm.Go(func() {
				if err := c.come(s.server.Addr(t), fmt.Sprint("token", i)); err != nil && refused.Add(1) == 1 && !stock {
					t.Error(err)
				}
			})
		}
		storm.Wait()
		took, cpu := time.Since(began), s.cpu(t)-cpu
		figure("10,000 clients at once, a source of 50 ms", "%.1f s; %d look-ups, %d refused; %.2f ms of CPU each", took.Seconds(), asked.Load(), refused.Load(), cpu.Seconds()*1000/clients)
		if !stock && (refused.Load() != 0 || asked.Load() != clients) {
			t.Errorf("%d clients were refused and %d look-ups were made, want 0 and one for each client", refused.Load(), asked.Load())
		}
		if !stock {
			figure(fmt.Sprintf("a request to renew by user, with %d connections of others", clients), "%.2f ms at the median", byUser(t, s.server))
		}
	})
}

// byUser is how long it takes to renew the connections of a user that has none, in ms.
func byUser(t *testing.T, s *harness.Server) float64 {
	t.Helper()
	sys := s.Connect(t, userInfo("sys"))
	var took []time.Duration
	for range 100 {
		began := time.Now()
		request(t, sys, forwarded.RenewAll, `{"user":"nobody"}`)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2].Seconds() * 1000
}

// All connections are of one session.
func TestScaleSharedSession(t *testing.T) {
	scaleOnly(t)
	const step, steps = 2500, 4
	measure(t, func(t *testing.T, stock bool, figure func(what, format string, args ...any)) {
		s := scaleConf{sessions: "{kind: anonymous}", issuer: harness.NewAccountKey(t)}.start(t, stock)
		c := &tokenCrowd{}
		defer c.close()
		for i := range steps {
			before := s.cpu(t)
			for range step {
				if err := c.come(s.server.Addr(t), ""); err != nil {
					t.Fatal(err)
				}
			}
			figure(fmt.Sprintf("connections %d to %d of one session", i*step+1, (i+1)*step), "%.2f ms of CPU each", (s.cpu(t)-before).Seconds()*1000/step)
		}
	})
}

// A bucket has a million entries, in a file.
func TestScaleBucket(t *testing.T) {
	scaleOnly(t)
	const entries = 1_000_000
	measure(t, func(t *testing.T, stock bool, figure func(what, format string, args ...any)) {
		conf := scaleConf{sessions: "{kind: kv, bucket: sessions, account: AUTH}", server: fmt.Sprintf("jetstream { store_dir: %q }", t.TempDir()), issuer: harness.NewAccountKey(t)}
		if stock {
			conf.sessions = "{kind: kv, bucket: sessions}"
		}
		s := conf.start(t, stock)
		js, err := jetstream.New(s.server.Connect(t, userInfo("backend")), jetstream.WithPublishAsyncMaxPending(4096))
		if err != nil {
			t.Fatal(err)
		}
		bucket, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sessions"})
		if err != nil {
			t.Fatal(err)
		}
		empty := s.memory(t)
		for i := range entries {
			if _, err := js.PublishAsync(fmt.Sprint("$KV.sessions.s", i), []byte(`{"user":"alice","roles":["ops"],"n":"1"}`), jetstream.WithStallWait(harness.Timeout)); err != nil {
				t.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
		figure("memory for each entry of a kv bucket in a file", "%.0f B", float64(s.memory(t)-empty)/entries)
		if !stock { // which closes no connection for that
			median, last := closesAfterDelete(t, s.server, bucket)
			figure("from the deletion of one of a million entries to the close of its connection", "%.1f ms at the median, %.1f ms at the 99th percentile", median, last)
		}
		for _, p := range slices.Backward(s.processes) {
			p.Signal(t, syscall.SIGTERM)
			p.Exit(t)
		}
		began := time.Now()
		s = conf.start(t, stock)
		eventuallyIn(t, s.server, nats.Token(fmt.Sprint("s", entries-1)))
		figure("restart with a million entries, until the first connection is in", "%.1f s", time.Since(began).Seconds())
	})
}

// closesAfterDelete is how long it takes to close the connection of an entry that is deleted, in ms: at the median, and at the
// 99th percentile.
func closesAfterDelete(t *testing.T, s *harness.Server, bucket jetstream.KeyValue) (median, last float64) {
	t.Helper()
	var took []time.Duration
	for i := range 200 {
		id := fmt.Sprint("s", i)
		c := s.Connect(t, nats.Token(id))
		closed := make(chan struct{})
		c.SetClosedHandler(func(*nats.Conn) { close(closed) })
		began := time.Now()
		if err := bucket.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		<-closed
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[100].Seconds() * 1000, took[198].Seconds() * 1000
}

// Sessions change on five servers that follow the bucket. A stock server renews no connection.
func TestScaleChanges(t *testing.T) {
	scaleOnly(t)
	f := startFollowers(t, 5, 0, 0)
	f.expectTells(t, 0)
	cpu := time.Duration(0)
	for _, s := range f.servers {
		cpu -= cpuOf(t, s.Process)
	}
	f.change200(t)
	for _, s := range f.servers {
		cpu += cpuOf(t, s.Process)
	}
	var figures scaleFigures
	figures.add(1, "a change of a session with 5 connections on 5 servers", fmt.Sprintf("no message between servers, 5 renewals, %.2f ms of CPU on all servers", cpu.Seconds()*1000/200))
	figures.print()
}
