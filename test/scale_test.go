package test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
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

func scaleRow(what, format string, args ...any) {
	fmt.Printf("| %s | %s |\n", what, fmt.Sprintf(format, args...))
}

// cpuOf returns how much CPU time a server has taken, in ticks of 10 ms.
func cpuOf(t *testing.T, s *harness.Server) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
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
	var asked, refused atomic.Int64
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		time.Sleep(50 * time.Millisecond)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"user":"alice"}`))
	}))
	t.Cleanup(site.Close)
	s := harness.Start(t, fmt.Sprintf(`
		accounts { AUTH {}, APP {}, SYS { users: [{user: sys, password: sys}] } }
		system_account: SYS
		authorization { timeout: 30 } # until CONNECT is read: clients and server share the machine
		callout {
			account: AUTH, issuer: %s
			sessions: [{kind: http, url: %q, timeout: "40s"}]
			grants: [{account: APP, publish: ">", subscribe: ">"}]
		}`, harness.Seed(t, harness.NewAccountKey(t)), site.URL))
	c := &tokenCrowd{}
	defer c.close()
	began, cpu := time.Now(), cpuOf(t, s)
	var storm sync.WaitGroup
	for i := range clients {
		storm.Go(func() {
			if err := c.come(s.Addr(t), fmt.Sprint("token", i)); err != nil && refused.Add(1) == 1 {
				t.Error(err)
			}
		})
	}
	storm.Wait()
	took, cpu := time.Since(began), cpuOf(t, s)-cpu
	scaleRow("10,000 clients at once, a source of 50 ms: all in after", "%.1f s; %d look-ups, %d refused; %.2f ms of the server's CPU each", took.Seconds(), asked.Load(), refused.Load(), cpu.Seconds()*1000/clients)
	if refused.Load() != 0 || asked.Load() != clients {
		t.Errorf("%d clients were refused and %d look-ups were made, want 0 and one for each client", refused.Load(), asked.Load())
	}
	measureByUser(t, s, clients)
}

// measureByUser requests a renewal of the connections of a user that has none.
func measureByUser(t *testing.T, s *harness.Server, clients int) {
	t.Helper()
	sys := s.Connect(t, userInfo("sys"))
	var took []time.Duration
	for range 100 {
		began := time.Now()
		request(t, sys, forwarded.RenewAll, `{"user":"nobody"}`)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	scaleRow(fmt.Sprintf("a request to renew by user, with %d connections of others", clients), "%.2f ms at the median", took[len(took)/2].Seconds()*1000)
}

// All connections are of one session.
func TestScaleSharedSession(t *testing.T) {
	scaleOnly(t)
	const step, steps = 2500, 4
	s := harness.Start(t, fmt.Sprintf(`
		accounts { AUTH {}, APP {}, SYS { users: [{user: sys, password: sys}] } }
		system_account: SYS
		callout {
			account: AUTH, issuer: %s
			sessions: [{kind: anonymous}]
			grants: [{account: APP, publish: ">", subscribe: ">"}]
		}`, harness.Seed(t, harness.NewAccountKey(t))))
	c := &tokenCrowd{}
	defer c.close()
	for i := range steps {
		before := cpuOf(t, s)
		for range step {
			if err := c.come(s.Addr(t), ""); err != nil {
				t.Fatal(err)
			}
		}
		scaleRow(fmt.Sprintf("connections %d to %d of one session", i*step+1, (i+1)*step), "%.2f ms of the server's CPU each", (cpuOf(t, s)-before).Seconds()*1000/step)
	}
}

// A bucket has a million entries, in a file.
func TestScaleBucket(t *testing.T) {
	scaleOnly(t)
	const entries = 1_000_000
	conf := fmt.Sprintf(`
		accounts { AUTH { jetstream: enabled, users: [{user: backend, password: backend}] }, APP {}, SYS { users: [{user: sys, password: sys}] } }
		system_account: SYS
		jetstream { store_dir: %q }
		callout {
			account: AUTH, issuer: %s
			sessions: [{kind: kv, bucket: sessions, account: AUTH}]
			grants: [{account: APP, publish: ">", subscribe: ">"}]
		}`, t.TempDir(), harness.Seed(t, harness.NewAccountKey(t)))
	s := harness.Start(t, conf)
	nc := s.Connect(t, userInfo("backend"))
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sessions"})
	if err != nil {
		t.Fatal(err)
	}
	empty := s.Varz(t).Mem
	for i := range entries {
		if _, err := js.PublishAsync(fmt.Sprint("$KV.sessions.s", i), []byte(`{"user":"alice","roles":["ops"],"n":"1"}`), jetstream.WithStallWait(harness.Timeout)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	scaleRow("memory of a server with the handler inside, for each entry of a kv bucket in a file", "%.0f B", float64(s.Varz(t).Mem-empty)/entries)
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
	scaleRow("from the deletion of one of a million entries to the close of its connection", "%.1f ms at the median, %.1f ms at the 99th percentile", took[100].Seconds()*1000, took[198].Seconds()*1000)
	s.Signal(t, syscall.SIGTERM)
	s.Exit(t)
	began := time.Now()
	s = harness.Start(t, conf)
	eventuallyIn(t, s, nats.Token(fmt.Sprint("s", entries-1)))
	scaleRow("restart of a server with a million entries, until the first connection is in", "%.1f s", time.Since(began).Seconds())
}

// Sessions change on five servers that follow the bucket.
func TestScaleChanges(t *testing.T) {
	scaleOnly(t)
	f := startFollowers(t, 5, 0, 0)
	f.expectTells(t, 0)
	cpu := time.Duration(0)
	for _, s := range f.servers {
		cpu -= cpuOf(t, s)
	}
	f.change200(t)
	for _, s := range f.servers {
		cpu += cpuOf(t, s)
	}
	scaleRow("a change of a session with 5 connections on 5 servers", "no message between servers, 5 renewals, %.2f ms of CPU on all servers", cpu.Seconds()*1000/200)
}
