package claim

import (
	"errors"
	"fmt"
	"strings"
)

// Faults of the token, before a claim is found in it.
var (
	ErrToken     = errors.New("token is not a JWT")
	ErrJSON      = errors.New("JWT payload is not a valid JSON object")
	ErrTrailing  = errors.New("JWT payload goes on after its JSON object")
	ErrTwoPlaces = errors.New(`headers claim stands both in the "nats" object and beside it`)
)

// Faults of keys. encoding/json would pick one of two keys or merge them, and
// other readers may choose otherwise.
var (
	ErrKeyTwice   = errors.New("key stands twice")
	ErrKeyCase    = errors.New("key differs in case from the one that is meant")
	ErrKeyUnknown = errors.New("unknown key")
)

// Faults of form: JSON, or configuration, of the wrong type.
var (
	ErrHeadersForm     = errors.New("headers is not an object")
	ErrValueForm       = errors.New("value is not a string, a list of strings, or an object with value and subjects")
	ErrValueMissing    = errors.New("object has no value")
	ErrValueText       = errors.New("text is not valid Unicode: bytes that are no UTF-8, or half a surrogate pair")
	ErrSubjectsForm    = errors.New("subjects is not a list of strings")
	ErrSubjectsEmpty   = errors.New("list of subjects is empty")
	ErrPermissionsForm = errors.New("header_permissions: expected {publish: {allow: [...]}, subscribe: {allow: [...]}}")
)

// Faults of content. Those of names and single values are package field's:
// field.ErrNameEmpty, ErrNameToken, ErrNameReserved, ErrValueUTF8,
// ErrValueControl and ErrValueSpace.
var (
	ErrNamesEqual  = errors.New("name is the same, but for case and '-', '_', '.',")
	ErrValuesEmpty = errors.New("list of values is empty")
	// ErrValueEmpty: a receiver cannot tell an empty header from a missing one.
	ErrValueEmpty = errors.New("value is empty")
	ErrSubject    = errors.New("not a valid subject")
	ErrPattern    = errors.New("not a header name, a prefix that ends in '*', or '*'")
)

// Faults of size.
var (
	ErrTooManyHeaders = errors.New("too many headers")
	ErrTooManyBytes   = errors.New("header block is longer than max_bytes")
	ErrBlockTooLarge  = errors.New("header block is longer than JetStream can store")
)

// Faults of signing.
var (
	ErrUser       = errors.New("subject is not a user's public key")
	ErrIssuer     = errors.New("user JWT must be signed by an account key or an account's signing key")
	ErrSigningKey = errors.New("signing key stands twice in the account JWT")
)

// maxName is how many characters of a name an error shows.
const maxName = 64

// maxShown is how many faults the text of Errors spells out: it goes into one
// line of a log.
const maxShown = 16

// Error is one fault. Header is the name it concerns, "" for none.
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

// Errors are all faults of one claim; its elements are *Error.
type Errors []error

// Error joins the faults with "; ", in one line.
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

// Unwrap makes errors.Is and errors.As look at each fault.
func (e Errors) Unwrap() []error { return e }

func (e *Errors) add(header string, err error) {
	*e = append(*e, &Error{Header: header, Err: err})
}

// orNil keeps an empty Errors from being an error that is not nil.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// quote shows a name, cut to maxName characters.
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
