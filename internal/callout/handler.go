package callout

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go"

	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/grant"
	"stamp/internal/callout/limited"
	"stamp/internal/callout/session"
)

// Options are what the server or the process that runs a handler gives it.
type Options struct {
	Log     *slog.Logger // nil: slog.Default()
	Metrics *metrics.Set // nil: a set of its own
	// Connect returns a connection in an account, for sources that keep their sessions in NATS. The empty name is the
	// handler's own account. The handler does not close these connections.
	Connect func(account string) (*nats.Conn, error)
	// Renew asks all servers to renew connections, or to close them, and does not wait until they have. If it is nil,
	// sessions that change or end have no effect on live connections.
	Renew func(forwarded.Renew) error
	// Failed is called by Start with the reason when an attempt to connect fails. It may be nil.
	Failed func(error)
	// Disconnect closes a connection of a server, and returns when it is closed. It may be nil: then the handler closes
	// no connections itself, see turnAway.
	Disconnect func(ctx context.Context, server string, client uint64) error
	// Replaces is the handler that this one replaces, which will leave the queue group; nil: there is none.
	Replaces *Handler
	// Gathering is how long after its start the server may not know the subscriptions of its peers yet. A handler that
	// cannot judge yet waits this long for another one that can, before it joins the queue group.
	Gathering time.Duration
	// LookupsOnly is for a program that calls Decide and then ends: no source serves pages or refreshes tokens.
	LookupsOnly bool
}

// Handler answers callouts. Its methods may be called at the same time.
type Handler struct {
	cfg     *Config
	log     *slog.Logger
	logged  *limited.Log // for lines that strangers can cause, as often as they like
	sources []*session.Lookup
	metrics *handlerMetrics
	prober  atomic.Pointer[prober]
	// expected is the issuer's key that the last server expected, if it is not ours; nil: it expected ours.
	expected   atomic.Pointer[string]
	accepted   acceptance
	refusals   *refusals
	unsent     atomic.Int64 // see unsentUntil; in nanoseconds since 1970
	renew      func(forwarded.Renew) error
	disconnect func(ctx context.Context, server string, client uint64) error

	id        string // random; a handler that replaces this one names it when it asks whether others can judge
	replaces  string // id of the handler that this one replaces; empty: none
	gathering time.Duration

	mu     sync.Mutex
	served []*subscription
}

// New opens the sources of cfg. It does not wait until their stores and providers can be reached: they are tried in the
// background until they can.
func New(ctx context.Context, cfg *Config, o Options) (*Handler, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	h := &Handler{cfg: cfg, log: o.Log, logged: limited.New(o.Log), renew: o.Renew, disconnect: o.Disconnect, gathering: o.Gathering, id: rand.Text()}
	h.refusals = &refusals{}
	if o.Replaces != nil {
		h.replaces, h.refusals = o.Replaces.id, o.Replaces.refusals
	}
	env := session.Env{
		Log: o.Log, Metrics: o.Metrics, Connect: o.Connect, Changed: h.changed, Lost: h.lost,
		Cookies: len(cfg.kinds) == 0 || cfg.kinds[session.Cookie], LookupsOnly: o.LookupsOnly,
	}
	for _, opener := range cfg.sources {
		source, err := opener.Open(ctx, env)
		if err != nil {
			h.Close()
			return nil, fmt.Errorf("session source %s: %w", opener.Common().Name, err)
		}
		h.mu.Lock()
		h.sources = append(h.sources, session.NewLookup(source, opener.Common()))
		h.mu.Unlock()
	}
	h.metrics = newMetrics(o.Metrics, h)
	return h, nil
}

// closeTime is how long Close waits for all sources. Each source also limits what it waits for, to less.
const closeTime = 10 * time.Second

