package claim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// reader reads JSON (RFC 8259) in place and in order, so that no key is folded,
// merged or lost. It takes the same texts for valid as encoding/json, which
// FuzzReader holds it to. That package's Decoder gives tokens in order too, but
// adds a fifth to a third to the decoding and verifying of a JWT; this adds a
// twentieth to a tenth (BenchmarkFromUserJWT). Lists and objects that nobody
// wants are passed over without recursion.
type reader struct {
	data []byte
	pos  int
	// open holds, for skip, the brackets that will close what is open.
	open []byte
	// visit, when set, sees each key that skip passes over; it may read the
	// value, and returns true then.
	visit func(key []byte) (bool, error)
}

// maxNesting is the depth at which encoding/json gives up (scanner.go).
const maxNesting = 10000

// fault tells the place alone: what stands there may be secret.
func (r *reader) fault() error {
	return fmt.Errorf("%w: fault at byte %d", ErrJSON, r.pos)
}

// peek passes over white space and returns the byte after it, 0 at the end.
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

// accept passes over c when it is next.
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
		return nil, r.fault()
	}
	return unquote(raw), nil
}

// unquote decodes a valid JSON string as encoding/json does. It may return a
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
		return nil, r.fault()
	}
	start := r.pos - 1
	for r.pos < len(r.data) {
		switch c := r.data[r.pos]; {
		case c == '"':
			r.pos++
			return r.data[start:r.pos], nil
		case c < ' ':
			return nil, r.fault()
		case c != '\\':
			r.pos++
		default:
			n := escapeLen(r.data[r.pos+1:])
			if n == 0 {
				return nil, r.fault()
			}
			r.pos += 1 + n
		}
	}
	return nil, r.fault()
}

// escapeLen returns how many bytes after a backslash belong to it, 0 for an
// escape that does not exist.
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

// scalar reads a value that is neither list nor object. raw is set for a string.
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
		return r.fault()
	}
	r.pos += len(word)
	return nil
}

func (r *reader) number() error {
	r.oneOf("-")
	if !r.oneOf("0") && !r.digits() {
		return r.fault()
	}
	if r.oneOf(".") && !r.digits() {
		return r.fault()
	}
	if r.oneOf("eE") {
		r.oneOf("+-")
		if !r.digits() {
			return r.fault()
		}
	}
	return nil
}

// oneOf passes over one byte of set, without white space before it.
func (r *reader) oneOf(set string) bool {
	if r.pos < len(r.data) && bytes.IndexByte([]byte(set), r.data[r.pos]) >= 0 {
		r.pos++
		return true
	}
	return false
}

func (r *reader) digits() bool {
	start := r.pos
	for r.pos < len(r.data) && r.data[r.pos] >= '0' && r.data[r.pos] <= '9' {
		r.pos++
	}
	return r.pos > start
}

// skip passes over the next value, whatever it is.
func (r *reader) skip() error {
	r.open = r.open[:0]
	for {
		closed, err := r.begin()
		for err == nil && closed && len(r.open) > 0 {
			last := len(r.open) - 1
			switch {
			case r.accept(r.open[last]):
				r.open = r.open[:last]
				continue
			case !r.accept(','):
				return r.fault()
			case r.open[last] == '}':
				closed, err = r.member()
			default:
				closed = false
			}
		}
		if err != nil || len(r.open) == 0 {
			return err
		}
	}
}

// begin reads a scalar, an empty list or object, or the beginning of one up to
// its first value. It returns true when the value is complete.
func (r *reader) begin() (bool, error) {
	c := r.peek()
	if c != '{' && c != '[' {
		_, _, err := r.scalar()
		return true, err
	}
	end := c + 2 // in ASCII, of both brackets
	if len(r.open) >= maxNesting {
		return false, r.fault()
	}
	r.pos++
	if r.accept(end) {
		return true, nil
	}
	r.open = append(r.open, end)
	if c == '[' {
		return false, nil
	}
	return r.member()
}

// member reads a key, and its value too where visit wants that.
func (r *reader) member() (bool, error) {
	key, err := r.key()
	if err != nil || r.visit == nil {
		return false, err
	}
	return r.visit(key)
}
