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

// Options are what a handler gets from whoever runs it.
type Options struct {
	Log     *slog.Logger // nil: slog.Default()
	Metrics *metrics.Set // nil: a set of its own
	// Connect returns a connection in an account, for sources that keep their
	// sessions in NATS; empty is the handler's own. The handler closes none of them.
	Connect func(account string) (*nats.Conn, error)
	// Renew asks all servers to renew connections, or to close them; nil: nobody can. It does not
	// wait for that.
	Renew func(forwarded.Renew) error
	// Failed is told why an attempt to connect failed; nil: nobody wants to know. It is for Start.
	Failed func(error)
	// Disconnect closes a connection of a server, and returns when that is done; nil: nobody can.
	Disconnect func(ctx context.Context, server string, client uint64) error
	// Replaces is the handler whose place this one takes, and that is about to leave the queue group; nil: there is none.
	Replaces *Handler
	// Gathering is how long it takes until the server has the interest of its peers, when it has just started. A
	// handler that cannot judge yet waits so long for one that can before it joins the queue group.
	Gathering time.Duration
	// LookupsOnly is for who asks Judge and ends then: no source serves pages or refreshes tokens.
	LookupsOnly bool
}

// Handler answers callouts. Its methods may be called at the same time.
type Handler struct {
	cfg     *Config
	log     *slog.Logger
	logged  *limited.Log // for what somebody else can cause, as often as they like
	sources []*session.Lookup
	metrics *handlerMetrics
	prober  atomic.Pointer[prober]
	// expected is the key of an issuer that a server asked for and that is not ours; nil: the last one asked for ours.
	expected atomic.Pointer[string]
	taken    taken
	refusals *refusals
	unsent   atomic.Int64 // see unsentUntil; in nanoseconds since 1970
	renew    func(forwarded.Renew) error
	away     func(ctx context.Context, server string, client uint64) error

	id        string // in the questions of handlers that take its place
	replaces  string // id of the handler whose place it takes; empty: none
	gathering time.Duration

	mu     sync.Mutex
	served []*subscription
}

// New opens the sources of cfg. It does not wait for what they need: that is looked for in the background, again and
// again.
func New(ctx context.Context, cfg *Config, o Options) (*Handler, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	h := &Handler{cfg: cfg, log: o.Log, logged: limited.New(o.Log), renew: o.Renew, away: o.Disconnect, gathering: o.Gathering, id: rand.Text()}
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

// Close closes the sources. Callouts that are under way then are refused.
func (h *Handler) Close() {
	for _, source := range h.lookups() {
		if err := source.Close(); err != nil {
			h.log.Warn("close session source", "source", source.Name(), "error", err)
		}
	}
}

func (h *Handler) lookups() []*session.Lookup {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sources
}

// lost is told by a source that it may have missed changes.
func (h *Handler) lost(source string) {
	for _, l := range h.lookups() {
		if l.Name() == source {
			l.ForgetAll()
		}
	}
}

// changed is told by a source that a session changed or ended in its store. Its connections are
// renewed or closed, on all servers.
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
		// A session that was begun anew since is not ended by an end that we hear of late.
		q.Kick, q.Ago = true, max(c.Ago, time.Nanosecond)
	}
	if err := h.renew(q); err != nil {
		h.log.Warn("the servers cannot be told now of a session that changed, and will be", "session", q.Session, "ended", c.Deleted, "error", err)
		return
	}
	level := slog.LevelDebug
	if c.Deleted {
		level = slog.LevelInfo
	}
	h.log.Log(context.Background(), level, "session changed", "session", q.Session, "ended", c.Deleted)
}

// Follows returns the buckets whose changes the handler hears of now.
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

// Reasons of a refusal, beside those of package grant. The client never sees
// them; the server logs them.
var (
	ErrUnknown = errors.New("no session: the credential is unknown, or there is none")
	ErrKind    = errors.New("credentials of this kind are not accepted")
)

// Judge finds the session of a connection, and what it gets. The error is the
// reason of a refusal; it holds no secret.
func (h *Handler) Judge(ctx context.Context, r *session.Request) (*Verdict, error) {
	s, r, err := h.find(ctx, r)
	if err != nil {
		return nil, err
	}
	return h.judge(s, r)
}

func (h *Handler) judge(s *session.Session, r *session.Request) (*Verdict, error) {
	result, err := h.cfg.grants.Match(s, r, time.Now())
	if err != nil {
		return nil, err
	}
	return &Verdict{s, result}, nil
}

// find asks the sources in order, and returns the request as the one had it that
// knows the session. One that cannot tell ends the search: the credential may be
// its, and what a later source says of it may be less than that.
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

// accepts tells whether the configuration takes credentials of the request's kind.
func (h *Handler) accepts(r *session.Request) bool {
	return len(h.cfg.kinds) == 0 || h.cfg.kinds[r.Credential.Kind]
}

// ready tells whether find will answer at once, from what is cached.
func (h *Handler) ready(r *session.Request) (cached bool) {
	defer func() {
		if recover() != nil {
			cached = false // grant will meet the same fault, and refuse with it
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
