package stamp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"stamp/server/field"
)

// ErrPattern is the fault of a name pattern.
var ErrPattern = errors.New("not a header name, nor the beginning of one followed by *")

// NameSet is an immutable set of header names and beginnings of names. A name is
// in it in every spelling (package field says which are the same). Looking one
// up allocates nothing and costs the same with one name or with thousands.
type NameSet struct {
	lens     uint64   // bit n: a name of n bytes is in the set; bit 63: of 63 or more
	names    []string // folded
	table    []uint32 // by hash, open addressing: index into names plus one; nil for few names
	prefixes []string // folded, sorted, none the beginning of another
	sum      digest   // of names and prefixes, for intern; only of exported sets
}

// few is how many names are compared one by one.
const few = 4

// NewNameSet makes a set of patterns, each a name, a beginning of names followed
// by "*", or "*" for all.
func NewNameSet(patterns ...string) (*NameSet, error) {
	var names, prefixes []string
	for i, p := range patterns {
		prefix, isPrefix := strings.CutSuffix(p, "*")
		if strings.Contains(prefix, "*") || !field.IsToken(prefix) && p != "*" {
			return nil, fmt.Errorf("pattern %d of %d, %q: %w", i+1, len(patterns), p, ErrPattern)
		}
		if isPrefix {
			prefixes = append(prefixes, field.Fold(prefix))
		} else {
			names = append(names, field.Fold(p))
		}
	}
	s := newNameSet(names, prefixes)
	s.sum = s.digest()
	return s, nil
}

// newNameSet takes what is folded, and keeps names and prefixes.
func newNameSet(names, prefixes []string) *NameSet {
	s := &NameSet{}
	slices.Sort(prefixes)
	for _, p := range prefixes {
		// Sorted, so the last one kept is the only one that p may begin with.
		if last := len(s.prefixes) - 1; last < 0 || !strings.HasPrefix(p, s.prefixes[last]) {
			s.prefixes = append(s.prefixes, p)
		}
	}
	slices.Sort(names)
	s.names = slices.Compact(names)
	for _, name := range s.names {
		s.lens |= lenBit(len(name))
	}
	if len(s.names) > few {
		s.makeTable()
	}
	return s
}

// makeTable leaves at least half of the table free, so that runs stay short
// whatever names a publisher tries.
func (s *NameSet) makeTable() {
	size := 16
	for size < 2*len(s.names) {
		size *= 2
	}
	s.table = make([]uint32, size)
	for i, name := range s.names {
		at := hash(name) & uint32(size-1)
		for s.table[at] != 0 {
			at = (at + 1) & uint32(size-1)
		}
		s.table[at] = uint32(i + 1)
	}
}

func (s *NameSet) empty() bool { return s == nil || len(s.names)+len(s.prefixes) == 0 }

// Has tells whether name is in the set.
func (s *NameSet) Has(name []byte) bool {
	return s.lens&lenBit(len(name)) != 0 && s.hasName(name) ||
		len(s.prefixes) > 0 && s.hasPrefix(name)
}

func (s *NameSet) hasName(name []byte) bool {
	if s.table == nil {
		for _, n := range s.names {
			if field.EqualFolded(n, name) {
				return true
			}
		}
		return false
	}
	mask := uint32(len(s.table) - 1)
	for at := hash(name) & mask; s.table[at] != 0; at = (at + 1) & mask {
		if field.EqualFolded(s.names[s.table[at]-1], name) {
			return true
		}
	}
	return false
}

// hasPrefix looks at one prefix only, the greatest that is not above name: a
// lesser one that name begins with would be the beginning of that one too.
func (s *NameSet) hasPrefix(name []byte) bool {
	low, high := 0, len(s.prefixes) // prefixes[:low] <= name, prefixes[high:] > name
	for low < high {
		mid := int(uint(low+high) / 2)
		if compareFolded(s.prefixes[mid], name) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 {
		return false
	}
	p := s.prefixes[low-1]
	return len(p) <= len(name) && field.EqualFolded(p, name[:len(p)])
}

// compareFolded is strings.Compare of folded with name when that is folded.
func compareFolded(folded string, name []byte) int {
	for i := range min(len(folded), len(name)) {
		if c := int(folded[i]) - int(field.FoldByte(name[i])); c != 0 {
			return c
		}
	}
	return len(folded) - len(name)
}

// hash is FNV-1a of the folded name.
func hash[T string | []byte](name T) uint32 {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(field.FoldByte(name[i]))) * 16777619
	}
	return h
}

func lenBit(n int) uint64 { return 1 << min(n, 63) }
