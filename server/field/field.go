// Package field holds the rules for one header line: what a field name and a
// field value may be, when two names are the same, and which names nobody may
// have stamped.
//
// Two names are the same when they are equal after Fold: ASCII case is ignored
// and '-', '_' and '.' are one character. Gateways and frameworks alias these
// (CGI, WSGI and PHP turn '-' into '_'; .NET looks names up without case), so a
// client must not get past a stamp by spelling its name another way.
//
// Names and values are stricter than RFC 9110 where client libraries disagree:
// what one of them would trim, fold or split must not be in a stamp at all.
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
	ErrNameEmpty    = errors.New("name is empty")
	ErrNameToken    = errors.New("name is not an RFC 9110 token")
	ErrNameReserved = errors.New("name is reserved")
)

// Faults of a value. None of them, and no error of this package, quotes the
// value: it may be a secret.
var (
	ErrValueUTF8    = errors.New("value is not valid UTF-8")
	ErrValueControl = errors.New("value holds a control character or line break")
	ErrValueSpace   = errors.New("value begins or ends with white space that clients trim differently")
)

// tokenByte marks the bytes of an RFC 9110 token (section 5.6.2), foldByte maps
// each byte to its folded form.
var (
	tokenByte [256]bool
	foldByte  [256]byte
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

// IsTokenByte tells whether c may stand in a field name.
func IsTokenByte(c byte) bool { return tokenByte[c] }

// FoldByte returns the folded form of one byte of a name.
func FoldByte(c byte) byte { return foldByte[c] }

// Fold returns the form of name under which aliases are equal.
func Fold(name string) string {
	var short [64]byte // most names: saves the allocations of growing
	return string(AppendFold(short[:0], name))
}

// AppendFold appends the folded form of name to dst.
func AppendFold[T string | []byte](dst []byte, name T) []byte {
	for i := range len(name) {
		dst = append(dst, foldByte[name[i]])
	}
	return dst
}

// EqualFolded tells whether name folds to folded, which is folded already.
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

// IsToken tells whether name is an RFC 9110 token.
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

// reservedPrefixes and reservedNames, folded, steer the server or its clients
// (upstream: stream.go and msgtrace.go for Nats-*, client.go for the trace
// headers, mqtt.go for Nmqtt-*, errors of nats.go for Status and Description),
// or are ours (Stamp-*). A stamp under such a name would act, not inform; and
// upstream copies tracestate and Uberctx-* into the metrics of a service
// (accounts.go, newTraceCtxHeader), which anybody may read.
var (
	reservedPrefixes = []string{"nats-", "nmqtt-", "stamp-", "uberctx-", "x-b3-"}
	reservedNames    = map[string]bool{
		"accept-encoding": true, "b3": true, "content-encoding": true, "description": true,
		"kv-operation": true, "status": true, "traceparent": true, "tracestate": true,
		"uber-trace-id": true,
	}
)

// steeringPrefixes and steeringNames, folded, are those of the reserved ones that servers and clients act on
// (upstream: stream.go, consumer.go, scheduler.go, msgtrace.go and accounts.go for Nats-*, mqtt.go for
// Nmqtt-*, monitor requests for the encodings; nats.go: kv.go for KV-Operation, the status of answers for
// the rest). Headers for tracing only inform.
var (
	steeringPrefixes = []string{"nats-", "nmqtt-"}
	steeringNames    = []string{"accept-encoding", "content-encoding", "description", "kv-operation", "status"}
)

// Steers tells whether servers or clients act on a header of this name.
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

// SteeringWith returns which names that steer begin with prefix, beginnings of names followed by "*".
func SteeringWith(prefix string) []string {
	folded := Fold(prefix)
	var found []string
	for _, p := range steeringPrefixes {
		if strings.HasPrefix(p, folded) || strings.HasPrefix(folded, p) {
			found = append(found, p+"*")
		}
	}
	for _, n := range steeringNames {
		if strings.HasPrefix(n, folded) {
			found = append(found, n)
		}
	}
	return found
}

// CheckName tells whether name may be stamped: a token that is not reserved.
func CheckName(name string) error {
	switch folded := Fold(name); {
	case name == "":
		return ErrNameEmpty
	case !IsToken(name):
		return ErrNameToken
	case reservedNames[folded]:
		return fmt.Errorf("%w: it steers the server or its clients", ErrNameReserved)
	default:
		for _, p := range reservedPrefixes {
			if strings.HasPrefix(folded, p) {
				return fmt.Errorf("%w: names that begin with %s steer the server or its clients", ErrNameReserved, strings.TrimSuffix(p, "-")+"-")
			}
		}
		return nil
	}
}

// BreaksText tells whether r is a control character, or a line or paragraph separator, which break lines in
// some languages: Python's splitlines takes what stands behind U+0085 or U+2028 for another line.
func BreaksText(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// TrimValue returns value without the spaces and tabs around it (RFC 9110,
// section 5.5).
func TrimValue(value string) string { return strings.Trim(value, " \t") }

// CleanValue returns value without the spaces and tabs around it (RFC 9110,
// section 5.5), or why it cannot be stamped.
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
	// JavaScript's trim takes the byte order mark for white space, Go's does not.
	if strings.TrimFunc(value, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' }) != value {
		return "", ErrValueSpace
	}
	return value, nil
}
