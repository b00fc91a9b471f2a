package stamp

import (
	"bytes"
	"strings"
	"testing"
)

// suspects are blocks that fit no grammar and repeat one unit.
var suspects = map[string]string{
	"short lines":             "a:\n",
	"long names":              strings.Repeat("a", 250) + ":\n",
	"a name without an end":   "a",
	"beginnings of a name":    "sessio",
	"beginnings of a pattern": "x-x-x-aut",
	"almost each of them":     "X-Auth:X-Aut-Sessiom:\n",
	"spaces":                  " ",
	"colons":                  ":",
	"line breaks":             "\r\n",
}

func TestSuspectBlocksAreSearchedInLinearTime(t *testing.T) {
	patterns := []string{"Session", "X-Auth-*", "x-x-x-x-x-x-x-y", strings.Repeat("a", 60)}
	for _, c := range "bcdefghijklmnop" {
		patterns = append(patterns, strings.Repeat("a", 20)+string(c), strings.Repeat("x-", 10)+string(c)+"*")
	}
	s := mustSeal(t, patterns...)
	for name, unit := range suspects {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1 << 12, 1 << 14, 1 << 16} {
				checkSearch(t, s, []byte(strings.Repeat(unit, size/len(unit))+":"))
			}
		})
	}
}

// checkSearch runs a search and checks how much work it did.
func checkSearch(t *testing.T, s *Seal, block []byte) (found bool) {
	t.Helper()
	x := search{automaton: s.hiddenAutomaton()}
	found = x.inBlock(block)
	if x.visited > 2*len(block) {
		t.Errorf("%d steps for a block of %d bytes, expected at most two for each", x.visited, len(block))
	}
	return found
}

// The search finds the same as a lookup of every part of every name, but in linear time.
func FuzzMayHoldHidden(f *testing.F) {
	for _, block := range hostileBlocks {
		f.Add("Session X-Auth-* aab aaab", []byte(block))
	}
	for _, unit := range suspects {
		f.Add("Session X-Auth-* aab aaab", []byte(strings.Repeat(unit, 20)+":"))
	}
	f.Add("*", []byte("a:"))
	f.Fuzz(func(t *testing.T, patterns string, block []byte) {
		set, err := NewNameSet(strings.Fields(patterns)...)
		if err != nil || set.Empty() {
			return
		}
		want := false
		for _, line := range bytes.FieldsFunc(block, func(r rune) bool { return r == '\r' || r == '\n' }) {
			name, _, ok := bytes.Cut(line, []byte(":"))
			name = bytes.TrimFunc(name, isBlank)
			for from := range name {
				want = want || ok && set.Has(name[from:])
			}
		}
		if got := checkSearch(t, NewSeal(set), block); got != want {
			t.Errorf("patterns %q in block %q: found is %t, want %t", patterns, block, got, want)
		}
	})
}
