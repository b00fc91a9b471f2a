package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/web"
	"stamp/server/callout/session/kv"
)

// source serves the pages, refreshes tokens, and finds sessions.
type source struct {
	cfg     *Config
	env     session.Env
	kv      *kv.Source
	js      jetstream.JetStream
	metrics *counters

	stop context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex
	store    *store // nil: not opened yet
	provider *oidc.Provider
	tried    time.Time // when the provider was asked last
	address  string
	web      *http.Server

	failed atomic.Pointer[error] // why the pages are no longer served
}

// Open begins to serve. Bucket and provider are waited for: until they are there, logging in fails.
func (c *Config) Open(ctx context.Context, env session.Env) (session.Source, error) {
	nc, err := env.Connect(c.Account)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &source{cfg: c, env: env, js: js, stop: stop, metrics: newCounters(env.Metrics, c.Name)}
	begin, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	// The watch of the source finds the bucket at once when it is there.
	if _, err := s.opened(begin); err != nil {
		env.Log.Warn("login: sessions cannot be kept yet", "source", c.Name, "error", err)
	}
	if s.kv, err = c.bucket.OpenKeys(ctx, env); err != nil {
		stop()
		return nil, err
	}
	if env.LookupsOnly {
		return s, nil
	}
	if err := s.serve(); err != nil {
		_ = s.kv.Close()
		stop()
		return nil, err
	}
	s.work.Go(func() { s.refreshAll(running) })
	return s, nil
}

// Close ends the pages and the refreshes.
func (s *source) Close() error {
	s.stop()
	s.mu.Lock()
	server := s.web
	s.mu.Unlock()
	var err error
	if server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		// It waits for connections too that were opened and never asked anything.
		if server.Shutdown(ctx) != nil {
			err = server.Close()
		}
	}
	s.work.Wait()
	return errors.Join(err, s.kv.Close())
}

// opened returns the store, once the buckets are there.
func (s *source) opened(ctx context.Context) (*store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil {
		return s.store, nil
	}
	opened, err := openStore(ctx, s.js, s.cfg)
	if err != nil {
		return nil, err
	}
	s.store = opened
	return opened, nil
}

// discoverEvery is how often a provider that does not answer is asked, at most.
const discoverEvery = time.Second

var errNoProvider = errors.New("the OpenID provider does not answer")

// discovered returns the provider, once it has answered.
func (s *source) discovered(ctx context.Context) (*oidc.Provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.provider != nil {
		return s.provider, nil
	}
	if time.Since(s.tried) < discoverEvery {
		return nil, errNoProvider
	}
	s.tried = time.Now()
	// It keeps the client of the context for its keys, and must outlive the request.
	lasting := oidc.ClientContext(context.WithoutCancel(ctx), s.cfg.client.HTTP())
	p, err := oidc.NewProvider(lasting, s.cfg.Issuer)
	if err != nil {
		reason := web.Clean(err)
		if strings.Contains(err.Error(), "did not match the issuer") {
			reason = errors.New("the provider calls itself by another issuer than the configuration's")
		}
		s.env.Log.Warn("login: discovery", "source", s.cfg.Name, "error", reason)
		return nil, errNoProvider
	}
	s.provider = p
	return p, nil
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
		s.env.Log.Warn("a ticket comes without its key", "source", s.cfg.Name, "server", r.ServerName, "client", r.ClientID, "host", r.Host, "nonce", r.Credential.Nonce != "")
		return nil, fmt.Errorf("%w: %w", session.ErrUnknown, err)
	case errors.Is(err, errTicketUsed):
		s.metrics.replays.Inc()
		s.env.Log.Warn("a ticket is replayed", "source", s.cfg.Name, "server", r.ServerName, "client", r.ClientID, "host", r.Host)
		return nil, fmt.Errorf("%w: %w", session.ErrUnknown, err)
	case errors.Is(err, errTicketUnknown), errors.Is(err, errTicketExpired), errors.Is(err, errTicketMany):
		return nil, fmt.Errorf("%w: %w", session.ErrUnknown, err)
	case err != nil:
		return nil, err
	}
	return s.kv.FindKey(ctx, key)
}
