package redis

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fallibleProxy passes bytes on to a server. It forwards nothing before it has a number of connections, so that a pool has
// them all at once, and nothing on those that it has when it fails over.
type fallibleProxy struct {
	net.Listener
	to       string
	together int
	conns    atomic.Int64
	era      atomic.Int64
	ready    chan struct{}
}

func startProxy(t *testing.T, to string, together int) *fallibleProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &fallibleProxy{Listener: l, to: to, together: together, ready: make(chan struct{})}
	go p.run(t)
	return p
}

func (p *fallibleProxy) run(t *testing.T) {
	for {
		from, err := p.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("unix", p.to)
		if err != nil {
			_ = from.Close()
			continue
		}
		t.Cleanup(func() { _, _ = from.Close(), to.Close() })
		if int(p.conns.Add(1)) == p.together {
			close(p.ready)
		}
		era := p.era.Load()
		go p.pass(from, to, era)
		go p.pass(to, from, era)
	}
}

func (p *fallibleProxy) pass(from, to net.Conn, era int64) {
	<-p.ready
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			_ = to.Close()
			return
		}
		if p.era.Load() != era {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		_, _ = to.Write(buffer[:n])
	}
}

// A command that gets no answer is sent again, by a new connection, long before a long timeout is over; and no look-up after
// it waits for another one of the connections that were open then.
func TestNoAnswerOnOldConnections(t *testing.T) {
	const together = 6
	server := startRedis(t, "")
	server.do(t, "", "SET", "sess:a", `{"user":"alice"}`)
	p := startProxy(t, server.socket, together)
	s := open(t, fmt.Sprintf("url: \"redis://%s\"", p.Addr()))
	s.(*source).cfg.Timeout = 8 * time.Second // so that an answer is waited for two seconds
	var all sync.WaitGroup
	for range together {
		all.Go(func() {
			if _, err := find(t, s, "a"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	p.era.Add(1)
	for n := range 3 {
		if _, err := find(t, s, "a"); err != nil {
			t.Fatalf("look-up %d after the connections are silent: %v", n+1, err)
		}
	}
	if n := p.conns.Load(); n != together+1 {
		t.Errorf("%d connections were made after the others are silent, want 1", n-together)
	}
}