// Close closes the sources. Callouts that are being answered then are refused. All sources are told at once:
// while one waits for its provider, the others must not begin requests whose answers nobody would wait for.
func (h *Handler) Close() {
	var closing sync.WaitGroup
	for _, source := range h.lookups() {
		closing.Go(func() {
			defer func() {
				if recover() != nil { // it must not end the process, which may be the server
					h.log.Error("close session source", "source", source.Name(), "error", session.Fault(session.ErrFault))
				}
			}()
			if err := source.Close(); err != nil {
				h.log.Warn("close session source", "source", source.Name(), "error", err)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		closing.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeTime):
		h.log.Warn("gave up waiting for session sources to close", "waited", closeTime)
	}
}

func (h *Handler) lookups() []*session.Lookup {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sources
}

// lost is called by a source that may have missed changes. Nothing of what is cached of it can be trusted then.
func (h *Handler) lost(source string) {
	for _, l := range h.lookups() {
		if l.Name() == source {
			l.ForgetAll()
		}
	}
}

// changed is called by a source when a session changed or ended in its store. The session's connections are renewed or
// closed, on all servers.
func (h *Handler) changed(c session.Change) {
	for _, l := range h.lookups() {
		if l.Name() == c.Source {
			l.Forget(c.Key)
		}
	}
	if h.renew == nil {
		return
	}
	q := forwarded.Renew{Session: forwarded.SessionName(c.Source, c.Key)}
	if revision := forwarded.Revision(c.Revision); revision != (forwarded.Revision{}) {
		q.Revision = &revision
	}
	if c.Deleted {
		// We may hear of the end late. A session that was begun anew under the same key since then must not end.
		q.Kick, q.Ago = true, max(c.Ago, time.Nanosecond)
	}
	if err := h.renew(q); err != nil {
		h.log.Warn("cannot tell the servers now that a session changed; they will be told later", "session", q.Session, "ended", c.Deleted, "error", err)
		return
	}
	level := slog.LevelDebug
	if c.Deleted {
		level = slog.LevelInfo
	}
	h.log.Log(context.Background(), level, "session changed", "session", q.Session, "ended", c.Deleted)
}

// Follows returns the buckets that the handler watches at present.
func (h *Handler) Follows() (buckets []forwarded.Followed) {
	for _, l := range h.lookups() {
		if bucket, ok := l.Follows(); ok {
			buckets = append(buckets, forwarded.Followed{Source: l.Name(), Bucket: bucket})
		}
	}
	return buckets
}

// Verdict is what a connection gets.
type Verdict struct {
	Session *session.Session
	Grant   *grant.Result
}

// Reasons of a refusal, beside those of package grant. The server logs them, and does not send them to the client.
var (
	ErrUnknown = errors.New("no session: the credential is unknown, or there is none")
	ErrKind    = errors.New("credentials of this kind are not accepted")
)

// Decide finds the session of a connection, and what it gets. An error is the reason of a refusal, and contains no
// secret.
func (h *Handler) Decide(ctx context.Context, r *session.Request) (*Verdict, error) {
	s, r, err := h.find(ctx, r)
	if err != nil {
		return nil, err
	}
	return h.match(s, r)
}

// match applies the grants to a session.
func (h *Handler) match(s *session.Session, r *session.Request) (*Verdict, error) {
	result, err := h.cfg.grants.Match(s, r, time.Now())
	if err != nil {
		return nil, err
	}
	return &Verdict{s, result}, nil
}

// find asks the sources in order. It returns the session, and the request as the source that found it read it. If a source
// cannot tell whether it knows the credential, the search ends: a later source may know the same credential with fewer
// rights, or with more.
func (h *Handler) find(ctx context.Context, r *session.Request) (*session.Session, *session.Request, error) {
	refusal := fmt.Errorf("%w: %s", ErrKind, r.Credential.Kind)
	var reasons []string
	for _, source := range h.sources {
		asked := source.Request(r)
		if !h.accepts(asked) {
			continue
		}
		s, err := source.Find(ctx, asked)
		if !errors.Is(err, session.ErrUnknown) {
			return s, asked, err
		}
		refusal = ErrUnknown
		if session.HasReason(err) {
			reasons = append(reasons, err.Error())
		}
	}
	if len(reasons) > 0 {
		refusal = fmt.Errorf("%w (%s)", ErrUnknown, strings.Join(reasons, "; "))
	}
	return nil, nil, refusal
}

// accepts reports whether the configuration accepts credentials of the request's kind.
func (h *Handler) accepts(r *session.Request) bool {
	return len(h.cfg.kinds) == 0 || h.cfg.kinds[r.Credential.Kind]
}

// isCached reports whether find will answer at once, from what is cached.
func (h *Handler) isCached(r *session.Request) (cached bool) {
	defer func() {
		if recover() != nil {
			cached = false // grant will panic in the same place, and refuse the connection
		}
	}()
	for _, source := range h.sources {
		asked := source.Request(r)
		if !h.accepts(asked) {
			continue
		}
		switch known, unknown := source.Cached(asked); {
		case known:
			return true
		case !unknown:
			return false
		}
	}
	return true
}
