package stamp

import (
	"fmt"
	"slices"
	"strings"

	"stamp.example/claim/field"
)

// NameSet is an immutable set of header names and prefixes of names. It has each
// name in every spelling that package field takes for the same. A lookup allocates
// nothing, and takes about as long with ten names as with thousands.
type NameSet struct {
	names, prefixes table
	except          *NameSet // names that are not in the set, even if names or prefixes has them
	sparesSteering  bool     // prefixes do not match steering names, see NewRuleSet
	sum             digest   // of the contents; not set for the names of a Stamp
}

// table is an immutable hash table of folded strings.
type table struct {
	lengths uint64   // lengthBit of each entry
	starts  uint64   // startBit of each entry
	entries []string // sorted, without duplicates
	slots   []uint32 // open addressing: index into entries plus one, 0 if free; nil in a small set
}

// smallSet is up to how many names or prefixes a lookup compares all of them. A
// larger set has slots.
const smallSet = 4

// NewNameSet returns the set of names that match one of patterns, see
// field.IsNamePattern.
func NewNameSet(patterns ...string) (*NameSet, error) {
	var names, prefixes []string
	for i, p := range patterns {
		if !field.IsNamePattern(p) {
			return nil, fmt.Errorf("pattern %d of %d, %q: %w", i+1, len(patterns), p, field.ErrNamePattern)
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

// NewRuleSet returns a set for a rule that removes headers from what clients
// publish or receive. Without the steering names (field.Steers), deduplication,
// key-value buckets and much else would break. So a pattern with '*' does not match
// them; a steering name is in the set only if it is listed in full. Patterns that
// begin with Nats-Schedule are an exception, since there are reasons to keep clients
// from scheduling messages.
func NewRuleSet(patterns ...string) (*NameSet, error) {
	s, err := NewNameSet(patterns...)
	if err != nil {
		return nil, err
	}
	s.sparesSteering = true
	s.sum = s.digest()
	return s, nil
}

// schedulePrefix begins the steering names that a pattern of a rule set matches, folded.
const schedulePrefix = "nats-schedule"

// SparedNames returns the steering names that pattern does not match in a rule set,
// although they begin like it.
func SparedNames(pattern string) []string {
	prefix, ok := strings.CutSuffix(pattern, "*")
	if !ok || strings.HasPrefix(field.Fold(prefix), schedulePrefix) {
		return nil
	}
	return field.SteeringNames(prefix)
}

// prefixMatches reports whether name matches a prefix of the set. The first
// prefixLen bytes of name are that prefix.
func (s *NameSet) prefixMatches(prefixLen int, name []byte) bool {
	return !s.sparesSteering || !field.Steers(name) || prefixLen >= len(schedulePrefix) && field.EqualFolded(schedulePrefix, name[:len(schedulePrefix)])
}

// newNameSet returns the set of folded names and prefixes. It keeps both slices.
func newNameSet(names, prefixes []string) *NameSet {
	s := &NameSet{names: newTable(names), prefixes: newTable(prefixes)}
	if max(len(s.names.entries), len(s.prefixes.entries)) > smallSet {
		s.names.makeSlots()
		s.prefixes.makeSlots()
	}
	return s
}

func newTable(entries []string) table {
	slices.Sort(entries)
	t := table{entries: slices.Compact(entries)}
	for _, e := range t.entries {
		t.lengths |= lengthBit(len(e))
		t.starts |= startBit([]byte(e))
	}
	return t
}

// makeSlots leaves at least half of the slots free. Runs of slots in use then stay
// short, whatever names a publisher tries.
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

// Empty reports whether the set has no names.
func (s *NameSet) Empty() bool { return s == nil || s.names.lengths|s.prefixes.lengths == 0 }

// Without returns the set of the names in s that are not in except, or nil if there
// are none. s and except may be nil, which is the empty set.
func (s *NameSet) Without(except *NameSet) *NameSet {
	if s.Empty() || except.Empty() {
		return s
	}
	left := func(entries []string, covered func(string) bool) []string {
		return slices.DeleteFunc(slices.Clone(entries), covered)
	}
	without := newNameSet(
		left(s.names.entries, func(name string) bool { return except.Has([]byte(name)) }),
		left(s.prefixes.entries, except.hasPrefix),
	)
	if without.Empty() {
		return nil
	}
	without.except, without.sparesSteering = except, s.sparesSteering
	if s.except != nil {
		without.except = union(s.except, except)
	}
	without.sum = without.digest()
	return without
}

// hasPrefix reports whether all names that begin with prefix are in the set. prefix is folded.
func (s *NameSet) hasPrefix(prefix string) bool {
	return s.except == nil && slices.ContainsFunc(s.prefixes.entries, func(p string) bool { return strings.HasPrefix(prefix, p) })
}

// union returns the set of the names in a or b, which have no exceptions.
func union(a, b *NameSet) *NameSet {
	join := func(a, b []string) []string { return append(slices.Clone(a), b...) }
	u := newNameSet(join(a.names.entries, b.names.entries), join(a.prefixes.entries, b.prefixes.entries))
	u.sum = u.digest()
	return u
}

// Has reports whether name is in the set.
func (s *NameSet) Has(name []byte) bool {
	if s == nil || !mayHave(s.names.lengths, s.prefixes.starts, name) {
		return false
	}
	return s.has(name) && !s.except.Has(name)
}

// mayHave reports whether a set can have name, by the lengths of its names and the
// starts of its prefixes. Most lookups end here.
func mayHave(lengths, starts uint64, name []byte) bool {
	return lengths&lengthBit(len(name)) != 0 || starts&startBit(name) != 0
}

func (s *NameSet) has(name []byte) bool {
	if s.names.slots == nil {
		return s.hasByComparing(name)
	}
	// While it is computed, the hash of name is in turn the hash of each of its prefixes.
	h := uint32(hashStart)
	for i, c := range name {
		if s.prefixes.has(name[:i], h) && s.prefixMatches(i, name) {
			return true
		}
		h = hashStep(h, c)
	}
	return s.prefixes.has(name, h) && s.prefixMatches(len(name), name) || s.names.has(name, h)
}

func (s *NameSet) hasByComparing(name []byte) bool {
	for _, e := range s.names.entries {
		if field.EqualFolded(e, name) {
			return true
		}
	}
	for _, p := range s.prefixes.entries {
		if len(p) <= len(name) && field.EqualFolded(p, name[:len(p)]) && s.prefixMatches(len(p), name) {
			return true
		}
	}
	return false
}

// has reports whether name is an entry. h is the hash of name.
func (t *table) has(name []byte, h uint32) bool {
	return t.lengths&lengthBit(len(name)) != 0 && t.find(name, h)
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

// hashStart and hashStep compute FNV-1a over folded bytes.
const hashStart = 2166136261

func hashStep(h uint32, c byte) uint32 { return (h ^ uint32(field.FoldByte(c))) * 16777619 }

// lengthBit returns a bit for the length n. All lengths from 63 on share one.
func lengthBit(n int) uint64 { return 1 << min(n, 63) }

// startBit returns a bit for the first byte of a name, in any spelling, or all bits for
// the empty text: every name begins with it.
func startBit(name []byte) uint64 {
	if len(name) == 0 {
		return ^uint64(0)
	}
	return 1 << (field.FoldByte(name[0]) % 64)
}
