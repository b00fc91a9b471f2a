package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// Lookup looks credentials up in one source. It caches sessions and unknown
// credentials, each for its configured time. An error of the source is not cached.
// Callers that ask for the same credential at the same time share one look-up.
type Lookup struct {
	source   Source
	settings Settings
	cache    *cache
	watched  Watched // the source if it implements Watched, else nil
	flights  singleflight.Group
	connects lane // for new connections
	renewals lane // for connections whose authorization is renewed
	failing  atomic.Pointer[error]

	Stats Stats
}

// Stats counts look-ups by their result.
type Stats struct {
	Hits, Misses       atomic.Uint64 // of the cache
	Unknown            atomic.Uint64 // credentials that the source does not know
	Failed             atomic.Uint64 // errors of the source
	Busy               atomic.Uint64 // look-ups that got no turn in time
	Asked, Nanoseconds atomic.Uint64 // look-ups in the source, and their total time
}

// NewLookup returns a Lookup of the source, with the cache and the bounds of the
// settings.
func NewLookup(source Source, settings Settings) *Lookup {
	watched, _ := source.(Watched)
	return &Lookup{
		source: source, settings: settings, cache: newCache(settings), watched: watched,
		connects: newLane(settings.connects(), settings.Queue), renewals: newLane(settings.renewals(), settings.Queue),
	}
}

// Watched is a source whose store reports each change of a session. Live reports
// whether it does so now. If not, cached answers may be stale and are not used.
type Watched interface{ Live() bool }

// lane bounds how many look-ups run at once, and how many wait. Renewals have a lane
// of their own. Otherwise a flood of connections with invented credentials could
// delay them, and the server closes a connection that is not renewed in time.
type lane struct {
	turns   chan struct{} // has an element for each look-up that runs
	waiting *atomic.Int64
	queue   int64 // how many look-ups may wait
}

func newLane(turns, queue int) lane {
	return lane{make(chan struct{}, turns), new(atomic.Int64), int64(queue)}
}

// enter waits for a turn. It returns ErrBusy if too many look-ups wait already, or if
// ctx ends first. After a turn the caller calls leave.
func (l lane) enter(ctx context.Context) error {
	select {
	case l.turns <- struct{}{}:
		return nil
	default:
	}
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > l.queue {
		return ErrBusy
	}
	select {
	case l.turns <- struct{}{}:
	case <-ctx.Done():
		return ErrBusy
	}
	// The turn may have come after the deadline. A look-up without time left would only load the store.
	if end, ok := ctx.Deadline(); ctx.Err() != nil || ok && !time.Now().Before(end) {
		l.leave()
		return ErrBusy
	}
	return nil
}

func (l lane) leave() { <-l.turns }

// Name returns the name of the source in the configuration.
func (l *Lookup) Name() string { return l.settings.Name }

// Kind returns the kind of the source in the configuration.
func (l *Lookup) Kind() string { return l.settings.Kind }

// CachedSessions returns how many sessions are cached. A session with several credentials counts once.
func (l *Lookup) CachedSessions() int { return l.cache.countSessions() }

// Failing returns the error of the last look-up in the source if that failed, else nil.
func (l *Lookup) Failing() error {
	if err := l.failing.Load(); err != nil {
		return *err
	}
	return nil
}

// Close closes the source.
func (l *Lookup) Close() error { return l.source.Close() }

// Forget drops the cached answers for the session with this key.
func (l *Lookup) Forget(key string) { l.cache.forget(key) }

// ForgetAll drops all cached answers.
func (l *Lookup) ForgetAll() { l.cache.forgetAll() }

// LookupError returns an error if the source knows that it can look up no credential now,
// for instance because its bucket is missing. It sends no request. It returns nil if
// the source works, or does not know.
func (l *Lookup) LookupError() error {
	source, ok := l.source.(interface{ LookupError() error })
	if !ok {
		return nil
	}
	if err := source.LookupError(); err != nil {
		return l.named(err)
	}
	return nil
}

// WatchError returns why the source misses changes of its sessions. It returns nil if
// the source sees them, and for sources that never do.
func (l *Lookup) WatchError() error {
	source, ok := l.source.(interface{ WatchError() error })
	if !ok {
		return nil
	}
	if err := source.WatchError(); err != nil {
		return l.named(err)
	}
	return nil
}

// Find returns the session of the request's credential. The error is ErrUnknown if
// the source does not accept or does not know the credential. With any other error
// it is not known whether the credential has a session.
func (l *Lookup) Find(ctx context.Context, r *Request) (*Session, error) {
	r = l.Request(r)
	key, ok := l.source.Accepts(r)
	if !ok {
		return nil, ErrUnknown
	}
	if key == "" {
		return l.findInTurn(ctx, r)
	}
	hash := cacheKey(sha256.Sum256([]byte(key)))
	if s, ok := l.cached(hash, r); ok {
		l.Stats.Hits.Add(1)
		return sessionOrUnknown(s)
	}
	l.Stats.Misses.Add(1)
	return l.findShared(ctx, hash, r)
}

// cached returns the cached answer for a request: a session, or nil for an unknown
// credential. A renewal gets none, because it must see what has changed since.
func (l *Lookup) cached(key cacheKey, r *Request) (*Session, bool) {
	if r.Renewal || l.watched != nil && !l.watched.Live() {
		return nil, false
	}
	return l.cache.get(key, time.Now())
}

