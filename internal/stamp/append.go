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

// MaxReported is how many different names of removed lines a Report names at most.
const MaxReported = 16

// Report says which lines were removed from a block. It is small, since every message
// has one and nearly all remove nothing. It is valid as long as the block is.
type Report struct {
	Stripped int        // how many lines
	Proof    proof.Kind // what AppendProven has added

	stamp *Stamp
	block []byte // which was accepted
}

// Names returns the names of the removed lines as the publisher spelled them, each
// spelling once, and MaxReported at most. They are parts of the block.
func (r *Report) Names() (names [][]byte) {
	if r.Stripped == 0 {
		return nil
	}
	known := func(name []byte) bool {
		return slices.ContainsFunc(names, func(n []byte) bool { return bytes.Equal(n, name) })
	}
	at, _ := checkFirstLine(r.block)
	for r.block[at] != '\r' && len(names) < MaxReported {
		colon, size, _ := anyLine(r.block[at:])
		if name := r.block[at : at+colon]; r.stamp.strips(name) && !known(name) {
			names = append(names, name)
		}
		at += size
	}
	return names
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
	dst, stripped, err := s.appendKept(dst, block, s.Adds())
	if err != nil {
		return dst[:start], err
	}
	*r = Report{Stripped: stripped, stamp: s, block: block}
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
	dst, stripped, err := s.appendKept(dst, block, false)
	if err != nil {
		return dst[:start], err
	}
	*r = Report{Stripped: stripped, stamp: s, block: block}
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
// the blank line. It returns how many lines it removed. Neighbouring lines are copied at
// once. linesFollow reports whether the caller will append further lines.
func (s *Stamp) appendKept(dst, block []byte, linesFollow bool) (out []byte, stripped int, err error) {
	if !linesFollow && isBareStatus(block) {
		return append(dst, block[:len(block)-len(crlf)]...), 0, nil
	}
	at, err := checkFirstLine(block)
	if err != nil {
		return dst, 0, &lineError{1, err}
	}
	keepFrom := 0 // the first byte that is neither copied nor removed yet
	for at < len(block) && block[at] != '\r' {
		colon, size := plainLine(block[at:])
		if size == 0 {
			if colon, size, err = anyLine(block[at:]); err != nil {
				return dst, 0, faultAt(block, at, err)
			}
		}
		if s.strips(block[at : at+colon]) {
			dst = append(dst, block[keepFrom:at]...)
			keepFrom = at + size
			stripped++
		}
		at += size
	}
	switch rest := block[at:]; {
	case len(rest) < len(crlf):
		err = ErrNoEnd
	case rest[1] != '\n':
		err = ErrLineEnd
	case len(rest) > len(crlf) && string(rest[len(crlf):]) != crlf:
		err = ErrTrailing
	default:
		return append(dst, block[keepFrom:at]...), stripped, nil
	}
	return dst, 0, faultAt(block, at, err)
}

// strips is Strips for a part of a block.
func (s *Stamp) strips(name []byte) bool {
	return mayHave(s.strippedLengths, s.strippedStarts, name) && s.isStripped(name)
}

// isStripped is strips without the fast path for names that no set can have.
func (s *Stamp) isStripped(name []byte) bool {
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
