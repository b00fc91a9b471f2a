// Package field holds the rules for one header: which names and values may be
// stamped, which subjects a header may be bound to, and when two names are the
// same.
//
// Two names are the same if Fold gives the same text for both. Fold ignores
// ASCII case and takes '-', '_' and '.' for one character, so X-User, x_user and
// X.USER are the same name. Gateways and frameworks alias these characters (CGI,
// WSGI and PHP turn '-' into '_'; .NET looks names up without case). A client
// must not get past a stamp by spelling its name another way.
//
// The rules are stricter than RFC 9110 where client libraries disagree: a value
// that one of them would trim, fold or split cannot be stamped at all.
package field

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Faults of a name.
var (
	ErrNameEmpty    = errors.New("name of a header is empty")
	ErrNameToken    = errors.New("name has a character other than letters, digits and !#$%&'*+-.^_`|~")
	ErrNameReserved = errors.New("name is reserved")
	// ErrNameTwice is the fault of one of two names that Fold makes equal.
	ErrNameTwice = errors.New("duplicate name (case is ignored, and '-', '_' and '.' are one character)")
	// ErrNamePattern is the fault of a text that is not IsNamePattern.
	ErrNamePattern = errors.New("expected a header name, the beginning of one followed by *, or *")
)

// Faults of a value. No error of this package quotes the value, which may be a
// secret.
var (
	ErrValueUTF8    = errors.New("value is not valid UTF-8")
	ErrValueControl = errors.New("value contains a control character or line break")
	ErrValueSpace   = errors.New("value begins or ends with white space that client libraries trim differently")
)

var (
	tokenByte [256]bool // the bytes of an RFC 9110 token (section 5.6.2)
	foldByte  [256]byte // the folded form of each byte
)

func init() {
	for i := range 256 {
		c := byte(i)
		foldByte[c] = c
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
			tokenByte[c] = true
		case c >= 'A' && c <= 'Z':
			tokenByte[c] = true
			foldByte[c] = c + 'a' - 'A'
		}
	}
	foldByte['_'], foldByte['.'] = '-', '-'
}

// IsTokenByte reports whether c may be part of a header name.
func IsTokenByte(c byte) bool { return tokenByte[c] }

// FoldByte returns the folded form of one byte of a name.
func FoldByte(c byte) byte { return foldByte[c] }

// Fold returns the form of name that is equal for all its spellings, x-user for
// X_User. See the package comment.
func Fold(name string) string {
	var short [64]byte // long enough for most names, so that only the result is allocated
	return string(AppendFold(short[:0], name))
}

// AppendFold appends the folded form of name to dst.
func AppendFold[T string | []byte](dst []byte, name T) []byte {
	for i := range len(name) {
		dst = append(dst, foldByte[name[i]])
	}
	return dst
}

// EqualFolded reports whether the folded form of name is folded.
func EqualFolded(folded string, name []byte) bool {
	if len(folded) != len(name) {
		return false
	}
	for i, c := range name {
		if foldByte[c] != folded[i] {
			return false
		}
	}
	return true
}

// IsToken reports whether name is an RFC 9110 token (section 5.6.2).
func IsToken[T string | []byte](name T) bool {
	for i := range len(name) {
		if !tokenByte[name[i]] {
			return false
		}
	}
	return len(name) > 0
}

// IsNamePattern reports whether p is a pattern for header names: a name, the
// beginning of names followed by '*', or "*" for every name. '*' is a token
// character too (RFC 9110, section 5.6.2), but a pattern uses it as the wildcard
// alone, so it may not stand anywhere else.
func IsNamePattern(p string) bool {
	prefix := strings.TrimSuffix(p, "*")
	if strings.Contains(prefix, "*") {
		return false
	}
	return p == "*" || IsToken(prefix)
}

// reservedPrefixes and reservedNames, all folded, cannot be stamped:
//   - Servers and clients act on some of them, so a stamp would do something
//     instead of informing (upstream: stream.go and msgtrace.go for Nats-*,
//     client.go for the trace headers, mqtt.go for Nmqtt-*; nats.go: its errors
//     for Status and Description).
//   - Upstream copies tracestate and Uberctx-* into the metrics of a service,
//     which anybody may read (accounts.go, newTraceCtxHeader).
//   - Stamp-* are the names of provenance.
var (
	reservedPrefixes = []string{"nats-", "nmqtt-", "stamp-", "uberctx-", "x-b3-"}
	reservedNames    = map[string]bool{
		"accept-encoding": true, "b3": true, "content-encoding": true, "description": true,
		"kv-operation": true, "status": true, "traceparent": true, "tracestate": true,
		"uber-trace-id": true,
	}
)

// steeringPrefixes and steeringNames, all folded, are the reserved names that
// servers and clients act on (upstream: stream.go, consumer.go, scheduler.go,
// msgtrace.go and accounts.go for Nats-*, mqtt.go for Nmqtt-*, monitor requests
// for the encodings; nats.go: kv.go for KV-Operation, the status of answers for
// the rest). Headers for tracing are not among them: they only inform.
var (
	steeringPrefixes = []string{"nats-", "nmqtt-"}
	steeringNames    = []string{"accept-encoding", "content-encoding", "description", "kv-operation", "status"}
)

// Steers reports whether servers or clients act on a header of this name.
func Steers(name []byte) bool {
	for _, p := range steeringPrefixes {
		if len(name) >= len(p) && EqualFolded(p, name[:len(p)]) {
			return true
		}
	}
	for _, n := range steeringNames {
		if EqualFolded(n, name) {
			return true
		}
	}
	return false
}

// SteeringNames returns the steering names (see Steers) that begin with prefix,
// folded. "nats-*" stands for all steering names that begin with nats-.
func SteeringNames(prefix string) []string {
	folded := Fold(prefix)
	var names []string
	for _, p := range steeringPrefixes {
		if strings.HasPrefix(p, folded) || strings.HasPrefix(folded, p) {
			names = append(names, p+"*")
		}
	}
	for _, n := range steeringNames {
		if strings.HasPrefix(n, folded) {
			names = append(names, n)
		}
	}
	return names
}

// CheckName returns an error unless name may be stamped: a token that is not
// reserved.
func CheckName(name string) error {
	switch folded := Fold(name); {
	case name == "":
		return ErrNameEmpty
	case !IsToken(name):
		return ErrNameToken
	case reservedNames[folded]:
		return fmt.Errorf("%w: servers or clients use it", ErrNameReserved)
	default:
		for _, p := range reservedPrefixes {
			if strings.HasPrefix(folded, p) {
				return fmt.Errorf("%w: servers or clients use names that begin with %s", ErrNameReserved, p)
			}
		}
		return nil
	}
}

// BreaksText reports whether r is a control character, or a line or paragraph
// separator. Some languages break lines at these: Python's splitlines takes the
// text after U+0085 or U+2028 for another line.
func BreaksText(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// TrimValue returns value without the spaces and tabs around it (RFC 9110,
// section 5.5).
func TrimValue(value string) string { return strings.Trim(value, " \t") }

// CleanValue returns the trimmed value (see TrimValue), or an error that says why
// it cannot be stamped.
func CleanValue(value string) (string, error) {
	value = TrimValue(value)
	if !utf8.ValidString(value) {
		return "", ErrValueUTF8
	}
	for _, r := range value {
		if r != '\t' && BreaksText(r) {
			return "", ErrValueControl
		}
	}
	// JavaScript's trim removes the byte order mark, Go's does not.
	if strings.TrimFunc(value, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' }) != value {
		return "", ErrValueSpace
	}
	return value, nil
}
