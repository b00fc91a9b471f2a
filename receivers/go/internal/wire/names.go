// Package wire has the bytes of proofs, for the receiver that checks them and for the package that makes them in tests.
// docs/proofs.md is what it implements.
package wire

import (
	"crypto/sha256"
	"strings"
)

// Names of headers.
const (
	Proof          = "Stamp-Proof"
	ForwardedProof = "Stamp-Forwarded-Proof"
	Account        = "Stamp-Account"
	Subject        = "Stamp-Subject"
	Time           = "Stamp-Time"
)

// Provenance are the fields of every proof, in their order.
var Provenance = [...]string{Account, Subject, Time}

// foldByte is the folded form of each byte that a token has, and 0 for all others.
var foldByte [256]byte

func init() {
	for i := range 256 {
		c := byte(i)
		switch {
		case c >= 'A' && c <= 'Z':
			foldByte[c] = c + 'a' - 'A'
		case c == '_', c == '.':
			foldByte[c] = '-'
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', strings.IndexByte("!#$%&'*+-^`|~", c) >= 0:
			foldByte[c] = c
		}
	}
}

// Fold returns the form of a name that all its spellings have, x-user for X_User. It is empty for a name without any
// character of a token (RFC 9110, section 5.6.2).
func Fold(name string) string {
	for i := range len(name) {
		if c := foldByte[name[i]]; c == 0 || c != name[i] { // the name may have zeros
			folded := append(make([]byte, 0, len(name)), name[:i]...)
			for ; i < len(name); i++ {
				if c := foldByte[name[i]]; c != 0 {
					folded = append(folded, c)
				}
			}
			return string(folded)
		}
	}
	return name
}

// IsToken reports whether a name is a token.
func IsToken(name string) bool {
	for i := range len(name) {
		if foldByte[name[i]] == 0 {
			return false
		}
	}
	return name != ""
}

// Entry stands for a name in a proof: the first three bytes of the SHA-256 of the folded name. The first bit says whether
// the values are encrypted.
type Entry [3]byte

const encrypted = 0x80

// EntryOf returns the entry of a folded name whose values are not encrypted.
func EntryOf(folded string) Entry {
	sum := sha256.Sum256([]byte(folded))
	return Entry{sum[0] &^ encrypted, sum[1], sum[2]}
}

// Encrypted reports whether the values are encrypted.
func (e Entry) Encrypted() bool { return e[0]&encrypted != 0 }

// Plain returns the entry without the bit for encryption.
func (e Entry) Plain() Entry { return Entry{e[0] &^ encrypted, e[1], e[2]} }

// Sealed returns the entry with the bit for encryption.
func (e Entry) Sealed() Entry { return Entry{e[0] | encrypted, e[1], e[2]} }
