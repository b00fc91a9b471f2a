package callout

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// silent listens, accepts, and says nothing. accepted counts the connections.
func silent(t *testing.T) (address string, accepted *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int64)
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
			accepted.Add(1)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
		for _, conn := range conns {
			conn.Close()
		}
	})
	return listener.Addr().String(), accepted
}

// manySilent are more servers than could be asked one after another while the test waits.
func manySilent(t *testing.T) (urls []string, accepted func() int64) {
	t.Helper()
	var all []*atomic.Int64
	for range 40 {
		address, n := silent(t)
		urls, all = append(urls, "nats://"+address), append(all, n)
	}
	return urls, func() (sum int64) {
		for _, n := range all {
			sum += n.Load()
		}
		return sum
	}
}

// soon fails the test if f does not return.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not return in time", what)
	}
}

// Servers that accept TCP and say nothing delay neither the start nor the end of a handler.
func TestSilentServers(t *testing.T) {
	urls, accepted := manySilent(t)
	c := &Connect{URLs: urls, System: &Connect{}, accounts: map[string]*Connect{"APP": {}}}
	log := slog.New(slog.DiscardHandler)
	life, end := context.WithCancel(t.Context())
	defer end()
	accounts := newAccountConns(life, c, log)
	var system *systemLink
	soon(t, "the begin of connections", func() {
		if _, err := accounts.in("APP"); err != nil {
			t.Error(err)
		}
		var err error
		if system, err = c.dialSystem(life, log, func() {}); err != nil {
			t.Error(err)
		}
	})
	given := errors.New("given up")
	ctx, giveUp := context.WithCancelCause(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := c.Dial(ctx, log, nil)
		result <- err
	}()
	eventually(t, "all have begun", func() bool { return accepted() >= 3 })
	giveUp(given)
	soon(t, "Dial", func() {
		if err := <-result; !errors.Is(err, given) {
			t.Error(err)
		}
	})
	soon(t, "Close", func() {
		accounts.close()
		system.Close()
	})
	if conn, err := system.dialer.Dial("tcp", strings.TrimPrefix(urls[0], "nats://")); err == nil {
		conn.Close()
		t.Error("the dialer connects after Close")
	}
}

// A resolver that does not answer does not delay them either.
func TestSilentResolver(t *testing.T) {
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	asked := make(chan struct{}, 100)
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked <- struct{}{}
		<-t.Context().Done() // whatever ctx says
		return nil, context.Canceled
	}}
	ctx, giveUp := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := (&Connect{URLs: []string{"nats://nats.example.test:4222"}}).Dial(ctx, slog.New(slog.DiscardHandler), nil)
		result <- err
	}()
	<-asked
	giveUp()
	soon(t, "Dial", func() {
		if err := <-result; err == nil {
			t.Error("Dial connected, though the resolver gave no answer")
		}
	})
}
