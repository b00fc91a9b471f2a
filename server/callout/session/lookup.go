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

// Lookup asks one source, and keeps answers for a while. A session that a
// source knows is used again for the time that the configuration says, an unknown
// credential for a shorter one; a source that could not tell is asked anew. At any time a
// credential is looked up once only: whoever asks for the same waits for that answer.
type Lookup struct {
	source   Source
	settings Settings
	cache    *cache
	watched  Watched // the source, when it is one; else nil
	flights  singleflight.Group
	connects lane // for connections that are made
	renewals lane // for live connections

	Stats Stats
}

// Stats counts. Hits and Misses are of the cache.
type Stats struct {
	Hits, Misses, Unknown, Failed, Busy atomic.Uint64
	Asked, Nanoseconds                  atomic.Uint64 // look-ups of the source, and what they took
}

// NewLookup puts a cache and bounds in front of a source.
func NewLookup(source Source, settings Settings) *Lookup {
	watched, _ := source.(Watched)
	return &Lookup{
		source: source, settings: settings, cache: newCache(settings), watched: watched,
		connects: newLane(settings.connects(), settings.Queue), renewals: newLane(settings.renewals(), settings.Queue),
	}
}

// Watched is a source that is told by its store of each change. Cached answers of such a source are
// used as long as it is.
type Watched interface{ Live() bool }

// lane is room for look-ups. Renewals have one of their own: a flood of connections, whose credentials
// anybody can invent, must not make them late, because the server closes a connection that is not
// renewed in time.
type lane struct {
	turns   chan struct{} // a place in it is the right to ask the source
	waiting *atomic.Int64
	queue   int64 // how many may wait
}

func newLane(turns, queue int) lane {
	return lane{make(chan struct{}, turns), new(atomic.Int64), int64(queue)}
}

// enter waits for a turn, as long as not too many wait.
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
	// Both may have happened. A call whose time is over would only keep the store busy.
	if end, ok := ctx.Deadline(); ctx.Err() != nil || ok && !time.Now().Before(end) {
		l.leave()
		return ErrBusy
	}
	return nil
}

func (l lane) leave() { <-l.turns }

// Name is the source's in the configuration.
func (l *Lookup) Name() string { return l.settings.Name }

// Close closes the source.
func (l *Lookup) Close() error { return l.source.Close() }

// Forget drops what is cached of the session with that key.
func (l *Lookup) Forget(key string) { l.cache.forget(key) }

// ForgetAll drops all that is cached.
func (l *Lookup) ForgetAll() { l.cache.forgetAll() }

// Able returns why the source cannot tell of any credential now, as far as it knows without asking anybody; nil when
// it can, or does not know.
func (l *Lookup) Able() error {
	source, ok := l.source.(interface{ Able() error })
	if !ok {
		return nil
	}
	if err := source.Able(); err != nil {
		return l.named(err)
	}
	return nil
}

// Unwatched returns why the source is not told of sessions that change, though it is to be; nil when it is, or cannot be.
func (l *Lookup) Unwatched() error {
	source, ok := l.source.(interface{ Unwatched() error })
	if !ok {
		return nil
	}
	if err := source.Unwatched(); err != nil {
		return l.named(err)
	}
	return nil
}

// Find returns the session of the request's credential, ErrUnknown when the
// source does not know it or it is not of this source's form, and another error
// when that is not certain.
func (l *Lookup) Find(ctx context.Context, r *Request) (*Session, error) {
	r = l.Request(r)
	key, ok := l.source.Accepts(r)
	if !ok {
		return nil, ErrUnknown
	}
	if key == "" {
		return l.take(ctx, r)
	}
	hash := cacheKey(sha256.Sum256([]byte(key)))
	if s, ok := l.cached(hash, r); ok {
		l.Stats.Hits.Add(1)
		return found(s)
	}
	l.Stats.Misses.Add(1)
	return l.share(ctx, hash, r)
}

// cached is what the cache has for a request. A renewal is about what has changed since, and asks.
func (l *Lookup) cached(key cacheKey, r *Request) (*Session, bool) {
	if r.Renewal || l.watched != nil && !l.watched.Live() {
		return nil, false
	}
	return l.cache.get(key, time.Now())
}

// Cached tells what Find would answer without asking the source: that it
// knows the credential, that it does not, or neither.
func (l *Lookup) Cached(r *Request) (known, unknown bool) {
	r = l.Request(r)
	key, ok := l.source.Accepts(r)
	if !ok || key == "" {
		return false, !ok
	}
	s, ok := l.cached(sha256.Sum256([]byte(key)), r)
	return ok && s != nil, ok && s == nil
}

// found is the answer that the cache has: no session is an unknown credential.
func found(s *Session) (*Session, error) {
	if s == nil {
		return nil, ErrUnknown
	}
	return s, nil
}

// Request returns the request as the source gets it: with a forwarded cookie for
// its credential, where the configuration says so, and with MQTT's password as a token, where the source takes no
// passwords. Nothing else that the client presented is in it then, so that nobody takes that for verified.
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

// withToken returns the request with the password as a token.
func (r *Request) withToken() *Request {
	with := *r
	with.Credential = Credential{Kind: Token, Value: r.Credential.Password}
	return &with
}

// withCookie returns the request with a cookie for its credential.
func (r *Request) withCookie(name string) *Request {
	with := *r
	with.Credential = Credential{Kind: None}
	if value := r.Cookies[name]; value != "" {
		with.Credential = Credential{Kind: Cookie, Value: value}
	}
	return &with
}

// Ended tells whether the session's time is over.
func (s *Session) Ended(now time.Time) bool { return !s.Expires.IsZero() && !now.Before(s.Expires) }

// share joins the look-up of key that is under way, or begins one. It goes on
// when who began it no longer waits: others may.
func (l *Lookup) share(ctx context.Context, key cacheKey, r *Request) (*Session, error) {
	flight := string(key[:])
	if r.Renewal { // it does not wait in the other lane
		flight += "renewal"
	}
	ch := l.flights.DoChan(flight, func() (any, error) {
		// One that ended between the look at the cache and here has the answer.
		if s, ok := l.cached(key, r); ok {
			return found(s)
		}
		asked := l.cache.begin(key)
		defer l.cache.end(key, asked)
		s, err := l.take(context.WithoutCancel(ctx), r)
		if err == nil || errors.Is(err, ErrUnknown) {
			l.cache.put(key, s, asked, time.Now())
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

// take waits for a turn, and asks.
func (l *Lookup) take(ctx context.Context, r *Request) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, l.settings.Timeout)
	defer cancel()
	in := l.connects
	if r.Renewal {
		in = l.renewals
	}
	if err := in.enter(ctx); err != nil {
		l.Stats.Busy.Add(1)
		return nil, l.named(err)
	}
	defer in.leave()
	return l.ask(ctx, r)
}

func (l *Lookup) ask(ctx context.Context, r *Request) (*Session, error) {
	began := time.Now()
	s, err := l.find(ctx, r)
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
		return nil, l.named(err)
	}
	named := *s
	named.Source = l.settings.Name
	return &named, nil
}

// find is the source's, which may be inside the server: a fault of ours there must
// not end it.
func (l *Lookup) find(ctx context.Context, r *Request) (s *Session, err error) {
	defer func() {
		if recover() != nil { // what it says may hold a credential
			s, err = nil, Fault(ErrFault)
		}
	}()
	return l.source.Find(ctx, r)
}

func (l *Lookup) named(err error) error {
	return fmt.Errorf("session source %s: %w", l.settings.Name, err)
}
