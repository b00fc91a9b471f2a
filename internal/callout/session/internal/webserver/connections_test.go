package webserver

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stamp/internal/callout/session/internal/sourcetest"
)

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Clients that do not read their answers lose their connections to others.
func TestUnreadAnswersGiveWay(t *testing.T) {
	c := newConnections(2)
	server := httptest.NewUnstartedServer(c.tracked(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Working(r)
		for piece := make([]byte, 1<<16); r.URL.Path == "/long"; {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})))
	server.Config.ConnContext, server.Config.ConnState = c.add, c.stateChanged
	server.Start()
	defer server.Close()
	for range 2 {
		conn := sourcetest.Dial(t, server.Listener.Addr().String(), "GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatalf("the answer did not begin: %v", err)
		}
		defer func() { _ = conn.Close() }() // the end of the server waits for it
	}
	answer, err := http.Get(server.URL + "/")
	if err != nil {
		t.Fatal("a visitor gets no answer")
	}
	_ = answer.Body.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) > 2 {
		t.Errorf("%d connections are open, want 2 or less", len(c.open))
	}
}

// With TLS, the same bound holds.
func TestConnectionsOverTLS(t *testing.T) {
	hold, inside := make(chan struct{}), make(chan struct{}, 10)
	c := newConnections(2)
	server := httptest.NewUnstartedServer(c.tracked(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Working(r)
		if r.URL.Path == "/hold" {
			inside <- struct{}{}
			<-hold
		}
	})))
	var came atomic.Int64
	server.Config.ConnState = c.stateChanged
	server.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		defer came.Add(1)
		return c.add(ctx, conn)
	}
	server.StartTLS()
	defer server.Close()
	waiting := func() (open, waiting int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.open), c.waiting.Len()
	}
	var work sync.WaitGroup
	client := server.Client()
	for range 2 {
		work.Go(func() {
			answer, err := client.Get(server.URL + "/hold")
			if err != nil {
				t.Error(err)
				return
			}
			_ = answer.Body.Close()
		})
	}
	<-inside
	<-inside
	if open, waiting := waiting(); open != 2 || waiting != 0 {
		t.Errorf("%d connections are open and %d wait, want 2 and 0", open, waiting)
	}
	// Many connections that say nothing do not displace the busy ones.
	const silent = 5
	for range silent {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	eventually(t, "all connections to come", func() bool { return came.Load() == 2+silent })
	if open, waiting := waiting(); open != 2 || waiting != 0 {
		t.Errorf("after all have come, %d connections are open and %d wait, want 2 and 0", open, waiting)
	}
	close(hold)
	work.Wait()
	eventually(t, "the end of the requests", func() bool { _, waiting := waiting(); return waiting > 0 })
	eventually(t, "the end of the connections", func() bool { c.closeIdle(); open, _ := waiting(); return open == 0 })
}
