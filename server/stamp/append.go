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
// line, and dst is returned as it was.
//
// dst and block must not overlap. Nothing is allocated when dst has room for
// len(block)+MaxLen() bytes.
func (s *Stamp) Append(dst, subject, block []byte) ([]byte, error) {
	dst, _, err := s.AppendCount(dst, subject, block)
	return dst, err
}

// AppendCount is Append, and returns how many lines of block were removed.
func (s *Stamp) AppendCount(dst, subject, block []byte) (out []byte, stripped int, err error) {
	if len(block) == 0 {
		return s.appendAlone(dst, subject), 0, nil
	}
	start := len(dst)
	dst = slices.Grow(dst, len(block)+len(s.block))
	dst, stripped, err = s.appendKept(dst, block)
	if err != nil {
		return dst[:start], 0, err
	}
	return s.appendRest(dst, subject), stripped, nil
}

// appendAlone appends the block of a message that had none.
func (s *Stamp) appendAlone(dst, subject []byte) []byte {
	if s.parts == nil {
		return append(dst, s.block...)
	}
	start := len(dst)
	dst = append(dst, opening...)
	dst = s.appendParts(dst, subject)
	if len(dst) == start+len(opening) {
		return dst[:start]
	}
	return append(dst, crlf...)
}

// appendRest appends the stamped lines for subject, and the blank line, to what
// is kept of the publisher's block.
func (s *Stamp) appendRest(dst, subject []byte) []byte {
	if s.block != "" && s.parts == nil {
		return append(dst, s.block[len(opening):]...)
	}
	return append(s.appendParts(dst, subject), crlf...)
}

func (s *Stamp) appendParts(dst, subject []byte) []byte {
	for i := range s.parts {
		if s.parts[i].on(subject) {
			dst = append(dst, s.parts[i].lines...)
		}
	}
	return dst
}

// appendKept checks block and appends it without its blank line and without the
// lines that are the server's to write. Lines are kept in runs, one copy each.
func (s *Stamp) appendKept(dst, block []byte) (_ []byte, stripped int, err error) {
	at, err := statusLine(block)
	if err != nil {
		return dst, 0, &lineError{1, err}
	}
	run := 0
	for at < len(block) && block[at] != '\r' {
		colon, next, err := headerLine(block, at)
		if err != nil {
			return dst, 0, lineFault(block, at, err)
		}
		if s.strips(block[at:colon]) {
			dst = append(dst, block[run:at]...)
			run = next
			stripped++
		}
		at = next
	}
	switch rest := block[at:]; {
	case len(rest) < len(crlf):
		err = ErrNoEnd
	case rest[1] != '\n':
		err = ErrLineEnd
	case len(rest) > len(crlf):
		err = ErrTrailing
	default:
		return append(dst, block[run:at]...), stripped, nil
	}
	return dst, 0, lineFault(block, at, err)
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
