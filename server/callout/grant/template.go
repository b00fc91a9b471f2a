package grant

import (
	"errors"
	"fmt"
	"strings"
)

// template is text with expressions between {{ and }} in it.
type template struct {
	pieces []piece
	rule   rule
	fixed  []string // what it gives when no expression is in it
}

// piece is one part of a template: text, or an expression.
type piece struct {
	text string
	*expression
}

// rule tells why a value may not be put in a template's place; "" when it may.
// first is set where the value begins the text.
type rule func(value string, first bool) string

// maxValues is how many texts one field of a grant may give, when lists are put
// into its templates.
const maxValues = 1000

var (
	errOpen  = errors.New("{{ is not closed by }}")
	errClose = errors.New("}} without {{ before it")
)

// parseTemplate reads a template. The rule is for what its expressions give.
func parseTemplate(text string, r rule) (*template, error) {
	t := &template{rule: r}
	for rest := text; rest != ""; {
		literal, after, found := strings.Cut(rest, "{{")
		if strings.Contains(literal, "}}") {
			return nil, errClose
		}
		if literal != "" {
			t.pieces = append(t.pieces, piece{text: literal})
		}
		if !found {
			break
		}
		end := closing(after)
		if end < 0 {
			return nil, errOpen
		}
		e, err := compile(after[:end])
		if err != nil {
			return nil, fmt.Errorf("{{%s}}: %w", after[:end], err)
		}
		t.pieces = append(t.pieces, piece{expression: e})
		rest = after[end+len("}}"):]
	}
	if t.static() {
		t.fixed = []string{text}
	}
	return t, nil
}

// closing returns where the }} is that ends an expression; -1: nowhere. One in a
// string, or of a map in a map, does not.
func closing(text string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0:
			if c == '\\' && quote != '`' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"', c == '\'', c == '`':
			quote = c
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		case strings.HasPrefix(text[i:], "}}"):
			return i
		}
	}
	return -1
}

// static tells whether there is no expression in the template.
func (t *template) static() bool {
	for _, p := range t.pieces {
		if p.expression != nil {
			return false
		}
	}
	return true
}

// sample is the template with a letter for each expression.
func (t *template) sample() string {
	var b strings.Builder
	for _, p := range t.pieces {
		if p.expression != nil {
			b.WriteByte('x')
		}
		b.WriteString(p.text)
	}
	return b.String()
}

// any tells whether an expression of the template has a property.
func (t *template) any(has func(uses) bool) bool {
	for _, p := range t.pieces {
		if p.expression != nil && has(p.uses) {
			return true
		}
	}
	return false
}

// one returns the text of a template that gives one. A list is refused, also one of a single element:
// it would work until it had a second one.
func (t *template) one(m *machine) (text, reason string) {
	values, reason := t.texts(m, true)
	if reason != "" {
		return "", reason
	}
	return values[0], ""
}

// all returns the texts of a template: one, unless an expression gives a list;
// then one for each of its elements, and with several such lists for each combination.
func (t *template) all(m *machine) (texts []string, reason string) { return t.texts(m, false) }

// texts is all, or with single refuses lists.
func (t *template) texts(m *machine, single bool) (texts []string, reason string) {
	if t.fixed != nil {
		return t.fixed, ""
	}
	if len(t.pieces) == 1 {
		return t.eval(m, 0, single)
	}
	texts = []string{""}
	for i, p := range t.pieces {
		if p.expression == nil {
			for j := range texts {
				texts[j] += p.text
			}
			continue
		}
		values, reason := t.eval(m, i, single)
		if reason != "" {
			return nil, reason
		}
		if texts, reason = combine(texts, values); reason != "" {
			return nil, reason
		}
	}
	return texts, ""
}

// combine appends each value to each text.
func combine(texts, values []string) ([]string, string) {
	if len(texts)*len(values) > maxValues {
		return nil, tooMany
	}
	if len(texts)*size(values)+len(values)*size(texts) > maxText {
		return nil, fmt.Sprintf("gives more than %d bytes", maxText)
	}
	out := make([]string, 0, len(texts)*len(values))
	for _, text := range texts {
		for _, value := range values {
			out = append(out, text+value)
		}
	}
	return out, ""
}

// size is how long the texts are in all, in bytes.
func size(texts []string) int {
	n := 0
	for _, text := range texts {
		n += len(text)
	}
	return n
}

var tooMany = fmt.Sprintf("gives more than %d values", maxValues)

// eval returns the values of one expression, each found fit to be there. With single, it is one.
func (t *template) eval(m *machine, i int, single bool) ([]string, string) {
	e := t.pieces[i].expression
	v, reason := e.run(m)
	if reason != "" {
		return nil, reason
	}
	if single && isList(v) {
		return nil, e.source + " is a list, and one value is needed"
	}
	values, reason := outputs(v)
	if reason == "" && len(values) > maxValues {
		reason = "has more than " + fmt.Sprint(maxValues) + " elements"
	}
	for j := 0; j < len(values) && reason == ""; j++ {
		reason = t.rule(values[j], i == 0)
	}
	if reason != "" {
		return nil, e.source + " " + reason
	}
	return values, ""
}
