package users

import (
	"fmt"
	"regexp"

	"golang.org/x/crypto/bcrypt"
)

const hashLength = 60 // such as $2a$11$, then a salt of 22 characters, then a hash of 31

var (
	// hashBegin is the version and the cost. Hashes of the versions $2$ and $2x$ were made by older
	// algorithms, which package bcrypt does not compute.
	hashBegin = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$`)
	// hashEnd is the salt and the hash. The last character of the hash encodes only four bits.
	hashEnd = regexp.MustCompile(`\$[./A-Za-z0-9]{52}[.CGKOSWaeimquy26]$`)
)

// hashFault returns why no password can match the hash, or "" if one can. The result
// does not quote the hash. Package bcrypt does not check the version and the length,
// and reports other faults only when a password is compared.
func hashFault(hash string) string {
	if !hashBegin.MatchString(hash) {
		return "expected $2a$, $2b$ or $2y$ at the beginning, then a cost of two digits and $"
	}
	if len(hash) != hashLength {
		return fmt.Sprintf("expected %d characters; found %d", hashLength, len(hash))
	}
	if _, err := bcrypt.Cost([]byte(hash)); err != nil {
		return fmt.Sprintf("expected a cost from %02d to %d", bcrypt.MinCost, bcrypt.MaxCost)
	}
	if !hashEnd.MatchString(hash) {
		return "found characters that a bcrypt hash cannot have; was it copied completely?"
	}
	return ""
}
