package hook

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"stamp/server/callout"
	"stamp/server/callout/forwarded"
)

// insideWait is how long the start of a handler, and its end, may take.
const insideWait = 10 * time.Second

// inside is a handler inside the server, on in-process connections.
type inside struct {
	cfg     *callout.Config
	server  *natsserver.Server
	hook    *calloutHook
	handler *callout.Handler

	mu    sync.Mutex
	conns map[string]*nats.Conn // by account
}

func startInside(s *natsserver.Server, cfg *callout.Config, hook *calloutHook) (*inside, error) {
	in := &inside{cfg: cfg, server: s, hook: hook, conns: map[string]*nats.Conn{}}
	if err := in.start(); err != nil {
		in.stop()
		return nil, fmt.Errorf("callout: %w", err)
	}
	s.Noticef("Callout handler serves in account %q", cfg.Account)
	return in, nil
}

func (in *inside) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), insideWait)
	defer cancel()
	log := slog.New(serverLog{server: in.server})
	nc, err := in.connect("")
	if err != nil {
		return err
	}
	in.handler, err = callout.New(ctx, in.cfg, callout.Options{
		Log: log, Metrics: in.hook.metrics, Connect: in.connect, Renew: in.renew,
	})
	if err != nil {
		return err
	}
	if err := callout.Connected(ctx, nc); err != nil {
		return err
	}
	in.handler.UseProbe(in.cfg.Account, in.probe)
	return in.handler.Serve(nc)
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
	nc, err := nats.Connect("", nats.InProcessServer(in.server), nats.Nkey(public(kp), kp.Sign), nats.Name("callout handler"),
		// At a reload, the account may come into being after this.
		nats.RetryOnFailedConnect(true), nats.IgnoreAuthErrorAbort(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("connect in account %q: %w", account, err)
	}
	in.conns[account] = nc
	return nc, nil
}

func (in *inside) renew(q forwarded.Renew) error {
	in.hook.renew(in.server, q)
	return nil
}

func (in *inside) probe(token string) (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(in.server), nats.Name("stamp-probe"), nats.Token(token), nats.NoReconnect())
}

// leave takes no callouts from now on. Those that were taken are answered.
func (in *inside) leave() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, nc := range in.conns {
		if !nc.IsConnected() {
			nc.Close() // its account or user is gone
		}
	}
	in.handler.Leave()
	for _, nc := range in.conns {
		_ = nc.FlushTimeout(insideWait) // the server has it then; a connection that is gone takes nothing
	}
}

// stop drains, as far as start came.
func (in *inside) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), insideWait)
	defer cancel()
	if in.handler != nil {
		if err := in.handler.Drain(ctx); err != nil {
			in.server.Warnf("Callout handler: %v", err)
		}
		in.handler.Close()
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, nc := range in.conns {
		// The last answers may still be in its buffer. It fails where the server has ended.
		_ = nc.FlushWithContext(ctx)
		nc.Close()
	}
}
