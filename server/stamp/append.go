package stamp

import (
	"bytes"
	"fmt"
	"slices"
)

// Append appends to dst the header block that a message on subject shall have.
// block is the publisher's ("NATS/1.0" to the blank line), or empty when there
// was none; nothing is appended when there is nothing to say. An error refuses
// the message: it is one of the faults of grammar.go with the number of the
// line, or ErrProvenance, and dst is returned as it was.
//
// dst and block must not overlap. Nothing is allocated when dst has room for
// len(block)+MaxLen() bytes.
func (s *Stamp) Append(dst, subject, block []byte) ([]byte, error) {
	var r Report
	return s.AppendReport(dst, subject, block, &r)
}

// Report is what was removed from a block.
type Report struct {
	Stripped int    // lines
	Name     []byte // of the first one, as the publisher spelled it, within the block
}

// AppendReport is Append, and reports what was removed of block.
func (s *Stamp) AppendReport(dst, subject, block []byte, r *Report) ([]byte, error) {
	*r = Report{}
	if s.provenance && !validProvenance(subject) {
		return dst, ErrProvenance
	}
	if len(block) == 0 {
		return s.appendAlone(dst, subject), nil
	}
	start := len(dst)
	dst = slices.Grow(dst, len(block)+s.MaxLen())
	dst, err := s.appendKept(dst, block, r)
	if err != nil {
		*r = Report{}
		return dst[:start], err
	}
	return append(s.appendLines(dst, subject), crlf...), nil
}

// appendAlone appends the block of a message that had none.
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
		if s.parts[i].on(subject) {
			dst = append(dst, s.parts[i].lines...)
		}
	}
	if s.provenance {
		dst = appendProvenance(dst, subject)
	}
	return dst
}

// appendKept checks block and appends it without its blank line and without the
// lines that are the server's to write. Lines are kept in runs, one copy each.
func (s *Stamp) appendKept(dst, block []byte, r *Report) ([]byte, error) {
	if !s.Adds() && isBareStatus(block) {
		return append(dst, block[:len(block)-len(crlf)]...), nil
	}
	at, err := statusLine(block)
	if err != nil {
		return dst, &lineError{1, err}
	}
	run := 0
	for at < len(block) && block[at] != '\r' {
		colon, next, err := headerLine(block, at)
		if err != nil {
			return dst, lineFault(block, at, err)
		}
		if s.strips(block[at:colon]) {
			dst = append(dst, block[run:at]...)
			run = next
			if r.Stripped++; r.Stripped == 1 {
				r.Name = block[at:colon]
			}
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
		return append(dst, block[run:at]...), nil
	}
	return dst, lineFault(block, at, err)
}

// strips tells whether a line with this name is removed.
func (s *Stamp) strips(name []byte) bool {
	if s.own.Has(name) {
		return true
	}
	for _, set := range s.strip {
		if set.Has(name) {
			return true
		}
	}
	return false
}

// lineError is a fault with its place; a type rather than fmt.Errorf, since
// anybody can make the server produce it for every message.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("header line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// lineFault is err at block[at]; what stands before it is well formed, so that
// its lines can be counted.
func lineFault(block []byte, at int, err error) error {
	return &lineError{1 + bytes.Count(block[:at], []byte{'\n'}), err}
}
