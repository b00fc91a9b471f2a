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

// payload returns the JSON of a JWT. It decodes the token as jwt/v2 does
// (decoder.go), so that both see the same bytes.
func payload(token string) ([]byte, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%w: expected 3 parts joined by dots; found %d", ErrToken, len(parts))
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("%w: expected base64url in its second part", ErrToken)
	}
	return data, nil
}

// mayHoldClaim reports whether the payload may have a key that some JSON reader
// takes for headers or header_permissions, in any case and perhaps escaped. It
// spares most JWTs without a claim a full reading.
//
// Looking for "header" is enough. Case folding equates letters of ASCII with two
// others only: 's' with U+017F and 'k' with U+212A. Neither is in that word.
func mayHoldClaim(data []byte) bool {
	return containsFold(data, "header") || bytes.Contains(data, []byte(`\u`))
}

// containsFold reports whether data contains word in any case. word is lower case
// ASCII.
func containsFold(data []byte, word string) bool {
	for i := 0; i+len(word) <= len(data); i++ {
		if data[i]|0x20 == word[0] && strings.EqualFold(string(data[i:i+len(word)]), word) {
			return true
		}
	}
	return false
}

// isKey reports whether a JSON reader may take key for want, which is lower case.
func isKey(key []byte, want string) bool {
	return len(key) >= len(want) && strings.EqualFold(string(key), want)
}

// readObject reads data, which must be one object and nothing else. It calls each
// for every key, and each must read the value.
func readObject(data []byte, each func(r *reader, key []byte) error) error {
	r := &reader{data: data}
	if !r.accept('{') {
		return r.syntaxError()
	}
	if err := r.members(func(key []byte) error { return each(r, key) }); err != nil {
		return err
	}
	return r.end()
}

// end returns an error unless only white space is left.
func (r *reader) end() error {
	if r.peek(); r.pos < len(r.data) {
		return ErrTrailing
	}
	return nil
}

// isObject reads the whole text, and reports whether it is a JSON object and nothing else.
func (r *reader) isObject() bool { return r.peek() == '{' && r.skip() == nil && r.end() == nil }

// members calls each for every key of an object whose opening brace has been
// read. each must read the value.
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
			return r.syntaxError()
		}
	}
}

// items calls each for every item of a list whose opening bracket has been read.
// each must read the item.
func (r *reader) items(each func() error) error {
	if r.accept(']') {
		return nil
	}
	for {
		if err := each(); err != nil || r.accept(']') {
			return err
		}
		if !r.accept(',') {
			return r.syntaxError()
		}
	}
}

// inObject calls each for every key of the next value. A value that is not an
// object is skipped.
func (r *reader) inObject(each func(key []byte) error) error {
	if !r.accept('{') {
		return r.skip()
	}
	return r.members(each)
}

// value reads the next value. Lists and objects more than depth levels down get
// no members.
func (r *reader) value(depth int) (node, error) {
	c := r.peek()
	if c != '{' && c != '[' {
		k, raw, err := r.scalar()
		n := node{kind: k}
		if err == nil && k == kindString {
			n.text, n.broken = string(unquote(raw)), !isUnicode(raw)
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

// isUnicode reports whether the JSON string raw is valid Unicode. If it is not,
// encoding/json changes the text: it puts U+FFFD in place of bytes that are not
// UTF-8 and of halves of surrogate pairs (RFC 8259, section 8.2).
func isUnicode(raw []byte) bool {
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

// escapedRune returns the code of the escape uXXXX at raw[i], or 0 if there is none.
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
