package claim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// masked stands for a header's value.
const masked = `"***"`

// Redact returns a JWT fit for logs and monitoring: each value under a
// "headers" key, at any depth and in any case, is replaced by "***", so that
// the claim of a user and of a scope's template are masked, valid or not; so
// are the values of keys that seem meant for it (Lookalikes), and those of a JWT that is held under a "jwt" key, as authorization requests
// and responses hold one. A JWT so changed loses its signature, and its id, which
// some issuers (jwt.js) hash from all that it says: with them, somebody could
// try out values. A JWT without the claim is returned as it is, "" for what is
// no JWT.
func Redact(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || strings.ContainsAny(token, "\r\n") { // base64's decoder passes over line breaks
		return ""
	}
	head, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil || !json.Valid(head) {
		return ""
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var m masking
	clean, ok := redactPayload(data, m.of)
	switch {
	case !ok:
		return ""
	case !m.changed:
		return token
	}
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString(clean) + "."
}

// keyJWT is the key that holds a JWT in authorization requests and responses.
const keyJWT = "jwt"

// tokenStart is what JSON objects begin with in base64, and so JWTs.
const tokenStart = "eyJ"

// RedactText returns text with each JWT in it as Redact has it. What could be one, but is cut off
// or broken, becomes "***".
func RedactText(text []byte) []byte {
	var out []byte
	for {
		at := bytes.Index(text, []byte(tokenStart))
		if at < 0 {
			break
		}
		end := at
		for end < len(text) && isTokenByte(text[end]) {
			end++
		}
		out = append(out, text[:at]...)
		out = append(out, redactPart(text[at:end], end == len(text))...)
		text = text[end:]
	}
	if out == nil {
		return text
	}
	return append(out, text...)
}

// redactPart is Redact for a part of a text, which last tells the end of.
func redactPart(part []byte, last bool) []byte {
	if !last && bytes.IndexByte(part, '.') < 0 {
		return part // no JWT
	}
	if clean := Redact(string(part)); clean != "" {
		return []byte(clean)
	}
	return []byte("***")
}

// isTokenByte tells whether c may be in a JWT: base64url and dots.
func isTokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
}

// redactPayload copies data with values masked as choose says for their keys;
// false when it is not a JSON object.
func redactPayload(data []byte, choose func(key []byte) mask) ([]byte, bool) {
	out := make([]byte, 0, len(data))
	done := 0 // bytes of data that are in out
	r := &reader{data: data}
	r.visit = func(key []byte) (bool, error) {
		m := choose(key)
		if m == nil {
			return false, nil
		}
		if object := r.peek() == '{'; object && isKey(key, keyJWT) || !object && isKey(key, keyMappings) {
			return false, nil // no JWT, and no mappings: what is in it is masked by its own keys
		}
		start := r.pos // white space stays
		value := &reader{data: data, pos: start}
		if err := value.skip(); err != nil {
			return false, err
		}
		r.pos = value.pos
		out = append(append(out, data[done:start]...), m(data[start:r.pos])...)
		done = r.pos
		return true, nil
	}
	if r.peek() != '{' || r.skip() != nil || r.end() != nil {
		return nil, false
	}
	return append(out, data[done:]...), true
}

// mask returns what is written instead of a raw value.
type mask func(raw []byte) []byte

// masking notes whether anything but an id is masked: without, a JWT stays as it is.
type masking struct {
	changed  bool
	subjects bool // keys are subjects, whose first word may be anything
}

// of returns how the value of key is masked, nil when it is not.
func (m *masking) of(key []byte) mask {
	switch {
	case isKey(key, keyHeaders), !m.subjects && lookalike(key) && !isKey(key, keyPermissions):
		return m.noting(maskHeaders)
	case !m.subjects && isKey(key, keyMappings):
		return m.noting(maskMappings)
	case isKey(key, keyJWT):
		return m.noting(maskToken)
	case isKey(key, "jti"):
		return func([]byte) []byte { return []byte(masked) }
	}
	return nil
}

func (m *masking) noting(do mask) mask {
	return func(raw []byte) []byte {
		clean := do(raw)
		m.changed = m.changed || !bytes.Equal(clean, raw)
		return clean
	}
}

// maskHeaders keeps the names of an object.
func maskHeaders(raw []byte) []byte {
	out := []byte{'{'}
	err := readObject(raw, func(r *reader, key []byte) error {
		if len(out) > 1 {
			out = append(out, ',')
		}
		name, err := json.Marshal(string(key))
		if err != nil {
			return err
		}
		out = append(append(append(out, name...), ':'), masked...)
		return r.skip()
	})
	if err != nil {
		return []byte(masked)
	}
	return append(out, '}')
}

// keyMappings is the key of an account's mappings, whose keys are subjects.
const keyMappings = "mappings"

// maskMappings masks what is under "headers" itself.
func maskMappings(raw []byte) []byte {
	m := masking{subjects: true}
	clean, ok := redactPayload(raw, m.of)
	switch {
	case !ok:
		return []byte(masked)
	case !m.changed:
		return raw
	}
	return clean
}

// maskToken redacts a JWT in a JSON string. It can recurse no deeper than
// base64 can be nested: each level is a quarter shorter.
func maskToken(raw []byte) []byte {
	var token string
	if json.Unmarshal(raw, &token) != nil || token == "" {
		return raw
	}
	clean := Redact(token)
	if clean == token {
		return raw
	}
	return []byte(`"` + clean + `"`) // base64url and dots
}
