package claim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// masked replaces a header's value.
const masked = `"***"`

// Redact returns a JWT that logs and monitoring may show. It replaces by "***":
//   - the header values under a key "headers", at any depth and in any case, so
//     that the claims of users and of scopes' templates are masked, valid or not
//   - the values of keys that seem to be meant for the claim, see Lookalikes
//   - the same in a JWT under a key "jwt", where authorization requests and
//     responses hold one
//
// A JWT that it changes loses its signature and its id. Some issuers (jwt.js)
// compute the id as a hash of the whole payload, so somebody with the id could try
// out values. A JWT without any of these is returned unchanged. The result is ""
// for a token that is not a JWT.
func Redact(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || strings.ContainsAny(token, "\r\n") { // the decoder of base64 skips line breaks
		return ""
	}
	if !isHead(parts[0]) {
		return ""
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	// Most JWTs have nothing to mask. Only an id would be, which alone is not replaced.
	if !mayHoldClaim(data) && !containsFold(data, keyJWT) {
		if r := (&reader{data: data}); !r.isObject() {
			return ""
		}
		return token
	}
	var m masking
	clean, ok := redactPayload(data, m.maskFor)
	switch {
	case !ok:
		return ""
	case !m.changed:
		return token
	}
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString(clean) + "."
}

// usualHead is the first part of the JWTs that jwt/v2 makes.
const usualHead = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ"

// isHead reports whether part is JSON in base64.
func isHead(part string) bool {
	if part == usualHead {
		return true
	}
	head, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Valid(head)
}

// keyJWT is the key of a JWT within an authorization request or response.
const keyJWT = "jwt"

// tokenStart is {" in base64. Every JWT begins with it.
const tokenStart = "eyJ"

// RedactText returns text with every JWT in it replaced by Redact's result. Text
// that could be a JWT, but is cut off or broken, becomes "***".
func RedactText(text []byte) []byte {
	var out []byte
	for {
		at := bytes.Index(text, []byte(tokenStart))
		if at < 0 {
			break
		}
		end := at
		for end < len(text) && isJWTByte(text[end]) {
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

// redactPart returns what RedactText writes for a part of the text that begins
// like a JWT. last reports whether the text ends with it and may be cut off there.
func redactPart(part []byte, last bool) []byte {
	if !last && bytes.IndexByte(part, '.') < 0 {
		return part // not a JWT, which has two dots
	}
	if clean := Redact(string(part)); clean != "" {
		return []byte(clean)
	}
	return []byte("***")
}

// isJWTByte reports whether c may be in a JWT: a character of base64url, or a dot.
func isJWTByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
}

// redactPayload returns a copy of data with some values masked: those of the keys
// for which maskFor returns a mask. It returns false if data is not a JSON object.
func redactPayload(data []byte, maskFor func(key []byte) mask) ([]byte, bool) {
	out := make([]byte, 0, len(data))
	done := 0 // how much of data has been copied or masked
	r := &reader{data: data}
	r.visit = func(key []byte) (bool, error) {
		m := maskFor(key)
		if m == nil {
			return false, nil
		}
		if object := r.peek() == '{'; object && isKey(key, keyJWT) || !object && isKey(key, keyMappings) {
			return false, nil // neither a JWT nor mappings: the keys within decide
		}
		start := r.pos // after white space, which is kept
		value := &reader{data: data, pos: start}
		if err := value.skip(); err != nil {
			return false, err
		}
		r.pos = value.pos
		out = append(append(out, data[done:start]...), m(data[start:r.pos])...)
		done = r.pos
		return true, nil
	}
	if !r.isObject() {
		return nil, false
	}
	return append(out, data[done:]...), true
}

// mask returns the text that replaces a raw JSON value.
type mask func(raw []byte) []byte

// masking chooses the mask for each key of a payload, and records whether a mask
// changed anything but an id. If none did, the JWT is shown unchanged.
type masking struct {
	changed  bool
	subjects bool // the keys are subjects, which may well begin with "header"
}

// maskFor returns the mask for the value of key, or nil if the value is shown.
func (m *masking) maskFor(key []byte) mask {
	switch {
	case isKey(key, keyHeaders), !m.subjects && isLookalike(key) && !isKey(key, keyPermissions):
		return m.recordingChange(maskHeaders)
	case !m.subjects && isKey(key, keyMappings):
		return m.recordingChange(maskMappings)
	case isKey(key, keyJWT):
		return m.recordingChange(maskToken)
	case isKey(key, "jti"):
		return func([]byte) []byte { return []byte(masked) }
	}
	return nil
}

func (m *masking) recordingChange(apply mask) mask {
	return func(raw []byte) []byte {
		clean := apply(raw)
		m.changed = m.changed || !bytes.Equal(clean, raw)
		return clean
	}
}

// maskHeaders keeps the names of the headers object raw, and masks their values.
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

// maskMappings masks a key "headers" in the mappings raw, but no lookalikes.
func maskMappings(raw []byte) []byte {
	m := masking{subjects: true}
	clean, ok := redactPayload(raw, m.maskFor)
	switch {
	case !ok:
		return []byte(masked)
	case !m.changed:
		return raw
	}
	return clean
}

// maskToken redacts the JWT in the JSON string raw. The JWT may hold another one.
// Each is at least a quarter shorter than the one around it, so the length of raw
// bounds the depth of the recursion.
func maskToken(raw []byte) []byte {
	var token string
	if json.Unmarshal(raw, &token) != nil || token == "" {
		return raw
	}
	clean := Redact(token)
	if clean == token {
		return raw
	}
	return []byte(`"` + clean + `"`) // nothing in it needs escaping
}
