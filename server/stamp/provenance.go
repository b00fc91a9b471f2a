package stamp

import (
	"errors"
	"fmt"
	"time"

	"stamp/server/field"
)

// Provenance is three more lines: Stamp-Account, the account of the connection that published the message;
// Stamp-Subject, the subject that it was published on there; and Stamp-Time, when, by the server's clock.
// JetStream can bring a stored message to another subject, with the stamp of its author; a receiver who
// compares sees that. An import can give a subject of one account the name of another one, so that a subject
// says nothing without its account.
const (
	AccountName = "Stamp-Account"
	SubjectName = "Stamp-Subject"
	TimeName    = "Stamp-Time"
)

// MaxProvenanceSubject is the length in bytes of a subject for which MaxLen has room.
const MaxProvenanceSubject = 256

// maxProvenance is the length of the lines but for the account.
const maxProvenance = len(AccountName+": "+crlf+SubjectName+": "+crlf+TimeName+": "+timeForm+crlf) + MaxProvenanceSubject

// ErrProvenance refuses a message whose subject cannot stand in a header.
var ErrProvenance = errors.New("subject holds a control character or is not UTF-8, and cannot be put into a header")

// ErrProvenanceAccount refuses an account whose name cannot stand in a header.
var ErrProvenanceAccount = errors.New("name of the account cannot be put into a header")

// ProvenanceNames returns the names of the lines that provenance adds.
func ProvenanceNames() []string { return []string{AccountName, SubjectName, TimeName} }

// CheckProvenance tells whether an account can be named in a header.
func CheckProvenance(account string) error {
	clean, err := field.CleanValue(account)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrProvenanceAccount, err)
	case clean != account || account == "":
		return ErrProvenanceAccount
	}
	return nil
}

var provenanceSet = mustNameSet(ProvenanceNames()...)

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
	return end == len(subject) && (!high || checkText(subject) == nil)
}

func (s *Stamp) appendProvenance(dst, subject []byte) []byte {
	dst = append(dst, AccountName+": "...)
	dst = append(dst, s.account...)
	dst = append(dst, crlf+SubjectName+": "...)
	dst = append(dst, subject...)
	dst = append(dst, crlf+TimeName+": "...)
	dst = appendTime(dst, now())
	return append(dst, crlf...)
}
