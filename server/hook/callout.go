package hook

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"stamp/server/callout"
	"stamp/server/callout/forwarded"
	"stamp/server/callout/ops"
	"stamp/server/callout/session"
)

// calloutHook is the handler inside the server.
type calloutHook struct {
	metrics *metrics.Set
	renew   func(*natsserver.Server, forwarded.Renew)

	serves atomic.Pointer[inside] // inside, for who cannot wait for mu

	mu      sync.Mutex // held while a handler starts
	server  *natsserver.Server
	inside  *inside        // nil: no handler serves
	stopped bool           // the server ends, and no handler is started any more
	ending  sync.WaitGroup // handlers that were replaced and have not ended; it grows with the lock held, until stopped
	ops     *ops.Server
	opsAt   string // as configured
}

// Start implements natsserver.Extension: it starts the handler inside s, when
// the configuration has one.
func (h *Hook) Start(s *natsserver.Server) error {
	h.callout.mu.Lock()
	defer h.callout.mu.Unlock()
	h.callout.server, h.callout.stopped = s, false
	if o := s.RunningOptions(); calloutConfig(o) == nil && cookieWithoutOrigin(o, nil) {
		s.Warnf("The websocket reads a credential from a cookie, so a page of any origin can connect as its visitor; set websocket.allowed_origins or same_origin")
	}
	h.warn(s, rulesOf(s.HeadersBlock()))
	_, err := h.callout.swap()
	return err
}

// Reloaded implements natsserver.Extension. If the callout block has changed, a new handler is started
// in the background, because its start waits for others. Then the connections
// about which the handler may now decide differently are renewed.
func (h *Hook) Reloaded(s *natsserver.Server, r natsserver.ExtensionReload) {
	h.warn(s, rulesOf(s.HeadersBlock()))
	if r.Callout {
		beside(s, func() { h.replaceHandler(s) })
		return
	}
	beside(s, h.callout.openOps)
	if r.Inputs {
		h.renewer(s).askAll(s.StaleCallouts())
	}
}

// beside does what a reload does not wait for.
func beside(s *natsserver.Server, do func()) {
	go func() {
		defer func() {
			if recover() != nil {
				s.Errorf("Reload: %v", session.Fault(errReplace))
			}
		}()
		do()
	}()
}

var errReplace = errors.New("fault while the callout handler was replaced, please report it; the previous one keeps running")

var errStopped = errors.New("the server ends")

func (h *Hook) replaceHandler(s *natsserver.Server) {
	c := &h.callout
	old, kept, err := c.replace()
	if old != nil {
		defer c.ending.Done()
	}
	if err != nil {
		s.Errorf("Reload: cannot start the new callout handler, the previous one keeps running: %v", err)
		return
	}
	if old != nil {
		old.leave(kept)
	}
	s.Noticef("Reloaded: callout handler")
	h.renewer(s).askAll(s.StaleCallouts())
	if old != nil {
		h.callout.watchUntilAble()
		old.stop(kept)
	}
}

// watchUntilAble waits until the sources of the handler that serves are there, for a while, and not when the server ends:
// until then, those of the one before are told of sessions that change.
func (c *calloutHook) watchUntilAble() {
	next := c.serves.Load()
	if next == nil {
		return
	}
	ctx, cancel := context.WithTimeout(next.ended, insideWait)
	defer cancel()
	next.handler.UntilAble(ctx)
}

// replace is swap, which takes the lock, and the connections that the handler which serves now has.
func (c *calloutHook) replace() (old *inside, kept map[string]*nats.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil, nil, errStopped
	}
	if old, err = c.swap(); old != nil {
		c.ending.Add(1)
	}
	return old, c.inside.connections(), err
}

// Stale implements natsserver.Extension.
func (h *Hook) Stale(s *natsserver.Server, cid uint64) { h.renewer(s).ask(cid) }

// swap puts a handler with the server's configuration in the place of the one that
// serves: the new one first, so that every callout finds one. It returns the one to be stopped, if
// any. After an error the old one goes on. The lock is held.
func (c *calloutHook) swap() (old *inside, err error) {
	old = c.inside
	cfg := calloutConfig(c.server.RunningOptions())
	if cfg == nil || !cfg.Serves() {
		c.inside = nil
		c.serveOps("")
	} else if old == nil || !old.cfg.Equal(cfg) {
		next, err := startInside(c.server, cfg, c, old)
		if err != nil {
			return nil, err
		}
		c.inside = next
		c.serveOps(cfg.HTTP)
	}
	if old == c.inside {
		return nil, nil
	}
	c.serves.Store(c.inside)
	return old, nil
}

var errNoHandler = errors.New("no callout handler serves: the callout block of the server's configuration has no sessions")

// serveOps has the operators' endpoint listen at an address; empty: nowhere. One that cannot be opened leaves the old one
// where it is, and is tried again at the next reload. The lock is held.
func (c *calloutHook) serveOps(at string) {
	if at == c.opsAt {
		return
	}
	var next *ops.Server
	if at != "" {
		var err error
		if next, err = ops.Listen(at, ops.Options{Metrics: c.metrics, Ready: c.ready, Log: slog.New(serverLog{server: c.server})}); err != nil {
			c.server.Errorf("Callout handler: %v%s", err, c.opsStays())
			return
		}
		c.server.Noticef("Callout handler shows metrics on http://%s", next.Address())
	}
	before := c.ops
	c.ops, c.opsAt = next, at
	if before == nil {
		return
	}
	// Beside: somebody may be reading, or waiting for readiness.
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), insideWait)
		defer cancel()
		_ = before.Close(ctx) // what it had to say was said
	}()
}

// openOps opens an endpoint that could not be opened before.
func (c *calloutHook) openOps() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside != nil && !c.stopped {
		c.serveOps(c.inside.cfg.HTTP)
	}
}

// opsStays says where metrics are still shown, if anywhere.
func (c *calloutHook) opsStays() string {
	if c.ops == nil {
		return ""
	}
	return "; metrics are still shown on http://" + c.ops.Address() + ", and a reload tries again"
}

func (c *calloutHook) ready(ctx context.Context) error {
	in := c.serves.Load()
	if in == nil {
		return errNoHandler
	}
	// The probe is in-process, and always has a place.
	if most := in.server.RunningOptions().MaxConn; most > 0 && in.server.NumClients() >= most {
		return callout.ErrServerFull
	}
	return in.handler.Ready(ctx)
}
