package claim

import (
	"fmt"
	"strings"

	"stamp/server/field"
)

// kind is the type of a node.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindOther // only in a configuration
	kindString
	kindList
	kindObject
)

// String names the type in errors.
func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a date or the like", "a string", "a list", "an object"}[k]
}

// node is a value before its form is checked, from JSON or a configuration.
// Nodes are read no deeper than a claim goes: those below are empty.
type node struct {
	kind    kind
	broken  bool     // the text is not what the issuer wrote
	text    string   // of a string
	members []member // of an object; items of a list, without keys
}

type member struct {
	key  string
	node node
}

// maxDepth is how many levels of lists and objects a claim has: headers, one
// header, its subjects; header_permissions, publish, allow.
const maxDepth = 3

// former makes a claim from nodes, and collects what is wrong with them.
type former struct {
	hint   bool // from a configuration: tell how to mend a wrong type
	claim  Claim
	broken map[string]bool // headers with a fault of form
	faults Errors
}

// finish makes the claim of both nodes, either of which may be nil. It returns
// nil for a claim that says nothing.
func (f *former) finish(headers, permissions *node, l Limits) (*Claim, error) {
	if headers != nil {
		f.headers(headers)
	}
	if permissions != nil {
		f.permissions(permissions)
	}
	f.claim.check(l, f.broken, &f.faults)
	if len(f.faults) > 0 {
		return nil, f.faults
	}
	if f.claim.empty() {
		return nil, nil
	}
	for _, h := range f.claim.Headers {
		for i, v := range h.Values {
			h.Values[i] = field.TrimValue(v)
		}
	}
	return &f.claim, nil
}

func (f *former) headers(n *node) {
	if n.kind != kindObject {
		f.faults.add("", fmt.Errorf("%w but %s", ErrHeadersForm, n.kind))
		return
	}
	f.claim.Headers = make([]Header, 0, len(n.members))
	for i := range n.members {
		m := &n.members[i]
		h := Header{Name: m.key}
		before := len(f.faults)
		if m.node.kind == kindObject {
			f.headerObject(&h, &m.node)
		} else {
			h.Values = f.values(m.key, &m.node)
		}
		if len(f.faults) > before {
			if f.broken == nil {
				f.broken = map[string]bool{}
			}
			f.broken[m.key] = true
		}
		f.claim.Headers = append(f.claim.Headers, h)
	}
}

// headerObject reads {"value": ..., "subjects": [...]}.
func (f *former) headerObject(h *Header, n *node) {
	got := f.members(h.Name, n, "value", "subjects")
	if value := got[0]; value == nil {
		f.faults.add(h.Name, ErrValueMissing)
	} else {
		h.Values = f.values(h.Name, value)
	}
	subjects := got[1]
	switch {
	case subjects == nil:
	case subjects.kind != kindList:
		f.wrong(h.Name, ErrSubjectsForm, subjects.kind)
	case len(subjects.members) == 0:
		f.faults.add(h.Name, ErrSubjectsEmpty)
	default:
		h.Subjects = f.strings(h.Name, subjects.members, ErrSubjectsForm)
	}
}

// values reads a string or a list of strings.
func (f *former) values(name string, n *node) []string {
	if n.kind == kindList {
		return f.strings(name, n.members, ErrValueForm)
	}
	return f.strings(name, []member{{node: *n}}, ErrValueForm)
}

// strings reads items; one that is no string is a fault of the given form.
func (f *former) strings(name string, items []member, form error) []string {
	out := make([]string, 0, len(items))
	for i := range items {
		switch it := &items[i].node; {
		case it.kind != kindString:
			f.wrong(name, form, it.kind)
		case it.broken:
			f.faults.add(name, ErrValueText)
		default:
			out = append(out, it.text)
		}
	}
	return out
}

// permissions reads {"publish": {"allow": [...]}, "subscribe": {"allow": [...]}}.
func (f *former) permissions(n *node) {
	if n.kind != kindObject {
		f.wrong("", ErrPermissionsForm, n.kind)
		return
	}
	got := f.members("", n, "publish", "subscribe")
	f.claim.Publish = f.allow(got[0])
	f.claim.Subscribe = f.allow(got[1])
}

func (f *former) allow(n *node) []string {
	if n == nil {
		return nil
	}
	if n.kind != kindObject {
		f.wrong("", ErrPermissionsForm, n.kind)
		return nil
	}
	allow := f.members("", n, "allow")[0]
	if allow == nil {
		return nil
	}
	if allow.kind != kindList {
		f.wrong("", ErrPermissionsForm, allow.kind)
		return nil
	}
	return f.strings("", allow.members, ErrPermissionsForm)
}

// members finds the wanted keys of an object, in the order wanted; nil for one
// that is absent. Any other key is a fault.
func (f *former) members(header string, n *node, wanted ...string) []*node {
	got := make([]*node, len(wanted))
	for i := range n.members {
		m := &n.members[i]
		at := 0
		for at < len(wanted) && !strings.EqualFold(m.key, wanted[at]) {
			at++
		}
		switch {
		case at == len(wanted):
			f.faults.add(header, fmt.Errorf("%w %s", ErrKeyUnknown, quote(m.key)))
			continue
		case m.key != wanted[at]:
			f.faults.add(header, keyCase(m.key, wanted[at]))
		case got[at] != nil:
			f.faults.add(header, keyTwice(m.key))
		}
		got[at] = &m.node
	}
	return got
}

// wrong reports a node of the wrong type.
func (f *former) wrong(header string, form error, k kind) {
	if form == ErrPermissionsForm {
		f.faults.add(header, fmt.Errorf("%w; found %s", form, k))
		return
	}
	err := fmt.Errorf("%w but %s", form, k)
	if f.hint && (k == kindNumber || k == kindBool || k == kindOther) {
		err = fmt.Errorf("%w (hint: put it in quotes)", err)
	}
	f.faults.add(header, err)
}

func keyCase(key, want string) error {
	return fmt.Errorf("%w: %s is not %q", ErrKeyCase, quote(key), want)
}

func keyTwice(key string) error { return fmt.Errorf("%w: %q", ErrKeyTwice, key) }
