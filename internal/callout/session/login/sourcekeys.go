package login

import (
	"encoding/json"

	"stamp/internal/callout/session/internal/sealed"
)

// sourceKeys seals what a source hands out: states, tickets and passes. They are bound to the source
// and its provider, because sources may share keys, and what one provider has vouched for must mean
// nothing to another source (mix-up attack, RFC 9700, section 4.4).
type sourceKeys struct {
	keys   sealed.Keyring
	source string // a part of the names
}

func newSourceKeys(k sealed.Keyring, name, issuer, client string) sourceKeys {
	text, _ := json.Marshal([]string{name, issuer, client}) // strings have no errors
	return sourceKeys{k, string(text)}
}

func (k sourceKeys) seal(name string, text []byte) ([]byte, error) {
	return k.keys.Seal(name+" "+k.source, text)
}

func (k sourceKeys) open(name string, value []byte) ([]byte, error) {
	return k.keys.Open(name+" "+k.source, value)
}

// IsSealed reports whether the value of an entry has the form of a session of a login source.
func IsSealed(value []byte) bool { return sealed.IsSealed(value) }
