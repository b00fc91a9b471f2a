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

	"stamp/internal/callout/limited"
	"stamp/internal/conf"
)

// Connect is the block that says how a handler in a process of its own connects to NATS.
type Connect struct {
	URLs        []string       `conf:"urls"`
	Creds       string         `conf:"creds"` // path of a creds file
	Nkey        conf.Secret    `conf:"nkey"`  // seed of a user nkey
	User        string         `conf:"user"`
	Password    conf.Secret    `conf:"password"`
	Token       conf.Secret    `conf:"token"`
	TLS         *conf.TLSFiles `conf:"tls"`
	InboxPrefix string         `conf:"inbox_prefix"`
	// Sentinel is the path of the creds with which clients connect in operator mode. Readiness
	// probes connect with it as a client would.
	Sentinel string `conf:"sentinel"`
	// System is the login of a user of the system account. With it the handler asks servers to
	// renew or close the connections of sessions that change. Its default urls and tls are those of
	// this block.
	System *Connect `conf:"system"`
	// Accounts are logins of other accounts, for sources whose bucket is there. Keys are the
	// account names that sources use. Default urls and tls are those of this block.
	Accounts map[string]conf.Node `conf:"accounts"`

	accounts map[string]*Connect
}

// loginsIn returns the fields of a block that say which user logs in.
func loginsIn(n conf.Node) []string {
	var found []string
	for _, name := range []string{"creds", "nkey", "user", "token"} {
		if n.Has(name) {
			found = append(found, name)
		}
	}
	return found
}

// Dial connects. It waits until a server is there or ctx ends. It is an error if the server refuses
// the login. A connection that is lost later is made again, for as long as that takes and whatever
// the server answers, because users and accounts come back too. failed is called with the reason of
// each failed attempt; it may be nil.
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

// dialing is an attempt to connect and the state of the connection after it.
type dialing struct {
	*dialer
	log     *slog.Logger
	limited *limited.Log
	failed  func(error)
	back    func()
	denied  func(error) bool // reports whether a missing permission was expected; nil: none is
	refused chan error       // receives the error if the server refuses the login before there was a connection

	connected atomic.Bool
	refusals  atomic.Int32
	last      atomic.Pointer[error] // why the last attempt failed
}

func newDialing(life context.Context, log *slog.Logger, failed func(error)) *dialing {
	return &dialing{dialer: newDialer(life), log: log, limited: limited.New(log), failed: failed, refused: make(chan error, 1)}
}

// refusedLogin is how often a login must be refused before that counts as the answer.
const refusedLogin = 2

// dial starts to connect and does not wait.
func (c *Connect) dial(d *dialing) (*link, error) {
	options := append(c.options(), c.login()...)
	options = append(options, d.options()...)
	options = append(options,
		nats.Name("nats-callout"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		// A user that was removed by a reload of the server may come back with the next reload.
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

// redial returns the pause before the next attempt. The first attempts are close together: a server
// that was just restarted refuses all who need a callout until a handler is back.
func redial(attempts int) time.Duration {
	const eager = 30
	wait := 100 * time.Millisecond << min(max(attempts-eager, 0), 5)
	return wait + rand.N(wait/4)
}

// attempt is called with the error of a failed attempt.
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

// isRefusal reports whether a server refused the login, in contrast to no server being there.
func isRefusal(err error) bool {
	for _, refusal := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, nats.ErrNkeysNotSupported} {
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

// trouble is called for errors that belong to no request: a missing permission, or a subscription
// that is too slow.
func (d *dialing) trouble(sub *nats.Subscription, err error) {
	if d.denied != nil && d.denied(err) {
		return
	}
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
			// nats.go calls no handler for what fails behind the connection's INFO: a refused login at a
			// second attempt, TLS that one side wants alone, a server that knows no nkeys.
			if err := nc.LastError(); err != nil && !nc.IsConnected() {
				d.attempt(err)
			}
		case err := <-d.refused:
			return fmt.Errorf("connect to NATS: the server refuses the login of connect: %w; is the login right, and is its user in auth_users of the server's auth_callout or of the account's JWT?", err)
		case <-ctx.Done():
			// The last error says more than that the time is over.
			if last := d.last.Load(); last != nil {
				return fmt.Errorf("connect to NATS: %w: %w", context.Cause(ctx), *last)
			}
			return fmt.Errorf("connect to NATS: %w", context.Cause(ctx))
		}
	}
	return nil
}

// Probe connects as a client with a token. It stops when life ends.
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
			break // check has already reported it
		}
		return []nats.Option{nats.Nkey(public(kp), kp.Sign)}
	case c.User != "":
		return []nats.Option{nats.UserInfo(c.User, c.Password.Reveal())}
	case c.Token != "":
		return []nats.Option{nats.Token(c.Token.Reveal())}
	}
	return nil
}
