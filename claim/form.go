package claim

import (
	"fmt"
	"strings"

	"stamp.example/claim/field"
)

// kind is the type of a node.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindOther // a type that JSON does not have, only in a configuration
	kindString
	kindList
	kindObject
)

// String names the type in errors.
func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a date or another type", "a string", "a list", "an object"}[k]
}

// node is a value from JSON or from a configuration, before its form is checked.
// It is read to the depth maxDepth only: lists and objects below have no members.
type node struct {
	kind    kind
	broken  bool     // the string is not valid Unicode, so text is not what the issuer wrote
	text    string   // the decoded string
	members []member // of an object, or the items of a list, whose keys are empty
}

type member struct {
	key  string
	node node
}

// maxDepth is how many levels of lists and objects a claim has: headers, one
// header, its subjects; header_permissions, publish, allow.
const maxDepth = 3

// builder builds a claim from nodes and collects their faults.
type builder struct {
	quoteHint bool // an error says to put a value in quotes: for a configuration, where 1 is a number
	claim     Claim
	broken    map[string]bool // names of headers with a fault of form
	faults    Errors
}

// build returns the claim in headers and permissions, either of which may be nil.
// It returns nil if the claim is empty, and an Errors if anything is wrong.
func (b *builder) build(headers, permissions *node, l Limits) (*Claim, error) {
	if headers != nil {
		b.addHeaders(headers)
	}
	if permissions != nil {
		b.setPermissions(permissions)
	}
	b.claim.check(l, b.broken, &b.faults)
	if len(b.faults) > 0 {
		return nil, b.faults
	}
	if b.claim.empty() {
		return nil, nil
	}
	for _, h := range b.claim.Headers {
		for i, v := range h.Values {
			h.Values[i] = field.TrimValue(v)
		}
	}
	return &b.claim, nil
}

func (b *builder) addHeaders(n *node) {
	if n.kind != kindObject {
		b.addTypeFault("", ErrHeadersForm, n.kind, "")
		return
	}
	b.claim.Headers = make([]Header, 0, len(n.members))
	for i := range n.members {
		m := &n.members[i]
		h := Header{Name: m.key}
		before := len(b.faults)
		if m.node.kind == kindObject {
			b.readHeaderObject(&h, &m.node)
		} else {
			h.Values = b.stringOrList(m.key, &m.node, ErrValueForm)
		}
		if len(b.faults) > before {
			if b.broken == nil {
				b.broken = map[string]bool{}
			}
			b.broken[m.key] = true
		}
		b.claim.Headers = append(b.claim.Headers, h)
	}
}

// readHeaderObject reads {"value": ..., "subjects": [...]} into h.
func (b *builder) readHeaderObject(h *Header, n *node) {
	got := b.members(h.Name, n, "value", "subjects")
	if value := got[0]; value == nil {
		b.faults.add(h.Name, ErrValueMissing)
	} else {
		h.Values = b.stringOrList(h.Name, value, ErrInnerValueForm)
	}
	subjects := got[1]
	switch {
	case subjects == nil:
	case subjects.kind != kindList:
		b.addTypeFault(h.Name, ErrSubjectsForm, subjects.kind, "")
	case len(subjects.members) == 0:
		b.faults.add(h.Name, ErrSubjectsEmpty)
	default:
		h.Subjects = b.strings(h.Name, subjects, ErrSubjectsForm)
	}
}

// stringOrList reads a string, or a list of strings. Another type is the fault form.
func (b *builder) stringOrList(header string, n *node, form error) []string {
	switch n.kind {
	case kindList:
		return b.strings(header, n, form)
	case kindString:
		return b.appendText(nil, header, n)
	}
	b.addTypeFault(header, form, n.kind, "")
	return nil
}

// strings reads the items of a list. An item that is not a string is the fault form.
func (b *builder) strings(header string, list *node, form error) []string {
	out := make([]string, 0, len(list.members))
	for i := range list.members {
		item := &list.members[i].node
		if item.kind == kindString {
			out = b.appendText(out, header, item)
		} else {
			b.addTypeFault(header, form, item.kind, " in the list")
		}
	}
	return out
}

// appendText appends the text of a string node to texts, unless it is broken.
func (b *builder) appendText(texts []string, header string, n *node) []string {
	if n.broken {
		b.faults.add(header, ErrValueText)
		return texts
	}
	return append(texts, n.text)
}

// setPermissions reads {"publish": {"allow": [...]}, "subscribe": {"allow": [...]}}.
func (b *builder) setPermissions(n *node) {
	if n.kind != kindObject {
		b.addTypeFault("", ErrPermissionsForm, n.kind, "")
		return
	}
	got := b.members("", n, "publish", "subscribe")
	b.claim.Publish = b.allowList(got[0])
	b.claim.Subscribe = b.allowList(got[1])
}

// allowList reads {"allow": [...]}. n is nil if the key is absent.
func (b *builder) allowList(n *node) []string {
	if n == nil {
		return nil
	}
	if n.kind != kindObject {
		b.addTypeFault("", ErrPermissionsForm, n.kind, "")
		return nil
	}
	allow := b.members("", n, "allow")[0]
	if allow == nil {
		return nil
	}
	if allow.kind != kindList {
		b.addTypeFault("", ErrPermissionsForm, allow.kind, "")
		return nil
	}
	return b.strings("", allow, ErrPermissionsForm)
}

// members returns the values of the keys of an object, in the order of keys, nil
// for one that is absent. Any other key is a fault.
func (b *builder) members(header string, n *node, keys ...string) []*node {
	got := make([]*node, len(keys))
	for i := range n.members {
		m := &n.members[i]
		at := 0
		for at < len(keys) && !strings.EqualFold(m.key, keys[at]) {
			at++
		}
		switch {
		case at == len(keys):
			b.faults.add(header, fmt.Errorf("%w %s; expected %s", ErrKeyUnknown, quote(m.key), strings.Join(keys, " or ")))
			continue
		case m.key != keys[at]:
			b.faults.add(header, keyCase(m.key, keys[at]))
		case got[at] != nil:
			b.faults.add(header, keyTwice(m.key))
		}
		got[at] = &m.node
	}
	return got
}

// addTypeFault adds the fault form, and the type that was found. where is empty,
// or says where in a larger value that is.
func (b *builder) addTypeFault(header string, form error, found kind, where string) {
	err := fmt.Errorf("%w; found %s%s", form, found, where)
	quotable := form != ErrHeadersForm && form != ErrPermissionsForm // strings are expected
	if b.quoteHint && quotable && (found == kindNumber || found == kindBool || found == kindOther) {
		err = fmt.Errorf("%w (hint: put it in quotes)", err)
	}
	b.faults.add(header, err)
}

func keyCase(found, want string) error {
	return fmt.Errorf("%w %q; found %s", ErrKeyCase, want, quote(found))
}

func keyTwice(key string) error { return fmt.Errorf("%w %q", ErrKeyTwice, key) }
