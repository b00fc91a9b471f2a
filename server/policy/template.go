package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"stamp/server/claim"
)

// Faults of a template.
var (
	ErrTemplateFunction = errors.New("unknown template function")
	ErrTemplateBraces   = errors.New("template call is not between {{ and }}")
	ErrTemplateEmpty    = errors.New("template function has no value for this user")
	ErrTemplateLines    = errors.New("template gives too many lines")
	ErrTemplateTags     = errors.New("template names too many different tags")
	ErrTemplateBytes    = errors.New("template gives more bytes than a header block can have")
	ErrTemplateSubject  = errors.New("subjects of a header cannot be templates")
)

// maxTagNames is how many different tags of the user, and of the account, the templates of a connection may name. For
// each all tags are looked at.
const maxTagNames = 128

// maxTemplateLines is how many lines the tags of one value may give.
const maxTemplateLines = 64

// Vars are what the functions of a template stand for; an empty one has no value for the
// connection. The first six are those of the permissions in a scope: {{name()}},
// {{subject()}}, {{account-name()}}, {{account-subject()}}, {{tag(x)}} and
// {{account-tag(x)}} (upstream, auth.go, processUserPermissionsTemplate). Those of the
// connection are called after their fields, as {{client-ip()}}.
type Vars struct {
	Name, Subject               string
	AccountName, AccountSubject string
	Tags, AccountTags           []string // each "name:value"

	ClientIP, ClientID   string
	ConnectionType       string // "nats", "mqtt", "websocket" or "leafnode"
	ServerName, ServerID string
	TLSSubject           string // RFC 2253, of a certificate that was verified
}

// functions are those without an argument.
var functions = map[string]func(Vars) string{
	"name":            func(v Vars) string { return v.Name },
	"subject":         func(v Vars) string { return v.Subject },
	"account-name":    func(v Vars) string { return v.AccountName },
	"account-subject": func(v Vars) string { return v.AccountSubject },
	"client-ip":       func(v Vars) string { return v.ClientIP },
	"client-id":       func(v Vars) string { return v.ClientID },
	"connection-type": func(v Vars) string { return v.ConnectionType },
	"server-name":     func(v Vars) string { return v.ServerName },
	"server-id":       func(v Vars) string { return v.ServerID },
	"tls-subject":     func(v Vars) string { return v.TLSSubject },
}

// part is a piece of a template: text, or a call as it is written between its braces.
type part struct {
	text string
	call bool
}

// blanks are what may stand around a call within its braces, as in upstream.
const blanks = " \t\n\f\r"

// parts cuts a template into its pieces, of which none is empty text. "{{" that begins no call is an error, and so
// is "}}" after what reads as a call: a missing brace would put the text of the call into every message. Other
// braces are text: values may be JSON. The cost is linear in template.
func parts(template string) ([]part, error) {
	var out []part
	value := template // what is left of it
	// A value may be secret, so the error tells the place alone.
	broken := func(rest string) error {
		return fmt.Errorf("%w: byte %d of the value", ErrTemplateBraces, len(template)-len(rest)+1)
	}
	text := func(s string) error {
		if s == "" {
			return nil
		}
		out = append(out, part{text: s})
		if at := unopened(s); at >= 0 {
			return broken(value[at:])
		}
		return nil
	}
	for {
		at := strings.Index(value, "{{")
		if at < 0 {
			return out, text(value)
		}
		if strings.HasPrefix(value[at+2:], "{") {
			at++ // of three braces the last two begin the call
		}
		if err := text(value[:at]); err != nil {
			return nil, err
		}
		rest := value[at+2:]
		end := strings.IndexAny(rest, "{}")
		if end < 0 || !strings.HasPrefix(rest[end:], "}}") {
			return nil, broken(value[at:])
		}
		out = append(out, part{strings.Trim(rest[:end], blanks), true})
		value = rest[end+2:]
	}
}

// unopened finds a call of a function that has no "{{", before a "}}". It is -1 without one.
func unopened(text string) int {
	for from := 0; ; {
		before, _, found := strings.Cut(text[from:], "}}")
		if !found {
			return -1
		}
		// The name before the last bracket: what stands before it is text.
		open := strings.LastIndexByte(before, '(')
		at := open
		for at > 0 && isNameByte(before[at-1]) {
			at--
		}
		if open >= 0 {
			if _, _, err := parseCall(strings.Trim(before[at:], blanks)); err == nil {
				return from + at
			}
		}
		from += len(before) + len("}}")
	}
}

