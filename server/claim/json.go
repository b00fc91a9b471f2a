package claim

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// payload returns the JSON of a JWT, decoded as jwt/v2 does (decoder.go), so
// that both see the same bytes.
func payload(token string) ([]byte, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%w: it has %d parts, not 3", ErrToken, len(parts))
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("%w: its payload is not base64url", ErrToken)
	}
	return data, nil
}

// mayClaim tells, quickly, whether the payload may hold a key that a reader
// takes for headers or header_permissions: in any case, and perhaps escaped.
// Of their letters only the 's' is the same as one outside ASCII but for case
// (U+017F), and it comes after "header".
func mayClaim(data []byte) bool {
	return containsFold(data, "header") || bytes.Contains(data, []byte(`\u`))
}

// containsFold tells whether data contains word, which is lower case ASCII, in
// any case.
func containsFold(data []byte, word string) bool {
	for i := 0; i+len(word) <= len(data); i++ {
		if data[i]|0x20 == word[0] && strings.EqualFold(string(data[i:i+len(word)]), word) {
			return true
		}
	}
	return false
}

// isKey tells whether encoding/json may take key for want, which is in lower
// case.
func isKey(key []byte, want string) bool {
	return len(key) >= len(want) && strings.EqualFold(string(key), want)
}

// readObject reads data, which must be one object and nothing else, and calls
// each for its keys; each reads the value.
func readObject(data []byte, each func(r *reader, key []byte) error) error {
	r := &reader{data: data}
	if !r.accept('{') {
		return r.fault()
	}
	if err := r.members(func(key []byte) error { return each(r, key) }); err != nil {
		return err
	}
	return r.end()
}

// end tells whether nothing but white space is left.
func (r *reader) end() error {
	if r.peek(); r.pos < len(r.data) {
		return ErrTrailing
	}
	return nil
}

// members calls each for every key of an object whose brace has been read.
func (r *reader) members(each func(key []byte) error) error {
	if r.accept('}') {
		return nil
	}
	for {
		key, err := r.key()
		if err != nil {
			return err
		}
		if err := each(key); err != nil || r.accept('}') {
			return err
		}
		if !r.accept(',') {
			return r.fault()
		}
	}
}

// items calls each, which reads it, for every item of a list whose bracket has
// been read.
func (r *reader) items(each func() error) error {
	if r.accept(']') {
		return nil
	}
	for {
		if err := each(); err != nil || r.accept(']') {
			return err
		}
		if !r.accept(',') {
			return r.fault()
		}
	}
}

// inObject calls each for the keys of the next value; one that is no object is
// passed over.
func (r *reader) inObject(each func(key []byte) error) error {
	if !r.accept('{') {
		return r.skip()
	}
	return r.members(each)
}

// value reads the next value with up to depth levels of lists and objects.
func (r *reader) value(depth int) (node, error) {
	c := r.peek()
	if c != '{' && c != '[' {
		k, raw, err := r.scalar()
		n := node{kind: k}
		if err == nil && k == kindString {
			n.text, n.broken = string(unquote(raw)), !keepsText(raw)
		}
		return n, err
	}
	n := node{kind: kindObject}
	if c == '[' {
		n.kind = kindList
	}
	if depth == 0 {
		return n, r.skip()
	}
	r.pos++
	n.members = make([]member, 0, 2)
	add := func(key []byte) error {
		v, err := r.value(depth - 1)
		n.members = append(n.members, member{string(key), v})
		return err
	}
	if c == '[' {
		err := r.items(func() error { return add(nil) })
		return n, err
	}
	err := r.members(add)
	return n, err
}

// keepsText tells whether encoding/json decodes the JSON string in raw to what
// it says: it replaces bytes that are not UTF-8, and halves of surrogate pairs
// (RFC 8259, section 8.2), by U+FFFD.
func keepsText(raw []byte) bool {
	if !utf8.Valid(raw) {
		return false
	}
	for i := bytes.IndexByte(raw, '\\'); i >= 0 && i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++ // the escaped character
		r := escapedRune(raw, i)
		if !utf16.IsSurrogate(r) {
			continue
		}
		i += len("uXXXX")
		if i >= len(raw) || raw[i] != '\\' {
			return false
		}
		i++
		if utf16.DecodeRune(r, escapedRune(raw, i)) == utf8.RuneError {
			return false
		}
		i += len("XXXX")
	}
	return true
}

// escapedRune returns the code of uXXXX at raw[i:], or 0.
func escapedRune(raw []byte, i int) rune {
	if i+5 > len(raw) || raw[i] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(raw[i+1:i+5]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
}
