package stamp

import (
	"errors"
	"fmt"

	"stamp.example/claim/field"
	"stamp/internal/proof"
)

// Names of the headers of provenance, which say where and when a message was
// published: the account of the connection, the subject in that account, and the
// time by the server's clock.
//
// JetStream can deliver a stored message on another subject, with the stamp of its
// author. A receiver notices if it compares the subjects. It must compare the
// accounts too, since an import can give a subject of one account the name of
// another subject.
const (
	AccountName = proof.AccountName
	SubjectName = proof.SubjectName
	TimeName    = proof.TimeName
)

// MaxProvenanceSubject is up to which length in bytes MaxLen includes the subject.
const MaxProvenanceSubject = 256

// maxProvenance is the length in bytes of the lines without the value of AccountName.
const maxProvenance = len(AccountName+": "+crlf+SubjectName+": "+crlf+TimeName+": "+timeLayout+crlf) + MaxProvenanceSubject

// ErrProvenance refuses a message whose subject cannot be a header value.
var ErrProvenance = errors.New("subject has a control character or is not UTF-8, so it cannot be a header value")

// ErrProvenanceAccount refuses an account whose name cannot be a header value.
var ErrProvenanceAccount = errors.New("name of the account cannot be a header value")

// ProvenanceNames returns the names of the headers that provenance adds.
func ProvenanceNames() []string { return []string{AccountName, SubjectName, TimeName} }

// checkAccount returns an error if the name of an account cannot be a header value.
func checkAccount(account string) error {
	clean, err := field.CleanValue(account)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrProvenanceAccount, err)
	case clean != account || account == "":
		return ErrProvenanceAccount
	}
	return nil
}

// provenanceSet are the names that the publisher cannot send with provenance. A proof
// belongs to it: one of the publisher would prove nothing, and a second one refuses a message.
var provenanceSet = mustNameSet(append(ProvenanceNames(), proof.Name)...)

func mustNameSet(patterns ...string) *NameSet {
	s, err := NewNameSet(patterns...)
	if err != nil {
		panic(err)
	}
	return s
}

// canBeValue reports whether subject can be a header value.
func canBeValue(subject []byte) bool {
	end, nonASCII := scanValue(subject, 0)
	return end == len(subject) && (!nonASCII || checkText(subject) == nil)
}

func (s *Stamp) appendProvenance(dst, subject []byte) []byte {
	dst = append(dst, AccountName+": "...)
	dst = append(dst, s.account...)
	dst = append(dst, crlf+SubjectName+": "...)
	dst = append(dst, subject...)
	dst = append(dst, crlf+TimeName+": "...)
	dst = appendTime(dst, clockTime())
	return append(dst, crlf...)
}
