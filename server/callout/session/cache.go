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

// cacheKey is a hash, so that the cache holds no credential.
type cacheKey [sha256.Size]byte

// Bounds of what is kept, beside the number of entries, which the configuration says.
const (
	// maxCacheBytes bounds the memory of the sessions. What a look-up depends on may be the client's to choose, such
	// as a forwarded header, so that one valid credential can fill the cache.
	maxCacheBytes = 256 << 20
	// maxOfSession is how many entries one session has; the oldest makes room.
	maxOfSession = 16
)

// cache holds what a source answered, each answer until its time is over. It has
// no goroutine: what is over is dropped at the next look into it.
type cache struct {
	keep, keepUnknown time.Duration // 0: not at all
	maxBytes          int

	mu      sync.Mutex
	known   *lru.Cache[cacheKey, entry]
	unknown *lru.Cache[cacheKey, entry]
	bytes   int        // of the sessions in known
	byTime  *list.List // the keys of known, those that end first before the others
	// bySession finds the entries of a session, oldest first: there may be several credentials for one.
	bySession map[string][]cacheKey
	asking    map[cacheKey][]*asked // look-ups that are under way, in the order in which they began
	// changes counts forget and forgetAll: an answer that was on its way then may be the old one.
	changes uint64
}

type entry struct {
	session *Session // nil: unknown credential
	until   time.Time
	bytes   int
	at      *list.Element // in byTime
}

// asked is a look-up that is under way.
type asked struct {
	changes uint64
	// late is set when one that began after it has been answered: its own answer is older, and not kept.
	late bool
}

func newCache(s Settings) *cache {
	c := &cache{
		keep: s.Cache, keepUnknown: s.NegativeCache, maxBytes: maxCacheBytes,
		byTime: list.New(), bySession: map[string][]cacheKey{}, asking: map[cacheKey][]*asked{},
	}
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
	c.dropOver(now)
	if e, found := c.known.Get(key); found {
		if now.Before(e.until) && !e.session.Ended(now) {
			return e.session, true
		}
		c.known.Remove(key)
	}
	e, found := c.unknown.Get(key)
	return nil, found && now.Before(e.until)
}

// dropOver drops the sessions whose time in the cache is over. All are kept equally long, so that those are the first.
func (c *cache) dropOver(now time.Time) {
	for first := c.byTime.Front(); first != nil; first = c.byTime.Front() {
		key, _ := first.Value.(cacheKey)
		if e, _ := c.known.Peek(key); now.Before(e.until) {
			return
		}
		c.known.Remove(key)
	}
}

// begin is called before a look-up; its answer goes to put, and end is called in any case.
func (c *cache) begin(key cacheKey) *asked {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &asked{changes: c.changes}
	c.asking[key] = append(c.asking[key], a)
	return a
}

// end is called after a look-up.
func (c *cache) end(key cacheKey, a *asked) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asking[key] = slices.DeleteFunc(c.asking[key], func(other *asked) bool { return other == a })
	if len(c.asking[key]) == 0 {
		delete(c.asking, key)
	}
}

// put keeps an answer, nil for an unknown credential, unless something was
// forgotten since the look-up began, or a later look-up has been answered already.
func (c *cache) put(key cacheKey, s *Session, a *asked, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.late {
		return
	}
	for _, other := range c.asking[key] {
		if other == a {
			break
		}
		other.late = true
	}
	// What was known before is over, also where the new answer is not kept.
	c.known.Remove(key)
	c.unknown.Remove(key)
	switch {
	case a.changes != c.changes:
	case s == nil && c.keepUnknown > 0:
		c.unknown.Add(key, entry{until: now.Add(c.keepUnknown)})
	case s != nil && c.keep > 0:
		c.add(key, s, now)
	}
}

// add keeps a session, and makes room for it.
func (c *cache) add(key cacheKey, s *Session, now time.Time) {
	c.dropOver(now)
	e := entry{session: s, until: now.Add(c.keep), bytes: sizeOf(s.Data)}
	if e.bytes > c.maxBytes {
		return
	}
	for c.bytes+e.bytes > c.maxBytes && c.known.Len() > 0 {
		c.known.RemoveOldest()
	}
	// Without a key it is not known which entries are of one session.
	if of := c.bySession[s.Key]; s.Key != "" && len(of) >= maxOfSession {
		c.known.Remove(of[0])
	}
	e.at = c.byTime.PushBack(key)
	c.bytes += e.bytes
	c.known.Add(key, e)
	if s.Key != "" {
		c.bySession[s.Key] = append(c.bySession[s.Key], key)
	}
}

// unindex is called, under the lock, for an entry that leaves known.
func (c *cache) unindex(key cacheKey, e entry) {
	c.bytes -= e.bytes
	c.byTime.Remove(e.at)
	of := c.bySession[e.session.Key]
	of = slices.DeleteFunc(of, func(other cacheKey) bool { return other == key })
	if len(of) == 0 {
		delete(c.bySession, e.session.Key)
		return
	}
	c.bySession[e.session.Key] = of
}

// sizeOf estimates the memory of a value of a session, with what belongs to its entry in the cache.
func sizeOf(v any) int {
	const word = 16 // of an interface, and of the header of a text
	switch v := v.(type) {
	case string:
		return word + len(v)
	case json.Number:
		return word + len(v)
	case map[string]any:
		n := 16 * word // an empty map's, or an entry's
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

// forget drops what is kept of a session, and of all unknown credentials: one of
// them may be the session's.
func (c *cache) forget(session string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.unknown.Purge()
	for _, key := range slices.Clone(c.bySession[session]) {
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
