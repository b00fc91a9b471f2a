// Package claim reads and writes the headers claim, the part of a user JWT that
// says which headers the server stamps on the messages of a connection:
//
//	"headers": {"Session": "0af3", "X-Tenant": {"value": "acme", "subjects": ["api.>"]}}
//
// Only this package knows the claim's JSON, which docs/claim.md describes. It
// does not verify signatures: the caller has verified the same token.
//
// A claim that is not exactly of the documented form is an error, and the server
// refuses the connection. encoding/json cannot be used for that: it ignores the
// case of keys, lets the last of two equal keys win, merges objects and replaces
// bytes that are not UTF-8, so that an issuer's checks and the server could read
// different claims. An error reports all faults of a claim at once. It never
// holds a header's value, which may be a secret.
package claim

import (
	"fmt"
	"math"

	"stamp.example/claim/field"
)

// Header is one header that the server stamps.
type Header struct {
	Name     string
	Values   []string // at least one; each is a header line of its own, in this order
	Subjects []string // subjects on which the header is stamped; empty: on every subject
}

// Claim is the headers claim of a user JWT, of a scope's template or of a
// configured user.
type Claim struct {
	Headers []Header
	// Publish and Subscribe are the lists header_permissions.publish.allow and
	// header_permissions.subscribe.allow. Each entry is a pattern, see field.IsNamePattern.
	Publish, Subscribe []string
}

// Limits bound the size of a claim. A limit of zero or less means its default.
type Limits struct {
	MaxHeaders int // how many names; several values of one name count once (DefaultMaxHeaders)
	MaxBytes   int // length in bytes of the header block with all headers in it (DefaultMaxBytes)
}

const (
	DefaultMaxHeaders = 64
	DefaultMaxBytes   = 16 << 10
	// MaxBlock is the length in bytes of the longest header block that JetStream
	// stores, which holds the length in 16 bits (upstream, errors.go: "header size
	// exceeds maximum allowed of 64k"). No setting can raise it.
	MaxBlock = math.MaxUint16
)

// MaxLimits are the highest limits that a server can have. Use them where the
// settings of the server are not known.
var MaxLimits = Limits{MaxHeaders: MaxBlock, MaxBytes: MaxBlock}

func (l Limits) withDefaults() Limits {
	if l.MaxHeaders <= 0 {
		l.MaxHeaders = DefaultMaxHeaders
	}
	if l.MaxBytes <= 0 {
		l.MaxBytes = DefaultMaxBytes
	}
	return l
}

// Check returns an Errors with all faults of c, or nil if there are none.
func (c *Claim) Check(l Limits) error {
	var f Errors
	c.check(l, nil, &f)
	return f.orNil()
}

// check adds the faults of c to f. The headers named in broken have a fault of
// form, which is in f already: of these only the names are checked.
func (c *Claim) check(l Limits, broken map[string]bool, f *Errors) {
	seen := make(map[string]string, len(c.Headers)) // names by their folded form
	for _, h := range c.Headers {
		if err := field.CheckName(h.Name); err != nil {
			f.add(h.Name, err)
		}
		folded := field.Fold(h.Name)
		if other, ok := seen[folded]; ok {
			f.add(h.Name, fmt.Errorf("%w; the claim also has %s", field.ErrNameTwice, quote(other)))
		} else {
			seen[folded] = h.Name
		}
		if !broken[h.Name] {
			h.checkValues(f)
			h.checkSubjects(f)
		}
	}
	c.checkSize(l.withDefaults(), f)
	checkPatterns("publish", c.Publish, f)
	checkPatterns("subscribe", c.Subscribe, f)
}

func (h *Header) checkValues(f *Errors) {
	if len(h.Values) == 0 {
		f.add(h.Name, ErrValuesEmpty)
	}
	for i, v := range h.Values {
		v, err := field.CleanValue(v)
		if err == nil && v == "" {
			err = ErrValueEmpty
		}
		if err != nil && len(h.Values) > 1 {
			err = fmt.Errorf("value %d of %d: %w", i+1, len(h.Values), err)
		}
		if err != nil {
			f.add(h.Name, err)
		}
	}
}

func (h *Header) checkSubjects(f *Errors) {
	for _, s := range h.Subjects {
		if !field.IsSubject(s) {
			f.add(h.Name, fmt.Errorf("%w; found %s", field.ErrSubject, quote(s)))
		}
	}
}

// checkSize checks the limits l, which have no zero for a default.
func (c *Claim) checkSize(l Limits, f *Errors) {
	if n := len(c.Headers); n > l.MaxHeaders {
		f.add("", fmt.Errorf("%w: found %d; at most %d are allowed", ErrTooManyHeaders, n, l.MaxHeaders))
	}
	switch n := c.BlockLen(); {
	case n > MaxBlock:
		f.add("", fmt.Errorf("%w: found %d bytes; at most %d are allowed", ErrBlockTooLarge, n, MaxBlock))
	case n > l.MaxBytes:
		f.add("", fmt.Errorf("%w: found %d bytes; at most %d are allowed", ErrTooManyBytes, n, l.MaxBytes))
	}
}

// BlockLen returns the length in bytes of the header block ("NATS/1.0", a line
// for each value, a blank line) that holds all headers of c, also those bound to
// subjects. It is 0 if c has no headers.
func (c *Claim) BlockLen() int {
	if len(c.Headers) == 0 {
		return 0
	}
	n := len("NATS/1.0\r\n") + len("\r\n")
	for _, h := range c.Headers {
		for _, v := range h.Values {
			n += len(h.Name) + len(": ") + len(field.TrimValue(v)) + len("\r\n")
		}
	}
	return n
}

func checkPatterns(kind string, patterns []string, f *Errors) {
	for _, p := range patterns {
		if !field.IsNamePattern(p) {
			f.add("", fmt.Errorf("header_permissions.%s.allow: %w; found %s", kind, field.ErrNamePattern, quote(p)))
		}
	}
}

// empty reports whether c has neither headers nor permissions. Such a claim is
// the same as none.
func (c *Claim) empty() bool {
	return c == nil || len(c.Headers)+len(c.Publish)+len(c.Subscribe) == 0
}
