package hook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"stamp/internal/callout"
	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/limited"
)

// handlerTimeout is how long the start of a handler may take, and its end.
const handlerTimeout = 10 * time.Second

// interestTimeout is how long it may take until the routes, gateways and leafnode connections of a
// server that has just started are there, and with them the interest of its peers.
const interestTimeout = 3 * time.Second

// insideHandler is a callout handler inside the server, on in-process connections.
//
// A reload replaces it by a new one: the new one starts, then the old one stops accepting callouts
// and is drained.
type insideHandler struct {
	cfg       *callout.Config
	server    *natsserver.Server
	hook      *calloutHook
	limited   *limited.Log
	handler   *callout.Handler // nil until start has created it
	closeOnce sync.Once        // of the handler
	running   context.Context  // ends when the handler begins to stop
	endRun    context.CancelFunc

	mu    sync.Mutex
	conns map[string]*nats.Conn // by account
}

// logCalloutWarnings logs the warnings about the callout block of a server that starts or reloads.
func logCalloutWarnings(s *natsserver.Server, cfg *callout.Config) {
	for _, text := range calloutWarnings(s.RunningOptions(), cfg) {
		s.Warnf("Callout block: %s", text)
	}
}

// startInside starts a handler that will replace prev, which may be nil. It shares the connections
// of prev in accounts that both need: if max_connections of the server or of an account is reached,
// it could not get its own.
func startInside(s *natsserver.Server, cfg *callout.Config, hook *calloutHook, prev *insideHandler) (*insideHandler, error) {
	in := &insideHandler{cfg: cfg, server: s, hook: hook, limited: limited.New(slog.New(serverLog{server: s})), conns: prev.connections()}
	in.running, in.endRun = context.WithCancel(context.Background())
	maps.DeleteFunc(in.conns, func(account string, _ *nats.Conn) bool { return !slices.Contains(cfg.Accounts(), account) })
	if err := in.start(prev.calloutHandler()); err != nil {
		in.drain(prev.connections())
		return nil, fmt.Errorf("callout: %w", err)
	}
	logCalloutWarnings(s, cfg)
	s.Noticef("Callout handler answers callouts in account %q", cfg.Account)
	return in, nil
}

// hasPeers reports whether handlers of other servers may answer this server's callouts.
func hasPeers(o *natsserver.Options) bool {
	return o.Cluster.Port != 0 || o.Gateway.Port != 0 || o.LeafNode.Port != 0 || len(o.LeafNode.Remotes) > 0
}

// calloutHandler returns the handler, or nil if in is nil.
func (in *insideHandler) calloutHandler() *callout.Handler {
	if in == nil {
		return nil
	}
	return in.handler
}

// connections returns a copy of the connections, by account. It is empty if in is nil.
func (in *insideHandler) connections() map[string]*nats.Conn {
	if in == nil {
		return map[string]*nats.Conn{}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return maps.Clone(in.conns)
}

func (in *insideHandler) start(replaces *callout.Handler) error {
	ctx, cancel := context.WithTimeout(context.Background(), handlerTimeout)
	defer cancel()
	nc, err := in.connect("")
	if err != nil {
		return err
	}
	gathering := time.Duration(0)
	if hasPeers(in.server.RunningOptions()) {
		gathering = interestTimeout
	}
	in.handler, err = callout.New(ctx, in.cfg, callout.Options{
		Log: slog.New(serverLog{server: in.server}), Metrics: in.hook.metrics,
		Connect: in.connect, Renew: in.renew, Disconnect: in.disconnect,
		Replaces: replaces, Gathering: gathering,
	})
	if err != nil {
		return err
	}
	if err := waitConnected(ctx, nc); err != nil {
		return err
	}
	in.handler.UseProbe(in.cfg.Account, in.probe)
	return in.handler.Serve(ctx, nc)
}

// TakeCallout implements natsserver.Extension. The handler inside answers a callout of its server
// itself, if its sources can judge credentials at the moment. If it declines because a reload has
// just replaced it, the new handler is asked.
func (h *Hook) TakeCallout(s *natsserver.Server, account, reply, xkey string, request []byte) bool {
	var asked *insideHandler
	for in := h.callout.current.Load(); in != nil && in != asked; in = h.callout.current.Load() {
		if in.cfg.Account == account && in.handler.AcceptRequest(s.Name(), s.ClusterName(), reply, xkey, request) {
			return true
		}
		asked = in
	}
	return false
}

// renew implements callout.Options.Renew.
func (in *insideHandler) renew(q forwarded.Renew) error {
	in.hook.renew(in.server, q)
	return nil
}

var errOtherServer = errors.New("the connection is on another server, which a handler inside cannot close")

// disconnect implements callout.Options.Disconnect. It closes connections of this server only; the
// handler rarely answers callouts of other servers.
func (in *insideHandler) disconnect(_ context.Context, server string, client uint64) error {
	if server != in.server.ID() {
		return errOtherServer
	}
	return in.server.DisconnectClientByID(client)
}

// stopAccepting makes the handler accept no more callouts; it still answers those that it has
// accepted. kept are the connections that another handler goes on with.
func (in *insideHandler) stopAccepting(kept map[string]*nats.Conn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for account, nc := range in.conns {
		if !nc.IsConnected() && kept[account] != nc {
			nc.Close() // its account or user no longer exists
		}
	}
	in.handler.StopReceiving()
	for _, nc := range in.conns {
		if nc.IsConnected() {
			_ = nc.FlushTimeout(handlerTimeout) // after this the server sends no more callouts
		}
	}
}

// drain stops the handler when it has answered all callouts that it has accepted. It closes the
// connections except those in kept, which another handler goes on with. The handler may have been
// started in part only.
func (in *insideHandler) drain(kept map[string]*nats.Conn) {
	in.endRun()
	ctx, cancel := context.WithTimeout(context.Background(), handlerTimeout)
	defer cancel()
	if in.handler != nil {
		if err := in.handler.Drain(ctx); err != nil {
			in.server.Warnf("Callout handler: %v", err)
		}
		in.closeSources()
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for account, nc := range in.conns {
		if kept[account] == nc {
			continue
		}
		if nc.IsConnected() {
			// The last answers may still be in its buffer. An error means that the server has shut down.
			_ = nc.FlushWithContext(ctx)
		}
		nc.Close()
	}
}

// closeSources closes the handler's sources, once: a handler may be replaced while the server shuts
// down. A second call waits until the first has returned.
func (in *insideHandler) closeSources() { in.closeOnce.Do(in.handler.Close) }
