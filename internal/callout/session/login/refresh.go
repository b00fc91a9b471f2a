package login

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/openid"
)

// Times of refreshes. A failed refresh is tried again after retryRefresh, then less and less often,
// up to maxRetry, unless the provider says that the refresh token is no longer valid.
const (
	retryRefresh = 5 * time.Second
	maxRetry     = 5 * time.Minute
	// refreshPause is the least time between two refreshes of a session, however short its tokens
	// live.
	refreshPause = 3 * time.Second
	// storeTime is how long the handler tries to store what the provider has answered.
	storeTime = 15 * time.Second
)

// retryIn returns the pause after a number of failures of one session in a row.
func retryIn(failures int) time.Duration {
	wait := min(retryRefresh<<min(max(failures-1, 0), 10), maxRetry)
	return wait - rand.N(wait/4)
}

// retry says when to try a refresh again. If wait is 0, it is not tried again.
type retry struct {
	refreshDue
	wait     time.Duration
	unstored *unstored // what the provider has answered, to be stored first
	lease    *lease    // held until unstored is stored
}

// dueIn returns how long to wait before the tokens of a session are refreshed. The wait is random
// within bounds, so that one handler has refreshed a session before the others would. ok is not set
// if it is not refreshed.
func (s *source) dueIn(t timing) (wait time.Duration, ok bool) {
	if t.ends == 0 {
		return 0, false
	}
	wait = dueBefore(time.Until(time.Unix(t.ends, 0)), s.cfg.RefreshBefore, s.cfg.refreshSet && !s.tooEarly(t))
	return max(wait, time.Until(time.Unix(t.notBefore, 0))), true
}

// tooEarly reports whether an access token lives no longer than refresh_before. Otherwise such a
// token would be refreshed again and again.
func (s *source) tooEarly(t timing) bool {
	if t.failures > 0 || t.notBefore == 0 {
		return false // the time of the last refresh is not known
	}
	given := time.Unix(t.notBefore, 0).Add(-refreshPause)
	life := time.Unix(t.ends, 0).Sub(given)
	if life > s.cfg.RefreshBefore {
		return false
	}
	if s.cfg.refreshSet && !s.warnedEarly.Swap(true) {
		s.env.Log.Warn("login: refresh_before is not less than access tokens live; they are refreshed at half of their lives", "source", s.cfg.Name, "refresh_before", s.cfg.RefreshBefore, "life", life)
	}
	return true
}

// dueBefore returns how long to wait before a token is refreshed that is valid for the time left:
// until before its end. If the configuration does not set before, it waits for at least half of
// left.
func dueBefore(left, before time.Duration, set bool) time.Duration {
	left = max(left, 0)
	if set {
		wait := max(left-before, 0)
		return wait - rand.N(min(before/4, wait/2)+time.Millisecond)
	}
	wait := left - before - rand.N(before/4+time.Millisecond)
	if half := left / 2; wait < half {
		return half + rand.N(left/8+time.Millisecond)
	}
	return wait
}

// refresh refreshes the tokens of a session, and returns when to try again. A request that was sent
// before ctx ended is finished after that.
func (s *source) refresh(ctx context.Context, store *store, d refreshDue) (next retry) {
	later := retry{refreshDue: d, wait: retryRefresh}
	if _, waits := s.unstored.Load(d.key); waits {
		return later // the refresh token in the bucket has been used
	}
	// A panic while an answer is read must not end the process, which may be the server.
	defer func() {
		if recover() != nil {
			next = s.failedRefresh(d, session.Fault(session.ErrFault))
		}
	}()
	if d.ends == 0 {
		return s.read(ctx, store, d)
	}
	if wait := s.gate.Wait(); wait > 0 {
		return retry{refreshDue: d, wait: wait}
	}
	// Without the provider's keys, the answer could not be verified. A refresh token may be valid
	// only once, so it is not sent before the keys are there.
	if wait := s.provider.Ready(ctx); wait > 0 {
		return retry{refreshDue: d, wait: wait}
	}
	// Before anything is asked of the buckets, so that their load does not grow with the sessions
	// that wait for the provider.
	asking, wait := s.gate.Enter()
	if asking == nil {
		return retry{refreshDue: d, wait: wait}
	}
	defer asking.GiveUp() // does nothing after Finish
	// While the bucket takes no tokens, a refresh would only add to those that are not stored.
	storing, wait := s.stores.Enter()
	if storing == nil {
		return retry{refreshDue: d, wait: wait}
	}
	defer storing.GiveUp()
	begin, cancel := context.WithTimeout(ctx, s.cfg.TryTime())
	defer cancel()
	lease, wait := s.leased(begin, store, d.key)
	if lease == nil {
		return retry{refreshDue: d, wait: wait} // the other handler's write comes first
	}
	last := lease.atLeast
	defer func() {
		if next.unstored == nil {
			s.release(store, lease, last)
		} else {
			next.lease = lease
		}
	}()
	e, revision, err := store.get(begin, d.key)
	if revision > 0 && revision < lease.atLeast {
		return later // the replica that was asked is behind
	}
	if err != nil {
		return s.unread(begin, d, err)
	}
	last = revision
	if clampSeconds(e.accessEnds()) != clampSeconds(d.ends) {
		return s.nextOf(d.key, e) // another handler has just refreshed it
	}
	if ctx.Err() != nil {
		return retry{refreshDue: d, wait: dueUnit} // by a handler that takes the place of this one
	}
	next, last = s.refreshEntry(store, d, e, revision, asking)
	s.stored(storing, next.unstored, last > revision)
	return next
}

