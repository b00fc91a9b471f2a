// Package conf reads a block of NATS configuration into a struct. It is strict: an
// unknown field, a field of the wrong type and a missing field are faults. It
// reports all faults at once, each with its file, line and column:
//
//	var cfg struct {
//		Bucket string        `conf:"bucket,required"`
//		Wait   time.Duration `conf:"wait"`
//	}
//	var faults conf.Faults
//	node.Decode(&cfg, &faults)
//	return faults.Err() // server.conf:7:3: wait: expected a duration in quotes, such as "5m"; found a number
package conf

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/conf"
)

// Node is a value of the configuration, with its place. The zero Node is an absent
// value.
type Node struct {
	value  any // string, bool, int64, float64, time.Time, []any or map[string]any
	place  Place
	before any // what the same field of the same block had before, which the parser drops; or nil
}

// Place is a place in the configuration. The zero Place is an unknown one.
type Place struct {
	File         string // empty if the configuration is not from a file
	Line, Column int    // from 1; Column counts bytes, and is 0 if the parser does not give it
}

func (p Place) String() string {
	file := p.File
	if file == "" {
		file = "configuration"
	}
	return fmt.Sprintf("%s:%d:%d", file, p.Line, p.Column)
}

// compare orders places by file, line and column.
func (p Place) compare(q Place) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}

// Fault is one fault of a configuration.
type Fault struct {
	Place Place
	Text  string
}

func (f *Fault) Error() string { return f.Place.String() + ": " + f.Text }

// Faults collects the faults of a configuration. Its zero value is empty and ready for use.
type Faults struct{ list []*Fault }

// Add adds a fault at the place of n. Neither format nor args may hold a secret.
func (f *Faults) Add(n Node, format string, args ...any) {
	f.list = append(f.list, &Fault{n.place, fmt.Sprintf(format, args...)})
}

// AddAt adds a fault at p, the place of a Node that is no longer at hand.
func (f *Faults) AddAt(p Place, format string, args ...any) {
	f.list = append(f.list, &Fault{p, fmt.Sprintf(format, args...)})
}

// Err returns all faults as one error, or nil if there are none. The error has one
// line for each fault, in the order of the file.
func (f *Faults) Err() error {
	slices.SortStableFunc(f.list, func(a, b *Fault) int { return a.Place.compare(b.Place) })
	errs := make([]error, len(f.list))
	for i, fault := range f.list {
		errs[i] = fault
	}
	return errors.Join(errs...)
}

// token is how upstream's parser wraps a value (conf/parse.go). The type is private
// there, but its methods are exported.
type token interface {
	Value() any
	Line() int
	Position() int
	SourceFile() string
	Replaced() any
}

// NodeOf returns the Node for a value that upstream's parser returned with tokens.
func NodeOf(v any) Node {
	t, ok := v.(token)
	if !ok {
		return Node{value: v}
	}
	column := t.Position()
	if t.Line() == 1 {
		column++ // the lexer counts from the newline before, which the first line does not have
	}
	n := Node{value: t.Value(), place: Place{t.SourceFile(), t.Line(), column}}
	if before := t.Replaced(); !isVariable(t) || !isVariable(before) {
		n.before = before
	}
	return n
}

// ParseFile reads a file in NATS configuration syntax. It follows includes and
// replaces variables.
func ParseFile(file string) (Node, error) {
	if err := checkIncludes(file); err != nil {
		return Node{}, err
	}
	m, err := conf.ParseFileWithChecks(file)
	if err != nil {
		return Node{}, ParseError(file, err)
	}
	return Node{value: m, place: Place{File: file, Line: 1, Column: 1}}, nil
}

// ParseError adds the file to an error of the parser, and a hint to an error that
// does not say what to do. The error of a file that cannot be read names it already.
func ParseError(file string, err error) error {
	if unread := (*fs.PathError)(nil); errors.As(err, &unread) {
		return err
	}
	text, _ := ReadFile(file) // if that fails, the hint is the general one
	return fmt.Errorf("%s: %w%s", file, err, parseHint(err.Error(), text))
}

// numberAtEnd matches a number that ends a list. The parser takes ] for a part of the number.
var numberAtEnd = regexp.MustCompile(`\d\]`)

var missingVariable = regexp.MustCompile(`variable reference for '(.*)' on line \d+ can not be found`)

// parseHint returns a hint for an error of the parser about a file, or nothing. The parser takes
// [401, 404] for an array without an end.
func parseHint(text string, file []byte) string {
	if name := missingVariable.FindStringSubmatch(text); name != nil {
		return "\nhint: set the environment variable " + name[1]
	}
	switch {
	case strings.Contains(text, `map terminator "}"`):
		return "\nhint: put a comma or a line break between the fields of a block"
	case !strings.Contains(text, `array terminator "]"`):
		return ""
	case !strings.Contains(text, "but got '{'") && numberAtEnd.Match(file):
		return "\nhint: put a space between a number and ], as in [401, 404 ]"
	}
	return "\nhint: put a comma or a line break between the elements of a list, and ] at its end"
}

// ParseString reads text in NATS configuration syntax.
func ParseString(text string) (Node, error) {
	m, err := conf.ParseWithChecks(text)
	if err != nil {
		return Node{}, err
	}
	return Node{value: m, place: Place{Line: 1, Column: 1}}, nil
}

// IsZero reports whether n is absent.
func (n Node) IsZero() bool { return n.value == nil }

// Place returns the place of n.
func (n Node) Place() Place { return n.place }

// Get returns the field of the block n with the given name. If there is none, it
// returns an absent Node. The case of names is ignored, but the exact name goes first,
// and of others the one that stands first in the file.
func (n Node) Get(name string) Node {
	m, _ := n.value.(map[string]any)
	if v, ok := m[name]; ok {
		return n.child(v)
	}
	var found []Node
	for k, v := range m {
		if strings.EqualFold(k, name) {
			found = append(found, n.child(v))
		}
	}
	if len(found) == 0 {
		return Node{}
	}
	return slices.MinFunc(found, func(a, b Node) int { return a.place.compare(b.place) })
}

// Items returns the elements of the array n. A single value counts as an array of one.
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

// Fields returns the fields of the block n by name, or nil if n is not a block.
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

// Plain returns the value of n without places. Its type is the one that
// encoding/json decodes into any, except that whole numbers are int64.
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

// child returns the Node for a value within n. It has the place of n if its own is
// unknown.
func (n Node) child(v any) Node {
	c := NodeOf(v)
	if c.place == (Place{}) {
		c.place = n.place
	}
	return c
}
