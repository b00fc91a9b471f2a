package grant

import (
	"errors"

	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

// Subject is a subject with templates, as in the lists of a grant. Other settings that
// must fit the permissions of a grant use it.
type Subject struct{ template *template }

// ParseSubject reads the subject in the field name. It returns nil if there are faults.
func ParseSubject(name string, n conf.Node, faults *conf.Faults) *Subject {
	text, ok := n.Plain().(string)
	if !ok {
		faults.Add(n, "%s: expected a subject as a string; found %s", name, n.Kind())
		return nil
	}
	t, err := parseSubject(text, false)
	if err != nil {
		faults.Add(n, "%s: %q: %v", name, text, err)
		return nil
	}
	refuseSecrets(name, t, n, faults)
	return &Subject{t}
}

// For returns the subject for a session. The error holds no value of the session.
func (s *Subject) For(sess *session.Session) (string, error) {
	m := newMachine(sess, &session.Request{}, false)
	defer m.release()
	text, reason := s.template.evalOne(m)
	if reason != "" {
		return "", errors.New("subject: " + reason)
	}
	return text, nil
}