// Cached reports what Find would answer without asking the source: known if the
// cache has the session, unknown if the credential is cached as unknown or is not
// accepted, and neither if Find would ask the source.
func (l *Lookup) Cached(r *Request) (known, unknown bool) {
	r = l.Request(r)
	key, ok := l.source.Accepts(r)
	if !ok || key == "" {
		return false, !ok
	}
	s, ok := l.cached(sha256.Sum256([]byte(key)), r)
	return ok && s != nil, ok && s == nil
}

// sessionOrUnknown returns a cached answer as Find does.
func sessionOrUnknown(s *Session) (*Session, error) {
	if s == nil {
		return nil, ErrUnknown
	}
	return s, nil
}

// Request returns the request as the source gets it. If the source is configured
// with a cookie, that cookie replaces the credential. If the password of an MQTT
// connection may be a token, and the source accepts only tokens, the token replaces
// it. The new credential has no other field, so that no grant takes a user name that
// the source has not verified.
func (l *Lookup) Request(r *Request) *Request {
	switch {
	case l.settings.Cookie != "":
		if r.Credential == (Credential{Kind: Cookie, Value: r.Cookies[l.settings.Cookie]}) {
			return r
		}
		return r.withCookie(l.settings.Cookie)
	case r.Credential.MayBeToken:
		if with := r.withToken(); !l.accepts(r) && l.accepts(with) {
			return with
		}
	}
	return r
}

func (l *Lookup) accepts(r *Request) bool {
	_, ok := l.source.Accepts(r)
	return ok
}

// withToken returns the request with the password as a token in place of its
// credential.
func (r *Request) withToken() *Request {
	with := *r
	with.Credential = Credential{Kind: Token, Value: r.Credential.Password}
	return &with
}

// withCookie returns the request with the named cookie in place of its credential.
// Without that cookie the credential is of kind None.
func (r *Request) withCookie(name string) *Request {
	with := *r
	with.Credential = Credential{Kind: None}
	if value := r.Cookies[name]; value != "" {
		with.Credential = Credential{Kind: Cookie, Value: value}
	}
	return &with
}

// Ended reports whether the session has expired.
func (s *Session) Ended(now time.Time) bool { return !s.Expires.IsZero() && !now.Before(s.Expires) }

// findShared joins the look-up of key that is under way, or begins one. The look-up
// continues when ctx ends, because other callers may wait for it.
func (l *Lookup) findShared(ctx context.Context, key cacheKey, r *Request) (*Session, error) {
	flight := string(key[:])
	if r.Renewal { // a renewal must not wait for a look-up in the other lane
		flight += "renewal"
	}
	ch := l.flights.DoChan(flight, func() (any, error) {
		// Another look-up may have ended since Find read the cache.
		if s, ok := l.cached(key, r); ok {
			return sessionOrUnknown(s)
		}
		pending := l.cache.begin(key)
		defer l.cache.end(key, pending)
		s, err := l.findInTurn(context.WithoutCancel(ctx), r)
		if err == nil || errors.Is(err, ErrUnknown) {
			l.cache.put(key, s, pending, time.Now())
		}
		return s, err
	})
	select {
	case result := <-ch:
		s, _ := result.Val.(*Session)
		return s, result.Err
	case <-ctx.Done():
		return nil, l.named(context.Cause(ctx))
	}
}

// findInTurn waits for a turn in the request's lane, and asks the source.
func (l *Lookup) findInTurn(ctx context.Context, r *Request) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, l.settings.Timeout)
	defer cancel()
	turn := l.connects
	if r.Renewal {
		turn = l.renewals
	}
	if err := turn.enter(ctx); err != nil {
		l.Stats.Busy.Add(1)
		return nil, l.named(err)
	}
	defer turn.leave()
	return l.findCounted(ctx, r)
}

// findCounted asks the source, counts the result, and puts the source's name into it.
func (l *Lookup) findCounted(ctx context.Context, r *Request) (*Session, error) {
	began := time.Now()
	s, err := l.findRecovered(ctx, r)
	if err == nil || errors.Is(err, ErrUnknown) {
		l.failing.Store(nil)
	}
	l.Stats.Asked.Add(1)
	l.Stats.Nanoseconds.Add(uint64(time.Since(began)))
	switch {
	case HasReason(err):
		l.Stats.Unknown.Add(1)
		return nil, l.named(err)
	case errors.Is(err, ErrUnknown), err == nil && (s == nil || s.Ended(time.Now())):
		l.Stats.Unknown.Add(1)
		return nil, ErrUnknown
	case err != nil:
		l.Stats.Failed.Add(1)
		err = l.named(err)
		l.failing.Store(&err)
		return nil, err
	}
	named := *s
	named.Source = l.settings.Name
	return &named, nil
}

// findRecovered asks the source, and returns a panic as an error. The handler may run
// inside the server, which a fault of a source must not end.
func (l *Lookup) findRecovered(ctx context.Context, r *Request) (s *Session, err error) {
	defer func() {
		if recover() != nil { // the value is dropped: it may hold a credential
			s, err = nil, Fault(ErrFault)
		}
	}()
	return l.source.Find(ctx, r)
}

func (l *Lookup) named(err error) error {
	return fmt.Errorf("session source %s: %w", l.settings.Name, err)
}
