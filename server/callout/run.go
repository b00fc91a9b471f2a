package callout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// drainTime is how long the callouts that were taken may take at the end, or at
// a reload.
const drainTime = 10 * time.Second

// Process is a handler in a process of its own: connected, serving, and
// replaced as a whole when its configuration changes.
type Process struct {
	options Options

	mu      sync.Mutex
	nc      *nats.Conn
	handler *Handler
}

// Start connects with the configuration, and serves. It waits for a server that is not
// there yet, until ctx ends.
func Start(ctx context.Context, cfg *Config, o Options) (*Process, error) {
	p := &Process{options: o}
	nc, h, err := p.open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p.nc, p.handler = nc, h
	return p, nil
}

func (p *Process) open(ctx context.Context, cfg *Config) (*nats.Conn, *Handler, error) {
	nc, err := cfg.Connect.Dial(p.options.Log)
	if err != nil {
		return nil, nil, err
	}
	h, err := p.serve(ctx, cfg, nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return nc, h, nil
}

func (p *Process) serve(ctx context.Context, cfg *Config, nc *nats.Conn) (*Handler, error) {
	if err := Connected(ctx, nc); err != nil {
		return nil, err
	}
	o := p.options
	o.Connect = func(account string) (*nats.Conn, error) {
		if account != "" {
			return nil, errors.New("account is for a handler inside the server")
		}
		return nc, nil
	}
	h, err := New(ctx, cfg, o)
	if err != nil {
		return nil, err
	}
	if err = h.UseProbe(nc, cfg.Connect.Probe); err == nil {
		err = h.Serve(nc)
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
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
func (p *Process) Ready(ctx context.Context) error {
	_, h := p.current()
	return h.Ready(ctx)
}

func (p *Process) current() (*nats.Conn, *Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nc, p.handler
}

// Reload serves with another configuration: the new handler first, then the old
// one is drained, so that no callout is lost. After an error the old one goes on; one of
// the old handler's end is logged only.
func (p *Process) Reload(ctx context.Context, cfg *Config) error {
	nc, h, err := p.open(ctx, cfg)
	if err != nil {
		return err
	}
	p.mu.Lock()
	old, oldConn := p.handler, p.nc
	p.nc, p.handler = nc, h
	p.mu.Unlock()
	if err := end(ctx, old, oldConn); err != nil {
		p.options.Log.Warn("the old handler", "error", err)
	}
	return nil
}

// Stop drains, and disconnects.
func (p *Process) Stop(ctx context.Context) error {
	nc, h := p.current()
	return end(ctx, h, nc)
}

func end(ctx context.Context, h *Handler, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	err := h.Drain(ctx)
	// The answers are in the connection's buffer.
	err = errors.Join(err, nc.FlushWithContext(ctx))
	h.Close()
	nc.Close()
	return err
}
