package stamp

import (
	"bytes"
	"fmt"
	"strings"

	"stamp.example/claim/field"
)

// filter is a subject that a header is bound to.
type filter struct {
	text string
	wild bool // text has wildcards
}

func parseFilters(subjects []string) ([]filter, error) {
	if len(subjects) == 0 {
		return nil, nil
	}
	filters := make([]filter, len(subjects))
	for i, s := range subjects {
		if !field.IsSubject(s) {
			return nil, fmt.Errorf("subject %d of %d, %q: %w", i+1, len(subjects), s, field.ErrSubject)
		}
		filters[i] = filter{strings.Clone(s), strings.ContainsAny(s, "*>")}
	}
	return filters, nil
}

// appliesTo reports whether the part is stamped on subject.
func (p *part) appliesTo(subject []byte) bool {
	return len(p.filters) == 0 || matchAny(p.filters, subject)
}

func matchAny(filters []filter, subject []byte) bool {
	for i := range filters {
		if filters[i].match(subject) {
			return true
		}
	}
	return false
}

// Subjects is a list of subjects with wildcards. It is immutable.
type Subjects struct{ filters []filter }

// NewSubjects returns the list of subjects.
func NewSubjects(subjects []string) (Subjects, error) {
	filters, err := parseFilters(subjects)
	return Subjects{filters}, err
}

// Empty reports whether the list has no subject.
func (s Subjects) Empty() bool { return len(s.filters) == 0 }

// Match reports whether one of the subjects matches a subject that a message is
// published on, as a header that is bound to subjects does.
func (s Subjects) Match(subject []byte) bool { return matchAny(s.filters, subject) }

// match reports whether the filter matches subject. Wildcards in subject are
// literal: a publisher must not get or avoid a stamp with them. A subject with an
// empty token never matches; the server does not route it.
func (f *filter) match(subject []byte) bool {
	if !f.wild {
		return string(subject) == f.text
	}
	text := f.text
	for {
		if text == ">" {
			return noEmptyToken(subject)
		}
		end := bytes.IndexByte(subject, '.')
		if end < 0 {
			end = len(subject)
		}
		want := len(text)
		if dot := strings.IndexByte(text, '.'); dot >= 0 {
			want = dot
		}
		if end == 0 || text[:want] != "*" && text[:want] != string(subject[:end]) {
			return false
		}
		if want == len(text) || end == len(subject) {
			return want == len(text) && end == len(subject)
		}
		text, subject = text[want+1:], subject[end+1:]
	}
}

func noEmptyToken(subject []byte) bool {
	last := byte('.')
	for _, c := range subject {
		if c == '.' && last == '.' {
			return false
		}
		last = c
	}
	return last != '.'
}
