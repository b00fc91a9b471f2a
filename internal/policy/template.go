package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"stamp.example/claim"
)

// Faults of a template.
var (
	ErrTemplateFunction = errors.New("unknown template function")
	ErrTemplateBraces   = errors.New("template function must be between {{ and }}")
	ErrTemplateEmpty    = errors.New("template function has no value for this user")
	ErrTemplateLines    = errors.New("template results in too many header lines")
	ErrTemplateTags     = errors.New("templates use too many different tags")
	ErrTemplateBytes    = errors.New("templates result in more bytes than a header block can have")
	ErrTemplateSubject  = errors.New("subjects of a header cannot have template functions")
)

// maxTagNames is how many different x the templates of a connection may use in
// {{tag(x)}}, and how many in {{account-tag(x)}}. Each takes a search through all tags.
const maxTagNames = 128

// maxTemplateLines is how many header lines one value of a template may result in.
const maxTemplateLines = 64

// Vars are the values of the template functions for one connection. Each function is
// named after its field, such as {{client-ip()}} after ClientIP, and {{tag(x)}} and
// {{account-tag(x)}} after Tags and AccountTags. An empty field means that the
// function has no value. The first six are also functions of the permissions of a
// scope (upstream, auth.go, processUserPermissionsTemplate).
type Vars struct {
	Name, Subject               string
	AccountName, AccountSubject string
	Tags, AccountTags           []string // each "name:value"

	ClientIP, ClientID   string
	ConnectionType       string // "nats", "mqtt", "websocket" or "leafnode"
	ServerName, ServerID string
	TLSSubject           string // of the verified client certificate, in the form of RFC 2253
}

// functions are the template functions without an argument.
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

// part is a part of a template.
type part struct {
	text   string // for a call, what is between its braces
	isCall bool   // of a function
}

// blanks may surround a call within its braces, as in upstream.
const blanks = " \t\n\f\r"

// splitTemplate splits a template into its parts. No part is empty text.
//
// A missing brace is an error, since otherwise every message would have the text of
// the call: "{{" without a call after it, and "}}" after what reads as a call. Other
// braces are text, since values may be JSON. The cost is linear in the length of
// template.
func splitTemplate(template string) ([]part, error) {
	var parts []part
	rest := template
	// The value may be secret, so the error gives the place only.
	braceFault := func(at int) error {
		return fmt.Errorf("%w: byte %d of the value", ErrTemplateBraces, len(template)-len(rest)+at+1)
	}
	addText := func(text string) error {
		if text == "" {
			return nil
		}
		parts = append(parts, part{text: text})
		if at := findUnopenedCall(text); at >= 0 {
			return braceFault(at)
		}
		return nil
	}
	for {
		at := strings.Index(rest, "{{")
		if at < 0 {
			return parts, addText(rest)
		}
		if strings.HasPrefix(rest[at+2:], "{") {
			at++ // the last two of three braces begin the call
		}
		if err := addText(rest[:at]); err != nil {
			return nil, err
		}
		call := rest[at+2:]
		end := strings.IndexAny(call, "{}")
		if end < 0 || !strings.HasPrefix(call[end:], "}}") {
			return nil, braceFault(at)
		}
		parts = append(parts, part{strings.Trim(call[:end], blanks), true})
		rest = call[end+2:]
	}
}

