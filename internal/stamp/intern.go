package stamp

import (
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"sync"
	"weak"
)

// digest identifies a value: two values with the same digest are equal.
type digest [sha256.Size]byte

// pool holds one value for each digest that is in use, so that the connections
// of one user share their stamp and their seal. The pool keeps no value alive
// and holds no copy of a secret: its keys are digests, its pointers are weak.
type pool[T any] struct {
	mu     sync.Mutex
	shared map[digest]weak.Pointer[T]
}

var (
	stamps pool[Stamp]
	seals  pool[Seal]
)

// share returns the value in use that is equal to v, or else v itself, which it
// then adds to the pool. key is the digest of v.
func (p *pool[T]) share(key digest, v *T) *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	if equal := p.shared[key].Value(); equal != nil {
		return equal
	}
	if p.shared == nil {
		p.shared = make(map[digest]weak.Pointer[T])
	}
	p.shared[key] = weak.Make(v)
	runtime.AddCleanup(v, p.forget, key)
	return v
}

// forget removes the entry of a value that was collected. It keeps the entry if
// an equal value was added between the collection and this call.
func (p *pool[T]) forget(key digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shared[key].Value() == nil {
		delete(p.shared, key)
	}
}

// digest covers everything in which two stamps can differ. The block determines
// the names and values, since no name holds a colon and no value a line break.
func (s *Stamp) digest() digest {
	b := make([]byte, 0, len(s.block)+256)
	b = appendString(b, s.block)
	if s.provenance {
		b = appendString(append(b, 'p'), s.account)
	}
	b = appendInt(b, len(s.parts))
	for _, p := range s.parts {
		b = appendInt(b, len(p.lines))
		b = appendInt(b, len(p.filters))
		for _, f := range p.filters {
			b = appendString(b, f.text)
		}
	}
	for _, set := range s.stripSets {
		b = append(b, set.sum[:]...)
	}
	if s.layout != nil {
		b = s.layout.AppendDigest(append(b, 'l'))
	}
	return sha256.Sum256(b)
}

func (s *NameSet) digest() digest {
	var b []byte
	if s.sparesSteering {
		b = append(b, 's')
	}
	if s.except != nil {
		b = append(b, s.except.sum[:]...)
	}
	for _, t := range []table{s.names, s.prefixes} {
		b = appendInt(b, len(t.entries))
		for _, e := range t.entries {
			b = appendString(b, e)
		}
	}
	return sha256.Sum256(b)
}

// appendString appends the length of s too, so that neighbouring strings cannot
// be cut in another place and give the same bytes.
func appendString(b []byte, s string) []byte { return append(appendInt(b, len(s)), s...) }

func appendInt(b []byte, n int) []byte { return binary.LittleEndian.AppendUint64(b, uint64(n)) }
