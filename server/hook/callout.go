package hook

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/VictoriaMetrics/metrics"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"stamp/server/callout"
	"stamp/server/callout/forwarded"
	"stamp/server/callout/ops"
	"stamp/server/conf"
)

// calloutHook is the handler inside the server.
type calloutHook struct {
	// The keys that a handler gets which has none configured, and those of its users by account.
	keys         sync.Mutex
	issuer, xkey nkeys.KeyPair
	users        map[string]nkeys.KeyPair
	own          map[string]bool // public keys of users

	metrics *metrics.Set
	renew   func(*natsserver.Server, forwarded.Renew)

	mu     sync.Mutex
	server *natsserver.Server
	inside *inside // nil: no handler serves
	ops    *ops.Server
	opsAt  string // as configured
}

func parseCallout(block any) (any, error) {
	var faults conf.Faults
	cfg := callout.Parse(conf.From(block), &faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// calloutConfig returns the callout block of a server's options.
func calloutConfig(o *natsserver.Options) *callout.Config {
	if o.Inbound == nil {
		return nil
	}
	cfg, _ := o.Inbound.Parsed["callout"].(*callout.Config)
	return cfg
}

// Configured implements natsserver.InboundConfigHook: a server whose handler is inside
// gets the auth callout, the account and the users that it needs.
func (h *Hook) Configured(o *natsserver.Options) error {
	if err := configureHeaders(o); err != nil {
		return err
	}
	cfg := calloutConfig(o)
	if cfg == nil || !cfg.Serves() {
		return nil
	}
	return h.callout.configure(o, cfg)
}

// Callout implements natsserver.InboundCalloutHook.
//
// A renewal is told to every handler; the rest to ours, which the configuration has a block for.
func (h *Hook) Callout(o *natsserver.Options, kept any, fromCookie, renewal bool) (tags []string, ok bool) {
	ours := calloutConfig(o) != nil
	if !ours && !renewal {
		return nil, false
	}
	u, _ := kept.(upgrade)
	u.told.FromCookie, u.told.Renewal = fromCookie, renewal
	return []string{u.told.Tag()}, ours
}

// Starting implements natsserver.InboundStartHook: it starts the handler inside s, when
// the configuration has one.
func (h *Hook) Starting(s *natsserver.Server) error {
	h.callout.mu.Lock()
	defer h.callout.mu.Unlock()
	h.callout.server = s
	if o := s.InboundOptions(); calloutConfig(o) == nil && cookieWithoutOrigin(o, nil) {
		s.Warnf("The websocket takes a credential from a cookie without an allow-list of origins: any page can use it")
	}
	return h.callout.swap()
}

// Reloaded implements natsserver.InboundConfigHook. It returns before a handler
// serves whose account the reload brings.
func (h *Hook) Reloaded(s *natsserver.Server) error {
	c := &h.callout
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != s {
		return nil
	}
	cfg := calloutConfig(s.InboundOptions())
	if cfg != nil && cfg.Serves() && (c.inside == nil || c.inside.cfg.Account != cfg.Account) {
		go func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if err := c.swap(); err != nil {
				s.Errorf("Reload: %v", err)
			}
		}()
		return nil
	}
	return c.swap()
}

// swap puts a handler with the server's configuration in the place of the one that
// serves: the new one first, so that every callout finds one. After an error the old one
// goes on. The lock is held.
func (c *calloutHook) swap() error {
	old := c.inside
	cfg := calloutConfig(c.server.InboundOptions())
	if cfg == nil || !cfg.Serves() {
		c.inside = nil
		c.serveOps("")
	} else if old == nil || !old.cfg.Equal(cfg) {
		next, err := startInside(c.server, cfg, c)
		if err != nil {
			return err
		}
		c.inside = next
		c.serveOps(cfg.HTTP)
	}
	if old != nil && old != c.inside {
		old.stop()
	}
	return nil
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
