package test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stamp/test/harness"
)

// loadConf has a source over HTTP, and a long time-out: with the default of two seconds, some of ten thousand clients that come
// at once would have to try again.
const loadConf = `
	accounts { APP { users: [{user: backend, password: backend}] } }
	authorization { timeout: 60 }
	callout {
		sessions: [{kind: http, url: %q, header: Authorization, scheme: Bearer, cache: 600, timeout: 20, %s}]
		grants: [{account: APP, publish: ">", subscribe: ">", expires: "1h", headers: {X-User: "{{ session.user }}"}}]
	}`

// slowApplication answers after hold is closed, and counts.
func slowApplication(t *testing.T, hold <-chan struct{}) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-hold
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"user":%q}`, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

// knock connects with a token and returns the connection when it was let in.
func knock(addr, token string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, harness.Timeout)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(3 * harness.Timeout)) // a TCP connection takes one
	if _, err := fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"auth_token\":%q}\r\nPING\r\n", token); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<16)
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == "PONG":
			return conn, nil
		case strings.HasPrefix(line, "-ERR"):
			conn.Close()
			return nil, errors.New(line)
		}
	}
	conn.Close()
	return nil, fmt.Errorf("closed: %w", lines.Err())
}

// Ten thousand clients that come back at once all get in, with as many look-ups as
// there are sessions.
func TestTenThousandAtOnce(t *testing.T) {
	const clients, sessions = 10_000, 500
	if testing.Short() {
		t.Skip("takes some seconds of all CPUs")
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Max < clients+1000 {
		t.Skipf("a process may open %d files here, and needs %d", files.Max, clients+1000)
	}
	hold := make(chan struct{})
	url, asked := slowApplication(t, hold)
	close(hold)
	s := harness.Start(t, fmt.Sprintf(loadConf, url, ""))
	addr := s.Addr(t)
	conns := make([]net.Conn, clients)
	var in atomic.Int64
	var first sync.Once
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			conn, err := knock(addr, fmt.Sprintf("session%d", i%sessions))
			if err != nil {
				first.Do(func() { t.Errorf("a client was not let in: %v", err) })
				return
			}
			conns[i] = conn
			in.Add(1)
		})
	}
	all.Wait()
	if got := s.Varz(t).Connections; in.Load() != clients || got < clients {
		t.Errorf("%d of %d got in, the server has %d", in.Load(), clients, got)
	}
	if n := asked.Load(); n != sessions {
		t.Errorf("the application was asked %d times for %d sessions", n, sessions)
	}
	for _, conn := range conns {
		if conn != nil {
			conn.Close()
		}
	}
}

// If too many look-ups wait, further connections are closed at once. A client whose session is cached does not wait behind
// them.
func TestOverloadIsAnsweredAtOnce(t *testing.T) {
	hold := make(chan struct{})
	url, asked := slowApplication(t, hold)
	s := harness.Start(t, fmt.Sprintf(loadConf, url, "concurrency: 3, queue: 3"))
	addr := s.Addr(t)
	known := make(chan struct{})
	go func() {
		defer close(known)
		if conn, err := knock(addr, "known"); err == nil {
			conn.Close()
		}
	}()
	harness.Eventually(t, "the first is asked for", func() bool { return asked.Load() == 1 })
	hold <- struct{}{} // lets one answer through
	<-known

	results := make(chan error)
	for i := range 20 {
		go func() {
			conn, err := knock(addr, fmt.Sprintf("unknown%d", i))
			if err == nil {
				conn.Close()
			}
			results <- err
		}()
	}
	for range 15 { // 2 are asked for, since one of 3 look-ups is for renewals, and 3 wait
		if err := <-results; err == nil || !strings.HasPrefix(err.Error(), "closed") {
			t.Errorf("above the bound, expected the connection to be closed at once; found %v", err)
		}
	}
	s.WaitLog(t, "overloaded: too many session look-ups are under way")
	conn, err := knock(addr, "known")
	if err != nil {
		t.Fatalf("a known client waits behind unknown ones: %v", err)
	}
	conn.Close()
	close(hold)
	for range 5 {
		if err := <-results; err != nil {
			t.Errorf("within the bound, a connection was refused: %v", err)
		}
	}
}
