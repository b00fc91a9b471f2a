// Package stored has what the sources that read sessions from a store share: how
// the key of an entry is made of a credential, and when the session in it ends.
package stored

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"unicode/utf8"
)

// MaxCredential is how long a credential may be, in bytes. Longer ones are no
// session ids, and are not looked up.
const MaxCredential = 1024

// MaxContent is how long the content of a session may be, in bytes: what is
// cached is held in memory, for each of many sessions.
const MaxContent = 256 << 10

// Template makes the key of an entry: a text with one {{ credential }} in it.
type Template struct{ before, after string }

// Whole is the template of a key that is the credential.
const Whole = "{{ credential }}"

var errTemplate = errors.New(`must have {{ credential }} in it once, and nothing else between {{ and }}`)

// ParseTemplate reads a template. {{ .credential }} is understood too.
func ParseTemplate(text string) (Template, error) {
	before, rest, ok := strings.Cut(text, "{{")
	name, after, closed := strings.Cut(rest, "}}")
	name = strings.TrimSpace(name)
	if !ok || !closed || name != "credential" && name != ".credential" {
		return Template{}, errTemplate
	}
	for _, literal := range []string{before, after} {
		if strings.Contains(literal, "{{") || strings.Contains(literal, "}}") {
			return Template{}, errTemplate
		}
		if !Printable(literal) {
			return Template{}, errors.New("has control characters or invalid UTF-8 in it")
		}
	}
	return Template{before, after}, nil
}

// Key returns the key for a credential.
func (t Template) Key(credential string) string { return t.before + credential + t.after }

// Printable tells whether text is valid UTF-8 without control characters.
func Printable(text string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if r < ' ' || r >= 0x7f && r <= 0x9f {
			return false
		}
	}
	return true
}

// SessionKey names the entry with that key where it is seen: in logs, and to
// find the session's connections. It cannot be turned back into the key.
func SessionKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}
