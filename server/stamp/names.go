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
// up allocates nothing and costs about the same with ten names or thousands.
type NameSet struct {
	names, prefixes table
	except          *NameSet // names that are not in the set, whatever the rest says
	spares          bool     // beginnings do not reach names that steer the server or its clients
	sum             digest   // of what is in it, for intern; only of exported sets
}

// table is a hash table of folded strings, which are fixed when it is made.
type table struct {
	lens    uint64   // lenBit of each entry: most lookups end here
	entries []string // sorted, each once
	slots   []uint32 // open addressing: index into entries plus one
}

// few is how many entries are compared one by one, without slots.
const few = 4

// NewNameSet makes a set of patterns, each a name, a beginning of names followed
// by "*", or "*" for all.
func NewNameSet(patterns ...string) (*NameSet, error) {
	var names, prefixes []string
	for i, p := range patterns {
		if !field.IsNamePattern(p) {
			return nil, fmt.Errorf("pattern %d of %d, %q: %w", i+1, len(patterns), p, ErrPattern)
		}
		if prefix, isPrefix := strings.CutSuffix(p, "*"); isPrefix {
			prefixes = append(prefixes, field.Fold(prefix))
		} else {
			names = append(names, field.Fold(p))
		}
	}
	s := newNameSet(names, prefixes)
	s.sum = s.digest()
	return s, nil
}

// NewRuleSet makes a set as NewNameSet does, for names that are taken away from whoever sends or reads them.
// Deduplication, key-value buckets and much else would break without the names that steer the server or its
// clients. So its patterns do not reach these, but for one that begins with Nats-Schedule, whose names may well
// be withheld from publishers. Listed by its full name, each is in the set.
func NewRuleSet(patterns ...string) (*NameSet, error) {
	s, err := NewNameSet(patterns...)
	if err != nil {
		return nil, err
	}
	s.spares = true
	s.sum = s.digest()
	return s, nil
}

// schedules begins the names, folded, that a pattern of a rule reaches although they steer the server.
const schedules = "nats-schedule"

// Spared returns which names a pattern does not reach in a rule set.
func Spared(pattern string) []string {
	prefix, ok := strings.CutSuffix(pattern, "*")
	if !ok || strings.HasPrefix(field.Fold(prefix), schedules) {
		return nil
	}
	return field.SteeringNames(prefix)
}

// reaches tells whether name, whose first bytes are a beginning in the set, is in it by that.
func (s *NameSet) reaches(beginning int, name []byte) bool {
	return !s.spares || !field.Steers(name) || beginning >= len(schedules) && field.EqualFolded(schedules, name[:len(schedules)])
}

// newNameSet takes what is folded, and keeps names and prefixes.
func newNameSet(names, prefixes []string) *NameSet {
	s := &NameSet{names: newTable(names), prefixes: newTable(prefixes)}
	if max(len(s.names.entries), len(s.prefixes.entries)) > few {
		s.names.makeSlots()
		s.prefixes.makeSlots()
	}
	return s
}

func newTable(entries []string) table {
	slices.Sort(entries)
	t := table{entries: slices.Compact(entries)}
	for _, e := range t.entries {
		t.lens |= lenBit(len(e))
	}
	return t
}

// makeSlots leaves at least half of the slots free, so that runs stay short
// whatever names a publisher tries.
func (t *table) makeSlots() {
	size := 2
	for size < 2*len(t.entries) {
		size *= 2
	}
	t.slots = make([]uint32, size)
	for i, e := range t.entries {
		h := uint32(hashStart)
		for j := range len(e) {
			h = hashStep(h, e[j])
		}
		at := h & uint32(size-1)
		for t.slots[at] != 0 {
			at = (at + 1) & uint32(size-1)
		}
		t.slots[at] = uint32(i + 1)
	}
}

// Empty tells whether no name is in the set.
func (s *NameSet) Empty() bool { return s == nil || s.names.lens|s.prefixes.lens == 0 }

// Without returns the set of the names of s that are not in except; nil when none are
// left. Either may be nil, the empty set.
func (s *NameSet) Without(except *NameSet) *NameSet {
	if s.Empty() || except.Empty() {
		return s
	}
	left := func(entries []string, covered func(string) bool) []string {
		return slices.DeleteFunc(slices.Clone(entries), covered)
	}
	without := newNameSet(
		left(s.names.entries, func(name string) bool { return except.Has([]byte(name)) }),
		left(s.prefixes.entries, except.hasAll),
	)
	if without.Empty() {
		return nil
	}
	without.except, without.spares = except, s.spares
	if s.except != nil {
		without.except = union(s.except, except)
	}
	without.sum = without.digest()
	return without
}

// hasAll tells whether all names that begin with prefix, which is folded, are in the set.
func (s *NameSet) hasAll(prefix string) bool {
	return s.except == nil && slices.ContainsFunc(s.prefixes.entries, func(p string) bool { return strings.HasPrefix(prefix, p) })
}

// union returns the names of both, neither of which has exceptions.
func union(a, b *NameSet) *NameSet {
	join := func(a, b []string) []string { return append(slices.Clone(a), b...) }
	u := newNameSet(join(a.names.entries, b.names.entries), join(a.prefixes.entries, b.prefixes.entries))
	u.sum = u.digest()
	return u
}

// Has tells whether name is in the set.
func (s *NameSet) Has(name []byte) bool {
	if s == nil || s.names.lens&lenBit(len(name)) == 0 && s.prefixes.lens == 0 {
		return false
	}
	return s.has(name) && !s.except.Has(name)
}

func (s *NameSet) has(name []byte) bool {
	switch {
	case s.names.slots == nil:
		return s.hasFew(name)
	}
	// The hash of the name passes the hashes of all its beginnings.
	h := uint32(hashStart)
	for i, c := range name {
		if s.prefixes.has(name[:i], h) && s.reaches(i, name) {
			return true
		}
		h = hashStep(h, c)
	}
	return s.prefixes.has(name, h) && s.reaches(len(name), name) || s.names.has(name, h)
}

func (s *NameSet) hasFew(name []byte) bool {
	for _, e := range s.names.entries {
		if field.EqualFolded(e, name) {
			return true
		}
	}
	for _, p := range s.prefixes.entries {
		if len(p) <= len(name) && field.EqualFolded(p, name[:len(p)]) && s.reaches(len(p), name) {
			return true
		}
	}
	return false
}

// has tells whether name, whose hash is h, is an entry.
func (t *table) has(name []byte, h uint32) bool {
	return t.lens&lenBit(len(name)) != 0 && t.find(name, h)
}

func (t *table) find(name []byte, h uint32) bool {
	mask := uint32(len(t.slots) - 1)
	for at := h & mask; t.slots[at] != 0; at = (at + 1) & mask {
		if field.EqualFolded(t.entries[t.slots[at]-1], name) {
			return true
		}
	}
	return false
}

// hashStart and hashStep are FNV-1a over folded bytes.
const hashStart = 2166136261

func hashStep(h uint32, c byte) uint32 { return (h ^ uint32(field.FoldByte(c))) * 16777619 }

func lenBit(n int) uint64 { return 1 << min(n, 63) }
