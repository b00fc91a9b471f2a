package login

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/singleflight"

	"stamp/server/callout/limited"
	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/openid"
	"stamp/server/callout/session/internal/webserver"
	"stamp/server/callout/session/kv"
)

// source serves the pages, refreshes tokens, and finds sessions.
type source struct {
	cfg      *Config
	env      session.Env
	kv       *kv.Source
	js       jetstream.JetStream
	metrics  *counters
	provider *openid.Provider

	logged *limited.Log // for what somebody else can cause, as often as they like

	gate       openid.Gate        // in front of refreshes
	leases     openid.Gate        // in front of the leases for them
	codes      openid.Gate        // in front of logins: strangers make codes up, which refreshes must not wait for
	info       openid.Gate        // in front of the userinfo endpoint at refreshes, which go on without it
	asking     *loginTurns        // of logins at the provider
	loggingOut singleflight.Group // by the tenant and the id of a logout token

	toldEarly atomic.Bool // that refresh_before is too much

	unstored sync.Map // by session: those whose refreshed tokens are to be stored still

	// running ends with stop: with it what can be begun again, or left out.
	running context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup
	// finishing ends later than that: with it what must not be given up half-way is done.
	finishing context.Context
	abandon   context.CancelFunc

	opening singleflight.Group
	store   atomic.Pointer[store] // nil: not opened yet

	mu  sync.Mutex
	web *webserver.Server // nil: nothing is served

	failed atomic.Pointer[error]  // why the pages are no longer served
	unable atomic.Pointer[unable] // why tokens cannot be refreshed; nil: nothing is known
}

// Open begins to serve. Buckets and provider are looked for in the background: until they are there, logging in fails.
func (c *Config) Open(ctx context.Context, env session.Env) (session.Source, error) {
	nc, err := env.Connect(c.Account)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	js, err := c.JetStream(nc)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	finishing, abandon := context.WithCancel(context.WithoutCancel(ctx))
	s := &source{
		cfg: c, env: env, logged: limited.New(env.Log), js: js, running: running, stop: stop, finishing: finishing, abandon: abandon, metrics: newCounters(env.Metrics, c.Name),
		asking: newLoginTurns(),
	}
	if s.kv, err = c.bucket.OpenKeys(ctx, env); err != nil {
		stop()
		abandon()
		return nil, err
	}
	s.provider = c.Config.Open(ctx, env.Log.With("source", c.Name))
	if env.LookupsOnly {
		return s, nil
	}
	if err := s.serve(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.work.Go(func() { s.refreshAll(running) })
	return s, nil
}

// Live is the bucket's.
func (s *source) Live() bool { return s.kv.Live() }

// WatchError is the bucket's.
func (s *source) WatchError() error { return s.kv.WatchError() }

// LookupError returns why sessions cannot be found, pages not be served any more, or tokens not be refreshed for want of a bucket;
// nil where none of that is known.
func (s *source) LookupError() error {
	if err := s.failed.Load(); err != nil {
		return fmt.Errorf("login pages: %w", *err)
	}
	err := s.kv.LookupError()
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w; %s-index is needed too, and both are made again if the user of the handler may make them", err, s.cfg.Bucket)
	}
	if err != nil {
		return err
	}
	if u := s.unable.Load(); u != nil && time.Since(u.at) < unableTime {
		return fmt.Errorf("tokens cannot be refreshed: %w", u.cause)
	}
	return nil
}

// closeTime is how long Close waits for what must not be given up half-way: a refresh whose request was
// sent, and a logout by the provider.
const closeTime = 8 * time.Second

var errAbandoned = errors.New("gave up waiting for the OpenID provider or the bucket: a refresh that was under way is lost, and its session may end")

// Close ends the pages and the refreshes. Those that were sent are finished and stored first, within
// closeTime.
func (s *source) Close() error {
	defer s.abandon()
	s.stop()
	s.mu.Lock()
	web := s.web
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	var err error
	if web != nil {
		err = web.Close(ctx)
	}
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.Join(err, errAbandoned)
	}
	s.provider.Close()
	return errors.Join(err, s.kv.Close())
}

// opened returns the store, once the buckets are there. Of those that want it one asks for it, and no
// lock is held meanwhile.
func (s *source) opened(ctx context.Context) (*store, error) {
	if have := s.store.Load(); have != nil {
		return have, nil
	}
	ch := s.opening.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
		defer cancel()
		opened, err := openStore(ctx, s.js, s.cfg)
		if err == nil {
			s.store.Store(opened)
			s.tellEndless(opened)
		}
		return opened, err
	})
	select {
	case result := <-ch:
		opened, _ := result.Val.(*store)
		return opened, result.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// tellEndless says that buckets which somebody else has made keep what has ended. They may be older than a TTL would let
// their entries be, so none is given to them.
func (s *source) tellEndless(store *store) {
	for _, bucket := range store.endless {
		s.logged.Warn("endless", "login: a bucket has no TTL: what sessions leave stays in it for ever; give it the TTL that the handler would", "source", s.cfg.Name, "bucket", bucket, "ttl", s.cfg.ttl())
	}
}

// Accepts takes tickets, and cookies as the kv source does, unless connections are for workers: a
// cookie goes along with whatever connects. A ticket's answer is for one connection, and so not for
// the cache. Where the configuration takes no cookies, the value of one is none in the token of CONNECT either.
func (s *source) Accepts(r *session.Request) (key string, ok bool) {
	if s.ticket(r) || s.cfg.Worker != nil || !s.env.Cookies {
		return "", s.ticket(r)
	}
	return s.kv.Accepts(r)
}

func (s *source) ticket(r *session.Request) bool {
	return s.cfg.Ticket > 0 && r.Credential.Kind == session.Token && isTicket(r.Credential.Value)
}

// Find finds the session of a cookie or a ticket.
func (s *source) Find(ctx context.Context, r *session.Request) (*session.Session, error) {
	if !s.ticket(r) {
		return s.kv.Find(ctx, r)
	}
	store, err := s.opened(ctx)
	if err != nil {
		return nil, err
	}
	conn := fmt.Sprintf("%s/%d", r.ServerID, r.ClientID)
	key, err := store.redeem(ctx, &r.Credential, conn)
	switch {
	case errors.Is(err, errTicketKey):
		s.metrics.wrongKeys.Inc()
		s.logged.Warn("ticket key", "a ticket comes without its key", "source", s.cfg.Name, "server", r.ServerName, "client", r.ClientID, "host", r.Host, "nonce", r.Credential.Nonce != "")
		return nil, fmt.Errorf("%w: %w", session.ErrUnknown, err)
	case errors.Is(err, errTicketUsed):
		s.metrics.replays.Inc()
		s.logged.Warn("ticket replayed", "a ticket is replayed", "source", s.cfg.Name, "server", r.ServerName, "client", r.ClientID, "host", r.Host)
		return nil, fmt.Errorf("%w: %w", session.ErrUnknown, err)
	case errors.Is(err, errTicketUnknown), errors.Is(err, errTicketExpired), errors.Is(err, errTicketMany), errors.Is(err, errTicketLost):
		return nil, fmt.Errorf("%w: %w", session.ErrUnknown, err)
	case err != nil:
		return nil, err
	}
	return s.kv.FindKey(ctx, key)
}
