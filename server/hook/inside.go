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

	"stamp/server/callout"
	"stamp/server/callout/forwarded"
	"stamp/server/callout/limited"
)

// insideWait is how long the start of a handler, and its end, may take.
const insideWait = 10 * time.Second

// inside is a handler inside the server, on in-process connections.
type inside struct {
	cfg     *callout.Config
	server  *natsserver.Server
	hook    *calloutHook
	logged  *limited.Log
	handler *callout.Handler
	closing sync.Once
	ended   context.Context // when the handler is to end
	finish  context.CancelFunc

	mu    sync.Mutex
	conns map[string]*nats.Conn // by account
}

// startInside starts a handler. It uses the connections of the previous one, if any, in the accounts that
// both need, because at max_connections of the server or of an account it would get none.
func startInside(s *natsserver.Server, cfg *callout.Config, hook *calloutHook, prev *inside) (*inside, error) {
	in := &inside{cfg: cfg, server: s, hook: hook, logged: limited.New(slog.New(serverLog{server: s})), conns: prev.connections()}
	in.ended, in.finish = context.WithCancel(context.Background())
	maps.DeleteFunc(in.conns, func(account string, _ *nats.Conn) bool { return !slices.Contains(cfg.Accounts(), account) })
	if err := in.start(prev.callouts()); err != nil {
		in.stop(prev.connections())
		return nil, fmt.Errorf("callout: %w", err)
	}
	for _, text := range calloutWarnings(s.RunningOptions(), cfg) {
		s.Warnf("Callout block: %s", text)
	}
	s.Noticef("Callout handler serves in account %q", cfg.Account)
	return in, nil
}

// gathering is how long routes, gateways and leafnodes of a server that starts may take. Then the interest of its peers
// is known.
const gathering = 3 * time.Second

// hasPeers tells whether handlers of other servers may share the callouts.
func hasPeers(o *natsserver.Options) bool {
	return o.Cluster.Port != 0 || o.Gateway.Port != 0 || o.LeafNode.Port != 0 || len(o.LeafNode.Remotes) > 0
}

// callouts is the handler, or nil.
func (in *inside) callouts() *callout.Handler {
	if in == nil {
		return nil
	}
	return in.handler
}

func (in *inside) start(replaces *callout.Handler) error {
	ctx, cancel := context.WithTimeout(context.Background(), insideWait)
	defer cancel()
	log := slog.New(serverLog{server: in.server})
	nc, err := in.connect("")
	if err != nil {
		return err
	}
	wait := time.Duration(0)
	if hasPeers(in.server.RunningOptions()) {
		wait = gathering
	}
	in.handler, err = callout.New(ctx, in.cfg, callout.Options{
		Log: log, Metrics: in.hook.metrics, Connect: in.connect, Renew: in.renew, Disconnect: in.disconnect,
		Replaces: replaces, Gathering: wait,
	})
	if err != nil {
		return err
	}
	if err := connected(ctx, nc); err != nil {
		return err
	}
	in.handler.UseProbe(in.cfg.Account, in.probe)
	return in.handler.Serve(ctx, nc)
}

// connections returns the connections by account; those of nil are none.
func (in *inside) connections() map[string]*nats.Conn {
	if in == nil {
		return map[string]*nats.Conn{}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return maps.Clone(in.conns)
}

func (in *inside) renew(q forwarded.Renew) error {
	in.hook.renew(in.server, q)
	return nil
}

// TakeCallout implements natsserver.Extension: the handler inside answers, if it can judge. If it declines because a
// reload has just put another handler in its place, that one is asked.
func (h *Hook) TakeCallout(s *natsserver.Server, account, reply, xkey string, request []byte) bool {
	var asked *inside
	for in := h.callout.serves.Load(); in != nil && in != asked; in = h.callout.serves.Load() {
		if in.cfg.Account == account && in.handler.Take(s.Name(), s.ClusterName(), reply, xkey, request) {
			return true
		}
		asked = in
	}
	return false
}

var errElsewhere = errors.New("it is another server's connection")

// disconnect closes a connection of this server, where nearly all callouts are from that it answers.
func (in *inside) disconnect(_ context.Context, server string, client uint64) error {
	if server != in.server.ID() {
		return errElsewhere
	}
	return in.server.DisconnectClientByID(client)
}

func (in *inside) probe(token string) (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(in.server), nats.Name("stamp-probe"), nats.Token(token), nats.NoReconnect())
}

// leave takes no callouts from now on. Those that were taken are answered. kept are the connections
// that another handler goes on with.
func (in *inside) leave(kept map[string]*nats.Conn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for account, nc := range in.conns {
		if !nc.IsConnected() && kept[account] != nc {
			nc.Close() // its account or user is gone
		}
	}
	in.handler.Leave()
	for _, nc := range in.conns {
		if nc.IsConnected() { // one that is gone takes nothing
			_ = nc.FlushTimeout(insideWait) // the server has it then
		}
	}
}

// stop drains, as far as start came. kept are the connections that another handler goes on with.
func (in *inside) stop(kept map[string]*nats.Conn) {
	in.finish()
	ctx, cancel := context.WithTimeout(context.Background(), insideWait)
	defer cancel()
	if in.handler != nil {
		if err := in.handler.Drain(ctx); err != nil {
			in.server.Warnf("Callout handler: %v", err)
		}
		in.close()
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for account, nc := range in.conns {
		if kept[account] == nc {
			continue
		}
		if nc.IsConnected() {
			// The last answers may still be in its buffer. It fails where the server has ended.
			_ = nc.FlushWithContext(ctx)
		}
		nc.Close()
	}
}
