package login

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/oauth2"
)

// Times of refreshes. One that fails is tried again after retryRefresh, unless the provider says
// that the refresh token is no longer good.
const (
	retryRefresh = 5 * time.Second
	atOnce       = 16
)

// refreshAll follows the bucket, and has each session's tokens refreshed in time. All handlers do;
// a lease makes that one refresh.
func (s *source) refreshAll(ctx context.Context) {
	turns := make(chan struct{}, atOnce)
	for ctx.Err() == nil {
		store, err := s.opened(ctx)
		var watcher jetstream.KeyWatcher
		if err == nil {
			watcher, err = store.sessions.WatchAll(ctx)
		}
		if err == nil {
			s.follow(ctx, store, watcher, turns)
			_ = watcher.Stop() // it may have ended
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// refreshDue is a session whose tokens are to be refreshed: those that end at that time.
type refreshDue struct {
	key  string
	ends int64
}

// timers has one for each session.
type timers struct {
	due  chan refreshDue
	done chan struct{}
	set  map[string]*time.Timer
}

func (t *timers) at(d refreshDue, wait time.Duration) {
	t.drop(d.key)
	t.set[d.key] = time.AfterFunc(max(wait, 0), func() {
		select {
		case t.due <- d:
		case <-t.done:
		}
	})
}

func (t *timers) drop(key string) {
	if timer := t.set[key]; timer != nil {
		timer.Stop()
		delete(t.set, key)
	}
}

func (t *timers) stop() {
	close(t.done)
	for key := range t.set {
		t.drop(key)
	}
}

// retry is a refresh that is to be tried again.
type retry struct {
	refreshDue
	wait time.Duration
}

// follow keeps a timer for each session, until the watcher ends.
func (s *source) follow(ctx context.Context, store *store, watcher jetstream.KeyWatcher, turns chan struct{}) {
	t := &timers{due: make(chan refreshDue), done: make(chan struct{}), set: map[string]*time.Timer{}}
	defer t.stop()
	again := make(chan retry)
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-again:
			if t.set[r.key] == nil { // the session has not changed since
				t.at(r.refreshDue, r.wait)
			}
		case d := <-t.due:
			delete(t.set, d.key)
			s.work.Go(func() { s.turn(ctx, store, d, turns, t.done, again) })
		case update, ok := <-watcher.Updates():
			switch {
			case !ok:
				return
			case update == nil: // all that there were
				continue
			}
			if ends, wait, ok := s.dueIn(store, update); ok {
				t.at(refreshDue{update.Key(), ends}, wait)
			} else {
				t.drop(update.Key())
			}
		}
	}
}

// turn refreshes when it is its turn.
func (s *source) turn(ctx context.Context, store *store, d refreshDue, turns, done chan struct{}, again chan<- retry) {
	select {
	case turns <- struct{}{}:
	case <-ctx.Done():
		return
	}
	wait := s.refresh(ctx, store, d)
	<-turns
	if wait == 0 {
		return
	}
	select {
	case again <- retry{d, wait}:
	case <-done:
	}
}

// dueIn tells when the tokens of an entry are to be refreshed; handlers differ, so that the first
// one has done it when the others would.
func (s *source) dueIn(store *store, update jetstream.KeyValueEntry) (ends int64, wait time.Duration, ok bool) {
	if update.Operation() != jetstream.KeyValuePut {
		return 0, 0, false
	}
	e, err := store.decode(update.Key(), update.Value())
	if err != nil {
		s.env.Log.Error("session cannot be refreshed", "source", s.cfg.Name, "error", err)
		return 0, 0, false
	}
	if e.RefreshToken == "" || e.AccessExpires == 0 {
		return 0, 0, false
	}
	left := time.Until(time.Unix(e.AccessExpires, 0))
	before := s.cfg.RefreshBefore
	if before >= left {
		before = left / 2
	}
	return e.AccessExpires, left - before - rand.N(max(before, 0)/4+time.Millisecond), true
}

// refresh refreshes the tokens of a session, and tells when to try again; 0: not.
func (s *source) refresh(ctx context.Context, store *store, d refreshDue) time.Duration {
	key := d.key
	ctx, cancel := context.WithTimeout(ctx, leaseTime)
	defer cancel()
	if ours, err := store.lease(ctx, key, time.Now()); err != nil || !ours {
		return retryRefresh // what the other one writes comes before
	}
	defer store.release(context.WithoutCancel(ctx), key)
	e, revision, err := store.get(ctx, key)
	if errors.Is(err, errGone) {
		return 0
	}
	if err != nil {
		return retryRefresh
	}
	if e.AccessExpires != d.ends {
		return 0 // another handler has done it just now
	}
	err = s.refreshEntry(ctx, e)
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.ErrorCode == errInvalidGrant, errors.Is(err, errSubject):
		s.metrics.refreshFailures.Inc()
		s.env.Log.Info("session ended: the provider does not refresh it", "source", s.cfg.Name)
		if store.end(ctx, key) != nil {
			return retryRefresh
		}
		return 0
	case err != nil:
		s.metrics.refreshFailures.Inc()
		s.env.Log.Warn("tokens are not refreshed, trying again", "source", s.cfg.Name, "reason", reason(err))
		return retryRefresh
	}
	// A logout in between has won: the entry is gone, and is not made again.
	if err := store.update(ctx, key, e, revision); err != nil {
		s.env.Log.Warn("refreshed tokens are not kept", "source", s.cfg.Name, "error", err)
		return retryRefresh
	}
	s.metrics.refreshes.Inc()
	return 0
}

func (s *source) refreshEntry(ctx context.Context, e *entry) error {
	p, err := s.discovered(ctx)
	if err != nil {
		return err
	}
	ctx = s.client(ctx)
	token, err := s.oauth(p).TokenSource(ctx, &oauth2.Token{RefreshToken: e.RefreshToken}).Token()
	if err != nil {
		return err
	}
	if raw, ok := token.Extra("id_token").(string); ok && raw != "" {
		id, err := s.verify(ctx, p, raw)
		if err != nil {
			return err
		}
		if id.Subject != e.Subject {
			return errSubject
		}
		sid := e.SID
		if err := e.take(id); err != nil {
			return err
		}
		e.IDToken = raw
		if sid != "" {
			e.SID = sid // the index has that one
		}
	}
	e.renew(token)
	return nil
}
