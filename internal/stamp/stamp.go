// Package stamp rewrites header blocks. A Stamp puts headers on a published
// message: under each stamped name, every subscriber sees the values of the stamp
// and nothing that the publisher wrote, whatever client library it uses. A Seal
// removes headers from a message that is delivered.
//
// For example, a stamp with Session: 0af3 turns
//
//	NATS/1.0|session: admin|Trace: 7||  into  NATS/1.0|Trace: 7|Session: 0af3||
//
// where | is CRLF. Client libraries read hostile header blocks differently: some
// split lines at a bare LF, some fold a line that begins with a space into the
// line before, some stop at the first blank line and some skip it. So Append
//  1. refuses a block that does not fit a grammar on which all libraries agree
//     (grammar.go)
//  2. removes each line with a stamped name, in any spelling that package field
//     takes for the same
//  3. appends the stamped lines
//
// The other lines of the block stay byte for byte and in order.
//
// The package works on bytes. It knows nothing of servers, claims or policy, and
// it does not allocate for a message. No error holds anything that the publisher
// wrote.
package stamp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"stamp.example/claim/field"
	"stamp/internal/proof"
)

// Header is one header of a stamp.
type Header struct {
	Name     string
	Values   []string // at least one; each is a header line of its own, in this order
	Subjects []string // subjects on which the header is stamped, with wildcards; empty: on every subject
}

// ErrNoValues is the fault of a Header without values. Package field has the faults
// of names, values and subjects.
var ErrNoValues = errors.New("expected at least one value; found none")

// Version begins every header block.
const Version = "NATS/1.0"

const (
	crlf    = "\r\n"
	opening = Version + crlf // the first line of a block without a status
)

// Stamp is a compiled set of headers. It is immutable, so that any number of
// connections can use it at the same time. Equal stamps are the same pointer.
type Stamp struct {
	block        string     // a header block with all stamped lines; empty if there are no headers
	parts        []part     // the lines of block by their subjects; nil if no header is bound to subjects
	stampedNames NameSet    // also the names of headers that are not stamped on every subject
	stripSets    []*NameSet // further names whose lines are removed
	// Of all names that are removed: the lengths of the names, and the starts of the prefixes.
	strippedLengths, strippedStarts uint64
	names                           []string // as spelled in the headers; substrings of block

	provenance bool
	account    string // the value of Stamp-Account

	layout *proof.Layout // of the proofs of messages; nil: they get none
}

// Options say what a stamp does besides stamping its headers.
type Options struct {
	// Strip are sets of further names. Lines of the publisher with such a name are removed.
	Strip []*NameSet
	// Provenance adds the account, the subject and the time to each message, see AccountName.
	Provenance bool
	// Account is the account of the publisher. It is needed for Provenance only.
	Account string
	// Proof, if set, prepares the stamp for AppendProven. It needs Provenance.
	Proof *Proof
}

// part is a run of lines that are stamped on the same subjects.
type part struct {
	lines   string   // a substring of Stamp.block; each line ends with CRLF
	filters []filter // empty: on every subject
}

// Compile returns the stamp for headers. The stamp removes the publisher's lines
// that have a stamped name, also on subjects on which the header is not stamped,
// or a name in one of the sets o.Strip. A stamp without headers adds nothing, but
// still checks the block and removes lines.
//
// The stamp keeps o.Strip, and copies everything else.
func Compile(headers []Header, o Options) (*Stamp, error) {
	s := &Stamp{provenance: o.Provenance}
	for _, set := range o.Strip {
		if !set.Empty() {
			s.stripSets = append(s.stripSets, set)
		}
	}
	if err := s.setHeaders(o.Proof.conceal(headers)); err != nil {
		return nil, err
	}
	if s.provenance {
		if err := checkAccount(o.Account); err != nil {
			return nil, err
		}
		s.account = strings.Clone(o.Account)
		s.stripSets = append(s.stripSets, provenanceSet)
	}
	if o.Proof != nil {
		if err := s.setLayout(headers, o.Proof); err != nil {
			return nil, err
		}
	}
	s.strippedLengths = s.stampedNames.names.lengths
	for _, set := range s.stripSets {
		s.strippedLengths |= set.names.lengths
		s.strippedStarts |= set.prefixes.starts
	}
	return stamps.share(s.digest(), s), nil
}

// span is the place of one header's lines in the block.
type span struct{ start, end int }

// setHeaders sets block, parts, stampedNames and names.
func (s *Stamp) setHeaders(headers []Header) error {
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
		if folded[i], err = addName(h.Name, seen); err == nil {
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
	s.block = strings.Clone(b.String()) // drops the unused capacity of the Builder
	s.stampedNames = *newNameSet(folded, nil)
	for i, h := range headers {
		s.names = append(s.names, s.block[spans[i].start:][:len(h.Name)])
	}
	s.parts = makeParts(s.block, spans, filters)
	return nil
}

// addName checks name, and adds its folded form to seen, where it must not be yet.
func addName(name string, seen map[string]bool) (string, error) {
	if err := field.CheckName(name); err != nil {
		return "", err
	}
	folded := field.Fold(name)
	if seen[folded] {
		return "", field.ErrNameTwice
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

// makeParts joins neighbouring headers with the same subjects into one part. It
// returns nil if no header is bound to subjects.
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

// MaxLen returns how many bytes the stamp adds to a message at most. With
// provenance it has room for a subject of MaxProvenanceSubject bytes: a message on
// a longer subject grows by the additional bytes of the subject too.
func (s *Stamp) MaxLen() int { return s.maxLines() + s.layout.MaxLen() }

// maxLines is MaxLen without a proof.
func (s *Stamp) maxLines() int {
	switch {
	case !s.provenance:
		return len(s.block)
	case s.block == "":
		return len(opening) + maxProvenance + len(s.account) + len(crlf)
	}
	return len(s.block) + maxProvenance + len(s.account)
}

// Adds reports whether the stamp puts lines on messages. If not, it only removes lines.
func (s *Stamp) Adds() bool { return s.block != "" || s.provenance }

// Names returns the stamped names, in the order and spelling of the headers. The
// connections with this stamp share the slice: do not modify it.
func (s *Stamp) Names() []string { return s.names }

// Strips reports whether the stamp removes the publisher's lines of that name.
func (s *Stamp) Strips(name string) bool { return s.strips([]byte(name)) }
