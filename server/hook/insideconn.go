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

// connected waits until nc is connected.
func connected(ctx context.Context, nc *nats.Conn) error {
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

// connect returns the connection in an account; empty is the handler's own.
func (in *inside) connect(account string) (*nats.Conn, error) {
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
	nc, err := nats.Connect("", nats.InProcessServer(door{in.server, public(kp)}), nats.Nkey(public(kp), kp.Sign), nats.Name("callout handler"),
		// At a reload, the account may come into being after this.
		nats.RetryOnFailedConnect(true), nats.IgnoreAuthErrorAbort(), nats.MaxReconnects(-1), nats.CustomReconnectDelay((&redialer{}).pause),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			in.logged.Error("connection", "Callout handler: connection", "account", account, "error", err)
		}))
	if err != nil {
		return nil, fmt.Errorf("connect in account %q: %w", account, err)
	}
	in.conns[account] = nc
	return nc, nil
}

// redialer says how long a connection waits before it tries again. Each attempt may be some lines in the server's log,
// also one that succeeds and ends at once, so that attempts are counted until there was none for a while.
type redialer struct {
	attempts int
	last     time.Time
}

// Times between attempts. redialQuiet is more than the longest wait.
const (
	redialFirst = 50 * time.Millisecond
	redialMost  = 6 // times that it is doubled
	redialQuiet = 10 * time.Second
)

// pause is for one goroutine at a time.
func (r *redialer) pause(int) time.Duration {
	now := time.Now()
	if r.attempts++; now.Sub(r.last) > redialQuiet {
		r.attempts = 1
	}
	wait := redialFirst << min(r.attempts, redialMost)
	r.last = now.Add(wait)
	return wait
}

// door is the server while it knows the handler's user. After a reload that takes the account away, the
// connection is tried again until the handler is stopped; the server would log an error each time.
type door struct {
	*natsserver.Server
	user string
}

var errNoUser = errors.New("the callout handler has no user in this account any more")

// InProcessConn implements nats.InProcessConnProvider.
func (d door) InProcessConn() (net.Conn, error) {
	known := func(u *natsserver.NkeyUser) bool { return u.Nkey == d.user }
	if !slices.ContainsFunc(d.RunningOptions().Nkeys, known) {
		return nil, errNoUser
	}
	return d.Server.InProcessConn()
}
