package callout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/nats-io/nuid"

	"stamp/internal/callout/announce"
	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/session"
)

// drainTime is how long the callouts that were accepted may take at the end, or at a reload.
const drainTime = 10 * time.Second

// Process is a handler in a process of its own. When its configuration changes, the handler and its
// connections are replaced as a whole.
type Process struct {
	options   Options
	id        string              // among the handlers in processes of their own
	handlers  *announce.Followers // the others
	announcer *announce.Announcer
	system    atomic.Pointer[nats.Conn] // the connection over which it tells servers of sessions; nil: none
	life      context.Context           // ends with Stop
	stop      context.CancelFunc
	told      chan struct{}  // closed when the other handlers know that this one stops
	ending    sync.WaitGroup // counts handlers that were replaced and still drain

	mu sync.Mutex
	running
}

// running is a handler with its connections.
type running struct {
	nc       *link
	system   *systemLink // nil: none is configured
	accounts *accountConns
	handler  *Handler
	life     context.Context // of the connections
	giveUp   context.CancelFunc
}

// Start connects with the configuration, and serves. It waits until a server is there or ctx ends.
func Start(ctx context.Context, cfg *Config, o Options) (*Process, error) {
	p := &Process{options: o, id: nuid.Next(), told: make(chan struct{})}
	p.handlers = announce.NewHandlers(p.id)
	p.announcer = announce.NewAmong(p.handlers, p.announce)
	r, err := p.open(ctx, cfg, p.options)
	if err != nil {
		return nil, err
	}
	p.running = r
	p.life, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	go p.watch(p.life)
	go p.follow(p.life)
	return p, nil
}

// Times between checks of readiness for the log.
const (
	lookAgain = 10 * time.Second // after a fault
	lookEvery = time.Minute
)

// watch logs when the process is not ready, and when it is ready again, because nobody may be
// asking for /readyz.
func (p *Process) watch(ctx context.Context) {
	said := ""
	for wait := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		said = p.look(ctx, said)
		if wait = lookEvery; said != "" {
			wait = lookAgain
		}
	}
}

// look logs a change of readiness. said is why the process was not ready before; the result is why
// it is not ready now.
func (p *Process) look(ctx context.Context, said string) (now string) {
	defer func() {
		if recover() != nil {
			p.options.Log.Error("readiness", "error", session.Fault(errFault))
			now = said
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	err := p.CheckReady(ctx)
	switch {
	case ctx.Err() != nil:
		return said
	case err != nil && err.Error() != said:
		p.options.Log.Error("not ready", "error", err)
	case err == nil && said != "":
		p.options.Log.Info("ready again")
	}
	if ready := p.options.ReadyMetric(); ready != nil {
		ready.Set(0)
		if err == nil {
			ready.Set(1)
		}
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// open connects and serves. If ctx ends first, it closes what is being dialed and does not wait.
func (p *Process) open(ctx context.Context, cfg *Config, o Options) (r running, err error) {
	r.life, r.giveUp = context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, r.giveUp)
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx) // the connections have ended with ctx
		}
		if err != nil {
			r.giveUp()
			if r.handler != nil {
				r.handler.StopReceiving()
				r.handler.Close()
			}
			r.close()
		}
	}()
	d := newDialing(r.life, p.options.Log, p.options.Failed)
	if r.nc, err = cfg.Connect.dial(d); err != nil {
		return r, err
	}
	if err = d.wait(ctx, r.nc); err != nil {
		return r, err
	}
	if r.system, err = cfg.Connect.dialSystem(r.life, p.options.Log, p.systemBack); err != nil {
		return r, err
	}
	if o.Replaces != nil && r.system != nil {
		// The handler that still serves may have a login that works.
		if err = r.system.await(ctx); err != nil {
			return r, err
		}
	}
	r.accounts = newAccountConns(r.life, cfg.Connect, p.options.Log)
	r.handler, err = p.serve(ctx, cfg, r, o)
	return r, err
}

func (r running) close() {
	r.accounts.close()
	r.nc.Close()
	if r.system != nil {
		r.system.Close()
	}
	r.giveUp()
}

func (p *Process) serve(ctx context.Context, cfg *Config, r running, o Options) (*Handler, error) {
	nc := r.nc.Conn
	account, err := accountOf(ctx, nc)
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
		if err := p.listen(r.system.Conn); err != nil {
			return nil, err
		}
		o.Renew = p.announcer.Tell
		o.Disconnect = disconnectBy(r.system.Conn)
	}
	h, err := New(ctx, cfg, o)
	if err != nil {
		return nil, err
	}
	h.UseProbe(account, func(token string) (*nats.Conn, error) { return cfg.Connect.Probe(r.life, token) })
	if err = h.Serve(ctx, nc); err != nil {
		ended, end := context.WithCancel(ctx)
		end() // no callout has been answered yet
		_ = h.Drain(ended)
		h.Close()
		return nil, err
	}
	return h, nil
}

