// Package receiver tells, on the side of a service, whether a message came as its author
// published it. It is for servers with headers { provenance: true }; copy it.
//
// JetStream can bring a stored message to another subject, with the stamp of its author. The
// server notes in each stamped message where and when it was published; nobody else can.
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
	SubjectHeader = "Stamp-Subject"
	TimeHeader    = "Stamp-Time" // RFC 3339, UTC
)

// What is wrong with a message.
var (
	ErrNotStamped = errors.New("message is not stamped, so that its author is nobody")
	ErrSubject    = errors.New("message was published to another subject")
	ErrAge        = errors.New("message was published too long ago, or in the future")
)

// clockSkew is how far a server's clock may be ahead of ours.
const clockSkew = 10 * time.Second

// Check returns an error unless m was published, no longer than maxAge ago, to a subject that
// matches one of subjects, which may have wildcards: those that the service is for. It does
// not ask on which subject m came, since a pull request brings a message to a service under
// the subject that it was stored under.
func Check(m *nats.Msg, maxAge time.Duration, subjects ...string) error {
	subject, when := m.Header[SubjectHeader], m.Header[TimeHeader]
	if len(subject) != 1 || len(when) != 1 {
		return ErrNotStamped
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
