package grant

import (
	"errors"

	"stamp/server/callout/session"
	"stamp/server/conf"
)

// Subject is a subject with templates, as the lists of a grant have them, for what has to fit
// with those.
type Subject struct{ template *template }

// ParseSubject reads the subject in the field with that name. It returns nil when there are faults.
func ParseSubject(name string, n conf.Node, faults *conf.Faults) *Subject {
	text, ok := n.Plain().(string)
	if !ok {
		faults.Add(n, "%s: a subject must be a string", name)
		return nil
	}
	t, err := parseSubject(text, false)
	if err != nil {
		faults.Add(n, "%s: %q: %v", name, text, err)
		return nil
	}
	noSecret(name, t, n, faults)
	return &Subject{t}
}

// Of returns the subject for a session. The error holds no value of it.
func (s *Subject) Of(of *session.Session) (string, error) {
	m := newMachine(of, &session.Request{}, false)
	defer m.release()
	text, reason := s.template.one(m)
	if reason != "" {
		return "", errors.New("subject: " + reason)
	}
	return text, nil
}
