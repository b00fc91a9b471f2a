// Package stamp puts headers on a message so that whoever reads them, with
// whatever client library, sees exactly the values of the stamp under the
// stamped names and nothing that the publisher wrote there.
//
// Client libraries disagree about hostile header blocks: some split on a bare
// LF, some fold a line that begins with a space into the one before, some stop
// at the first blank line and some skip it, and gateways take "-", "_" and "."
// for one character. So the publisher's block is read by a grammar on which all
// of them agree (grammar.go) and refused when it does not fit; then every line
// whose name is a stamped one, in any spelling, is removed; then the stamped
// lines follow. The rest of the block is kept byte for byte and in order.
//
// The package takes bytes and gives bytes. It knows nothing of servers, claims
// or policy, and it allocates nothing per message. No error of it holds a value
// or anything else that the publisher wrote.
package stamp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"stamp/server/field"
)

// Header is one header to be stamped.
type Header struct {
	Name     string
	Values   []string // one line each, in order
	Subjects []string // stamped on these subjects alone, '*' and '>' are wildcards; empty: on every subject
}

// Faults of a Header, beside those that package field names.
var (
	ErrNoValues  = errors.New("header has no values")
	ErrDuplicate = errors.New("name is the same as that of an earlier header when case is ignored and - _ . are one character")
	ErrSubject   = errors.New("not a subject")
)

const (
	Version = "NATS/1.0"
	crlf    = "\r\n"
	opening = Version + crlf // of a block without a status
)

// Stamp is a compiled set of headers. It is immutable, so any number of
// connections may use one at the same time; equal ones are the same pointer.
type Stamp struct {
	block string     // opening, every line, a blank line; empty without headers
	parts []part     // nil: no header is bound to subjects
	own   NameSet    // of the stamped names, also those that a subject excludes
	strip []*NameSet // further names to remove
	names []string   // as spelled in the headers, within block

	provenance bool
	account    string // that provenance tells
}

// Options are what a stamp does beside its headers.
type Options struct {
	// Strip are sets of further names whose lines are removed. They are kept.
	Strip []*NameSet
	// Provenance adds to each message where and when it was published, see provenance.go.
	Provenance bool
	// Account is what provenance says of the publisher.
	Account string
}

// part is a run of lines that share their subjects.
type part struct {
	lines   string   // within block, each with its CRLF
	filters []filter // empty: every subject
}

// Compile returns the stamp for headers. Lines of the publisher are removed when
// they have a stamped name, on every subject, or a name in one of the sets of
// o.Strip. Without headers the stamp adds nothing, but still checks and removes.
//
// Nothing of the arguments is kept but the sets, which are immutable.
func Compile(headers []Header, o Options) (*Stamp, error) {
	s := &Stamp{provenance: o.Provenance}
	for _, set := range o.Strip {
		if !set.Empty() {
			s.strip = append(s.strip, set)
		}
	}
	if err := s.layOut(headers); err != nil {
		return nil, err
	}
	if s.provenance {
		if err := CheckProvenance(o.Account); err != nil {
			return nil, err
		}
		s.account = strings.Clone(o.Account)
		s.strip = append(s.strip, provenanceSet)
	}
	return stamps.share(s.digest(), s), nil
}

// span is where the lines of one header stand in the block.
type span struct{ start, end int }

// layOut fills in s but for its strip sets.
func (s *Stamp) layOut(headers []Header) error {
	if len(headers) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(opening)
	spans := make([]span, len(headers))
	folded := make([]string, len(headers))
	seen := make(map[string]bool, len(headers))
	filters := make([][]filter, len(headers))
	for i, h := range headers {
		var err error
		if folded[i], err = checkName(h.Name, seen); err == nil {
			filters[i], err = parseFilters(h.Subjects)
		}
		if err == nil {
			spans[i].start = b.Len()
			err = writeLines(&b, h)
			spans[i].end = b.Len()
		}
		if err != nil {
			return fmt.Errorf("header %d of %d, %q: %w", i+1, len(headers), h.Name, err)
		}
	}
	b.WriteString(crlf)
	s.block = strings.Clone(b.String()) // a Builder has room to spare
	s.own = *newNameSet(folded, nil)
	for i, h := range headers {
		s.names = append(s.names, s.block[spans[i].start:][:len(h.Name)])
	}
	s.parts = makeParts(s.block, spans, filters)
	return nil
}

// checkName returns the folded name, which must not be in seen.
func checkName(name string, seen map[string]bool) (string, error) {
	if err := field.CheckName(name); err != nil {
		return "", err
	}
	folded := field.Fold(name)
	if seen[folded] {
		return "", ErrDuplicate
	}
	seen[folded] = true
	return folded, nil
}

func writeLines(b *strings.Builder, h Header) error {
	if len(h.Values) == 0 {
		return ErrNoValues
	}
	for i, v := range h.Values {
		v, err := field.CleanValue(v)
		if err != nil {
			return fmt.Errorf("value %d of %d: %w", i+1, len(h.Values), err)
		}
		b.WriteString(h.Name)
		b.WriteString(": ")
		b.WriteString(v)
		b.WriteString(crlf)
	}
	return nil
}

// makeParts joins neighbours with the same subjects; it returns nil when no
// header has any.
func makeParts(block string, spans []span, filters [][]filter) []part {
	var parts []part
	scoped := false
	start := 0
	for i, sp := range spans {
		scoped = scoped || len(filters[i]) > 0
		if last := len(parts) - 1; last >= 0 && slices.Equal(parts[last].filters, filters[i]) {
			parts[last].lines = block[start:sp.end]
			continue
		}
		start = sp.start
		parts = append(parts, part{block[sp.start:sp.end], filters[i]})
	}
	if !scoped {
		return nil
	}
	return parts
}

// MaxLen returns the most bytes that the stamp adds to a message: the length of
// the block with every header in it. With provenance, a message whose subject is longer than
// MaxProvenanceSubject grows by more, by what is above.
func (s *Stamp) MaxLen() int {
	switch {
	case !s.provenance:
		return len(s.block)
	case s.block == "":
		return len(opening) + maxProvenance + len(s.account) + len(crlf)
	}
	return len(s.block) + maxProvenance + len(s.account)
}

// Adds tells whether the stamp puts lines on messages, and does not only remove some.
func (s *Stamp) Adds() bool { return s.block != "" || s.provenance }

// Names returns the stamped names, in the order and spelling of the headers. They are the stamp's own,
// so that all who have it share them, and not to be changed.
func (s *Stamp) Names() []string { return s.names }

// Strips tells whether a line of that name is removed when the publisher sent it.
func (s *Stamp) Strips(name string) bool { return s.strips([]byte(name)) }
