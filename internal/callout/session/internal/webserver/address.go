package webserver

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// openAddresses are the addresses on which this process listens.
//
// A process listens on each address once. At a reload, the new owner opens the address while the old
// one still has it. From then on the new owner gets the connections. If the new owner ends first,
// because the reload fails, the old one gets them again. The socket is closed with its last owner, so
// that no connection is refused in between.
var openAddresses struct {
	sync.Mutex
	byKey map[string]*address
}

// address is a listening socket with its owners.
type address struct {
	net.Listener
	key string

	mu     sync.Mutex
	owners []*share // the last one gets the connections
	closed bool
	err    error // why no more connections are accepted; nil: they are
}

// share is what an owner has of an address. It is a net.Listener.
type share struct {
	*address
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// Listen listens on an address such as "127.0.0.1:8090". If the process already listens on it, the
// caller becomes its newest owner. It is an error if another process listens on it.
func Listen(text string) (net.Listener, error) {
	resolved, err := net.ResolveTCPAddr("tcp", text)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	key := resolved.String()
	openAddresses.Lock()
	defer openAddresses.Unlock()
	a := openAddresses.byKey[key]
	if a == nil {
		listener, err := net.Listen("tcp", text)
		if err != nil {
			return nil, err // it names the address
		}
		a = &address{Listener: listener, key: key}
		if resolved.Port != 0 { // with port 0, each owner gets a port of its own
			if openAddresses.byKey == nil {
				openAddresses.byKey = map[string]*address{}
			}
			openAddresses.byKey[key] = a
		}
		defer func() { go a.accept() }()
	}
	s := &share{address: a, conns: make(chan net.Conn), done: make(chan struct{})}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.owners = append(a.owners, s)
	return s, nil
}

// acceptPause is the pause before the next try to accept when the process has no free file
// descriptors.
const acceptPause = 50 * time.Millisecond

// accept accepts connections until the socket is closed or fails.
func (a *address) accept() {
	for {
		conn, err := a.Listener.Accept()
		var temporary interface{ Temporary() bool }
		switch {
		case err == nil:
			a.deliver(conn)
		case errors.As(err, &temporary) && temporary.Temporary():
			time.Sleep(acceptPause)
		default:
			a.fail(err)
			return
		}
	}
}

// deliver gives a connection to the newest owner. If that one ends first, the one before it gets the
// connection.
func (a *address) deliver(conn net.Conn) {
	for owner := a.newestOwner(); owner != nil; owner = a.newestOwner() {
		select {
		case owner.conns <- conn:
			return
		case <-owner.done:
		}
	}
	_ = conn.Close()
}

func (a *address) newestOwner() *share {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.owners) == 0 {
		return nil
	}
	return a.owners[len(a.owners)-1]
}

// fail makes Accept of all owners return an error.
func (a *address) fail(err error) {
	openAddresses.Lock()
	defer openAddresses.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
	a.remove()
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
	openAddresses.Lock()
	defer openAddresses.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owners = slices.DeleteFunc(s.owners, func(o *share) bool { return o == s })
	s.end()
	if len(s.owners) > 0 || s.closed {
		return nil
	}
	s.closed = true
	s.remove()
	return s.Listener.Close()
}

// remove removes the address, so that the next Listen opens a new socket. The lock of openAddresses
// is held.
func (a *address) remove() {
	if openAddresses.byKey[a.key] == a {
		delete(openAddresses.byKey, a.key)
	}
}
