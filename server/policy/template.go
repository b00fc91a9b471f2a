package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"stamp/server/claim"
)

// Faults of a template.
var (
	ErrTemplateFunction = errors.New("unknown template function")
	ErrTemplateEmpty    = errors.New("template function has no value for this user")
	ErrTemplateLines    = errors.New("template gives too many lines")
	ErrTemplateBytes    = errors.New("template gives more bytes than a header block can have")
	ErrTemplateSubject  = errors.New("subjects of a header cannot be templates")
)

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

// templateCall is one call, with the blanks around it that upstream allows too.
var templateCall = regexp.MustCompile(`\{\{\s*([^{}]*?)\s*\}\}`)

// expand returns a copy of the template tmpl with its calls replaced. The result
// is checked again, because names and tags are not made to be header values.
func expand(tmpl *claim.Claim, v Vars, l claim.Limits) (*claim.Claim, error) {
	if tmpl == nil {
		return nil, nil
	}
	out := &claim.Claim{Publish: tmpl.Publish, Subscribe: tmpl.Subscribe}
	var faults claim.Errors
	room := claim.MaxLimits.MaxBytes
	for _, h := range tmpl.Headers {
		e, err := v.expandHeader(h, &room)
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
			for _, call := range templateCall.FindAllStringSubmatch(v, -1) {
				if strings.HasPrefix(strings.ToLower(call[1]), "account-") {
					return true
				}
			}
		}
	}
	return false
}

// expandHeader takes the bytes of its values off room.
func (v Vars) expandHeader(h claim.Header, room *int) (claim.Header, error) {
	e := claim.Header{Name: h.Name, Subjects: h.Subjects}
	for _, s := range h.Subjects {
		if strings.Contains(s, "{{") {
			return e, ErrTemplateSubject
		}
	}
	for _, value := range h.Values {
		lines, err := v.expandValue(value, *room)
		if err != nil {
			return e, err
		}
		for _, line := range lines {
			*room -= len(line)
		}
		e.Values = append(e.Values, lines...)
	}
	return e, nil
}

// expandValue returns one line for each combination of the tags in value. It stops when they have more bytes than
// room: names and tags are as long as somebody likes.
func (v Vars) expandValue(value string, room int) ([]string, error) {
	lines := []string{""}
	for {
		at := templateCall.FindStringSubmatchIndex(value)
		if at == nil {
			return combine(lines, []string{value}, room)
		}
		found, err := v.call(value[at[2]:at[3]])
		if err != nil {
			return nil, err
		}
		if lines, err = combine(lines, []string{value[:at[0]]}, room); err != nil {
			return nil, err
		}
		if lines, err = combine(lines, found, room); err != nil {
			return nil, err
		}
		value = value[at[1]:]
	}
}

func combine(lines, ends []string, room int) ([]string, error) {
	if len(lines)*len(ends) > maxTemplateLines {
		return nil, fmt.Errorf("%w: more than %d", ErrTemplateLines, maxTemplateLines)
	}
	out := make([]string, 0, len(lines)*len(ends))
	for _, line := range lines {
		for _, end := range ends {
			if room -= len(line) + len(end); room < 0 {
				return nil, ErrTemplateBytes
			}
			out = append(out, line+end)
		}
	}
	return out, nil
}

// call returns the values of one function. None is an error: an empty header
// could pass for a missing one.
func (v Vars) call(fn string) ([]string, error) {
	name, arg, err := parseCall(fn)
	if err != nil {
		return nil, err
	}
	var values []string
	switch name {
	case "tag":
		values = tagged(v.Tags, arg)
	case "account-tag":
		values = tagged(v.AccountTags, arg)
	default:
		values = []string{functions[name](v)}
	}
	if len(values) == 0 || slices.Contains(values, "") {
		return nil, fmt.Errorf("%w: %q", ErrTemplateEmpty, fn)
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
		return "", "", fmt.Errorf("%w: %q", ErrTemplateFunction, fn)
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
		for _, call := range templateCall.FindAllStringSubmatch(value, -1) {
			if _, _, err := parseCall(call[1]); err != nil {
				return &claim.Error{Header: h.Name, Err: err}
			}
		}
	}
	for _, s := range h.Subjects {
		if strings.Contains(s, "{{") {
			return &claim.Error{Header: h.Name, Err: ErrTemplateSubject}
		}
	}
	return nil
}

// tagged returns the values of the tags with the given name. jwt/v2 keeps tags
// in lower case.
func tagged(tags []string, name string) []string {
	var values []string
	for _, t := range tags {
		if v, ok := strings.CutPrefix(t, strings.ToLower(name)+":"); ok {
			values = append(values, v)
		}
	}
	return values
}
