package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
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
	connects *lane // for new connections
	renewals *lane // for connections whose authorization is renewed
	failing  atomic.Pointer[error]

	mu     sync.Mutex
	flying map[string]*flight // shared look-ups that callers wait for, by the name of their flight

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
		source: source, settings: settings, cache: newCache(settings), watched: watched, flying: map[string]*flight{},
		connects: newLane(settings.connects(), settings.Queue), renewals: newLane(settings.renewals(), settings.Queue),
	}
}

// Watched is a source whose store reports each change of a session. Live reports
// whether it does so now. If not, cached answers may be stale and are not used.
type Watched interface{ Live() bool }

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

// Follows returns the bucket whose changes the source hears of now, as in Revision. ok is false if
// there is none, or if the source does not hear of all changes.
func (l *Lookup) Follows() (bucket int64, ok bool) {
	source, ok := l.source.(interface{ Follows() (int64, bool) })
	if !ok {
		return 0, false
	}
	return source.Follows()
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
		f := &flight{}
		f.join(ctx)
		return l.findInTurn(ctx, f, r)
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
// continues when ctx ends, because other callers may wait for it. If nobody waits for it
// before its turn comes, it is not made.
func (l *Lookup) findShared(ctx context.Context, key cacheKey, r *Request) (*Session, error) {
	name := string(key[:])
	if r.Renewal { // a renewal must not wait for a look-up in the other lane
		name += "renewal"
	}
	for {
		if ctx.Err() != nil {
			return nil, l.named(context.Cause(ctx))
		}
		s, err := l.fly(ctx, name, key, r)
		// This caller may have come just when the look-up was given up.
		if !errors.Is(err, errAbandoned) {
			return s, err
		}
	}
}

// fly waits for the look-up of that name, and begins it if it is not under way.
func (l *Lookup) fly(ctx context.Context, name string, key cacheKey, r *Request) (*Session, error) {
	f := l.join(ctx, name)
	defer l.part(name, f)
	ch := l.flights.DoChan(name, func() (any, error) {
		l.setUnderway(name, f, true)
		defer l.setUnderway(name, f, false)
		// Another look-up may have ended since Find read the cache.
		if s, ok := l.cached(key, r); ok {
			return sessionOrUnknown(s)
		}
		pending := l.cache.begin(key)
		defer l.cache.end(key, pending)
		s, err := l.findInTurn(context.WithoutCancel(ctx), f, r)
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

// join adds a caller to the look-up of that name. One that all callers have left, and whose
// turn has not come yet, is made then after all.
func (l *Lookup) join(ctx context.Context, name string) *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.flying[name]
	if f == nil {
		f = &flight{}
		l.flying[name] = f
	}
	f.join(ctx)
	return f
}

// part removes a caller. The look-up goes on, if it has begun.
func (l *Lookup) part(name string, f *flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last := f.part(); last && !f.underway && l.flying[name] == f {
		delete(l.flying, name)
	}
}

// setUnderway notes that a look-up begins, or that it has ended, so that the next caller begins
// another one.
func (l *Lookup) setUnderway(name string, f *flight, underway bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.underway = underway
	if !underway && l.flying[name] == f {
		delete(l.flying, name)
	}
}

// findInTurn waits for a turn in the request's lane, and asks the source.
func (l *Lookup) findInTurn(ctx context.Context, f *flight, r *Request) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, l.settings.Timeout)
	defer cancel()
	turn := l.connects
	if r.Renewal {
		turn = l.renewals
	}
	if err := turn.enter(ctx, f); err != nil {
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
