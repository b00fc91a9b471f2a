package grant

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/jwt/v2"

	"stamp.example/claim/field"
	"stamp/internal/conf"
)

// permission is the field publish or subscribe of a grant.
type permission struct{ allow, deny subjects }

// subjects is a list of subjects.
type subjects struct {
	list  []*template
	fixed jwt.StringList // the list, if it has no expression; else nil
}

// parsePermission reads a subject, a list of subjects, or {allow, deny}. If queue is set,
// a queue name may follow a subject.
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
			faults.Add(item, "%s: expected a subject as a string; found %s", name, item.Kind())
			continue
		}
		t, err := parseSubject(text, queue)
		if err != nil {
			faults.Add(item, "%s: %q: %v", name, text, err)
			continue
		}
		refuseSecrets(name, t, item, faults)
		static = static && t.static()
		s.list = append(s.list, t)
		s.fixed = append(s.fixed, text)
	}
	if !static {
		s.fixed = nil
	}
	s.fixed = s.fixed[:len(s.fixed):len(s.fixed)] // shared by all users: an append must copy
	return s
}

// parseSubject reads a subject. If queue is set, a queue name may follow it.
func parseSubject(text string, queue bool) (*template, error) {
	t, err := parseTemplate(text, checkToken)
	if err != nil {
		return nil, err
	}
	if spaces := strings.Count(t.sample(), " "); queue && spaces > 1 {
		return nil, fmt.Errorf("expected a subject and at most one queue name after a space; found %d spaces", spaces)
	}
	subject, group, found := strings.Cut(t.sample(), " ")
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	if found {
		if err := checkSubject(group); err != nil {
			return nil, fmt.Errorf("queue name: %w", err)
		}
	}
	if found && !queue {
		return nil, errors.New("expected a subject without a queue name")
	}
	return t, nil
}

// checkSubject returns an error unless s is a subject whose tokens are wildcards or could come from a template.
func checkSubject(s string) error {
	if !field.IsSubject(s) {
		return field.ErrSubject
	}
	for token := range strings.SplitSeq(s, ".") {
		if token == "*" || token == ">" {
			continue
		}
		if reason := checkToken(token, false); reason != "" {
			return errors.New("a token of the subject " + reason)
		}
	}
	return nil
}

// eval returns the permission for the user JWT. An empty list would allow everything
// (upstream, accounts.go, buildPermissionsFromJwt). So if nothing is allowed, eval
// denies ">". The answers that response_permissions allows remain allowed (client.go,
// pubAllowedFullCheck).
func (p *permission) eval(m *machine) (jwt.Permission, string) {
	allow, reason := p.allow.eval(m)
	if reason != "" {
		return jwt.Permission{}, reason
	}
	if len(allow) == 0 {
		return jwt.Permission{Deny: denyAll}, ""
	}
	deny, reason := p.deny.eval(m)
	if reason != "" {
		return jwt.Permission{}, reason
	}
	return jwt.Permission{Allow: allow, Deny: deny}, ""
}

var denyAll = jwt.StringList{">"}

func (s *subjects) eval(m *machine) (jwt.StringList, string) {
	if len(s.fixed) == len(s.list) {
		return s.fixed, ""
	}
	out := make(jwt.StringList, 0, len(s.list))
	for _, t := range s.list {
		values, reason := t.evalAll(m)
		if reason != "" {
			return nil, reason
		}
		if out = append(out, values...); len(out) > maxValues {
			return nil, tooMany
		}
	}
	return out, ""
}

// refuseSecrets adds a fault if the template uses a credential, because the field is
// visible in monitoring and logs.
func refuseSecrets(name string, t *template, n conf.Node, faults *conf.Faults) {
	if t.any(func(u uses) bool { return u.secret }) {
		faults.Add(n, "%s: credentials and cookies are secret, and this field is shown in monitoring and logs", name)
	}
}