// findUnopenedCall returns the index of a function call that has "}}" after it, in a
// text without "{{", or -1 if there is none.
func findUnopenedCall(text string) int {
	for from := 0; ; {
		before, _, found := strings.Cut(text[from:], "}}")
		if !found {
			return -1
		}
		// The function's name ends at the last bracket. What is before the name is text.
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

// isNameByte reports whether c may be in the name of a function.
func isNameByte(c byte) bool { return c == '-' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// shorten cuts a call for an error.
func shorten(text string) string {
	const maxLen = 64 // bytes
	if len(text) <= maxLen {
		return text
	}
	return strings.ToValidUTF8(text[:maxLen], "") + "..."
}

// expand returns a copy of the template tmpl in which the function calls are replaced
// by their values. It checks the result, since the name or a tag of a user need not
// be a valid header value.
func expand(tmpl *claim.Claim, v Vars, l claim.Limits) (*claim.Claim, error) {
	if tmpl == nil {
		return nil, nil
	}
	out := &claim.Claim{Publish: tmpl.Publish, Subscribe: tmpl.Subscribe}
	var faults claim.Errors
	x := newExpansion(v)
	for _, h := range tmpl.Headers {
		e, err := x.expandHeader(h)
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

// usesAccount reports whether a template has a function of the account, such as
// {{account-name()}}.
func usesAccount(tmpl *claim.Claim) bool {
	if tmpl == nil {
		return false
	}
	for _, h := range tmpl.Headers {
		for _, v := range h.Values {
			parts, err := splitTemplate(v)
			if err != nil {
				return true // it cannot be told
			}
			for _, p := range parts {
				if p.isCall && strings.HasPrefix(strings.ToLower(p.text), "account-") {
					return true
				}
			}
		}
	}
	return false
}

// expansion expands the templates of one connection.
type expansion struct {
	vars              Vars
	bytesLeft         int // how long the values that are still to come may be
	tags, accountTags tagFinder
}

func newExpansion(v Vars) *expansion {
	return &expansion{vars: v, bytesLeft: claim.MaxLimits.MaxBytes, tags: tagFinder{tags: v.Tags}, accountTags: tagFinder{tags: v.AccountTags}}
}

func (x *expansion) expandHeader(h claim.Header) (claim.Header, error) {
	e := claim.Header{Name: h.Name, Subjects: h.Subjects}
	for _, s := range h.Subjects {
		if strings.Contains(s, "{{") {
			return e, ErrTemplateSubject
		}
	}
	for _, value := range h.Values {
		lines, err := x.expandValue(value)
		if err != nil {
			return e, err
		}
		e.Values = append(e.Values, lines...)
	}
	return e, nil
}

// expandValue returns one value for each combination of the tags in a template, and
// subtracts their lengths from x.bytesLeft. It computes the lengths before it writes
// anything, since names and tags may have any length. The cost is linear in the
// length of the template and of the result.
func (x *expansion) expandValue(template string) ([]string, error) {
	parts, err := splitTemplate(template)
	if err != nil {
		return nil, err
	}
	choices := make([][]string, len(parts)) // the values of each part
	count := 1
	for i, p := range parts {
		choices[i] = []string{p.text}
		if p.isCall {
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
			if x.bytesLeft -= len(v) * (count / len(values)); x.bytesLeft < 0 {
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

// combination returns the i-th of count combinations of choices. From one to the
// next the last choice changes, as with the digits of a number.
func combination(choices [][]string, count, i int) string {
	size := 0
	eachChosen(choices, count, i, func(v string) { size += len(v) })
	var b strings.Builder
	b.Grow(size)
	eachChosen(choices, count, i, func(v string) { b.WriteString(v) })
	return b.String()
}

// eachChosen calls do with the value that combination i takes of each choice.
func eachChosen(choices [][]string, count, i int, do func(string)) {
	for _, values := range choices {
		count /= len(values)
		do(values[i/count])
		i %= count
	}
}

var errTooManyLines = fmt.Errorf("%w: more than %d", ErrTemplateLines, maxTemplateLines)

// call returns the values of one function call. It is an error if there are none, or
// if one is empty: a receiver could take an empty header for a missing one.
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
		return nil, fmt.Errorf("%w: %q", ErrTemplateEmpty, shorten(fn))
	}
	return values, nil
}

// parseCall returns the name, in lower case, and the argument of a function call. It
// returns an error if there is no such function.
func parseCall(fn string) (name, arg string, err error) {
	name, arg, ok := strings.Cut(strings.TrimSuffix(fn, ")"), "(")
	name = strings.ToLower(name)
	takesArg := name == "tag" || name == "account-tag"
	if _, known := functions[name]; !ok || !strings.HasSuffix(fn, ")") || !known && !takesArg || takesArg != (arg != "") {
		return "", "", fmt.Errorf("%w: %s", ErrTemplateFunction, describeCall(fn, name))
	}
	return name, arg, nil
}

// describeCall describes what is not a call of a function, for an error. name is what
// should be the function's name. The text may be a secret with braces in it, so only a
// name is quoted.
func describeCall(fn, name string) string {
	switch _, known := functions[name]; {
	case known:
		return fmt.Sprintf("%s is written {{%s()}}", name, name)
	case name == "tag" || name == "account-tag":
		return fmt.Sprintf("%s is written {{%s(x)}}, where x is the name of a tag", name, name)
	case isFunctionName(name) && strings.HasPrefix(fn[len(name):], "(") && strings.HasSuffix(fn, ")"):
		return fmt.Sprintf("%s(...)", name)
	}
	return fmt.Sprintf("expected a call such as {{name()}}; found %d bytes that are not one", len(fn))
}

// isFunctionName reports whether text looks like the name of a function.
func isFunctionName(text string) bool {
	const maxLen = 32 // bytes
	for i := range len(text) {
		if !isNameByte(text[i]) && text[i] != '_' {
			return false
		}
	}
	return text != "" && len(text) <= maxLen
}

// CheckTemplates returns the faults in the templates of a configured user that no
// connection can avoid.
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

// checkTemplate returns the first fault in the templates of one header that no
// connection can avoid.
func checkTemplate(h claim.Header) error {
	for _, value := range h.Values {
		parts, err := splitTemplate(value)
		for _, p := range parts {
			if p.isCall && err == nil {
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

// tagFinder finds the values of tags. It searches the tags once for each name.
type tagFinder struct {
	tags     []string            // each "name:value"; jwt/v2 keeps them in lower case
	searched map[string][]string // the values of each name that was searched, by its lower case
}

// find returns the values of the tags with the given name, in the order of the tags.
func (t *tagFinder) find(name string) ([]string, error) {
	name = strings.ToLower(name)
	if values, ok := t.searched[name]; ok {
		return values, nil
	}
	if len(t.searched) == maxTagNames {
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
	if t.searched == nil {
		t.searched = map[string][]string{}
	}
	t.searched[name] = values
	return values, nil
}
