// Package claim reads and writes the headers claim: the part of a user JWT that
// says which headers the server stamps on what a connection publishes. It is
// the only place that knows the claim's JSON, which docs/claim.md describes.
//
// Policy: whatever is not exactly of the documented form is an error, never a
// guess, and the connection is refused. encoding/json is too kind for that: it
// folds the case of keys, lets the last of two equal keys win, merges objects
// and replaces bytes that are no UTF-8. All of these are found here, since an
// issuer's checks and the server's reading must not differ. Every fault of a
// claim is reported at once, and no error holds a header's value: it may be a
// secret.
//
// Nothing here verifies a signature: the caller has done so, on the same token.
package claim

import (
	"fmt"
	"math"

	"stamp/server/field"
)

// Header is one header that the server sets.
type Header struct {
	Name     string
	Values   []string // one line each, in order; never empty
	Subjects []string // stamped on these subjects alone; empty: on every subject
}

// Claim is what one JWT, scope template or configured user carries.
type Claim struct {
	Headers []Header
	// Publish and Subscribe are header_permissions.publish.allow and
	// header_permissions.subscribe.allow: names, prefixes that end in '*', or "*".
	Publish, Subscribe []string
}

// Limits bound a claim. Zero or less stands for the default.
type Limits struct {
	MaxHeaders int // names; several values of one name count once
	MaxBytes   int // length of the header block with every header in it
}

// Defaults of Limits, and what no setting raises.
const (
	DefaultMaxHeaders = 64
	DefaultMaxBytes   = 16 << 10
	// MaxBlock is the longest header block that JetStream stores (upstream,
	// errors.go: "header size exceeds maximum allowed of 64k"; its length is
	// held in 16 bits).
	MaxBlock = math.MaxUint16
)

// MaxLimits are the highest, for who does not know a server's settings.
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

// Check tells whether c keeps every rule. The error is an Errors with all
// faults.
func (c *Claim) Check(l Limits) error {
	var f Errors
	c.check(l, nil, &f)
	return f.orNil()
}

// check adds the faults of c to f. Headers in broken have been reported: their
// names are checked still, their values and subjects are not.
func (c *Claim) check(l Limits, broken map[string]bool, f *Errors) {
	seen := make(map[string]string, len(c.Headers)) // folded name: name
	for _, h := range c.Headers {
		if err := field.CheckName(h.Name); err != nil {
			f.add(h.Name, err)
		}
		folded := field.Fold(h.Name)
		if other, ok := seen[folded]; ok {
			f.add(h.Name, fmt.Errorf("%w as %s", ErrNamesEqual, quote(other)))
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
			f.add(h.Name, fmt.Errorf("%w: %s", ErrSubject, quote(s)))
		}
	}
}

// checkSize expects limits that are not zero.
func (c *Claim) checkSize(l Limits, f *Errors) {
	if n := len(c.Headers); n > l.MaxHeaders {
		f.add("", fmt.Errorf("%w: %d, at most %d", ErrTooManyHeaders, n, l.MaxHeaders))
	}
	switch n := c.BlockLen(); {
	case n > MaxBlock:
		f.add("", fmt.Errorf("%w: %d bytes, at most %d", ErrBlockTooLarge, n, MaxBlock))
	case n > l.MaxBytes:
		f.add("", fmt.Errorf("%w: %d bytes, at most %d", ErrTooManyBytes, n, l.MaxBytes))
	}
}

// BlockLen returns the length in bytes of the header block ("NATS/1.0", a line
// for each value, a blank line) with every header of c in it, whatever its
// subjects; 0 without headers.
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
			f.add("", fmt.Errorf("header_permissions.%s.allow: %w: %s", kind, ErrPattern, quote(p)))
		}
	}
}

// empty tells whether c says nothing, which is the same as no claim.
func (c *Claim) empty() bool {
	return c == nil || len(c.Headers)+len(c.Publish)+len(c.Subscribe) == 0
}
