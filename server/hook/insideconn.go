package hook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// connect returns the handler's connection in an account. An empty account is the handler's own.
// The first call for an account opens the connection.
func (in *insideHandler) connect(account string) (*nats.Conn, error) {
	if account == "" {
		account = in.cfg.Account
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if nc := in.conns[account]; nc != nil {
		return nc, nil
	}
	kp, err := keys.user(account)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect("", nats.InProcessServer(userGate{in.server, public(kp)}), nats.Nkey(public(kp), kp.Sign), nats.Name("callout handler"),
		// During a reload the server may create the account after this call.
		nats.RetryOnFailedConnect(true), nats.IgnoreAuthErrorAbort(), nats.MaxReconnects(-1), nats.CustomReconnectDelay((&reconnectDelay{}).next),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if in.server.Running() { // a server that ends closes the connection, which is no fault
				in.limited.Error("connection", "Callout handler: connection", "account", account, "error", err)
			}
		}))
	if err != nil {
		return nil, fmt.Errorf("connect in account %q: %w", account, err)
	}
	in.conns[account] = nc
	return nc, nil
}

// waitConnected waits until nc is connected.
func waitConnected(ctx context.Context, nc *nats.Conn) error {
	status := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(status)
	for !nc.IsConnected() {
		select {
		case <-status:
			if nc.IsClosed() {
				return fmt.Errorf("connect to NATS: %w", nats.ErrConnectionClosed)
			}
		case <-ctx.Done():
			return fmt.Errorf("connect to NATS: %w", cmp.Or(nc.LastError(), context.Cause(ctx)))
		}
	}
	return nil
}

// probe opens a connection as a client would, to find out whether callouts succeed.
func (in *insideHandler) probe(token string) (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(in.server), nats.Name("stamp-probe"), nats.Token(token), nats.NoReconnect())
}

// reconnectDelay determines how long a connection waits before it reconnects. The delay doubles with
// each attempt, because each attempt may write some lines to the server's log. A connection that
// succeeds and is closed at once would do so too, so success does not reset the delay; only
// reconnectQuiet without an attempt does.
type reconnectDelay struct {
	attempts int
	last     time.Time // when the last attempt was due
}

const (
	reconnectFirst   = 100 * time.Millisecond // delay before the first attempt
	reconnectDoubles = 5                      // how often the delay doubles at most, to 3.2 seconds
	reconnectQuiet   = 10 * time.Second       // longer than the longest delay
)

// next counts an attempt, and returns the delay before it. It must not be called concurrently.
func (d *reconnectDelay) next(int) time.Duration {
	now := time.Now()
	if now.Sub(d.last) > reconnectQuiet {
		d.attempts = 0
	}
	delay := reconnectFirst << min(d.attempts, reconnectDoubles)
	d.attempts++
	d.last = now.Add(delay)
	return delay
}

// userGate opens in-process connections only while the server has the handler's user. A reload can
// remove the account and the user; the connection then tries to reconnect until the handler stops,
// and the server would log an error each time.
type userGate struct {
	*natsserver.Server
	user string // public key
}

var errNoUser = errors.New("the callout handler no longer has a user in this account")

// InProcessConn implements nats.InProcessConnProvider.
func (g userGate) InProcessConn() (net.Conn, error) {
	isUser := func(u *natsserver.NkeyUser) bool { return u.Nkey == g.user }
	if !slices.ContainsFunc(g.RunningOptions().Nkeys, isUser) {
		return nil, errNoUser
	}
	return g.Server.InProcessConn()
}
