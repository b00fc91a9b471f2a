package session

import (
	"crypto/sha256"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// cacheKey is a hash, so that the cache holds no credential.
type cacheKey [sha256.Size]byte

// cache holds what a source answered, each answer until its time is over. It has
// no goroutine: what is over is dropped when it is met, or is the oldest.
type cache struct {
	keep, keepUnknown time.Duration // 0: not at all

	mu      sync.Mutex
	known   *lru.Cache[cacheKey, entry]
	unknown *lru.Cache[cacheKey, entry]
	// bySession finds the entries of a session: there may be several credentials for one.
	bySession map[string]map[cacheKey]struct{}
	// changes counts forget and forgetAll: an answer that was on its way then may be the old one.
	changes uint64
}

type entry struct {
	session *Session // nil: unknown credential
	until   time.Time
}

func newCache(s Settings) *cache {
	c := &cache{keep: s.Cache, keepUnknown: s.NegativeCache, bySession: map[string]map[cacheKey]struct{}{}}
	// The error is for a size below 1, which Settings.Check refuses.
	c.known, _ = lru.NewWithEvict(max(s.CacheSize, 1), c.unindex)
	c.unknown, _ = lru.New[cacheKey, entry](max(s.CacheSize, 1))
	return c
}

// get returns the session, or nil for an unknown credential; ok is false when
// the cache cannot tell.
func (c *cache) get(key cacheKey, now time.Time) (s *Session, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, found := c.known.Get(key); found {
		if now.Before(e.until) && !e.session.Ended(now) {
			return e.session, true
		}
		c.known.Remove(key)
	}
	e, found := c.unknown.Get(key)
	return nil, found && now.Before(e.until)
}

// version is for put: it changes with each forget.
func (c *cache) version() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes
}

// put keeps an answer, nil for an unknown credential, unless something was
// forgotten since version.
func (c *cache) put(key cacheKey, s *Session, version uint64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case version != c.changes:
	case s == nil && c.keepUnknown > 0:
		c.unknown.Add(key, entry{nil, now.Add(c.keepUnknown)})
	case s != nil && c.keep > 0:
		c.known.Remove(key)
		c.known.Add(key, entry{s, now.Add(c.keep)})
		keys := c.bySession[s.Key]
		if keys == nil {
			keys = map[cacheKey]struct{}{}
			c.bySession[s.Key] = keys
		}
		keys[key] = struct{}{}
	}
}

// unindex is called, under the lock, for an entry that leaves known.
func (c *cache) unindex(key cacheKey, e entry) {
	keys := c.bySession[e.session.Key]
	delete(keys, key)
	if len(keys) == 0 {
		delete(c.bySession, e.session.Key)
	}
}

// forget drops what is kept of a session, and of all unknown credentials: one of
// them may be the session's.
func (c *cache) forget(session string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.unknown.Purge()
	for key := range c.bySession[session] {
		c.known.Remove(key)
	}
}

// forgetAll drops all that is kept.
func (c *cache) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.unknown.Purge()
	c.known.Purge()
}
