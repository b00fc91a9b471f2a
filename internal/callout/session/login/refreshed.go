package login

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"stamp/internal/callout/session/internal/openid"
)

// keep stores the tokens of an answer. If the provider's keys are at hand, it does that at once. If
// the ID token cannot be verified yet, it first stores the new refresh token alone, and then
// verifies and stores the rest.
func (s *source) keep(store *store, d refreshDue, e *entry, revision uint64, tokens *openid.Tokens) (retry, uint64) {
	asked, cancel := context.WithCancel(s.finishing)
	cancel() // only the keys that are at hand
	renewed, err := s.renewed(asked, e, tokens)
	if err != nil && !errors.Is(err, errPerson) {
		if revision, err = s.keepRefreshToken(store, d, e, revision, tokens.Refresh); err != nil {
			return s.failedRefresh(d, err), revision
		}
		ctx, cancel := context.WithTimeout(s.finishing, s.cfg.RequestTime)
		defer cancel()
		renewed, err = s.renewed(ctx, e, tokens)
	}
	switch {
	case errors.Is(err, errPerson):
		return s.endRefused(store, d, revision, err), revision
	case err != nil:
		return s.failedRefresh(d, err), revision
	}
	next, err := s.save(store, d.key, renewed, revision)
	if errors.Is(err, errTooLarge) {
		return s.keepOld(store, d, e, revision, tokens, err)
	}
	if err != nil {
		return s.failedRefresh(d, err), next
	}
	revision = next
	s.metrics.refreshes.Inc()
	return retry{}, s.keepUserInfo(store, d.key, renewed, revision)
}

// keepOld leaves a session as it is, except for its refresh token, because the rest of an answer
// cannot be stored.
func (s *source) keepOld(store *store, d refreshDue, e *entry, revision uint64, tokens *openid.Tokens, why error) (retry, uint64) {
	revision, err := s.keepRefreshToken(store, d, e, revision, tokens.Refresh)
	if err != nil {
		why = err
	}
	return s.failedRefresh(d, why), revision
}

// keepRefreshToken stores a new refresh token alone. NotBefore makes sure that this change of the
// entry does not cause another refresh at once.
func (s *source) keepRefreshToken(store *store, d refreshDue, e *entry, revision uint64, refreshToken string) (uint64, error) {
	if refreshToken == "" || refreshToken == e.RefreshToken {
		return revision, nil
	}
	e.RefreshToken = refreshToken
	e.Failures++
	e.NotBefore = time.Now().Add(retryIn(e.Failures)).Unix()
	revision, err := s.save(store, d.key, e, revision)
	if errors.Is(err, errTooLarge) { // the bucket accepts less than before
		err = &unstored{err, e, revision}
	}
	return revision, err
}

// renewed returns the entry with the tokens of an answer.
func (s *source) renewed(ctx context.Context, e *entry, tokens *openid.Tokens) (*entry, error) {
	if tokens.Access == "" {
		return nil, errNoAccessToken
	}
	next := *e
	if tokens.ID != "" {
		claims, err := s.verify(ctx, tokens.ID)
		if err != nil {
			return nil, err
		}
		if claims["sub"] != e.Subject || s.cfg.tenant(claims) != e.Tenant {
			return nil, errPerson
		}
		s.reportDropped(next.take(claims))
		next.IDToken = tokens.ID
	}
	next.renew(tokens, s.cfg.AccessLifetime)
	return &next, nil
}

// reportDropped logs that claims were dropped because a session had too many.
func (s *source) reportDropped(dropped bool) {
	if dropped {
		s.logged.Warn("dropped", "login: a session has more claims than it may; claims from before are dropped, except for those that the provider has sent again", "source", s.cfg.Name, "bytes", maxClaims)
	}
}

// keepUserInfo stores the claims of the userinfo endpoint if they have changed, and returns the
// revision after that. Without an answer, the old claims stay. If the endpoint answers nobody, it
// is not asked for a while. The end of the source does not wait for it.
func (s *source) keepUserInfo(store *store, key string, e *entry, revision uint64) uint64 {
	if !s.cfg.UserInfo {
		return revision
	}
	asking, _ := s.info.Enter()
	if asking == nil {
		return revision
	}
	defer asking.GiveUp() // does nothing after Finish
	ctx, cancel := context.WithTimeout(s.running, s.cfg.RequestTime)
	defer cancel()
	more, err := s.provider.UserInfo(ctx, e.AccessToken, e.Subject)
	if s.running.Err() != nil {
		return revision
	}
	asking.Finish(key, err)
	if err != nil {
		s.logged.Warn("userinfo", "claims of the userinfo endpoint are not renewed", "source", s.cfg.Name, "reason", err.Error())
		return revision
	}
	t, err := s.cfg.ParseToken(e.IDToken)
	if err != nil { // the field algorithms has changed: it is not known which claims are signed
		s.logged.Warn("userinfo", "claims of the userinfo endpoint are not renewed", "source", s.cfg.Name, "reason", err.Error())
		return revision
	}
	claims, names := e.Claims, e.FromUserInfo
	s.reportDropped(e.takeUserInfo(t.Claims, more))
	if reflect.DeepEqual(claims, e.Claims) && slices.Equal(names, e.FromUserInfo) {
		return revision
	}
	next, err := s.save(store, key, e, revision)
	if err != nil {
		s.logged.Warn("userinfo store", "claims of the userinfo endpoint are not stored", "source", s.cfg.Name, "error", err)
		return revision
	}
	return next
}

