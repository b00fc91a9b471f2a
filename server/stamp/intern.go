package stamp

import (
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"sync"
	"weak"
)

// Connections of one user have equal stamps, and of those that are in use there
// is one each. The table holds no stamp alive, and no copy of a value: its keys
// are digests.
var interned = struct {
	sync.Mutex
	stamps map[digest]weak.Pointer[Stamp]
}{stamps: make(map[digest]weak.Pointer[Stamp])}

type digest [sha256.Size]byte

// intern returns the stamp that is equal to s and in use, or else s.
func intern(s *Stamp) *Stamp {
	key := s.digest()
	interned.Lock()
	defer interned.Unlock()
	if same := interned.stamps[key].Value(); same != nil {
		return same
	}
	interned.stamps[key] = weak.Make(s)
	runtime.AddCleanup(s, forget, key)
	return s
}

// forget removes the entry of a stamp that is gone, unless an equal one has been
// made since.
func forget(key digest) {
	interned.Lock()
	defer interned.Unlock()
	if interned.stamps[key].Value() == nil {
		delete(interned.stamps, key)
	}
}

// digest covers everything that tells two stamps apart. The block says what the
// names and values are: no name holds a colon, no value a line break.
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
	for _, set := range s.strip {
		b = append(b, set.sum[:]...)
	}
	return sha256.Sum256(b)
}

func (s *NameSet) digest() digest {
	var b []byte
	if s.spares {
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

func appendString(b []byte, s string) []byte { return append(appendInt(b, len(s)), s...) }

func appendInt(b []byte, n int) []byte { return binary.LittleEndian.AppendUint64(b, uint64(n)) }
