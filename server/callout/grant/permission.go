package grant

import (
	"errors"
	"strings"

	"github.com/nats-io/jwt/v2"

	"stamp/server/conf"
)

// permission is publish or subscribe of a grant.
type permission struct{ allow, deny subjects }

// subjects are those of one list.
type subjects struct {
	list  []*template
	fixed jwt.StringList // all of them, where no expression is in the list
}

// parsePermission reads a subject, a list of them, or {allow, deny}. queue tells
// whether a subject may have a queue name after it.
func parsePermission(name string, n conf.Node, queue bool, faults *conf.Faults) permission {
	block := struct {
		Allow conf.Node `conf:"allow"`
		Deny  conf.Node `conf:"deny"`
	}{Allow: n}
	if n.Fields() != nil {
		block.Allow = conf.Node{}
		n.Decode(&block, faults)
		if block.Allow.IsZero() {
			faults.Add(n, `%s: "allow" is missing; write allow: ">" for everything that is not denied`, name)
		}
	}
	return permission{
		parseSubjects(name, block.Allow, queue, faults),
		parseSubjects(name, block.Deny, queue, faults),
	}
}

func parseSubjects(name string, n conf.Node, queue bool, faults *conf.Faults) subjects {
	s := subjects{}
	static := true
	for _, item := range n.Items() {
		text, ok := item.Plain().(string)
		if !ok {
			faults.Add(item, "%s: a subject must be a string", name)
			continue
		}
		t, err := parseSubject(text, queue)
		if err != nil {
			faults.Add(item, "%s: %q: %v", name, text, err)
			continue
		}
		noSecret(name, t, item, faults)
		static = static && t.static()
		s.list = append(s.list, t)
		s.fixed = append(s.fixed, text)
	}
	if !static {
		s.fixed = nil
	}
	s.fixed = s.fixed[:len(s.fixed):len(s.fixed)] // shared: to append is to copy
	return s
}

// parseSubject reads a subject, maybe with a queue name after it.
func parseSubject(text string, queue bool) (*template, error) {
	t, err := parseTemplate(text, isToken)
	if err != nil {
		return nil, err
	}
	subject, group, found := strings.Cut(t.sample(), " ")
	if !validSubject(subject) || found && !validSubject(group) {
		return nil, errors.New("not a valid subject")
	}
	if found && !queue {
		return nil, errors.New("a queue name has no meaning here")
	}
	return t, nil
}

// validSubject is stricter than upstream's IsValidSubject (sublist.go), which
// takes "a*" for a literal: whoever writes that means something else.
func validSubject(s string) bool {
	tokens := strings.Split(s, ".")
	for i, t := range tokens {
		wildcard := t == "*" || t == ">" && i == len(tokens)-1
		if !wildcard && isToken(t, false) != "" {
			return false
		}
	}
	return true
}

// give returns the permission of a JWT. Upstream takes an empty list for everything
// (accounts.go, buildPermissionsFromJwt), so that nothing must be denied by name. Answers
// that response_permissions allow are allowed still (client.go,
// pubAllowedFullCheck).
func (p *permission) give(m *machine) (jwt.Permission, string) {
	allow, reason := p.allow.give(m)
	if reason != "" {
		return jwt.Permission{}, reason
	}
	if len(allow) == 0 {
		return jwt.Permission{Deny: denyAll}, ""
	}
	deny, reason := p.deny.give(m)
	if reason != "" {
		return jwt.Permission{}, reason
	}
	return jwt.Permission{Allow: allow, Deny: deny}, ""
}

var denyAll = jwt.StringList{">"}

func (s *subjects) give(m *machine) (jwt.StringList, string) {
	if len(s.fixed) == len(s.list) {
		return s.fixed, ""
	}
	out := make(jwt.StringList, 0, len(s.list))
	for _, t := range s.list {
		values, reason := t.all(m)
		if reason != "" {
			return nil, reason
		}
		if out = append(out, values...); len(out) > maxValues {
			return nil, tooMany
		}
	}
	return out, ""
}

// noSecret refuses what would show a credential in monitoring and logs.
func noSecret(name string, t *template, n conf.Node, faults *conf.Faults) {
	if t.any(func(u uses) bool { return u.secret }) {
		faults.Add(n, "%s: credentials and cookies are secret, and this is shown in monitoring and logs", name)
	}
}
