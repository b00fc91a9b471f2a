package callout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/internal/callout/forwarded"
)

// systemLink is the connection in the system account. Over it, servers are asked to renew or close
// the connections of sessions that change. A login of another account connects as well, but its
// requests reach nobody. So the servers are asked something that changes nothing, and the login
// counts as right when one of them answers.
type systemLink struct {
	*link
	d *dialing

	alone atomic.Bool // the login may not publish or subscribe to forwarded.Handlers

	mu      sync.Mutex
	checked time.Time // when servers were last asked; zero: not since the connection was made
	fault   error     // the result
}

// systemTime is how long servers have for an answer. systemEvery is how often they are asked at
// most while there is none.
const (
	systemTime  = 2 * time.Second
	systemEvery = time.Second
)

// dialSystem starts to connect in the system account and does not wait. It returns nil if no login
// is configured. back is called each time that the connection is made.
func (c *Connect) dialSystem(life context.Context, log *slog.Logger, back func()) (*systemLink, error) {
	if c == nil || c.System == nil {
		return nil, nil
	}
	y := &systemLink{d: newDialing(life, log.With("connection", "system"), nil)}
	y.d.back = func() {
		y.forget()
		back()
	}
	y.d.denied = y.isAlone
	var err error
	if y.link, err = c.at(c.System).dial(y.d); err != nil {
		return nil, fmt.Errorf("connect.system: %w", err)
	}
	return y, nil
}

// await waits until it is known whether the login is one of the system account.
func (y *systemLink) await(ctx context.Context) error {
	if err := y.d.wait(ctx, y.link); err != nil {
		return fmt.Errorf("connect.system: %w", err)
	}
	return y.checkReady(ctx)
}

// isAlone reports whether err says that the login may not talk with other handlers, and notes that.
func (y *systemLink) isAlone(err error) bool {
	if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), forwarded.Handlers) {
		return false
	}
	if !y.alone.Swap(true) {
		y.d.log.Info("other handlers of the same buckets tell servers of changes too: to do that in turn, the user of connect.system needs to publish and subscribe to " + forwarded.Handlers)
	}
	return true
}

// forget forgets the result, for a new connection.
func (y *systemLink) forget() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.checked, y.fault = time.Time{}, nil
	y.alone.Store(false) // the user may have other permissions now
}

// checkReady returns nil if servers can be told of sessions that change, or why not. A nil link is
// ready.
func (y *systemLink) checkReady(ctx context.Context) error {
	if y == nil {
		return nil
	}
	if !y.IsConnected() {
		err := y.LastError()
		if err == nil {
			err = nats.ErrDisconnected
		}
		return fmt.Errorf("connect.system: not connected, so that connections of sessions that end stay open: %w", err)
	}
	y.mu.Lock()
	checked, fault := y.checked, y.fault
	y.mu.Unlock()
	if !checked.IsZero() && (fault == nil || time.Since(checked) < systemEvery) {
		return fault
	}
	fault = y.ask(ctx)
	if ctx.Err() == nil {
		y.mu.Lock()
		y.checked, y.fault = time.Now(), fault
		y.mu.Unlock()
	}
	return fault
}

// reachesServers reports whether the last question to the servers was answered, over the connection that
// is there now. known is false if none was asked.
func (y *systemLink) reachesServers() (reaches, known bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.IsConnected() && !y.checked.IsZero() && y.fault == nil, !y.checked.IsZero()
}

// ask asks the servers how many renewals are pending.
func (y *systemLink) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, systemTime)
	defer cancel()
	_, err := y.RequestWithContext(ctx, forwarded.RenewAll, []byte(`{"pending":true}`))
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("connect.system: no server listens on %s in the account of this login, so that connections of sessions that end stay open: is it the login of a user of the system account?", forwarded.RenewAll)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("connect.system: no server answers on %s within %s, so that connections of sessions that end stay open: may the user publish this, and subscribe to its inbox?", forwarded.RenewAll, systemTime)
	case err != nil:
		return fmt.Errorf("connect.system: %w", err)
	}
	return nil
}
