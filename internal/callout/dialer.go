package callout

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// nats.go holds the lock of a connection while it resolves a name, dials, and waits for the
// server's INFO. Everything else that uses or closes the connection waits for that lock: for
// seconds with a server that accepts TCP and sends nothing, or with a resolver that does not
// answer. So connections are made by the dialer in this file. When the life of the connection ends,
// it stops and closes what it has dialed.

// dialer dials for one connection.
type dialer struct {
	life context.Context
	end  context.CancelFunc

	begun   atomic.Bool // it may dial
	dialled atomic.Bool
	up      atomic.Bool // there is a connection, and no newer one is being made
}

func newDialer(life context.Context) *dialer {
	d := &dialer{}
	d.life, d.end = context.WithCancel(life)
	return d
}

// errNotYet makes nats.Connect itself fail at once, because it would wait for one server after
// another. nats.go then continues in the background.
var errNotYet = errors.New("not yet")

// begin permits the dialer to dial.
func (d *dialer) begin() { d.begun.Store(true) }

// options returns the options that make nats.go use the dialer, also to resolve names.
func (d *dialer) options() []nats.Option {
	return []nats.Option{nats.SetCustomDialer(d), func(o *nats.Options) error {
		o.SkipHostLookup = true
		return nil
	}}
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	d.up.Store(false)
	if !d.begun.Load() {
		return nil, errNotYet
	}
	d.dialled.Store(true)
	ctx, cancel := context.WithTimeout(d.life, nats.DefaultTimeout)
	defer cancel()
	conn, err := dialAny(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &dialledConn{conn, context.AfterFunc(d.life, func() { _ = conn.Close() })}, nil
}

// dialAny connects to one of the addresses of a name. The order is random, so that clients are
// spread over the addresses.
func dialAny(ctx context.Context, network, address string) (conn net.Conn, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	found, err := addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	for i, one := range found {
		if conn, err = dialOne(ctx, network, net.JoinHostPort(one, port), len(found)-i); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// addresses returns the IP addresses of a host.
func addresses(ctx context.Context, host string) ([]string, error) {
	if net.ParseIP(host) != nil {
		return []string{host}, nil
	}
	// Not LookupHost, which waits for the resolver even after ctx has ended.
	all, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	found := make([]string, len(all))
	for i, one := range all {
		found[i] = one.String()
	}
	return found, err
}

// dialOne connects to an address. It uses a fair share of the time that is left.
func dialOne(ctx context.Context, network, address string, shares int) (net.Conn, error) {
	dialer := net.Dialer{}
	if end, ok := ctx.Deadline(); ok {
		dialer.Timeout = max(time.Until(end)/time.Duration(shares), time.Millisecond)
	}
	return dialer.DialContext(ctx, network, address)
}

// pause returns the pause before the next attempt. There is none before the first.
func (d *dialer) pause(attempts int) time.Duration {
	if !d.dialled.Load() && d.life.Err() == nil {
		return 0
	}
	return redial(attempts)
}

// dialledConn is closed when the life of its dialer ends.
type dialledConn struct {
	net.Conn
	stop func() bool
}

// Close implements net.Conn.
func (c *dialledConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// link is a connection with its dialer.
type link struct {
	*nats.Conn
	*dialer
}

// release ends the life of a link that is not connected, so that nobody waits for its lock.
func (l *link) release() {
	if !l.up.Load() {
		l.end()
	}
}

// Close closes the connection. If it is connected, it first sends what is in its buffer.
func (l *link) Close() {
	if l == nil {
		return
	}
	l.release()
	l.Conn.Close()
	l.end()
}
