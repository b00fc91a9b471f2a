package grant

import (
	"errors"
	"fmt"
	"slices"

	"stamp.example/claim"
	"stamp/internal/conf"
)

// headers are the fields headers and header_permissions of a grant.
type headers struct {
	list  []header     // in the order of claim.Headers
	claim *claim.Claim // with samples in place of expressions; nil: the grant has neither field
	fixed bool         // there is no expression, so that all sessions get claim
}

// header has the templates of one header.
type header struct {
	values   []*template
	subjects subjects
}

// parseHeaders reads the fields headers and header_permissions. Package claim checks
// names, forms and sizes, with a sample letter in place of each expression.
func parseHeaders(n, permissions conf.Node, faults *conf.Faults) headers {
	parsed := map[string]header{}
	sample := map[string]any{}
	for name, field := range n.Fields() {
		value, subjects := field, conf.Node{}
		if field.Fields() != nil {
			value, subjects = field.Get("value"), field.Get("subjects")
		}
		parsed[name] = header{
			values:   headerValues(name, value, faults),
			subjects: headerSubjects(name, subjects, faults),
		}
		sample[name] = withSamples(field.Plain())
		if block, ok := sample[name].(map[string]any); ok && len(parsed[name].subjects.list) < len(subjects.Items()) {
			delete(block, "subjects") // headerSubjects has reported a fault
		}
	}
	var plain any = sample
	if n.Fields() == nil {
		plain = n.Plain() // absent, or of a wrong form, which package claim reports
	}
	c, err := claim.FromConfig(plain, normalizePermissions(permissions.Plain()), claim.MaxLimits)
	if err != nil {
		claimFaults(err, n, permissions, faults)
		return headers{}
	}
	return compose(c, parsed)
}

// compose puts the parsed headers into the order of the claim, which sorts them by name.
func compose(c *claim.Claim, parsed map[string]header) headers {
	h := headers{claim: c, fixed: true}
	if c == nil {
		return h
	}
	for i := range c.Headers {
		one := parsed[c.Headers[i].Name]
		h.list = append(h.list, one)
		h.fixed = h.fixed && one.static()
	}
	return h
}

func (h *header) static() bool {
	dynamic := func(t *template) bool { return !t.static() }
	return !slices.ContainsFunc(h.values, dynamic) && !slices.ContainsFunc(h.subjects.list, dynamic)
}

func headerValues(name string, n conf.Node, faults *conf.Faults) []*template {
	var out []*template
	for _, item := range n.Items() {
		text, ok := item.Plain().(string)
		if !ok {
			continue // package claim reports this
		}
		t, err := parseTemplate(text, checkValue)
		if err != nil {
			faults.Add(item, "headers: %s: %v", name, err)
			continue
		}
		out = append(out, t)
	}
	return out
}

func headerSubjects(name string, n conf.Node, faults *conf.Faults) subjects {
	return parseSubjects("headers: "+name+": subjects", n, false, faults)
}

// withSamples replaces each template in v by its sample.
func withSamples(v any) any {
	switch v := v.(type) {
	case string:
		if t, err := parseTemplate(v, checkValue); err == nil {
			return t.sample()
		}
		return "x" // the fault has been reported
	case []any:
		for i := range v {
			v[i] = withSamples(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = withSamples(v[k])
		}
	}
	return v
}

// normalizePermissions returns header_permissions in the form that package claim reads,
// {publish: {allow: [...]}}. Grants may also have publish: [...] or publish: "...".
func normalizePermissions(v any) any {
	list := func(v any) any {
		if text, ok := v.(string); ok {
			return []any{text}
		}
		return v
	}
	fields, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for k, field := range fields {
		if allow, ok := field.(map[string]any); ok {
			for name := range allow {
				allow[name] = list(allow[name])
			}
		} else {
			fields[k] = map[string]any{"allow": list(field)}
		}
	}
	return fields
}

// claimFaults adds each fault of a claim at the place of the header or field that has
// it.
func claimFaults(err error, n, permissions conf.Node, faults *conf.Faults) {
	var all claim.Errors
	if !errors.As(err, &all) {
		faults.Add(n, "headers: %v", err)
		return
	}
	for _, fault := range all {
		at, claimErr := n, new(claim.Error)
		switch {
		case errors.Is(fault, claim.ErrPermissionsForm):
			at = permissions
		case errors.As(fault, &claimErr) && claimErr.Header != "":
			if field := n.Get(claimErr.Header); !field.IsZero() {
				at = field
			}
		case n.IsZero():
			at = permissions
		}
		faults.Add(at, "%v", fault)
	}
}

// eval returns the claim of a session. If there is none, reason says why, and field is
// the field with the fault.
func (h *headers) eval(m *machine) (c *claim.Claim, field, reason string) {
	if h.fixed {
		return h.claim, "", ""
	}
	c = &claim.Claim{
		Headers: make([]claim.Header, len(h.list)),
		Publish: h.claim.Publish, Subscribe: h.claim.Subscribe,
	}
	for i := range h.list {
		name := h.claim.Headers[i].Name
		one, reason := h.list[i].eval(m)
		if reason != "" {
			return nil, "headers: " + name, reason
		}
		one.Name = name
		c.Headers[i] = one
	}
	if n := c.BlockLen(); n > claim.MaxBlock {
		return nil, "headers", fmt.Sprintf("%v: found %d bytes; at most %d are allowed", claim.ErrBlockTooLarge, n, claim.MaxBlock)
	}
	return c, "", ""
}

func (h *header) eval(m *machine) (out claim.Header, reason string) {
	for _, t := range h.values {
		values, reason := t.evalAll(m)
		if reason != "" {
			return out, reason
		}
		if out.Values == nil {
			out.Values = values
		} else {
			out.Values = append(out.Values[:len(out.Values):len(out.Values)], values...)
		}
	}
	if len(out.Values) == 0 {
		return out, "is an empty list"
	}
	if out.Subjects, reason = h.subjects.eval(m); reason != "" {
		return out, reason
	}
	if len(h.subjects.list) > 0 && len(out.Subjects) == 0 {
		return out, "the list of subjects is empty, which would mean every subject"
	}
	return out, ""
}
