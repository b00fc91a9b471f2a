package hook

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"stamp/internal/callout"
	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/ops"
	"stamp/internal/callout/session"
	"stamp/internal/release"
)

// calloutHook runs the callout handler inside the server, and replaces it when a reload changes the
// callout block.
type calloutHook struct {
	metrics *metrics.Set
	renew   func(*natsserver.Server, forwarded.Renew)
	follow  func(*natsserver.Server) // begins to say what the handler follows

	current atomic.Pointer[insideHandler] // same as inside, for callers that must not wait for mu

	mu       sync.Mutex // held while a handler starts
	server   *natsserver.Server
	inside   *insideHandler // nil: no handler runs
	stopped  bool           // the server shuts down, so no handler may be started
	replaced sync.WaitGroup // handlers that were replaced and have not stopped yet; Add needs mu, and stopped unset
	leaving  sync.Map       // *insideHandler: the handlers that replaced counts
	ops      endpoint       // of the handler
}

// Start implements natsserver.Extension. It starts the handler inside s if the configuration has
// one.
func (h *Hook) Start(s *natsserver.Server) error {
	h.callout.mu.Lock()
	defer h.callout.mu.Unlock()
	h.callout.server, h.callout.stopped = s, false
	o := s.RunningOptions()
	if cfg := calloutConfig(o); (cfg == nil || !cfg.Serves()) && acceptsCookiesOfAnyOrigin(o, cfg) {
		s.Warnf("The websocket accepts a credential from a cookie, and its origins are not restricted, so a page of any origin can connect as its visitor; set websocket.allowed_origins or websocket.same_origin")
	}
	h.warnAboutRules(s, rulesOf(s.HeadersBlock()))
	h.moveMetrics(s)
	_, err := h.callout.swapLocked()
	return err
}

// Reloaded implements natsserver.Extension. If the callout block has changed, it starts a new handler
// in the background, because the start waits for other processes. Then it renews the connections
// about which the handler may now decide differently.
func (h *Hook) Reloaded(s *natsserver.Server, r natsserver.ExtensionReload) {
	h.warnAboutRules(s, rulesOf(s.HeadersBlock()))
	inBackground(s, func() { h.moveMetrics(s) })
	if r.Callout {
		inBackground(s, func() { h.replaceHandler(s) })
		return
	}
	inBackground(s, h.callout.retryOps)
	if r.Inputs {
		h.renewer(s).renewAllNow(s.StaleCallouts())
	}
}

// inBackground runs the part of a reload that the reload does not wait for.
func inBackground(s *natsserver.Server, work func()) {
	go func() {
		defer func() {
			if recover() != nil {
				s.Errorf("Reload: %v", session.Fault(errReplace))
			}
		}()
		work()
	}()
}

var errReplace = errors.New("fault while the callout handler was replaced, please report it; the previous one keeps running")

var errStopped = errors.New("the server is shutting down")

// replaceHandler replaces the handler by one with the server's new configuration.
func (h *Hook) replaceHandler(s *natsserver.Server) {
	c := &h.callout
	old, kept, err := c.swap()
	if old != nil {
		defer c.forget(old)
	}
	if err != nil {
		s.Errorf("Reload: cannot start the new callout handler, the previous one keeps running: %v", err)
		return
	}
	if old != nil {
		old.stopAccepting(kept)
	}
	s.Noticef("Reloaded: callout handler")
	h.renewer(s).renewAllNow(s.StaleCallouts())
	if old != nil {
		c.waitForSources()
		old.drain(kept)
	}
}

// waitForSources waits until the sources of the current handler are ready, but at most
// handlerTimeout, and not when the server shuts down. Until then the sources of the handler before
// must keep watching for changes of sessions.
func (c *calloutHook) waitForSources() {
	current := c.current.Load()
	if current == nil {
		return
	}
	ctx, cancel := context.WithTimeout(current.running, handlerTimeout)
	defer cancel()
	current.handler.WaitUntilUsable(ctx)
}

// swap takes the lock and calls swapLocked. It also returns the connections of the handler that now
// runs. If it returns an old handler, the caller must call c.forget when that has stopped.
func (c *calloutHook) swap() (old *insideHandler, kept map[string]*nats.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil, nil, errStopped
	}
	if old, err = c.swapLocked(); old != nil {
		c.replaced.Add(1)
		c.leaving.Store(old, nil)
	}
	return old, c.inside.connections(), err
}

// forget notes that a handler that was replaced has stopped.
func (c *calloutHook) forget(old *insideHandler) {
	c.leaving.Delete(old)
	c.replaced.Done()
}

// Stale implements natsserver.Extension.
func (h *Hook) Stale(s *natsserver.Server, cid uint64) { h.renewer(s).renewNow(cid) }

// swapLocked starts a handler with the server's configuration, and returns the handler that it
// replaces, which the caller must stop. It returns nil if the configuration of the handler has not
// changed. The new handler starts before the old one stops, so that every callout finds one. After
// an error the old handler keeps running. The lock is held.
func (c *calloutHook) swapLocked() (old *insideHandler, err error) {
	old = c.inside
	cfg := calloutConfig(c.server.RunningOptions())
	if cfg == nil || !cfg.Serves() {
		c.inside = nil
		c.moveOps("")
		if cfg != nil {
			logCalloutWarnings(c.server, cfg)
		}
	} else if old == nil || !old.cfg.Equal(cfg) {
		next, err := startInside(c.server, cfg, c, old)
		if err != nil {
			return nil, err
		}
		c.inside = next
		c.moveOps(cfg.HTTP)
	}
	if old == c.inside {
		return nil, nil
	}
	c.current.Store(c.inside)
	if c.inside != nil {
		c.follow(c.server)
	}
	return old, nil
}

var errNoHandler = errors.New("no callout handler runs: the callout block of the server's configuration has no sessions")

// moveOps opens the operators' endpoint of the handler, moves or closes it. The lock is held.
func (c *calloutHook) moveOps(address string) {
	c.ops.move(c.server, address, ops.Options{Metrics: c.metrics, BuildInfo: callout.BuildInfo, CheckReady: c.checkReady, Status: c.status})
}

// retryOps opens the operators' endpoint if that failed earlier.
func (c *calloutHook) retryOps() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside != nil && !c.stopped {
		c.moveOps(c.inside.cfg.HTTP)
	}
}

// status implements ops.Options.Status.
func (c *calloutHook) status(ctx context.Context) any {
	in := c.current.Load()
	if in == nil {
		return &callout.Status{Version: release.Version, NotReady: errNoHandler.Error()}
	}
	return in.handler.Status(ctx, c.checkReady)
}

// checkReady implements ops.Options.CheckReady.
func (c *calloutHook) checkReady(ctx context.Context) error {
	in := c.current.Load()
	if in == nil {
		return errNoHandler
	}
	// The handler's probe does not find this out: max_connections does not count in-process connections.
	if most := in.server.RunningOptions().MaxConn; most > 0 && in.server.NumClients() >= most {
		return callout.ErrServerFull
	}
	return in.handler.CheckReady(ctx)
}
