package callout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/server/callout/forwarded"
)

// drainTime is how long the callouts that were taken may take at the end, or at
// a reload.
const drainTime = 10 * time.Second

// Process is a handler in a process of its own: connected, serving, and
// replaced as a whole when its configuration changes.
type Process struct {
	options Options

	mu sync.Mutex
	running
}

// running is a handler with its connections.
type running struct {
	nc, system *nats.Conn // system may be nil
	accounts   *accountConns
	handler    *Handler
}

// Start connects with the configuration, and serves. It waits for a server that is not
// there yet, until ctx ends.
func Start(ctx context.Context, cfg *Config, o Options) (*Process, error) {
	p := &Process{options: o}
	r, err := p.open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p.running = r
	return p, nil
}

func (p *Process) open(ctx context.Context, cfg *Config) (r running, err error) {
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.nc, err = cfg.Connect.Dial(p.options.Log); err != nil {
		return r, err
	}
	if err = Connected(ctx, r.nc); err != nil {
		return r, err
	}
	if r.system, err = cfg.Connect.DialSystem(p.options.Log); err != nil {
		return r, err
	}
	r.accounts = newAccountConns(cfg.Connect, p.options.Log)
	r.handler, err = p.serve(ctx, cfg, r)
	return r, err
}

func (r running) close() {
	r.accounts.close()
	for _, nc := range []*nats.Conn{r.nc, r.system} {
		if nc != nil {
			nc.Close()
		}
	}
}

func (p *Process) serve(ctx context.Context, cfg *Config, r running) (*Handler, error) {
	nc, o := r.nc, p.options
	account, err := accountOf(nc)
	if err != nil {
		return nil, err
	}
	if err := cfg.checkConnection(account); err != nil {
		return nil, err
	}
	o.Connect = func(account string) (*nats.Conn, error) {
		if account != "" {
			return r.accounts.in(account)
		}
		return nc, nil
	}
	if r.system != nil {
		o.Renew = renewBy(r.system)
		o.Disconnect = disconnectBy(r.system)
	}
	h, err := New(ctx, cfg, o)
	if err != nil {
		return nil, err
	}
	h.UseProbe(account, cfg.Connect.Probe)
	if err = h.Serve(nc); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// renewBy asks the servers in the system account. While nc is not connected, what is asked is kept
// until it is.
func renewBy(nc *nats.Conn) func(forwarded.Renew) error {
	return func(q forwarded.Renew) error {
		body, err := json.Marshal(q)
		if err != nil {
			return err
		}
		if err := nc.Publish(forwarded.RenewAll, body); err != nil {
			return fmt.Errorf("ask the servers: %w", err)
		}
		return nil
	}
}

// disconnectBy asks a server in the system account to close one of its connections, as nats-server has it
// ($SYS.REQ.SERVER.<id>.KICK), and waits until that is done.
func disconnectBy(nc *nats.Conn) func(context.Context, string, uint64) error {
	return func(ctx context.Context, server string, client uint64) error {
		if !nkeys.IsValidPublicServerKey(server) {
			return errNotServer
		}
		body, err := json.Marshal(map[string]uint64{"cid": client})
		if err != nil {
			return err
		}
		if _, err := nc.RequestWithContext(ctx, "$SYS.REQ.SERVER."+server+".KICK", body); err != nil {
			return fmt.Errorf("ask the server to close it: %w", err)
		}
		return nil
	}
}

// Connected waits until nc is connected.
func Connected(ctx context.Context, nc *nats.Conn) error {
	status := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(status)
	for !nc.IsConnected() {
		select {
		case <-status:
			if nc.IsClosed() {
				return fmt.Errorf("connect to NATS: %w", nc.LastError())
			}
		case <-ctx.Done():
			return fmt.Errorf("connect to NATS: %w", context.Cause(ctx))
		}
	}
	return nil
}

// Ready is Handler.Ready.
func (p *Process) Ready(ctx context.Context) error { return p.current().handler.Ready(ctx) }

func (p *Process) current() running {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running
}

// Reload serves with another configuration: the new handler first, then the old
// one is drained, so that no callout is lost. After an error the old one goes on; one of
// the old handler's end is logged only.
func (p *Process) Reload(ctx context.Context, cfg *Config) error {
	next, err := p.open(ctx, cfg)
	if err != nil {
		return err
	}
	p.mu.Lock()
	old := p.running
	p.running = next
	p.mu.Unlock()
	if err := old.end(ctx); err != nil {
		p.options.Log.Warn("the old handler", "error", err)
	}
	return nil
}

// Stop drains, and disconnects.
func (p *Process) Stop(ctx context.Context) error { return p.current().end(ctx) }

func (r running) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	err := r.handler.Drain(ctx)
	// The answers are in the connection's buffer.
	err = errors.Join(err, r.nc.FlushWithContext(ctx))
	r.handler.Close()
	r.close()
	return err
}
