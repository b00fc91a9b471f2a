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
// in operator mode a public key. An import may give any subject any name, so that for a service that other accounts import
// there is CheckAny. Check does not ask on which subject m came, since a pull request brings a message to a service
// under the subject that it was stored under.
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

// Accounts are the subjects of a service by the account that may use it, each as that account names them: the service's
// own subjects, and of an account that imports it the local subjects of its import (`to`, or the service's subjects where the
// import has none).
type Accounts map[string][]string

// CheckAny is Check for a service that several accounts use.
func CheckAny(m *nats.Msg, maxAge time.Duration, accounts Accounts) error {
	by := m.Header[AccountHeader]
	if len(by) != 1 {
		return ErrNotStamped
	}
	subjects, ok := accounts[by[0]]
	if !ok {
		return fmt.Errorf("%w: %q", ErrAccount, by[0])
	}
	return Check(m, by[0], maxAge, subjects...)
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