// heartbeats is the subject on which each server reports every ten seconds, in the system account.
const heartbeats = "$SYS.SERVER.*.STATSZ"

// listen makes the announcer follow which servers there are. Until another connection exists, the
// announcer uses nc.
func (p *Process) listen(nc *nats.Conn) error {
	_, err := nc.Subscribe(heartbeats, func(m *nats.Msg) {
		if parts := strings.Split(m.Subject, "."); len(parts) == 4 {
			p.announcer.Heard(parts[2])
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", heartbeats, err)
	}
	if _, err := nc.Subscribe(forwarded.Handlers, p.heardHandler); err != nil {
		return fmt.Errorf("subscribe to %s: %w", forwarded.Handlers, err)
	}
	p.system.CompareAndSwap(nil, nc)
	return nil
}

// announce sends a request to the servers, in the system account. It is an error if the connection
// is away: the request says how old it is, so it must not wait in a buffer. The announcer repeats
// it when the connection is back.
func (p *Process) announce(q forwarded.Renew) error {
	nc := p.system.Load()
	if nc == nil || !nc.IsConnected() {
		return fmt.Errorf("ask the servers: %w", nats.ErrDisconnected)
	}
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if err := nc.Publish(forwarded.RenewAll, body); err != nil {
		return fmt.Errorf("ask the servers: %w", err)
	}
	return nil
}

// disconnectBy returns a function that asks a server to close one of its connections
// ($SYS.REQ.SERVER.<id>.KICK of nats-server), and waits until that is done.
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

// CheckReady is like Handler.CheckReady. It is an error if the process is not connected, because another
// handler would answer the probe.
func (p *Process) CheckReady(ctx context.Context) error {
	r := p.current()
	if !r.nc.IsConnected() {
		return fmt.Errorf("not connected to NATS: %w", cmp.Or(r.nc.LastError(), nats.ErrDisconnected))
	}
	callouts, logouts := r.handler.CheckReady(ctx), r.system.checkReady(ctx)
	if callouts != nil && logouts != nil {
		return fmt.Errorf("%w; %w", callouts, logouts)
	}
	return cmp.Or(callouts, logouts)
}

// Status returns the status of the current handler.
func (p *Process) Status(ctx context.Context) *Status {
	return p.current().handler.Status(ctx, p.CheckReady)
}

func (p *Process) current() running {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running
}

// Reload serves with another configuration. When the new handler serves, the old one accepts no
// more callouts. It finishes those that it has accepted, within drainTime. After an error the old
// handler continues.
func (p *Process) Reload(ctx context.Context, cfg *Config) error {
	o := p.options
	o.Replaces = p.current().handler
	next, err := p.open(ctx, cfg, o)
	if err != nil {
		return err
	}
	p.mu.Lock()
	old := p.running
	p.running = next
	p.mu.Unlock()
	p.system.Store(next.systemConn())
	old.release()
	old.handler.StopReceiving()
	if old.nc.up.Load() {
		_ = old.nc.FlushTimeout(time.Second) // so that the server knows; a connection that is away gets no callouts
	}
	p.ending.Go(func() {
		p.watchUntil(next.handler)
		if err := old.end(context.Background()); err != nil {
			p.options.Log.Warn("the old handler", "error", err)
		}
	})
	return nil
}

// watchUntil waits a limited time until the sources of the next handler are open. Until then, the
// sources of the old one report sessions that change.
func (p *Process) watchUntil(next *Handler) {
	ctx, cancel := context.WithTimeout(p.life, drainTime)
	defer cancel()
	next.WaitUntilUsable(ctx)
}

// systemConn returns the connection in the system account, or nil.
func (r running) systemConn() *nats.Conn {
	if r.system == nil {
		return nil
	}
	return r.system.Conn
}

// Stop drains and disconnects. Handlers that were replaced shortly before drain too.
func (p *Process) Stop(ctx context.Context) error {
	p.stop()
	<-p.told
	err := p.current().end(ctx)
	p.announcer.Close()
	ended := make(chan struct{})
	go func() {
		p.ending.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("drain a handler that was replaced: %w", context.Cause(ctx)))
	}
	return err
}

// release closes a connection that is away, unless the answer to an accepted callout waits for it.
// Otherwise nobody would get an answer over it, and Close would wait until it has dialed.
func (r running) release() {
	if !r.handler.owes() {
		r.nc.release()
	}
}

func (r running) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	r.release()
	err := r.handler.Drain(ctx)
	err = errors.Join(err, r.flush(ctx))
	r.handler.Close()
	r.close()
	return err
}

// flush sends the answers that are in the buffer of the connection. If the connection is away, it
// waits as long as a server waits for one of them.
func (r running) flush(ctx context.Context) error {
	if !r.nc.up.Load() || !r.nc.IsConnected() {
		until := r.handler.unsentUntil()
		if until.IsZero() {
			return nil
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	if err := r.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("send the last answers: %w", err)
	}
	return nil
}
