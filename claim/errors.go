package claim

import (
	"errors"
	"fmt"
	"strings"
)

// Faults of the token, found before its claim is read.
var (
	ErrToken     = errors.New("token is not a JWT")
	ErrJSON      = errors.New("JWT payload is not a valid JSON object")
	ErrTrailing  = errors.New("JWT payload has more text after its JSON object")
	ErrTwoPlaces = errors.New(`headers claim is both in the "nats" object and beside it; put it in one place`)
)

// Faults of keys. encoding/json picks one of two equal keys, or merges them.
// Other JSON readers may choose differently.
var (
	ErrKeyTwice   = errors.New("duplicate key")
	ErrKeyCase    = errors.New("key must be spelled")
	ErrKeyUnknown = errors.New("unknown key")
)

// Faults of form: JSON or configuration of the wrong type.
var (
	ErrHeadersForm     = errors.New("headers: expected an object")
	ErrValueForm       = errors.New("expected a string, a list of strings or an object with value and subjects")
	ErrInnerValueForm  = errors.New("value: expected a string or a list of strings")
	ErrValueMissing    = errors.New(`object has no key "value"`)
	ErrValueText       = errors.New("text is not valid Unicode: it has bytes that are not UTF-8, or half of a surrogate pair")
	ErrSubjectsForm    = errors.New("subjects: expected a list of strings")
	ErrSubjectsEmpty   = errors.New("subjects: expected at least one subject; found an empty list")
	ErrPermissionsForm = errors.New("header_permissions: expected {publish: {allow: [...]}, subscribe: {allow: [...]}}")
)

// Faults of content. Package field has those of names, single values, patterns and
// subjects: its ErrName..., its ErrValue... and field.ErrSubject.
var (
	ErrValuesEmpty = errors.New("expected at least one value; found an empty list")
	// ErrValueEmpty has its reason in receivers: they cannot tell an empty header from a missing one.
	ErrValueEmpty = errors.New("value is empty")
)

// Faults of size.
var (
	ErrTooManyHeaders = errors.New("too many headers")
	ErrTooManyBytes   = errors.New("header block is longer than max_bytes")
	ErrBlockTooLarge  = errors.New("header block is longer than JetStream can store")
)

// Faults of signing.
var (
	ErrUser       = errors.New("subject of the JWT is not a user's public key")
	ErrIssuer     = errors.New("user JWT must be signed by an account key or an account's signing key")
	ErrSigningKey = errors.New("signing key is in the account JWT twice; remove the entry that is not meant")
)

// maxName is how many characters of a name an error shows.
const maxName = 64

// maxShown is how many faults the text of an Errors spells out. The text goes
// into one line of a log.
const maxShown = 16

// Error is one fault of a claim. Header is the name of the header with the fault,
// or "" if the fault is not in a header.
type Error struct {
	Header string
	Err    error
}

func (e *Error) Error() string {
	if e.Header == "" {
		return e.Err.Error()
	}
	return "header " + quote(e.Header) + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Errors are all faults of one claim. Each element is an *Error.
type Errors []error

// Error joins the faults with "; " in one line.
func (e Errors) Error() string {
	var b strings.Builder
	for i, err := range e {
		if i > 0 {
			b.WriteString("; ")
		}
		if i == maxShown {
			fmt.Fprintf(&b, "and %d more", len(e)-i)
			break
		}
		b.WriteString(err.Error())
	}
	return b.String()
}

// Unwrap lets errors.Is and errors.As look at each fault.
func (e Errors) Unwrap() []error { return e }

func (e *Errors) add(header string, err error) {
	*e = append(*e, &Error{Header: header, Err: err})
}

// orNil returns e as an error, and nil if e is empty. An empty Errors in an error
// would not be nil.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// quote returns name in quotes, cut to maxName characters.
func quote(name string) string {
	n := 0
	for i := range name {
		if n == maxName {
			return fmt.Sprintf("%q...", name[:i])
		}
		n++
	}
	return fmt.Sprintf("%q", name)
}
