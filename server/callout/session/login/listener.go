package login

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// An address is listened on once in the process. At a reload the new source opens it while the old one still has it:
// from then on the new one gets the connections. If the new one ends first, because the reload fails, the old one gets
// them again. The socket is closed with the last of them, so no connection is refused in between.
var addresses struct {
	sync.Mutex
	open map[string]*address
}

// address is a socket that listens, with those who have opened it.
type address struct {
	net.Listener
	key string

	mu     sync.Mutex
	owners []*share // the last one gets the connections
	closed bool
	err    error // why no more are accepted; nil: they are
}

// share is an owner's part of an address. It is a net.Listener.
type share struct {
	*address
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// listen opens an address, or takes part in it. It is an error when another process has it.
func listen(text string) (net.Listener, error) {
	resolved, err := net.ResolveTCPAddr("tcp", text)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	key := resolved.String()
	addresses.Lock()
	defer addresses.Unlock()
	a := addresses.open[key]
	if a == nil {
		listener, err := net.Listen("tcp", text)
		if err != nil {
			return nil, err // it names the address
		}
		a = &address{Listener: listener, key: key}
		if resolved.Port != 0 { // otherwise each gets a port of its own
			if addresses.open == nil {
				addresses.open = map[string]*address{}
			}
			addresses.open[key] = a
		}
		defer func() { go a.accept() }()
	}
	s := &share{address: a, conns: make(chan net.Conn), done: make(chan struct{})}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.owners = append(a.owners, s)
	return s, nil
}

// acceptPause is how long a process without free file descriptors waits until it accepts again.
const acceptPause = 50 * time.Millisecond

func (a *address) accept() {
	for {
		conn, err := a.Listener.Accept()
		var temporary interface{ Temporary() bool }
		switch {
		case err == nil:
			a.hand(conn)
		case errors.As(err, &temporary) && temporary.Temporary():
			time.Sleep(acceptPause)
		default:
			a.fail(err)
			return
		}
	}
}

// hand gives a connection to the owner that was the last to come.
func (a *address) hand(conn net.Conn) {
	for owner := a.last(); owner != nil; owner = a.last() {
		select {
		case owner.conns <- conn:
			return
		case <-owner.done: // the one before it, if any
		}
	}
	_ = conn.Close()
}

func (a *address) last() *share {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.owners) == 0 {
		return nil
	}
	return a.owners[len(a.owners)-1]
}

// fail ends all shares: their servers see the error.
func (a *address) fail(err error) {
	addresses.Lock()
	defer addresses.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
	a.forget()
	for _, s := range a.owners {
		s.end()
	}
}

func (s *share) end() { s.once.Do(func() { close(s.done) }) }

// Accept implements net.Listener.
func (s *share) Accept() (net.Conn, error) {
	select {
	case conn := <-s.conns:
		return conn, nil
	case <-s.done:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (s *share) Close() error {
	addresses.Lock()
	defer addresses.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owners = slices.DeleteFunc(s.owners, func(o *share) bool { return o == s })
	s.end()
	if len(s.owners) > 0 || s.closed {
		return nil
	}
	s.closed = true
	s.forget()
	return s.Listener.Close()
}

// forget lets the next one who opens the address begin anew. The lock of addresses is held.
func (a *address) forget() {
	if addresses.open[a.key] == a {
		delete(addresses.open, a.key)
	}
}
