package session

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func renewal(credential string) *Request {
	r := request(credential)
	r.Renewal = true
	return r
}

// TestRenewalsHaveRoom: even if connections with invented credentials take all turns and all places in the queue, a renewal is
// looked up at once.
func TestRenewalsHaveRoom(t *testing.T) {
	for _, concurrency := range []int{1, 2, 3, 64} {
		synctest.Test(t, func(t *testing.T) {
			hold := make(chan struct{})
			f := &fake{find: func(ctx context.Context, r *Request) (*Session, error) {
				if r.Renewal {
					return findAlice(ctx, r)
				}
				<-hold
				return nil, ErrUnknown
			}}
			set := settings(func(s *Settings) { s.Concurrency, s.Queue, s.Timeout = concurrency, 100, time.Hour })
			l := NewLookup(f, set)
			for i := range 300 {
				go func() { _, _ = l.Find(t.Context(), request(fmt.Sprint("wrong", i))) }()
			}
			// The renewal must not join a look-up of the same credential that waits in the queue.
			go func() { _, _ = l.Find(t.Context(), request("right")) }()
			synctest.Wait()
			if n, most := f.now.Load(), int64(set.Calls()-set.renewals()); n != most {
				t.Errorf("concurrency %d: %d look-ups for connections; want %d", concurrency, n, most)
			}
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if s, err := l.Find(ctx, renewal("right")); err != nil || s == nil {
					t.Fatalf("concurrency %d: a renewal was not looked up: error %v", concurrency, err)
				}
				cancel()
			}
			if n := f.atAll.Load(); n > int64(set.Calls()) {
				t.Errorf("concurrency %d: %d look-ups at once; want at most %d", concurrency, n, set.Calls())
			}
			close(hold)
			synctest.Wait()
		})
	}
}

// TestRenewalsLeaveRoom: renewals do not take all turns from new connections either.
func TestRenewalsLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		f := &fake{find: func(ctx context.Context, r *Request) (*Session, error) {
			if r.Renewal {
				<-hold
			}
			return findAlice(ctx, r)
		}}
		l := NewLookup(f, settings(func(s *Settings) { s.Concurrency, s.Timeout = 1, time.Hour }))
		for i := range 100 {
			go func() { _, _ = l.Find(t.Context(), renewal(fmt.Sprint(i))) }()
		}
		synctest.Wait()
		if _, err := l.Find(t.Context(), request("new")); err != nil {
			t.Error(err)
		}
		close(hold)
		synctest.Wait()
	})
}

// TestNoTurnAfterTheEnd: a look-up whose time is over when it gets its turn does not ask the source.
func TestNoTurnAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{find: func(ctx context.Context, r *Request) (*Session, error) {
			<-ctx.Done() // its turn ends when the time of those who wait is over as well
			return nil, ctx.Err()
		}}
		l := NewLookup(f, settings(func(s *Settings) { s.Concurrency = 4 }))
		for i := range 1000 {
			go func() { _, _ = l.Find(t.Context(), request(fmt.Sprint(i))) }()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := f.asked.Load(); n != 3 {
			t.Errorf("the source was asked %d times; want 3", n)
		}
	})
}

// watched is a fake whose store reports changes while live is set.
type watched struct {
	fake
	live bool
}

func (w *watched) Live() bool { return w.live }

// TestCacheNeedsWatch: the cache of a source that is told of changes is used only while it is told.
func TestCacheNeedsWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watched{fake: fake{find: findAlice}}
		l := NewLookup(w, settings(func(s *Settings) { s.Cache = time.Hour }))
		want := func(asked int64) {
			t.Helper()
			if known, _ := l.Cached(request("a")); known && !w.live {
				t.Error("a session is cached while the source is not told of changes")
			}
			if _, err := l.Find(t.Context(), request("a")); err != nil {
				t.Fatal(err)
			}
			if n := w.asked.Load(); n != asked {
				t.Errorf("the source was asked %d times; want %d", n, asked)
			}
		}
		want(1)
		want(2)
		w.live = true
		want(2)
		l.ForgetAll()
		want(3)
		want(3)
		w.live = false
		want(4)
		// An answer that was under way when changes may have been missed is not kept.
		w.live = true
		l.ForgetAll()
		w.find = func(ctx context.Context, r *Request) (*Session, error) {
			l.ForgetAll()
			return findAlice(ctx, r)
		}
		want(5)
		want(6)
	})
}

// TestStrangersDoNotPushOut: unknown credentials, however many, do not take the place of sessions.
func TestStrangersDoNotPushOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{find: func(ctx context.Context, r *Request) (*Session, error) {
			if r.Credential.Value == "right" {
				return findAlice(ctx, r)
			}
			return nil, ErrUnknown
		}}
		l := NewLookup(f, settings(func(s *Settings) { s.CacheSize, s.Cache, s.NegativeCache = 10, time.Hour, time.Hour }))
		_, _ = l.Find(t.Context(), request("right"))
		for i := range 1000 {
			if _, err := l.Find(t.Context(), request(fmt.Sprint(i))); !errors.Is(err, ErrUnknown) {
				t.Fatal(err)
			}
		}
		if known, _ := l.Cached(request("right")); !known {
			t.Error("unknown credentials have pushed the session out of the cache")
		}
		if n := l.cache.sessions.Len() + l.cache.unknown.Len(); n > 20 {
			t.Errorf("%d entries; want at most 20", n)
		}
	})
}
