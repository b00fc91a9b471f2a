package stamp

import (
	"crypto/cipher"
	"maps"
	"sync"
	"sync/atomic"

	"stamp.example/receivers/go/internal/wire"
)

// A cipherCache keeps the ciphers of salts, so that one message costs no derivation of a key. Only a salt of a message whose
// tag fitted comes into it, so forged messages cannot fill it. It holds the ciphers of up to 2*cipherGeneration salts: those that
// were used since the older generation was dropped.
type cipherCache struct {
	mu       sync.RWMutex
	new, old map[cipherID]cipher.AEAD
}

type cipherID struct {
	pair *pair
	salt [16]byte
}

const cipherGeneration = 2048

func newCipherCache() *cipherCache { return &cipherCache{new: map[cipherID]cipher.AEAD{}} }

func (c *cipherCache) get(id cipherID) cipher.AEAD {
	c.mu.RLock()
	aead, recent := c.new[id]
	if !recent {
		aead = c.old[id]
	}
	c.mu.RUnlock()
	if aead != nil && !recent {
		c.put(id, aead)
	}
	return aead
}

func (c *cipherCache) put(id cipherID, aead cipher.AEAD) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.new) >= cipherGeneration {
		c.new, c.old = make(map[cipherID]cipher.AEAD, cipherGeneration), c.new
	}
	c.new[id] = aead
}

// A nameCache keeps the folded forms and the entries of names that the trust has or that were proven, which are few.
type nameCache struct {
	names atomic.Pointer[map[string]nameInfo]
	mu    sync.Mutex // for adding
}

type nameInfo struct {
	folded string
	entry  wire.Entry
}

const maxNames = 256

func (c *nameCache) get(name string) (info nameInfo, ok bool) {
	if names := c.names.Load(); names != nil {
		info, ok = (*names)[name]
	}
	return info, ok
}

func (c *nameCache) add(name, folded string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names map[string]nameInfo
	if old := c.names.Load(); old != nil {
		if len(*old) >= maxNames {
			return
		}
		names = maps.Clone(*old)
	} else {
		names = map[string]nameInfo{}
	}
	names[name] = nameInfo{folded, wire.EntryOf(folded)}
	c.names.Store(&names)
}

// A replayCache remembers the last proofs that were taken.
type replayCache struct {
	mu    sync.Mutex
	known map[proofID]struct{}
	ring  []proofID // in the order in which they came, from next on
	next  int
	size  int
}

type proofID [wire.DigestSize]byte

func newReplayCache(size int) *replayCache {
	return &replayCache{known: map[proofID]struct{}{}, size: size}
}

// take remembers a proof. It reports whether it was not remembered before.
func (c *replayCache) take(id proofID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.known[id]; known {
		return false
	}
	if len(c.ring) < c.size {
		c.ring = append(c.ring, id)
	} else {
		delete(c.known, c.ring[c.next])
		c.ring[c.next] = id
		c.next = (c.next + 1) % c.size
	}
	c.known[id] = struct{}{}
	return true
}
