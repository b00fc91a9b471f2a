package grant

import (
	"errors"
	"fmt"
	"slices"

	"stamp/server/claim"
	"stamp/server/conf"
)

// headers are what is stamped, and header_permissions.
type headers struct {
	list  []header
	claim *claim.Claim // with sample values; nil: nothing is stamped or permitted
	fixed bool         // claim is what every session gets
}

type header struct {
	values   []*template
	subjects subjects
}

// parseHeaders reads the fields headers and header_permissions. Names, forms and
// sizes are checked by package claim, with a letter where a template is.
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
		sample[name] = sampled(field.Plain())
	}
	var plain any = sample
	if n.Fields() == nil {
		plain = n.Plain() // nothing, or of a wrong form
	}
	c, err := claim.FromConfig(plain, listed(permissions.Plain()), claim.MaxLimits)
	if err != nil {
		claimFaults(err, n, permissions, faults)
		return headers{}
	}
	return compose(c, parsed)
}

// compose puts the headers into the order of the claim, which is that of their
// names.
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
			continue // package claim says so
		}
		t, err := parseTemplate(text, isValue)
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

// sampled replaces each text with a template in it by one without.
func sampled(v any) any {
	switch v := v.(type) {
	case string:
		if t, err := parseTemplate(v, isValue); err == nil {
			return t.sample()
		}
		return "x" // reported already
	case []any:
		for i := range v {
			v[i] = sampled(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = sampled(v[k])
		}
	}
	return v
}

// listed writes header_permissions in the one form that package claim knows:
// {publish: {allow: [...]}}, from publish: [...] or publish: "...".
func listed(v any) any {
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

// claimFaults puts each fault of a claim where it belongs.
func claimFaults(err error, n, permissions conf.Node, faults *conf.Faults) {
	var all claim.Errors
	if !errors.As(err, &all) {
		faults.Add(n, "headers: %v", err)
		return
	}
	for _, fault := range all {
		at, of := n, new(claim.Error)
		switch {
		case errors.Is(fault, claim.ErrPermissionsForm):
			at = permissions
		case errors.As(fault, &of) && of.Header != "":
			if field := n.Get(of.Header); !field.IsZero() {
				at = field
			}
		case n.IsZero():
			at = permissions
		}
		faults.Add(at, "%v", fault)
	}
}

// give returns the claim. When it cannot, it tells for which field.
func (h *headers) give(m *machine) (c *claim.Claim, field, reason string) {
	if h.fixed {
		return h.claim, "", ""
	}
	c = &claim.Claim{
		Headers: make([]claim.Header, len(h.list)),
		Publish: h.claim.Publish, Subscribe: h.claim.Subscribe,
	}
	for i := range h.list {
		name := h.claim.Headers[i].Name
		one, reason := h.list[i].give(m)
		if reason != "" {
			return nil, "headers: " + name, reason
		}
		one.Name = name
		c.Headers[i] = one
	}
	if n := c.BlockLen(); n > claim.MaxBlock {
		return nil, "headers", fmt.Sprintf("%v: %d bytes, at most %d", claim.ErrBlockTooLarge, n, claim.MaxBlock)
	}
	return c, "", ""
}

func (h *header) give(m *machine) (out claim.Header, reason string) {
	for _, t := range h.values {
		values, reason := t.all(m)
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
	if out.Subjects, reason = h.subjects.give(m); reason != "" {
		return out, reason
	}
	if len(h.subjects.list) > 0 && len(out.Subjects) == 0 {
		return out, "list of subjects is empty, which would be every subject"
	}
	return out, ""
}
