// Package conf reads a block of NATS configuration into a struct, strictly: a
// field that is not known, has the wrong form, or is missing is a fault with its
// line and column, and all faults are reported at once.
package conf

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/conf"
)

// Node is a value of the configuration and where it stands. Its zero value is
// an absent one.
type Node struct {
	value any // string, bool, int64, float64, time.Time, []any, map[string]any
	place Place
}

// Place is where something stands. Column counts bytes from 1; it is 0 where the
// parser does not tell.
type Place struct {
	File         string
	Line, Column int
}

func (p Place) String() string {
	file := p.File
	if file == "" {
		file = "configuration"
	}
	return fmt.Sprintf("%s:%d:%d", file, p.Line, p.Column)
}

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	Place Place
	Text  string
}

func (f *Fault) Error() string { return f.Place.String() + ": " + f.Text }

// Faults collects what is wrong. The zero value is ready.
type Faults struct{ list []*Fault }

// Add adds a fault at the place of n.
func (f *Faults) Add(n Node, format string, args ...any) {
	f.list = append(f.list, &Fault{n.place, fmt.Sprintf(format, args...)})
}

// AddAt adds a fault at a place that was kept.
func (f *Faults) AddAt(p Place, format string, args ...any) {
	f.list = append(f.list, &Fault{p, fmt.Sprintf(format, args...)})
}

// Err returns all faults as one error, a line each in the order of the file; nil
// when there are none.
func (f *Faults) Err() error {
	slices.SortStableFunc(f.list, func(a, b *Fault) int {
		return cmp.Or(
			cmp.Compare(a.Place.File, b.Place.File), cmp.Compare(a.Place.Line, b.Place.Line),
			cmp.Compare(a.Place.Column, b.Place.Column),
		)
	})
	errs := make([]error, len(f.list))
	for i, fault := range f.list {
		errs[i] = fault
	}
	return errors.Join(errs...)
}

// token is what upstream's parser puts round a value (conf/parse.go). Its type
// is private, its methods are not.
type token interface {
	Value() any
	Line() int
	Position() int
	SourceFile() string
}

// From makes a Node of a value as upstream's parser gives it, with tokens.
func From(v any) Node {
	t, ok := v.(token)
	if !ok {
		return Node{value: v}
	}
	column := t.Position()
	if t.Line() == 1 {
		column++ // the lexer counts from the newline before
	}
	return Node{t.Value(), Place{t.SourceFile(), t.Line(), column}}
}

// ParseFile reads a file in NATS configuration syntax, with its includes and
// variables.
func ParseFile(file string) (Node, error) {
	if _, err := os.Stat(file); err != nil {
		return Node{}, err
	}
	m, err := conf.ParseFileWithChecks(file)
	if err != nil {
		return Node{}, parseError(file, err)
	}
	return Node{m, Place{File: file, Line: 1, Column: 1}}, nil
}

// parseError adds to an error of the parser what it does not say: the file, and why it takes [401, 404] for an array
// without an end.
func parseError(file string, err error) error {
	hint := ""
	if strings.Contains(err.Error(), `array terminator "]"`) {
		hint = "\nhint: put a space between a number and ], as in [401, 404 ]"
	}
	return fmt.Errorf("%s: %w%s", file, err, hint)
}

// ParseString reads text in NATS configuration syntax.
func ParseString(text string) (Node, error) {
	m, err := conf.ParseWithChecks(text)
	if err != nil {
		return Node{}, err
	}
	return Node{m, Place{Line: 1, Column: 1}}, nil
}

// IsZero tells whether n is absent.
func (n Node) IsZero() bool { return n.value == nil }

// Place returns where n stands.
func (n Node) Place() Place { return n.place }

// Get returns the field of a block; an absent Node when n has none of that name.
func (n Node) Get(name string) Node {
	m, _ := n.value.(map[string]any)
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return n.child(v)
		}
	}
	return Node{}
}

// Items returns the elements of an array; a single value is an array of one.
func (n Node) Items() []Node {
	switch v := n.value.(type) {
	case nil:
		return nil
	case []any:
		out := make([]Node, len(v))
		for i, e := range v {
			out[i] = n.child(e)
		}
		return out
	}
	return []Node{n}
}

// Fields returns the fields of a block by name.
func (n Node) Fields() map[string]Node {
	m, ok := n.value.(map[string]any)
	if !ok {
		return nil
	}
	out := make(map[string]Node, len(m))
	for k, v := range m {
		out[k] = n.child(v)
	}
	return out
}

// Plain returns the value without places, as encoding/json would give it but for
// int64.
func (n Node) Plain() any {
	switch v := n.value.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = n.child(e).Plain()
		}
		return m
	case []any:
		a := make([]any, len(v))
		for i, e := range v {
			a[i] = n.child(e).Plain()
		}
		return a
	}
	return n.value
}

// child is a value inside n, which lends it its place when it has none.
func (n Node) child(v any) Node {
	c := From(v)
	if c.place == (Place{}) {
		c.place = n.place
	}
	return c
}
