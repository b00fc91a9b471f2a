package web

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ask sends a request that has to be answered within a time.
func ask(t *testing.T, c *Client, url string, in time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), in)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Do(r)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(in + 10*time.Second):
		t.Fatal("the request does not end with its context")
		return nil
	}
}

// TestSwitched: a server that switches protocols is not read until it ends, which it never does.
func TestSwitched(t *testing.T) {
	closed := make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n{")
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
		close(closed)
	})
	c := client(t, nil, 1)
	if err := ask(t, c, url, 5*time.Second); !errors.Is(err, errSwitched) {
		t.Errorf("found error %v, want %v", err, errSwitched)
	}
	<-closed
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "x")
		w.WriteHeader(http.StatusSwitchingProtocols)
	}), nil)
	if _, err := c.HTTP().Do(r); !errors.Is(err, errSwitched) {
		t.Errorf("by a library: %v; want %v", err, errSwitched)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// deaf is a body whose Read ends neither with the request's context nor with Close.
type deaf struct{ end chan struct{} }

func (d deaf) Read([]byte) (int, error) {
	<-d.end
	return 0, io.EOF
}

func (d deaf) Close() error {
	<-d.end
	return nil
}

// TestDeafBody: a caller waits no longer than its context allows, however a body behaves.
func TestDeafBody(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	c := &Client{&http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: deaf{end}}, nil
	})}}
	if err := ask(t, c, "http://127.0.0.1/", 50*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v; want that the time is over", err)
	}
}

// failover is a load balancer. After silence, what arrives on its open connections is lost.
type failover struct {
	net.Listener
	to    string
	era   atomic.Int64
	conns atomic.Int64
}

func (f *failover) run() {
	for {
		from, err := f.Accept()
		if err != nil {
			return
		}
		f.conns.Add(1)
		to, err := net.Dial("tcp", f.to)
		if err != nil {
			return
		}
		go f.pipe(from, to, f.era.Load())
		go f.pipe(to, from, f.era.Load())
	}
}

func (f *failover) pipe(from, to net.Conn, era int64) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			_ = to.Close()
			return
		}
		if f.era.Load() == era {
			_, _ = to.Write(buffer[:n])
		}
	}
}

// TestFailover: after one request without an answer in time, the client gives up its idle connections, and the next request
// makes a new one. Half an answer counts as none.
func TestFailover(t *testing.T) {
	for _, name := range []string{"no answer", "half an answer"} {
		t.Run(name, func(t *testing.T) {
			const together = 8
			var all sync.WaitGroup
			var stall atomic.Bool
			gate := make(chan struct{}, together)
			open := make(chan struct{})
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/wait" {
					gate <- struct{}{}
					<-open
				}
				if stall.Load() {
					w.Header().Set("Content-Length", "9")
					_, _ = io.WriteString(w, "{")
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}
				_, _ = io.WriteString(w, "{}")
			}))
			t.Cleanup(s.Close)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			f := &failover{Listener: l, to: strings.TrimPrefix(s.URL, "http://")}
			go f.run()
			url := "http://" + l.Addr().String()
			c := client(t, nil, together)
			for range together {
				all.Go(func() {
					if err := ask(t, c, url+"/wait", 10*time.Second); err != nil {
						t.Error(err)
					}
				})
			}
			for range together {
				<-gate
			}
			close(open)
			all.Wait()
			if name == "no answer" {
				f.era.Add(1)
			} else {
				stall.Store(true)
			}
			if err := ask(t, c, url, 200*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("expected the deadline to end a request without an answer; found %v", err)
			}
			f.era.Add(1)
			stall.Store(false)
			before := f.conns.Load()
			if err := ask(t, c, url, 5*time.Second); err != nil {
				t.Errorf("the request after one without an answer failed: %v", err)
			}
			if f.conns.Load() != before+1 {
				t.Errorf("%d connections were made; want 1", f.conns.Load()-before)
			}
		})
	}
}
