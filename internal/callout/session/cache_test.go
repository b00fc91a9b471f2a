package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// keepNow puts an answer into the cache, as if by a look-up of its own.
func (c *cache) keepNow(i int, s *Session, now time.Time) {
	key := cacheKey{byte(i), byte(i >> 8)}
	a := c.begin(key)
	defer c.end(key, a)
	c.put(key, s, a, now)
}

// checkIndexes checks that the cache's indexes hold nothing about entries that are gone.
func (c *cache) checkIndexes(t *testing.T) {
	t.Helper()
	n, bytes := 0, 0
	for _, keys := range c.bySession {
		n += len(keys)
	}
	for _, e := range c.sessions.Values() {
		bytes += e.bytes
	}
	if n != c.sessions.Len() || c.byTime.Len() != n || bytes != c.bytes || len(c.pending) != 0 {
		t.Errorf("%d entries of %d bytes; index has %d, order %d, count is %d, under way %d",
			c.sessions.Len(), bytes, n, c.byTime.Len(), c.bytes, len(c.pending))
	}
}

func TestCacheIndexHoldsNoMoreThanTheCache(t *testing.T) {
	c := newCache(settings(func(s *Settings) { s.CacheSize = 10 }))
	for i := range 1000 {
		c.keepNow(i, &Session{Key: fmt.Sprint(i)}, time.Now())
	}
	if c.sessions.Len() != 10 {
		t.Errorf("the cache has %d entries, want 10", c.sessions.Len())
	}
	c.checkIndexes(t)
	c.forgetAll()
	c.checkIndexes(t)
}

// TestCacheBounds: neither values that clients choose nor expired entries fill the cache.
func TestCacheBounds(t *testing.T) {
	now := time.Now()
	large := map[string]any{"a": []any{map[string]any{"b": strings.Repeat("x", 64<<10)}}}
	t.Run("bytes", func(t *testing.T) {
		c := newCache(settings(nil))
		c.maxBytes = 1 << 20
		for i := range 100 {
			c.keepNow(i, &Session{Key: fmt.Sprint(i), Data: large}, now)
			if c.bytes > c.maxBytes {
				t.Fatalf("the cache holds %d bytes, want %d or less", c.bytes, c.maxBytes)
			}
		}
		if n := c.sessions.Len(); n < 10 || n > 16 {
			t.Errorf("the cache has %d entries of 64 KiB in 1 MiB", n)
		}
		c.maxBytes = 1000
		c.keepNow(200, &Session{Key: "larger than all", Data: large}, now)
		c.checkIndexes(t)
	})
	t.Run("one session", func(t *testing.T) {
		c := newCache(settings(nil))
		for i := range 100 {
			c.keepNow(i, &Session{Key: "one"}, now)
		}
		if c.sessions.Len() != maxPerSession {
			t.Errorf("one session has %d entries, want %d", c.sessions.Len(), maxPerSession)
		}
		if _, ok := c.get(cacheKey{99}, now); !ok {
			t.Error("the newest entry is not in the cache")
		}
		c.checkIndexes(t)
	})
	t.Run("what is over", func(t *testing.T) {
		c := newCache(settings(nil))
		for i := range 100 {
			c.keepNow(i, &Session{Key: fmt.Sprint(i)}, now)
		}
		c.keepNow(100, &Session{Key: "later"}, now.Add(Defaults().Cache))
		if c.sessions.Len() != 1 {
			t.Errorf("the cache has %d entries after the others are over, want 1", c.sessions.Len())
		}
		c.checkIndexes(t)
	})
}

// TestSizeOf: the estimate counts what a value holds, at any depth.
func TestSizeOf(t *testing.T) {
	text := strings.Repeat("x", 1000)
	for _, v := range []any{
		text, []any{text}, []string{text}, map[string]any{"a": text}, map[string]any{text: nil},
		[]any{map[string]any{"a": []any{text}}},
	} {
		if n := sizeOf(v); n < 1000 || n > 3000 {
			t.Errorf("sizeOf a %T is %d bytes; want about 1000", v, n)
		}
	}
}

// TestEndedSessionLeavesTheCache: if a renewal finds that a session has ended, the cache lets nobody in by it, whether or not
// unknown credentials are kept.
func TestEndedSessionLeavesTheCache(t *testing.T) {
	for _, negative := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{find: findAlice}
			l := NewLookup(f, settings(func(s *Settings) { s.NegativeCache, s.Cache = negative, time.Hour }))
			if _, err := l.Find(t.Context(), request("a")); err != nil {
				t.Fatal(err)
			}
			f.find = func(context.Context, *Request) (*Session, error) { return nil, ErrUnknown }
			renewal := request("a")
			renewal.Renewal = true
			if _, err := l.Find(t.Context(), renewal); !errors.Is(err, ErrUnknown) {
				t.Fatal(err)
			}
			if _, err := l.Find(t.Context(), request("a")); !errors.Is(err, ErrUnknown) {
				t.Errorf("with unknown credentials kept for %s, the ended session was found: %v", negative, err)
			}
		})
	}
}

// TestOlderAnswerIsNotKept: a look-up that began before a renewal and ends after it does not bring back a session that the
// renewal found ended.
func TestOlderAnswerIsNotKept(t *testing.T) {
	for _, negative := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			slow := make(chan struct{})
			f := &fake{find: func(ctx context.Context, r *Request) (*Session, error) {
				if r.Renewal {
					return nil, ErrUnknown
				}
				<-slow
				return findAlice(ctx, r)
			}}
			l := NewLookup(f, settings(func(s *Settings) { s.NegativeCache, s.Cache = negative, time.Hour }))
			done := make(chan error)
			go func() {
				_, err := l.Find(t.Context(), request("a"))
				done <- err
			}()
			synctest.Wait()
			renewal := request("a")
			renewal.Renewal = true
			if _, err := l.Find(t.Context(), renewal); !errors.Is(err, ErrUnknown) {
				t.Fatal(err)
			}
			close(slow)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			f.find = func(context.Context, *Request) (*Session, error) { return nil, ErrUnknown }
			if _, err := l.Find(t.Context(), request("a")); !errors.Is(err, ErrUnknown) {
				t.Errorf("with unknown credentials kept for %s, the older answer was used: %v", negative, err)
			}
			if len(l.cache.pending) != 0 {
				t.Error("a look-up that has ended counts as one that is under way")
			}
		})
	}
}