// isNameByte tells whether the name of a function may have c.
func isNameByte(c byte) bool { return c == '-' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// shortened is the beginning of a call as an error shows it.
func shortened(text string) string {
	const most = 64 // bytes
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// expand returns a copy of the template tmpl with its calls replaced. The result
// is checked again, because names and tags are not made to be header values.
func expand(tmpl *claim.Claim, v Vars, l claim.Limits) (*claim.Claim, error) {
	if tmpl == nil {
		return nil, nil
	}
	out := &claim.Claim{Publish: tmpl.Publish, Subscribe: tmpl.Subscribe}
	var faults claim.Errors
	x := newExpansion(v)
	for _, h := range tmpl.Headers {
		e, err := x.header(h)
		if err != nil {
			faults = append(faults, &claim.Error{Header: h.Name, Err: err})
			continue
		}
		out.Headers = append(out.Headers, e)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	if err := out.Check(l); err != nil {
		return nil, err
	}
	return out, nil
}

// tellsAccount tells whether a template has a call of the account's name or tags.
func tellsAccount(tmpl *claim.Claim) bool {
	if tmpl == nil {
		return false
	}
	for _, h := range tmpl.Headers {
		for _, v := range h.Values {
			pieces, err := parts(v)
			if err != nil {
				return true // nobody knows
			}
			for _, p := range pieces {
				if p.call && strings.HasPrefix(strings.ToLower(p.text), "account-") {
					return true
				}
			}
		}
	}
	return false
}

// expansion makes the values of one connection's headers.
type expansion struct {
	vars              Vars
	room              int // bytes that are left for values
	tags, accountTags tagFinder
}

func newExpansion(v Vars) *expansion {
	return &expansion{vars: v, room: claim.MaxLimits.MaxBytes, tags: tagFinder{tags: v.Tags}, accountTags: tagFinder{tags: v.AccountTags}}
}

func (x *expansion) header(h claim.Header) (claim.Header, error) {
	e := claim.Header{Name: h.Name, Subjects: h.Subjects}
	for _, s := range h.Subjects {
		if strings.Contains(s, "{{") {
			return e, ErrTemplateSubject
		}
	}
	for _, value := range h.Values {
		lines, err := x.value(value)
		if err != nil {
			return e, err
		}
		e.Values = append(e.Values, lines...)
	}
	return e, nil
}

// value returns one line for each combination of the tags in a template, and takes their bytes off x.room. Names and
// tags are as long as somebody likes, so the size is known before anything is written: the cost is linear in the
// template and in what it gives.
func (x *expansion) value(template string) ([]string, error) {
	pieces, err := parts(template)
	if err != nil {
		return nil, err
	}
	// For each piece its values, and how many lines follow each other with the same one of them.
	choices := make([][]string, len(pieces))
	count := 1
	for i, p := range pieces {
		choices[i] = []string{p.text}
		if p.call {
			if choices[i], err = x.call(p.text); err != nil {
				return nil, err
			}
		}
		if count *= len(choices[i]); count > maxTemplateLines {
			return nil, errTooManyLines
		}
	}
	for _, values := range choices {
		for _, v := range values {
			if x.room -= len(v) * (count / len(values)); x.room < 0 {
				return nil, ErrTemplateBytes
			}
		}
	}
	lines := make([]string, count)
	for i := range lines {
		lines[i] = combination(choices, count, i)
	}
	return lines, nil
}

// combination is the i-th of count lines. The last choice changes from line to line, the first one least often.
func combination(choices [][]string, count, i int) string {
	size := 0
	each(choices, count, i, func(v string) { size += len(v) })
	var b strings.Builder
	b.Grow(size)
	each(choices, count, i, func(v string) { b.WriteString(v) })
	return b.String()
}

func each(choices [][]string, count, i int, do func(string)) {
	for _, values := range choices {
		count /= len(values)
		do(values[i/count])
		i %= count
	}
}

var errTooManyLines = fmt.Errorf("%w: more than %d", ErrTemplateLines, maxTemplateLines)

// call returns the values of one function. None is an error: an empty header
// could pass for a missing one.
func (x *expansion) call(fn string) ([]string, error) {
	name, arg, err := parseCall(fn)
	if err != nil {
		return nil, err
	}
	var values []string
	switch name {
	case "tag":
		values, err = x.tags.find(arg)
	case "account-tag":
		values, err = x.accountTags.find(arg)
	default:
		values = []string{functions[name](x.vars)}
	}
	if err != nil {
		return nil, err
	}
	if len(values) == 0 || slices.Contains(values, "") {
		return nil, fmt.Errorf("%w: %q", ErrTemplateEmpty, shortened(fn))
	}
	return values, nil
}

// parseCall returns the name, in lower case, and the argument of a call of a function that
// there is.
func parseCall(fn string) (name, arg string, err error) {
	name, arg, ok := strings.Cut(strings.TrimSuffix(fn, ")"), "(")
	name = strings.ToLower(name)
	takesArg := name == "tag" || name == "account-tag"
	if _, known := functions[name]; !ok || !strings.HasSuffix(fn, ")") || !known && !takesArg || takesArg != (arg != "") {
		return "", "", fmt.Errorf("%w: %q", ErrTemplateFunction, shortened(fn))
	}
	return name, arg, nil
}

// CheckTemplates tells what is wrong with the templates of a user in the configuration,
// whatever the connection.
func CheckTemplates(cl *claim.Claim) error {
	var faults claim.Errors
	for _, h := range cl.Headers {
		if err := checkTemplate(h); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// checkTemplate tells what is wrong with the values of a template whatever the connection.
func checkTemplate(h claim.Header) error {
	for _, value := range h.Values {
		pieces, err := parts(value)
		for _, p := range pieces {
			if p.call && err == nil {
				_, _, err = parseCall(p.text)
			}
		}
		if err != nil {
			return &claim.Error{Header: h.Name, Err: err}
		}
	}
	for _, s := range h.Subjects {
		if strings.Contains(s, "{{") {
			return &claim.Error{Header: h.Name, Err: ErrTemplateSubject}
		}
	}
	return nil
}

// tagFinder finds tags by name, for each name once.
type tagFinder struct {
	tags  []string
	found map[string][]string // by name, in lower case
}

// find returns the values of the tags with the given name, in the order of the tags. jwt/v2 keeps tags in lower case.
func (t *tagFinder) find(name string) ([]string, error) {
	name = strings.ToLower(name)
	if values, known := t.found[name]; known {
		return values, nil
	}
	if len(t.found) == maxTagNames {
		return nil, fmt.Errorf("%w: more than %d", ErrTemplateTags, maxTagNames)
	}
	var values []string
	for _, tag := range t.tags {
		if v, ok := strings.CutPrefix(tag, name+":"); ok {
			if values = append(values, v); len(values) > maxTemplateLines {
				return nil, errTooManyLines
			}
		}
	}
	if t.found == nil {
		t.found = map[string][]string{}
	}
	t.found[name] = values
	return values, nil
}
