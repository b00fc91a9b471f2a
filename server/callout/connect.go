package callout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/server/callout/limited"
	"stamp/server/conf"
)

// Connect is how a handler in a process of its own reaches NATS.
type Connect struct {
	URLs        []string       `conf:"urls"`
	Creds       string         `conf:"creds"` // path
	Nkey        conf.Secret    `conf:"nkey"`  // seed
	User        string         `conf:"user"`
	Password    conf.Secret    `conf:"password"`
	Token       conf.Secret    `conf:"token"`
	TLS         *conf.TLSFiles `conf:"tls"`
	InboxPrefix string         `conf:"inbox_prefix"`
	// Sentinel is the path of the creds that clients connect with in operator mode,
	// so that readiness can be probed as a client.
	Sentinel string `conf:"sentinel"`
	// System is the login of a user of the system account, who asks the servers to renew and to
	// close the connections of sessions that change. Where it says nothing, urls and tls are
	// those above.
	System *Connect `conf:"system"`
	// Accounts are logins of other accounts, by the name that a source gives in account, for buckets that
	// are there. Where they say nothing, urls and tls are those above.
	Accounts map[string]conf.Node `conf:"accounts"`

	accounts map[string]*Connect
}

// loginsIn are the fields of a block that say as whom to log in.
func loginsIn(n conf.Node) []string {
	var found []string
	for _, name := range []string{"creds", "nkey", "user", "token"} {
		if n.Has(name) {
			found = append(found, name)
		}
	}
	return found
}

// Dial connects. It waits for a server that is not there yet, until ctx ends; a server that refuses the login is an
// error. Once there was a connection it is made anew for as long as it takes, whatever the server says, since users
// and accounts come back too. failed is told why an attempt failed; it may be nil.
func (c *Connect) Dial(ctx context.Context, log *slog.Logger, failed func(error)) (*nats.Conn, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	defer stop()
	d := newDialing(life, log, failed)
	l, err := c.dial(d)
	if err == nil {
		err = d.wait(ctx, l)
	}
	if err != nil {
		end()
		l.Close()
		return nil, err
	}
	return l.Conn, nil
}

// dialing is an attempt to connect, and what becomes of the connection.
type dialing struct {
	*dialer
	log     *slog.Logger
	limited *limited.Log
	failed  func(error)
	back    func()
	refused chan error // the server refused the login before there was a connection

	connected atomic.Bool
	refusals  atomic.Int32
	last      atomic.Pointer[error] // why the last attempt failed
}

func newDialing(life context.Context, log *slog.Logger, failed func(error)) *dialing {
	return &dialing{dialer: newDialer(life), log: log, limited: limited.New(log), failed: failed, refused: make(chan error, 1)}
}

// refusedLogin is how often a login is refused until that is taken for an answer.
const refusedLogin = 2

