// Package stored is shared by the sources that read sessions from a store. It makes
// the key of an entry from a credential, decodes the content, and finds when the
// session ends.
package stored

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"unicode/utf8"
)

// MaxCredential is the maximum length of a credential in bytes. Session ids are
// shorter, so a longer credential is not looked up.
const MaxCredential = 1024

// MaxContent is the maximum length of a session's content in bytes. The cache holds
// many sessions in memory.
const MaxContent = 256 << 10

// Template makes the key of an entry from a credential. It is a text with one
// {{ credential }}.
type Template struct{ before, after string }

// CredentialKey is the template of entries whose key is the credential itself.
const CredentialKey = "{{ credential }}"

var errTemplate = errors.New(`expected a text with {{ credential }} once, and no other {{ or }}; without it all credentials would have the same key`)

// ParseTemplate reads a template. {{ .credential }} means the same as {{ credential }}.
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
			return Template{}, errors.New("found control characters or invalid UTF-8")
		}
	}
	return Template{before, after}, nil
}

// Key returns the key for a credential.
func (t Template) Key(credential string) string { return t.before + credential + t.after }

// Printable reports whether text is valid UTF-8 without control characters.
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

// SessionKey returns the name of the session whose entry has the given key. Logs and
// tags show this name. It is a hash, from which the key cannot be computed.
func SessionKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}
