// Package receiver tells, on the side of a service, whether a message came as its author
// published it. It is for servers with headers { provenance: true }; copy it.
//
// JetStream can bring a stored message to another subject, with the stamp of its author. The
// server notes in each stamped message by which account, where and when it was published; nobody else can.
package receiver

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Headers that the server writes.
const (
	AccountHeader = "Stamp-Account"
	SubjectHeader = "Stamp-Subject" // as that account names it
	TimeHeader    = "Stamp-Time"    // RFC 3339, UTC
)

// What is wrong with a message.
var (
	ErrNotStamped = errors.New("message is not stamped, so that its author is nobody")
	ErrAccount    = errors.New("message was published in another account")
	ErrSubject    = errors.New("message was published to another subject")
	ErrAge        = errors.New("message was published too long ago, or in the future")
)

// clockSkew is how far a server's clock may be ahead of ours.
const clockSkew = 10 * time.Second

// Check returns an error unless m was published in the account, no longer than maxAge ago, to a subject that
// matches one of subjects, which may have wildcards: those that the service is for. The account is a name, or
// in operator mode a public key. A service that other accounts import calls Check for each of them with the
// subjects that they import it as: an import may give any subject any name. Check does
// not ask on which subject m came, since a pull request brings a message to a service under
// the subject that it was stored under.
func Check(m *nats.Msg, account string, maxAge time.Duration, subjects ...string) error {
	by, subject, when := m.Header[AccountHeader], m.Header[SubjectHeader], m.Header[TimeHeader]
	if len(by) != 1 || len(subject) != 1 || len(when) != 1 {
		return ErrNotStamped
	}
	if by[0] != account {
		return fmt.Errorf("%w: %q", ErrAccount, by[0])
	}
	if !matchesAny(subjects, subject[0]) {
		return fmt.Errorf("%w: %q", ErrSubject, subject[0])
	}
	at, err := time.Parse(time.RFC3339Nano, when[0])
	if err != nil {
		return ErrNotStamped
	}
	if age := time.Since(at); age > maxAge || age < -clockSkew {
		return fmt.Errorf("%w: %s", ErrAge, age.Round(time.Millisecond))
	}
	return nil
}

func matchesAny(patterns []string, subject string) bool {
	for _, p := range patterns {
		if matches(strings.Split(p, "."), strings.Split(subject, ".")) {
			return true
		}
	}
	return false
}

func matches(pattern, subject []string) bool {
	for i, token := range pattern {
		switch {
		case token == ">":
			return len(subject) > i
		case i >= len(subject), token != "*" && token != subject[i]:
			return false
		}
	}
	return len(pattern) == len(subject)
}
