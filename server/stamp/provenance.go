package stamp

import (
	"errors"
	"time"
	"unicode/utf8"
)

// Provenance is two more lines: Stamp-Subject, the subject that the message was published
// on, and Stamp-Time, when, by the server's clock. JetStream can bring a stored message to
// another subject, with the stamp of its author; a receiver who compares sees that.
const (
	SubjectName = "Stamp-Subject"
	TimeName    = "Stamp-Time"
)

// timeForm is RFC 3339 in UTC with nanoseconds, of fixed width.
const timeForm = "2006-01-02T15:04:05.000000000Z"

// MaxProvenanceSubject is the length in bytes of a subject for which MaxLen has room.
const MaxProvenanceSubject = 256

const maxProvenance = len(SubjectName+": "+crlf+TimeName+": "+timeForm+crlf) + MaxProvenanceSubject

// ErrProvenance refuses a message whose subject cannot stand in a header.
var ErrProvenance = errors.New("subject holds a control character or is not UTF-8, and cannot be put into a header")

var provenanceSet = mustNameSet(SubjectName, TimeName)

func mustNameSet(patterns ...string) *NameSet {
	s, err := NewNameSet(patterns...)
	if err != nil {
		panic(err)
	}
	return s
}

// now is the clock, for tests.
var now = time.Now

// validProvenance tells whether subject can stand in a header.
func validProvenance(subject []byte) bool {
	end, high := scanValue(subject, 0)
	return end == len(subject) && (!high || utf8.Valid(subject))
}

func appendProvenance(dst, subject []byte) []byte {
	dst = append(dst, SubjectName+": "...)
	dst = append(dst, subject...)
	dst = append(dst, crlf+TimeName+": "...)
	dst = now().UTC().AppendFormat(dst, timeForm)
	return append(dst, crlf...)
}
