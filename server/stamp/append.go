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

// MaxReported is how many different names of removed lines a Report holds.
const MaxReported = 16

// Report is what was removed from a block.
type Report struct {
	Stripped int // lines

	names [MaxReported][]byte // within the block
	named int
}

// Names are those of the removed lines, as the publisher spelled them, each spelling once; the first
// MaxReported of them. They are parts of the block.
func (r *Report) Names() [][]byte { return r.names[:r.named] }

func (r *Report) add(name []byte) {
	r.Stripped++
	if r.named == MaxReported {
		return
	}
	for _, n := range r.names[:r.named] {
		if bytes.Equal(n, name) {
			return
		}
	}
	r.names[r.named] = name
	r.named++
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
	dst = slices.Grow(dst, len(block)+s.MaxLen())
	start := len(dst)
	dst, err := s.appendKept(dst, block, s.Adds(), r)
	if err != nil {
		*r = Report{}
		return dst[:start], err
	}
	return append(s.appendLines(dst, subject), crlf...), nil
}

// Strip appends block to dst as Append does, with the same checks and without the same lines, but adds
// nothing. It is for messages that must not grow, and for those that the server takes for raw bytes: what
// has no block gets none.
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
		dst = s.appendProvenance(dst, subject)
	}
	return dst
}

// appendKept checks block and appends it without its blank line and without the
// lines that are the server's to write. Lines are kept in runs, one copy each. adds tells whether lines
// will be put behind what is kept.
func (s *Stamp) appendKept(dst, block []byte, adds bool, r *Report) ([]byte, error) {
	if !adds && isBareStatus(block) {
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
