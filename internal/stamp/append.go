package stamp

import (
	"bytes"
	"fmt"
	"slices"

	"stamp/internal/proof"
)

// Append appends to dst the header block for a message that is published on
// subject. block is the publisher's header block, from "NATS/1.0" to the blank
// line, or empty if there was none. If the message needs no header block, Append
// appends nothing.
//
// An error means that the message must be refused. It is a fault of grammar.go
// with the number of the line, or ErrProvenance. dst is then returned unchanged.
//
// dst and block must not overlap. Append does not allocate if dst has room for
// len(block)+MaxLen() more bytes.
func (s *Stamp) Append(dst, subject, block []byte) ([]byte, error) {
	var r Report
	return s.AppendReport(dst, subject, block, &r)
}

// MaxReported is how many different names of removed lines a Report holds at most.
const MaxReported = 16

// Report says which lines were removed from a block.
type Report struct {
	Stripped int        // how many lines
	Proof    proof.Kind // what AppendProven has added

	names      [MaxReported][]byte // parts of the block
	namesCount int
}

// Names returns the names of the removed lines as the publisher spelled them, each
// spelling once, and MaxReported at most. They are parts of the block.
func (r *Report) Names() [][]byte { return r.names[:r.namesCount] }

func (r *Report) add(name []byte) {
	r.Stripped++
	if r.namesCount == MaxReported {
		return
	}
	for _, n := range r.names[:r.namesCount] {
		if bytes.Equal(n, name) {
			return
		}
	}
	r.names[r.namesCount] = name
	r.namesCount++
}

// AppendReport does the same as Append, and reports in r what it removed from block.
func (s *Stamp) AppendReport(dst, subject, block []byte, r *Report) ([]byte, error) {
	*r = Report{}
	if s.provenance && !canBeValue(subject) {
		return dst, ErrProvenance
	}
	if len(block) == 0 {
		return s.appendAlone(dst, subject), nil
	}
	dst = slices.Grow(dst, len(block)+s.MaxLen())
	start := len(dst)
	dst, err := s.appendKept(dst, block, s.Adds(), r)
	if err != nil {
		*r = Report{}
		return dst[:start], err
	}
	return append(s.appendLines(dst, subject), crlf...), nil
}

// Strip checks block and removes lines from it as Append does, but adds none. It
// is for messages that must not grow, and for those that a server reads as raw
// bytes: a message without a header block must not get one.
func (s *Stamp) Strip(dst, block []byte, r *Report) ([]byte, error) {
	*r = Report{}
	if len(block) == 0 {
		return dst, nil
	}
	start := len(dst)
	dst, err := s.appendKept(dst, block, false, r)
	if err != nil {
		*r = Report{}
		return dst[:start], err
	}
	return append(dst, crlf...), nil
}

// appendAlone appends the block for a message that had none.
func (s *Stamp) appendAlone(dst, subject []byte) []byte {
	if s.parts == nil && !s.provenance {
		return append(dst, s.block...)
	}
	start := len(dst)
	dst = append(dst, opening...)
	dst = s.appendLines(dst, subject)
	if len(dst) == start+len(opening) {
		return dst[:start]
	}
	return append(dst, crlf...)
}

// appendLines appends the stamped lines for subject.
func (s *Stamp) appendLines(dst, subject []byte) []byte {
	if s.parts == nil && s.block != "" {
		dst = append(dst, s.block[len(opening):len(s.block)-len(crlf)]...)
	}
	for i := range s.parts {
		if s.parts[i].appliesTo(subject) {
			dst = append(dst, s.parts[i].lines...)
		}
	}
	if s.provenance {
		dst = s.appendProvenance(dst, subject)
	}
	return dst
}

// appendKept checks block, and appends its lines except those that s removes and
// the blank line. Neighbouring lines are copied at once. linesFollow reports
// whether the caller will append further lines.
func (s *Stamp) appendKept(dst, block []byte, linesFollow bool, r *Report) ([]byte, error) {
	if !linesFollow && isBareStatus(block) {
		return append(dst, block[:len(block)-len(crlf)]...), nil
	}
	at, err := checkFirstLine(block)
	if err != nil {
		return dst, &lineError{1, err}
	}
	keepFrom := 0 // the first byte that is neither copied nor removed yet
	for at < len(block) && block[at] != '\r' {
		colon, next, err := headerLine(block, at)
		if err != nil {
			return dst, faultAt(block, at, err)
		}
		if s.strips(block[at:colon]) {
			dst = append(dst, block[keepFrom:at]...)
			keepFrom = next
			r.add(block[at:colon])
		}
		at = next
	}
	switch rest := block[at:]; {
	case len(rest) < len(crlf):
		err = ErrNoEnd
	case rest[1] != '\n':
		err = ErrLineEnd
	case len(rest) > len(crlf) && string(rest[len(crlf):]) != crlf:
		err = ErrTrailing
	default:
		return append(dst, block[keepFrom:at]...), nil
	}
	return dst, faultAt(block, at, err)
}

// strips is Strips for a part of a block.
func (s *Stamp) strips(name []byte) bool {
	if s.stampedNames.Has(name) {
		return true
	}
	for _, set := range s.stripSets {
		if set.Has(name) {
			return true
		}
	}
	return false
}

// lineError is a fault of a block and the number of its line. It is formatted only
// when it is shown, since a publisher can cause one with every message.
type lineError struct {
	line int // from 1
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("header line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// faultAt returns err with the number of the line of block[at]. The lines before
// block[at] are well formed, so each has one LF.
func faultAt(block []byte, at int, err error) error {
	return &lineError{1 + bytes.Count(block[:at], []byte{'\n'}), err}
}
