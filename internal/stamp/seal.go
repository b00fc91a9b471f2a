package stamp

import (
	"bytes"
	"sync"
	"unicode"

	"stamp.example/claim/field"
)

// Seal removes from a delivered header block the lines that its subscriber may not
// see. It is immutable. Equal seals are the same pointer.
//
// A delivered block must fit a grammar too, a laxer one (delivered.go). If it does
// not, client libraries may read it differently, and the subscriber gets none of
// its header lines if a hidden name may be among them.
type Seal struct {
	hidden *NameSet // the names that the subscriber may not see

	once      sync.Once
	automaton *automaton // finds hidden; made by hiddenAutomaton
}

// NewSeal returns the seal that hides the names in hidden, or nil if there are none.
func NewSeal(hidden *NameSet) *Seal {
	if hidden.Empty() {
		return nil
	}
	return seals.share(hidden.sum, &Seal{hidden: hidden})
}

// Mark is the beginning of a header line in a block, up to which the block has been cut.
type Mark struct {
	In    int // bytes of the block before the line
	Out   int // bytes that were appended for them: 0 if Lines is 0
	Lines int // lines that were left out before the line
}

// Cut appends to dst the part of block that the subscriber may see, and returns how
// many lines it left out.
//   - If it left out none, it appends nothing: the subscriber gets block itself.
//   - If it left out some and appends nothing, no header block is left to deliver.
//
// It does not allocate if dst has room for len(block) more bytes, unless block
// does not fit the grammar.
func (s *Seal) Cut(dst, block []byte) (out []byte, cut int) {
	out, cut, _ = s.CutFrom(dst, block, Mark{}, 0)
	return out, cut
}

// CutFrom is Cut for a block that begins like one that was cut before: it cuts from a mark of that block on.
// dst ends with the from.Out bytes that were appended before the mark. CutFrom returns the last mark in the
// first same bytes of block as well, or the zero Mark if there is none.
func (s *Seal) CutFrom(dst, block []byte, from Mark, same int) (out []byte, cut int, last Mark) {
	start := len(dst) - from.Out
	at, ok := from.In, true
	if at == 0 {
		at, ok = firstLine(block)
	}
	keepFrom := 0 // the first byte that is neither copied nor left out yet
	if cut = from.Lines; cut > 0 {
		keepFrom = at
	}
	for ok && !isBlankLine(block[at:]) {
		if at <= same {
			if cut > 0 {
				dst, keepFrom = append(dst, block[keepFrom:at]...), at
			}
			last = Mark{at, len(dst) - start, cut}
		}
		colon, size := deliveredLine(block[at:])
		if ok = size > 0; ok && s.hidden.Has(block[at:][:colon]) {
			dst = append(dst, block[keepFrom:at]...)
			keepFrom = at + size
			cut++
		}
		at += size
	}
	if !ok || at+len(crlf) != len(block) {
		out, cut = s.withhold(dst[:start], block)
		return out, cut, Mark{}
	}
	if cut == 0 {
		return dst, 0, last
	}
	dst = append(dst, block[keepFrom:]...)
	if len(dst)-start == len(opening)+len(crlf) {
		return dst[:start], cut, last
	}
	return dst, cut, last
}

// withhold is Cut for a block that client libraries may read differently. If it may
// hold a hidden name, the status is all that is left of it.
func (s *Seal) withhold(dst, block []byte) ([]byte, int) {
	if !s.mayHoldHidden(block) {
		return dst, 0
	}
	if end, err := checkFirstLine(block); err == nil && end > len(opening) {
		return append(append(dst, block[:end]...), crlf...), 1
	}
	return dst, 1
}

// mayHoldHidden reports whether a client library, however lax, could find a hidden
// name in block. A line ends at any CR or LF. Spaces and control characters around
// a name are ignored. A name may begin anywhere in its line, since some libraries
// skip the first bytes of a block without looking at them. A name that matches a
// hidden pattern counts as hidden, even if the subscriber has permission for it.
func (s *Seal) mayHoldHidden(block []byte) bool {
	x := search{automaton: s.hiddenAutomaton()}
	return x.inBlock(block)
}

// hiddenAutomaton makes the automaton when it is needed for the first time. Few
// subscribers ever get a block that does not fit the grammar.
func (s *Seal) hiddenAutomaton() *automaton {
	s.once.Do(func() { s.automaton = newAutomaton(s.hidden) })
	return s.automaton
}

// search is one search for hidden names.
type search struct {
	*automaton
	visited int // how many states were visited: a test bounds it
}

// inBlock reports whether a hidden name stands before a colon of block.
func (x *search) inBlock(block []byte) bool {
	for len(block) > 0 {
		line := block
		if end := bytes.IndexAny(block, "\r\n"); end >= 0 {
			line, block = block[:end], block[end+1:]
		} else {
			block = nil
		}
		colon := bytes.IndexByte(line, ':')
		if colon >= 0 && x.inName(bytes.TrimFunc(line[:colon], isBlank)) {
			return true
		}
	}
	return false
}

// inName reports whether name ends with a hidden name, or has a hidden prefix
// anywhere in it.
func (x *search) inName(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	at := int32(0)
	for _, c := range name {
		if x.states[at].endsInPrefix {
			return true
		}
		at = x.step(at, field.FoldByte(c))
	}
	return x.states[at].endsInPrefix || x.states[at].endsInName
}

// isBlank reports whether r is white space or does not show.
func isBlank(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) }
