package session

import (
	"container/list"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// cacheKey is the SHA-256 of what a look-up depends on, so that the cache holds
// no credential.
type cacheKey [sha256.Size]byte

// Bounds of the cache, besides the configured number of entries.
const (
	// maxCacheBytes bounds the memory of the cached sessions, in bytes. A client may choose part of the
	// cache key, such as a forwarded header, and could otherwise fill the memory with one valid credential.
	maxCacheBytes = 256 << 20
	// maxPerSession is how many entries one session may have. A further entry replaces the oldest.
	maxPerSession = 16
)

// cache holds the answers of a source, each until it expires. It has no goroutine:
// expired answers are dropped when the cache is next used.
type cache struct {
	sessionTTL, unknownTTL time.Duration // how long a session and an unknown credential are cached; 0: not at all
	maxBytes               int

	mu       sync.Mutex                  // guards the fields below
	sessions *lru.Cache[cacheKey, entry] // credentials that the source knows
	unknown  *lru.Cache[cacheKey, entry] // credentials that the source does not know
	bytes    int                         // estimated memory of sessions
	byTime   *list.List                  // keys of sessions, the first to expire in front
	// bySession has the keys of the entries of a session, oldest first. A session may have several
	// credentials.
	bySession map[string][]cacheKey
	pending   map[cacheKey][]*pendingLookup // in the order in which they began
	// changes counts calls of forget and forgetAll. A look-up that began before such a call may
	// return a stale answer.
	changes uint64
}

type entry struct {
	session *Session // nil: unknown credential
	until   time.Time
	bytes   int           // estimated memory
	at      *list.Element // of byTime
}

// pendingLookup is a look-up that has begun and is not answered yet.
type pendingLookup struct {
	changes uint64 // cache.changes when the look-up began
	// superseded is set when a later look-up of the same key has been answered. The answer of this
	// one is then older, and is not cached.
	superseded bool
}

func newCache(s Settings) *cache {
	c := &cache{
		sessionTTL: s.Cache, unknownTTL: s.NegativeCache, maxBytes: maxCacheBytes,
		byTime: list.New(), bySession: map[string][]cacheKey{}, pending: map[cacheKey][]*pendingLookup{},
	}
	// The only error is a size below 1, which Settings.Check reports.
	c.sessions, _ = lru.NewWithEvict(max(s.CacheSize, 1), c.unindex)
	c.unknown, _ = lru.New[cacheKey, entry](max(s.CacheSize, 1))
	return c
}

// countSessions returns how many sessions have an entry that has not expired.
func (c *cache) countSessions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropExpired(time.Now())
	return len(c.bySession)
}

// get returns the cached session, or nil for a credential that is cached as
// unknown. If nothing is cached, ok is false.
func (c *cache) get(key cacheKey, now time.Time) (s *Session, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropExpired(now)
	if e, found := c.sessions.Get(key); found {
		if now.Before(e.until) && !e.session.Ended(now) {
			return e.session, true
		}
		c.sessions.Remove(key)
	}
	e, found := c.unknown.Get(key)
	return nil, found && now.Before(e.until)
}

// dropExpired drops expired sessions. All entries have the same TTL, so the oldest
// entries expire first. The caller holds the lock.
func (c *cache) dropExpired(now time.Time) {
	for first := c.byTime.Front(); first != nil; first = c.byTime.Front() {
		key, _ := first.Value.(cacheKey)
		if e, _ := c.sessions.Peek(key); now.Before(e.until) {
			return
		}
		c.sessions.Remove(key)
	}
}

// begin notes that a look-up begins. The caller passes the answer to put, if there
// is one, and always calls end.
func (c *cache) begin(key cacheKey) *pendingLookup {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &pendingLookup{changes: c.changes}
	c.pending[key] = append(c.pending[key], p)
	return p
}

// end notes that a look-up has ended.
func (c *cache) end(key cacheKey, p *pendingLookup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending[key] = slices.DeleteFunc(c.pending[key], func(other *pendingLookup) bool { return other == p })
	if len(c.pending[key]) == 0 {
		delete(c.pending, key)
	}
}

// put caches the answer of the look-up p; s is nil for an unknown credential. The
// answer may be stale, and is not cached, if forget or forgetAll was called since p
// began, or if a later look-up has been answered.
func (c *cache) put(key cacheKey, s *Session, p *pendingLookup, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.superseded {
		return
	}
	for _, other := range c.pending[key] {
		if other == p {
			break
		}
		other.superseded = true
	}
	// The earlier answer is stale, even if the new one is not cached.
	c.sessions.Remove(key)
	c.unknown.Remove(key)
	switch {
	case p.changes != c.changes:
	case s == nil && c.unknownTTL > 0:
		c.unknown.Add(key, entry{until: now.Add(c.unknownTTL)})
	case s != nil && c.sessionTTL > 0:
		c.add(key, s, now)
	}
}

// add caches a session, and drops others to make room for it. The caller holds the
// lock.
func (c *cache) add(key cacheKey, s *Session, now time.Time) {
	c.dropExpired(now)
	e := entry{session: s, until: now.Add(c.sessionTTL), bytes: sizeOf(s.Data)}
	if e.bytes > c.maxBytes {
		return
	}
	for c.bytes+e.bytes > c.maxBytes && c.sessions.Len() > 0 {
		c.sessions.RemoveOldest()
	}
	// Entries without a session key cannot be counted by session.
	if keys := c.bySession[s.Key]; s.Key != "" && len(keys) >= maxPerSession {
		c.sessions.Remove(keys[0])
	}
	e.at = c.byTime.PushBack(key)
	c.bytes += e.bytes
	c.sessions.Add(key, e)
	if s.Key != "" {
		c.bySession[s.Key] = append(c.bySession[s.Key], key)
	}
}

// unindex removes an entry of c.sessions from byTime and bySession. The LRU calls it
// for each entry that it drops, while the lock is held.
func (c *cache) unindex(key cacheKey, e entry) {
	c.bytes -= e.bytes
	c.byTime.Remove(e.at)
	keys := c.bySession[e.session.Key]
	keys = slices.DeleteFunc(keys, func(other cacheKey) bool { return other == key })
	if len(keys) == 0 {
		delete(c.bySession, e.session.Key)
		return
	}
	c.bySession[e.session.Key] = keys
}

// sizeOf estimates how many bytes of memory a value of a session takes.
func sizeOf(v any) int {
	const word = 16 // size in bytes of an interface value, and of a string's header
	switch v := v.(type) {
	case string:
		return word + len(v)
	case json.Number:
		return word + len(v)
	case map[string]any:
		n := 16 * word // an empty map; that of Session.Data stands for the cache entry as well
		for name, inner := range v {
			n += 2*word + len(name) + sizeOf(inner)
		}
		return n
	case []any:
		n := 2 * word
		for _, inner := range v {
			n += word + sizeOf(inner)
		}
		return n
	case []string:
		n := 2 * word
		for _, text := range v {
			n += word + len(text)
		}
		return n
	}
	return word
}

// forget drops the entries of a session. It also drops all unknown credentials,
// because one of them may now belong to the session.
func (c *cache) forget(session string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.unknown.Purge()
	for _, key := range slices.Clone(c.bySession[session]) {
		c.sessions.Remove(key)
	}
}

// forgetAll drops all entries.
func (c *cache) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.unknown.Purge()
	c.sessions.Purge()
}
