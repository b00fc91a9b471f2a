package field

import (
	"errors"
	"strings"
)

// ErrSubject is the fault of a text that is not IsSubject.
var ErrSubject = errors.New("expected a subject, with * and > as whole tokens and > as the last one")

// IsSubject reports whether s is a subject that a header may be bound to. It may
// hold the wildcards '*' and '>', each as a whole token, '>' only as the last.
//
// This is stricter than nats-server, which reads "a*" as a literal. An author of
// "a*" means a wildcard, and would not notice that the header is never stamped.
func IsSubject(s string) bool {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\ufffd' }) {
		return false
	}
	tokens := strings.Split(s, ".")
	for i, t := range tokens {
		switch {
		case t == "", t == ">" && i != len(tokens)-1:
			return false
		case len(t) > 1 && strings.ContainsAny(t, "*>"):
			return false
		}
	}
	return true
}
