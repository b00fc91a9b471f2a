package grant

import (
	"errors"
	"fmt"
	"strings"
)

// template is a text with expressions between {{ and }}.
type template struct {
	pieces []piece
	rule   rule     // for the values of the expressions
	fixed  []string // the text, if the template has no expression; else nil
}

// piece is a part of a template: a text, or an expression.
type piece struct {
	text        string
	*expression // nil: text
}

// rule returns why a value must not be put into the template, or "" if it may. first is
// set if the text begins with the value.
type rule func(value string, first bool) string

// maxValues is how many texts one field of a grant may give, if expressions in it give
// lists.
const maxValues = 1000

var (
	errOpen  = errors.New("{{ is not closed by }}")
	errClose = errors.New("}} without {{ before it")
)

// parseTemplate reads a template whose expressions give values that obey the rule.
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

// closing returns the index of the }} that ends an expression, or -1 if there is none. It
// skips a }} in a string, and one that closes nested maps.
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

// static reports whether the template has no expression.
func (t *template) static() bool {
	for _, p := range t.pieces {
		if p.expression != nil {
			return false
		}
	}
	return true
}

// sample returns the template with the letter x in place of each expression.
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

// any reports whether the uses of any expression have a property.
func (t *template) any(has func(uses) bool) bool {
	for _, p := range t.pieces {
		if p.expression != nil && has(p.uses) {
			return true
		}
	}
	return false
}

// evalOne returns the text of a template that must give one. An expression must not give
// a list, not even one with a single element, because the field would fail once the
// list has two.
func (t *template) evalOne(m *machine) (text, reason string) {
	values, reason := t.evalTexts(m, true)
	if reason != "" {
		return "", reason
	}
	return values[0], ""
}

// evalAll returns the texts of a template. If an expression gives a list, there is a text
// for each element; with several lists, for each combination of elements.
func (t *template) evalAll(m *machine) (texts []string, reason string) { return t.evalTexts(m, false) }

// evalTexts is evalOne if single is set, and evalAll otherwise.
func (t *template) evalTexts(m *machine, single bool) (texts []string, reason string) {
	if t.fixed != nil {
		return t.fixed, ""
	}
	if len(t.pieces) == 1 {
		return t.evalPiece(m, 0, single)
	}
	texts = []string{""}
	for i, p := range t.pieces {
		if p.expression == nil {
			for j := range texts {
				texts[j] += p.text
			}
			continue
		}
		values, reason := t.evalPiece(m, i, single)
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

// size returns the total length of the texts in bytes.
func size(texts []string) int {
	n := 0
	for _, text := range texts {
		n += len(text)
	}
	return n
}

var tooMany = fmt.Sprintf("gives more than %d values", maxValues)

// evalPiece returns the values of the expression in piece i, which obey the rule. If
// single is set, there is exactly one.
func (t *template) evalPiece(m *machine, i int, single bool) ([]string, string) {
	e := t.pieces[i].expression
	v, reason := e.run(m)
	if reason != "" {
		return nil, reason
	}
	if single && isList(v) {
		return nil, e.source + " is a list; expected one value"
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