// save writes an entry and returns its new revision. It tries for a while, because the provider's
// answer cannot be had again. If that does not help, the error is an *unstored. If the session was
// ended meanwhile, the error is errGone, and the session stays ended.
func (s *source) save(store *store, key string, e *entry, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(s.finishing, storeTime)
	defer cancel()
	pause := storePause
	for {
		at, done, err := s.trySave(ctx, store, key, e, revision)
		if done {
			return at, err
		}
		select {
		case <-ctx.Done():
			if isConflict(err) {
				return revision, err
			}
			return revision, &unstored{err, e, revision}
		case <-time.After(pause):
			pause = min(2*pause, maxStorePause)
		}
	}
}

// trySave tries to write an entry once. done is set if no other try is needed: it is stored, the
// session has ended, or another handler has changed it. Each try has its own time limit, because a
// request gets no answer at all if its bucket is deleted.
func (s *source) trySave(ctx context.Context, store *store, key string, e *entry, revision uint64) (at uint64, done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	next, err := store.update(ctx, key, e, revision)
	switch {
	case err == nil:
		return next, true, nil
	case errors.Is(err, errTooLarge):
		return revision, true, err
	}
	// A write without an answer may still have succeeded. If the buckets were created anew, the
	// session is gone with the old ones. A replica may be behind and return an older entry or none.
	// It is certain that somebody else has written the entry only if the write was refused for that
	// reason.
	looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	found, at, getErr := store.get(looking, key)
	switch {
	case errors.Is(getErr, errGone) && isConflict(err):
		return revision, true, errGone
	case getErr != nil || at <= revision:
		return revision, false, err
	case found.RefreshToken == e.RefreshToken && found.AccessToken == e.AccessToken:
		return at, true, nil
	}
	return revision, true, err
}

// Pauses between two tries to store an entry.
const (
	storePause    = 100 * time.Millisecond
	maxStorePause = 2 * time.Second
)

// unstored is the error for an entry that could not be stored yet.
type unstored struct {
	cause    error
	entry    *entry
	revision uint64 // of the entry that it replaces
}

func (u *unstored) Error() string { return u.cause.Error() }
func (u *unstored) Unwrap() error { return u.cause }

// pause waits, at most until the source has ended.
func (s *source) pause(wait time.Duration) {
	select {
	case <-s.finishing.Done():
	case <-time.After(wait):
	}
}

// storeLater goes on trying to store the provider's answer until the session or the source ends,
// because nothing else is left of the session. It does not count for the limit of concurrent
// refreshes. Meanwhile the session is not refreshed, by no handler as long as this one can prolong its
// lease. If another handler takes the lease for all that, the answer is still stored if the session
// has not changed: the other handler has only a refresh token that was used. If the source ends first,
// the session is due again after its lease: the source that takes the place of this one uses the same
// index.
func (s *source) storeLater(store *store, r retry) retry {
	u := r.unstored
	s.unstored.Store(r.key, nil)
	defer s.unstored.Delete(r.key)
	s.logged.Warn("unstored", "refreshed tokens cannot be stored, trying again", "source", s.cfg.Name, "error", u.cause)
	for s.finishing.Err() == nil && time.Now().Unix() < u.entry.Expires {
		s.prolong(store, r.lease)
		revision, err := s.save(store, r.key, u.entry, u.revision)
		if err != nil {
			s.cannotStore(err)
		}
		if again := (*unstored)(nil); errors.As(err, &again) {
			continue
		}
		if errors.Is(err, errTooLarge) {
			s.pause(maxStorePause)
			continue
		}
		s.release(store, r.lease, revision)
		if err != nil {
			return s.failedRefresh(r.refreshDue, err)
		}
		s.metrics.refreshes.Inc()
		s.storesAgain(s.stores.Open())
		return retry{}
	}
	if s.finishing.Err() != nil {
		return retry{refreshDue: r.refreshDue, wait: s.leaseTime()} // the lease lasts no longer than that
	}
	return retry{} // the session's time is over
}

// prolongEvery is the least time between two writes of a lease that is prolonged.
const prolongEvery = storeTime / 3

// prolong prolongs the lease of an answer that is not stored yet.
func (s *source) prolong(store *store, l *lease) {
	now := time.Now()
	if now.Sub(l.renewed) < prolongEvery {
		return
	}
	ctx, cancel := context.WithTimeout(s.finishing, s.cfg.Timeout)
	defer cancel()
	if err := store.prolong(ctx, l, now, s.leaseTime()); err != nil {
		s.logged.Warn("lease", "login: the lease of a session whose tokens cannot be stored is not prolonged", "source", s.cfg.Name, "error", err)
	}
}

// cannotStore notes that refreshed tokens cannot be stored, unless others can.
func (s *source) cannotStore(err error) {
	if !s.stores.Closed() {
		return
	}
	s.cannotRefresh(s.finishing, fmt.Errorf("bucket %s: %w", s.cfg.Bucket, err))
	if !s.stores.Closed() { // another one was stored meanwhile
		s.unable.Store(nil)
	}
}

// storesAgain says that refreshed tokens can be stored again, if they could not before.
func (s *source) storesAgain(opened bool) {
	if opened {
		s.unable.Store(nil)
		s.logged.Info("refreshed again", "tokens are refreshed again", "source", s.cfg.Name)
	}
}

// stored tells the gate of stores whether what a refresh has brought could be stored.
func (s *source) stored(asking *openid.Request, unstored *unstored, changed bool) {
	switch {
	case unstored != nil:
		asking.Fail(unstored.cause)
		s.cannotStore(unstored.cause)
	case changed:
		_, opened := asking.Finish("", nil)
		s.storesAgain(opened)
	default:
		asking.GiveUp()
	}
}
