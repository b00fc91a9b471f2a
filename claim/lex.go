package claim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// reader reads JSON (RFC 8259) in place and in order, so that every key is seen
// as it is written. It accepts the same texts as encoding/json; FuzzReader
// compares the two. The Decoder of encoding/json reads tokens in order too, but
// makes the decoding and verifying of a JWT a fifth to a third slower, where
// reader makes it a twentieth to a tenth slower (BenchmarkFromUserJWT).
type reader struct {
	data []byte
	pos  int
	// closers are the brackets that skip still expects. It keeps them here instead
	// of recursing, since the input chooses the depth.
	closers []byte
	// visit, if not nil, is called with each key that skip meets. It either reads
	// the value and returns true, or returns false.
	visit func(key []byte) (bool, error)
}

// maxNesting is the depth at which encoding/json gives up (scanner.go).
const maxNesting = 10000

// syntaxError gives the place of the fault only: the text there may be secret.
func (r *reader) syntaxError() error {
	return fmt.Errorf("%w: syntax error at byte %d", ErrJSON, r.pos)
}

// peek skips white space and returns the byte after it, or 0 at the end.
func (r *reader) peek() byte {
	for ; r.pos < len(r.data); r.pos++ {
		switch c := r.data[r.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// accept reads c and returns true if c comes next, after white space.
func (r *reader) accept(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.pos++
	return true
}

// key reads a key and its colon.
func (r *reader) key() ([]byte, error) {
	raw, err := r.rawString()
	if err != nil {
		return nil, err
	}
	if !r.accept(':') {
		return nil, r.syntaxError()
	}
	return unquote(raw), nil
}

// unquote decodes a valid JSON string as encoding/json does. The result may be a
// part of raw.
func unquote(raw []byte) []byte {
	if body := raw[1 : len(raw)-1]; bytes.IndexByte(body, '\\') < 0 && utf8.Valid(body) {
		return body
	}
	var s string
	_ = json.Unmarshal(raw, &s) // cannot fail: rawString has checked it
	return []byte(s)
}

// rawString reads a string with its quotes.
func (r *reader) rawString() ([]byte, error) {
	if !r.accept('"') {
		return nil, r.syntaxError()
	}
	start := r.pos - 1
	for r.pos < len(r.data) {
		switch c := r.data[r.pos]; {
		case c == '"':
			r.pos++
			return r.data[start:r.pos], nil
		case c < ' ':
			return nil, r.syntaxError()
		case c != '\\':
			r.pos++
		default:
			n := escapeLen(r.data[r.pos+1:])
			if n == 0 {
				return nil, r.syntaxError()
			}
			r.pos += 1 + n
		}
	}
	return nil, r.syntaxError()
}

// escapeLen returns the length of the escape in rest, which begins after the
// backslash. It is 0 if there is no such escape.
func escapeLen(rest []byte) int {
	if len(rest) == 0 {
		return 0
	}
	if rest[0] != 'u' {
		return min(1, 1+bytes.IndexByte([]byte(`"\/bfnrt`), rest[0]))
	}
	if len(rest) < 5 {
		return 0
	}
	for _, c := range rest[1:5] {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return 0
		}
	}
	return 5
}

// scalar reads a value that is neither list nor object. raw is nil unless the
// value is a string.
func (r *reader) scalar() (k kind, raw []byte, err error) {
	switch c := r.peek(); {
	case c == '"':
		raw, err = r.rawString()
		return kindString, raw, err
	case c == 'n':
		return kindNull, nil, r.literal("null")
	case c == 't':
		return kindBool, nil, r.literal("true")
	case c == 'f':
		return kindBool, nil, r.literal("false")
	}
	return kindNumber, nil, r.number()
}

func (r *reader) literal(word string) error {
	if !bytes.HasPrefix(r.data[r.pos:], []byte(word)) {
		return r.syntaxError()
	}
	r.pos += len(word)
	return nil
}

func (r *reader) number() error {
	r.acceptOneOf("-")
	if !r.acceptOneOf("0") && !r.digits() {
		return r.syntaxError()
	}
	if r.acceptOneOf(".") && !r.digits() {
		return r.syntaxError()
	}
	if r.acceptOneOf("eE") {
		r.acceptOneOf("+-")
		if !r.digits() {
			return r.syntaxError()
		}
	}
	return nil
}

// acceptOneOf reads the next byte and returns true if the byte is in set. It does
// not skip white space.
func (r *reader) acceptOneOf(set string) bool {
	if r.pos < len(r.data) && bytes.IndexByte([]byte(set), r.data[r.pos]) >= 0 {
		r.pos++
		return true
	}
	return false
}

// digits reads digits and reports whether there were any.
func (r *reader) digits() bool {
	start := r.pos
	for r.pos < len(r.data) && r.data[r.pos] >= '0' && r.data[r.pos] <= '9' {
		r.pos++
	}
	return r.pos > start
}

// skip reads the next value, of any type, and drops it.
func (r *reader) skip() error {
	r.closers = r.closers[:0]
	for {
		closed, err := r.begin()
		for err == nil && closed && len(r.closers) > 0 {
			last := len(r.closers) - 1
			switch {
			case r.accept(r.closers[last]):
				r.closers = r.closers[:last]
				continue
			case !r.accept(','):
				return r.syntaxError()
			case r.closers[last] == '}':
				closed, err = r.member()
			default:
				closed = false
			}
		}
		if err != nil || len(r.closers) == 0 {
			return err
		}
	}
}

// begin reads a scalar, an empty list or object, or the beginning of a longer one
// up to its first value. It reports whether the value is complete.
func (r *reader) begin() (bool, error) {
	c := r.peek()
	if c != '{' && c != '[' {
		_, _, err := r.scalar()
		return true, err
	}
	end := c + 2 // in ASCII, both closing brackets come two after the opening ones
	if len(r.closers) >= maxNesting {
		return false, r.syntaxError()
	}
	r.pos++
	if r.accept(end) {
		return true, nil
	}
	r.closers = append(r.closers, end)
	if c == '[' {
		return false, nil
	}
	return r.member()
}

// member reads a key, and its value too if visit does. It reports whether the
// value was read.
func (r *reader) member() (bool, error) {
	key, err := r.key()
	if err != nil || r.visit == nil {
		return false, err
	}
	return r.visit(key)
}
