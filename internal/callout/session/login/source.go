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

	"stamp/internal/callout/limited"
	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/openid"
	"stamp/internal/callout/session/internal/webserver"
	"stamp/internal/callout/session/kv"
)

// source is an open login source: it serves the pages, refreshes tokens and finds sessions.
type source struct {
	cfg      *Config
	party    string // of cfg
	env      session.Env
	kv       *kv.Source
	js       jetstream.JetStream
	leader   *kv.Leader // of the sessions' bucket
	metrics  *counters
	provider *openid.Provider

	logged *limited.Log // limits lines that strangers can cause

	gate       openid.Gate        // limits refreshes
	leases     openid.Gate        // limits writes of leases
	stores     openid.Gate        // limits refreshes while what they bring cannot be stored
	codes      openid.Gate        // limits exchanges of codes; apart from gate, because strangers can make up codes
	info       openid.Gate        // limits requests to the userinfo endpoint during refreshes, which go on without it
	asking     *loginTurns        // limits what logins ask the provider
	pace       *pace              // limits how many refreshes run at once
	loggingOut singleflight.Group // by tenant and id of the logout token

	warnedEarly atomic.Bool // it was logged that refresh_before is too long for the tokens' life

	unstored sync.Map // keys of sessions whose refreshed tokens are not stored yet

	// running ends when Close begins. Work that can be repeated or left out uses it.
	running context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup
	// finishing ends when Close returns. Work that must not be interrupted uses it: a refresh that
	// was sent, a logout by the provider.
	finishing context.Context
	abandon   context.CancelFunc

	opening singleflight.Group
	store   atomic.Pointer[store] // nil: not open yet

	replaced     atomic.Uint64 // how often it was noticed that the sessions' bucket had gone or was made anew
	indexedAfter atomic.Uint64 // what replaced was before the sessions were last written into the index

	restored atomic.Pointer[time.Time] // when it was noticed that the index was restored from a backup; nil: never

	mu  sync.Mutex
	web *webserver.Server // nil: no pages are served

	failed atomic.Pointer[error]  // why the pages are no longer served; nil: they are
	unable atomic.Pointer[unable] // why tokens could not be refreshed lately; nil: no reason is known
}

// Open starts the source. It does not wait for the buckets and the provider. Logins fail until both
// are there.
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
		cfg: c, party: c.party(), env: env, logged: limited.New(env.Log), js: js, leader: c.Leader(nc, streamOf(c.Bucket)), running: running, stop: stop, finishing: finishing, abandon: abandon, metrics: newCounters(env.Metrics, c.Name),
		asking: newLoginTurns(), pace: newPace(c.Refreshes),
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

// Live implements session.Watched.
func (s *source) Live() bool { return s.kv.Live() }

// Follows is that of the bucket's watch.
func (s *source) Follows() (bucket int64, ok bool) { return s.kv.Follows() }

// WatchError implements session.Source.
func (s *source) WatchError() error { return s.kv.WatchError() }

// LookupError implements session.Source. It returns an error if sessions cannot be read, if the
// pages are no longer served, or if tokens cannot be refreshed because a bucket is missing.
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

// closeTime is how long Close waits for work that must not be interrupted: a refresh that was sent,
// and a logout by the provider.
const closeTime = 8 * time.Second

// tidyTime is how long a write to the index is waited for without which nothing is wrong: what it
// would remove ends by itself. A bucket that is deleted answers nothing, and closeTime is for more
// than that.
const tidyTime = time.Second

var errAbandoned = errors.New("gave up waiting for the OpenID provider or the bucket: a refresh that was under way is lost, and its session may end")

// Close stops the pages and the refreshes. Refreshes that were sent to the provider are first
// finished and stored, within closeTime.
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

// opened returns the store and opens it if necessary. Concurrent calls share one attempt. No lock
// is held meanwhile.
func (s *source) opened(ctx context.Context) (*store, error) {
	if have := s.store.Load(); have != nil {
		return have, nil
	}
	ch := s.opening.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.TryTime())
		defer cancel()
		opened, err := openStore(ctx, s.js, s.cfg)
		if err == nil {
			if at := s.restored.Load(); at != nil && at.After(opened.indexed.since) {
				opened.indexed.since = *at
			}
			s.store.Store(opened)
			s.warnEndless(opened)
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

// warnEndless warns of buckets without a TTL: somebody else has created them, and what ended
// sessions leave stays in them. The source does not set a TTL, because older entries could then end
// before their sessions.
func (s *source) warnEndless(store *store) {
	for _, bucket := range store.endless {
		s.logged.Warn("endless", "login: a bucket has no TTL: what sessions leave stays in it for ever; give it the TTL that the handler would", "source", s.cfg.Name, "bucket", bucket, "ttl", s.cfg.ttl())
	}
}

// Accepts implements session.Source. It accepts tickets. Unless the source has a worker, it accepts
// cookies as well; with a worker it does not, because browsers attach cookies to whatever connects.
// If the configuration accepts no cookies, a token of CONNECT with the value of a cookie is not
// accepted either.
// The answer for a ticket must not be cached, because a ticket is for one connection.
func (s *source) Accepts(r *session.Request) (key string, ok bool) {
	if s.ticket(r) || s.cfg.Worker != nil || !s.env.Cookies {
		return "", s.ticket(r)
	}
	return s.kv.Accepts(r)
}

func (s *source) ticket(r *session.Request) bool {
	return s.cfg.Ticket > 0 && r.Credential.Kind == session.Token && isTicket(r.Credential.Value)
}

// Find implements session.Source.
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
