package stamp

import "errors"

// Verdict is the code of what a receiver says of a message, the same in all languages.
type Verdict string

// Verdicts. docs/proofs.md says when each is given.
const (
	OK             Verdict = "ok"
	Anonymous      Verdict = "anonymous"
	ProofMalformed Verdict = "proof-malformed"
	ProofVersion   Verdict = "proof-version"
	ProofKey       Verdict = "proof-key"
	ProofWrong     Verdict = "proof-wrong"
	FieldMissing   Verdict = "field-missing"
	FieldTwice     Verdict = "field-twice"
	FieldMalformed Verdict = "field-malformed"
	FieldUncovered Verdict = "field-uncovered"
	WrongAccount   Verdict = "account"
	WrongSubject   Verdict = "subject"
	Misdirected    Verdict = "misdirected"
	Unsigned       Verdict = "unsigned"
	TimeMalformed  Verdict = "time-malformed"
	Old            Verdict = "old"
	Future         Verdict = "future"
	Replayed       Verdict = "replayed"
)

// ErrAnonymous is what every error of Identify and Forwarded is, by errors.Is: nobody sent this message.
var ErrAnonymous = errors.New("stamp: nobody sent this message")

// Error says why a message is nobody's. It has no value of the message.
type Error struct {
	Verdict Verdict
	reason  string
}

func (e *Error) Error() string { return "stamp: " + string(e.Verdict) + ": " + e.reason }

// Unwrap returns ErrAnonymous.
func (e *Error) Unwrap() error { return ErrAnonymous }

// VerdictOf returns the verdict in an error of this package, OK for nil.
func VerdictOf(err error) Verdict {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Verdict
	default:
		return Anonymous
	}
}

// One error for each verdict, so that a flood of forged messages does not allocate them.
var (
	errAnonymous      = &Error{Anonymous, "the message has no stamp that names a user"}
	errProofMalformed = &Error{ProofMalformed, "the proof is not one, or there is more than one"}
	errProofVersion   = &Error{ProofVersion, "the proof is of a later version; a newer receiver may know it"}
	errProofKey       = &Error{ProofKey, "the proof is by a server that is not trusted, or for another receiver"}
	errProofWrong     = &Error{ProofWrong, "the message is not what the server proved"}
	errFieldMissing   = &Error{FieldMissing, "a stamped header is missing"}
	errFieldTwice     = &Error{FieldTwice, "a header that may be there once is there again, or in another spelling"}
	errFieldMalformed = &Error{FieldMalformed, "a stamped header cannot be read"}
	errFieldUncovered = &Error{FieldUncovered, "a header that the service reads is not proven"}
	errAccount        = &Error{WrongAccount, "the message was published in an account that is not trusted"}
	errSubject        = &Error{WrongSubject, "the account is not trusted on the subject to which the message was published"}
	errMisdirected    = &Error{Misdirected, "the message was published on another subject than the one on which it arrived; if a mapping, an import or a stream changes subjects, give the handler a trust of Trust.ForSubjects"}
	errUnsigned       = &Error{Unsigned, "a message on this subject must be signed, and the proof is for a receiver alone"}
	errTimeMalformed  = &Error{TimeMalformed, "the time of the stamp is not a time"}
	errOld            = &Error{Old, "the message was published too long ago"}
	errFuture         = &Error{Future, "the message was published in the future; the clocks differ"}
	errReplayed       = &Error{Replayed, "a message with this proof was taken before"}
)