// dial begins to connect, and waits for nothing.
func (c *Connect) dial(d *dialing) (*link, error) {
	options := append(c.options(), c.login()...)
	options = append(options, d.options()...)
	options = append(options,
		nats.Name("nats-callout"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		// A user that a reload of the server has taken away may come back with the next one.
		nats.IgnoreAuthErrorAbort(), nats.CustomReconnectDelay(d.pause),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { d.attempt(err) }),
		nats.ConnectHandler(func(nc *nats.Conn) { d.arrived(nc) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { d.arrived(nc) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { d.lost(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { d.trouble(sub, err) }),
	)
	nc, err := nats.Connect(c.servers(), options...)
	d.begin()
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return &link{Conn: nc, dialer: d.dialer}, nil
}

// redial is how long a connection waits before it tries again. A server that was just started again refuses whoever
// needs a callout until a handler is back, so the first attempts are close together.
func redial(attempts int) time.Duration {
	const eager = 30
	wait := 100 * time.Millisecond << min(max(attempts-eager, 0), 5)
	return wait + rand.N(wait/4)
}

// attempt is told of an attempt that failed.
func (d *dialing) attempt(err error) {
	if errors.Is(err, errNotYet) || d.life.Err() != nil {
		return
	}
	d.last.Store(&err)
	d.log.Warn("cannot connect to NATS, trying again", "error", err)
	if d.failed != nil {
		d.failed(err)
	}
	if d.connected.Load() || !isRefusal(err) || d.refusals.Add(1) < refusedLogin {
		return
	}
	select {
	case d.refused <- err:
	default:
	}
}

// isRefusal tells whether a server refused the login, as opposed to not being there.
func isRefusal(err error) bool {
	for _, refusal := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

func (d *dialing) arrived(nc *nats.Conn) {
	d.connected.Store(true)
	d.up.Store(true)
	d.log.Info("connected to NATS", "server", nc.ConnectedServerName())
	if d.back != nil {
		d.back()
	}
}

func (d *dialing) lost(err error) {
	d.up.Store(false)
	d.log.Warn("disconnected from NATS", "error", err)
}

// trouble is told what goes wrong beside requests and answers: a permission that is missing, or a subscription that
// is too slow.
func (d *dialing) trouble(sub *nats.Subscription, err error) {
	attributes := []any{"error", err}
	if sub != nil {
		attributes = append(attributes, "subject", sub.Subject)
	}
	d.limited.Error("NATS", "NATS", attributes...)
}

// wait waits until nc is connected.
func (d *dialing) wait(ctx context.Context, nc *link) error {
	status := nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING)
	defer nc.RemoveStatusListener(status)
	for !nc.IsConnected() {
		select {
		case <-status:
			// nats.go calls no handler for a login that is refused when it tries again.
			if err := nc.LastError(); isRefusal(err) {
				d.attempt(err)
			}
		case err := <-d.refused:
			return fmt.Errorf("connect to NATS: the server refuses the login of connect: %w; is the login right, and is its user in auth_users of the server's auth_callout or of the account's JWT?", err)
		case <-ctx.Done():
			// What went wrong last tells more than that the time is over.
			if last := d.last.Load(); last != nil {
				return fmt.Errorf("connect to NATS: %w: %w", context.Cause(ctx), *last)
			}
			return fmt.Errorf("connect to NATS: %w", context.Cause(ctx))
		}
	}
	return nil
}

// Probe connects as a client with that token. It is given up when life ends.
func (c *Connect) Probe(life context.Context, token string) (*nats.Conn, error) {
	d := newDialer(life)
	d.begin()
	full := &fullDialer{dialer: d}
	options := append(c.options(), d.options()...)
	if c != nil && c.Sentinel != "" {
		options = append(options, nats.UserCredentials(c.Sentinel))
	}
	nc, err := nats.Connect(c.servers(), append(options, nats.Name("stamp-probe"), nats.Token(token), nats.NoReconnect(), nats.SetCustomDialer(full))...)
	if err != nil && full.full.Load() {
		return nil, nats.ErrMaxConnectionsExceeded
	}
	return nc, err
}

func (c *Connect) servers() string {
	if c == nil || len(c.URLs) == 0 {
		return nats.DefaultURL
	}
	return strings.Join(c.URLs, ",")
}

func (c *Connect) options() []nats.Option {
	if c == nil {
		return nil
	}
	var out []nats.Option
	if c.InboxPrefix != "" {
		out = append(out, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	if c.TLS == nil {
		return out
	}
	out = append(out, nats.Secure())
	if c.TLS.CA != "" {
		out = append(out, nats.RootCAs(c.TLS.CA))
	}
	if c.TLS.Cert != "" {
		out = append(out, nats.ClientCert(c.TLS.Cert, c.TLS.Key))
	}
	return out
}

func (c *Connect) login() []nats.Option {
	switch {
	case c == nil:
	case c.Creds != "":
		return []nats.Option{nats.UserCredentials(c.Creds)}
	case c.Nkey != "":
		kp, err := nkeys.FromSeed([]byte(c.Nkey.Reveal()))
		if err != nil {
			break // check has seen to that
		}
		return []nats.Option{nats.Nkey(public(kp), kp.Sign)}
	case c.User != "":
		return []nats.Option{nats.UserInfo(c.User, c.Password.Reveal())}
	case c.Token != "":
		return []nats.Option{nats.Token(c.Token.Reveal())}
	}
	return nil
}
