package stamp

import (
	"bytes"
	"sync"
	"unicode"

	"stamp/server/field"
)

// Seal takes the lines off a header block that its reader may not see. It is immutable;
// equal ones are the same pointer.
//
// Blocks with a stamp fit the grammar of a publisher's. Others are delivered as well:
// the server's own, with a status that has no text or a subject that is not UTF-8, and what a
// server that does not stamp has let through. So a reader's grammar is laxer; and where a
// block does not fit that either, it is withheld as a whole when a name that is hidden may
// be in it.
type Seal struct {
	hidden *NameSet

	once      sync.Once
	automaton *automaton // of hidden
}

// NewSeal returns the seal for names that are hidden, or nil when there are none.
func NewSeal(hidden *NameSet) *Seal {
	if hidden.Empty() {
		return nil
	}
	return seals.share(hidden.sum, &Seal{hidden: hidden})
}

// Cut appends to dst what the reader may see of block, and returns how many lines that
// leaves out. When it leaves out none, dst is returned as it was: the reader gets block
// itself. When it leaves out some and appends nothing, there is no header left to deliver.
//
// Nothing is allocated when dst has room for len(block) bytes.
func (s *Seal) Cut(dst, block []byte) (out []byte, cut int) {
	start := len(dst)
	at, ok := firstLine(block)
	run := 0
	for ok && !bytes.HasPrefix(block[at:], []byte(crlf)) {
		var colon, next int
		if colon, next, ok = deliveredLine(block, at); ok && s.hidden.Has(block[at:colon]) {
			dst = append(dst, block[run:at]...)
			run = next
			cut++
		}
		at = next
	}
	if !ok || at+len(crlf) != len(block) {
		return s.withhold(dst[:start], block)
	}
	if cut == 0 {
		return dst, 0
	}
	dst = append(dst, block[run:]...)
	if len(dst)-start == len(opening)+len(crlf) {
		return dst[:start], cut
	}
	return dst, cut
}

// withhold decides on a block that clients read differently. What is left of one that
// may hold a hidden name is its status.
func (s *Seal) withhold(dst, block []byte) ([]byte, int) {
	if !s.mayHold(block) {
		return dst, 0
	}
	if end, err := statusLine(block); err == nil && end > len(opening) {
		return append(append(dst, block[:end]...), crlf...), 1
	}
	return dst, 1
}

// mayHold tells whether any reader, however lax, could see a hidden name: lines end at
// any CR or LF, spaces and control characters do not count, and a name may begin anywhere
// in its line, since some readers skip the first bytes of a block without looking. Names that
// the reader is permitted within a hidden pattern count as hidden here.
func (s *Seal) mayHold(block []byte) bool {
	x := search{automaton: s.find()}
	return x.block(block)
}

// find returns the automaton for the hidden names, which is made for the first block that clients read
// differently: few readers ever meet one.
func (s *Seal) find() *automaton {
	s.once.Do(func() { s.automaton = newAutomaton(s.hidden) })
	return s.automaton
}

// search looks for hidden names in a block.
type search struct {
	*automaton
	visited int // steps of the automaton, for a test
}

func (x *search) block(block []byte) bool {
	for len(block) > 0 {
		line := block
		if end := bytes.IndexAny(block, "\r\n"); end >= 0 {
			line, block = block[:end], block[end+1:]
		} else {
			block = nil
		}
		colon := bytes.IndexByte(line, ':')
		if colon >= 0 && x.name(bytes.TrimFunc(line[:colon], isBlank)) {
			return true
		}
	}
	return false
}

// name tells whether a hidden name is what name ends with, or a hidden pattern begins within it.
func (x *search) name(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	at := int32(0)
	for _, c := range name {
		if x.states[at].begins {
			return true
		}
		at = x.step(at, field.FoldByte(c))
	}
	return x.states[at].begins || x.states[at].ends
}

func isBlank(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) }