// nextOf returns when the session of an entry is due. The change of the bucket that says the same may
// come only later, or may have come already.
func (s *source) nextOf(key string, e *entry) retry {
	t := e.timing()
	wait, ok := s.dueIn(t)
	if !ok {
		return retry{}
	}
	return retry{refreshDue{key: key, ends: t.ends}, max(wait, dueUnit), nil, nil}
}

// leased takes the lease of a session. If it returns nil, wait says when to try again. While leases
// cannot be written, one session at a time tries it.
func (s *source) leased(ctx context.Context, store *store, key string) (l *lease, wait time.Duration) {
	taking, wait := s.leases.Enter()
	if taking == nil {
		return nil, wait
	}
	defer taking.GiveUp() // does nothing after Finish
	if wait := s.lostLease(ctx, store, key); wait > 0 {
		return nil, wait
	}
	l, err := store.lease(ctx, key, time.Now(), s.leaseTime())
	if err == nil && l != nil {
		var lost bool
		if lost, err = s.isLost(ctx, store, l); lost {
			s.store.CompareAndSwap(store, nil)
			return nil, retryRefresh
		}
	}
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return nil, dueUnit // that says nothing of the bucket; see refresh
	}
	if err != nil {
		s.metrics.refreshFailures.Inc()
		taking.Fail(err)
		s.cannotRefresh(ctx, fmt.Errorf("bucket %s: %w", s.cfg.indexBucket(), err))
		return nil, retryRefresh
	}
	if _, opened := taking.Finish("", nil); opened {
		s.unable.Store(nil)
		s.logged.Info("refreshed again", "tokens are refreshed again", "source", s.cfg.Name)
	}
	return l, retryRefresh
}

// unable is why tokens could not be refreshed: the buckets cannot be used.
type unable struct {
	cause error
	at    time.Time // of the last failed try
}

// unableTime is how long a failed try counts. Tries are more frequent.
const unableTime = time.Minute

// cannotRefresh notes and logs that the buckets cannot be used for refreshes, unless ctx was
// canceled, which explains the error.
func (s *source) cannotRefresh(ctx context.Context, err error) {
	if errors.Is(ctx.Err(), context.Canceled) || s.running.Err() != nil {
		return
	}
	s.unable.Store(&unable{err, time.Now()})
	s.logged.Error("cannot refresh", "login: tokens cannot be refreshed, trying again", "source", s.cfg.Name, "error", err)
}

// leaseTime returns the duration of a lease, which is longer than a refresh can take.
func (s *source) leaseTime() time.Duration { return 2*s.cfg.RequestTime + 2*storeTime }

func (s *source) release(store *store, l *lease, revision uint64) {
	ctx, cancel := context.WithTimeout(s.finishing, tidyTime)
	defer cancel()
	store.release(ctx, l, revision)
}

// refreshEntry sends the refresh token and stores the answer. It returns the session's revision
// after that. The old refresh token may be invalid from now on, so this continues, within limits,
// when the source is closed.
func (s *source) refreshEntry(store *store, d refreshDue, e *entry, revision uint64, asking *openid.Request) (retry, uint64) {
	ctx, cancel := context.WithTimeout(s.finishing, s.cfg.RequestTime)
	defer cancel()
	sent := time.Now()
	tokens, err := s.provider.Refresh(ctx, &s.cfg.Client, e.RefreshToken)
	s.pace.answered(sent, time.Since(sent), err)
	s.report(asking.Finish(d.key, err))(err)
	switch {
	case openid.GrantIsOver(err):
		return s.endRefused(store, d, revision, err), revision
	case err != nil:
		return s.failedRefresh(d, err), revision
	}
	return s.keep(store, d, e, revision, tokens)
}

// endRefused ends a session that the provider does not refresh any more. It does nothing if another
// handler has changed the session meanwhile: that one may have used the refresh token first.
func (s *source) endRefused(store *store, d refreshDue, revision uint64, why error) retry {
	s.metrics.refreshFailures.Inc()
	s.logged.Info("ended", "session ended: the provider does not refresh it", "source", s.cfg.Name, "reason", why.Error())
	ctx, cancel := context.WithTimeout(s.finishing, s.cfg.Timeout)
	defer cancel()
	if store.endUnchanged(ctx, d.key, revision) != nil {
		return retry{refreshDue: d, wait: retryRefresh}
	}
	return retry{}
}

// failedRefresh returns when to try again after an error. If the provider is away, that is within
// seconds of its return. If the error concerns this session, it is tried less and less often, and
// not before the time that the provider asks for.
func (s *source) failedRefresh(d refreshDue, err error) retry {
	if errors.Is(err, errGone) {
		return retry{}
	}
	s.metrics.refreshFailures.Inc()
	if u := (*unstored)(nil); errors.As(err, &u) {
		return retry{refreshDue: d, unstored: u}
	}
	if wait := s.gate.Wait(); wait > 0 {
		return retry{refreshDue: d, wait: max(wait, openid.RetryAfter(err))}
	}
	d.failures++
	s.logged.Warn("refresh", "tokens of a session are not refreshed, trying again", "source", s.cfg.Name, "reason", err.Error())
	return retry{refreshDue: d, wait: max(retryIn(d.failures), openid.RetryAfter(err))}
}

// report returns a function that logs when refreshes begin to fail for all sessions, and when they
// succeed again, once each.
func (s *source) report(closed, opened bool) func(error) {
	return func(err error) {
		switch {
		case closed:
			s.logged.Warn("refreshes", "tokens are not refreshed, trying again", "source", s.cfg.Name, "reason", err.Error())
		case opened:
			s.logged.Info("refreshed again", "tokens are refreshed again", "source", s.cfg.Name)
		}
	}
}
