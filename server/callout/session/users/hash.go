package users

import (
	"fmt"
	"regexp"

	"golang.org/x/crypto/bcrypt"
)

const hashLength = 60 // $2a$11$, a salt of 22 characters, and a hash of 31

var (
	// hashBegin is a version and a cost. The versions $2$ and $2x$ are of older algorithms, which gave other hashes.
	hashBegin = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$`)
	// hashEnd is the salt and the hash, whose last character has four of its six bits.
	hashEnd = regexp.MustCompile(`\$[./A-Za-z0-9]{52}[.CGKOSWaeimquy26]$`)
)

// hashFault tells why a text is no hash that a password can match, without the text; empty: it is one. Package bcrypt passes
// over the version and what is too long, and finds the rest only at a login.
func hashFault(hash string) string {
	if !hashBegin.MatchString(hash) {
		return "it must begin with $2a$, $2b$ or $2y$ and a cost of two digits"
	}
	if len(hash) != hashLength {
		return fmt.Sprintf("expected %d characters, found %d", hashLength, len(hash))
	}
	if _, err := bcrypt.Cost([]byte(hash)); err != nil {
		return fmt.Sprintf("expected a cost from %02d to %d", bcrypt.MinCost, bcrypt.MaxCost)
	}
	if !hashEnd.MatchString(hash) {
		return "it has characters that no hash has, or has lost some"
	}
	return ""
}
