package hook

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/VictoriaMetrics/metrics"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout/forwarded"
	"stamp/server/callout/ops"
)

// calloutHook is the handler inside the server.
type calloutHook struct {
	metrics *metrics.Set
	renew   func(*natsserver.Server, forwarded.Renew)

	mu     sync.Mutex
	server *natsserver.Server
	inside *inside // nil: no handler serves
	ops    *ops.Server
	opsAt  string // as configured
}

// Start implements natsserver.Extension: it starts the handler inside s, when
// the configuration has one.
func (h *Hook) Start(s *natsserver.Server) error {
	h.callout.mu.Lock()
	defer h.callout.mu.Unlock()
	h.callout.server = s
	if o := s.RunningOptions(); calloutConfig(o) == nil && cookieWithoutOrigin(o, nil) {
		s.Warnf("The websocket reads a credential from a cookie, so a page of any origin can connect as its visitor; set websocket.allowed_origins or same_origin")
	}
	h.warn(s, rulesOf(s.HeadersBlock()))
	_, err := h.callout.swap()
	return err
}

// Reloaded implements natsserver.Extension. If the callout block has changed, a new handler is started
// in the background, because its start waits for systems outside the server. Then the connections
// about which the handler may now decide differently are renewed.
func (h *Hook) Reloaded(s *natsserver.Server, r natsserver.ExtensionReload) {
	h.warn(s, rulesOf(s.HeadersBlock()))
	switch {
	case r.Callout:
		go h.replaceHandler(s)
	case r.Inputs:
		h.renewer(s).askAll(s.StaleCallouts())
	}
}

func (h *Hook) replaceHandler(s *natsserver.Server) {
	c := &h.callout
	c.mu.Lock()
	old, err := c.swap()
	kept := c.inside.connections()
	c.mu.Unlock()
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
		old.stop(kept)
	}
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
	return old, nil
}

var errNoHandler = errors.New("no callout handler serves")

// serveOps has the operators' endpoint listen at an address; empty: nowhere. The
// lock is held.
func (c *calloutHook) serveOps(at string) {
	if at == c.opsAt {
		return
	}
	if c.ops != nil {
		ctx, cancel := context.WithTimeout(context.Background(), insideWait)
		defer cancel()
		_ = c.ops.Close(ctx) // what it had to say was said
		c.ops = nil
	}
	c.opsAt = at
	if at == "" {
		return
	}
	server, err := ops.Listen(at, ops.Options{Metrics: c.metrics, Ready: c.ready, Log: slog.New(serverLog{server: c.server})})
	if err != nil {
		c.opsAt = ""
		c.server.Errorf("Callout handler: %v", err)
		return
	}
	c.ops = server
	c.server.Noticef("Callout handler shows metrics on http://%s", server.Address())
}

func (c *calloutHook) ready(ctx context.Context) error {
	c.mu.Lock()
	in := c.inside
	c.mu.Unlock()
	if in == nil {
		return errNoHandler
	}
	return in.handler.Ready(ctx)
}
