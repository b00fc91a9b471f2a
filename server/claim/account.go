package claim

import "slices"

const (
	keySigningKeys = "signing_keys"
	keyKey         = "key"
	keyTemplate    = "template"
)

// scope is one element of an account JWT's signing_keys: an object (jwt/v2,
// signingkeys.go, UserScope), or a string, which is a key without a scope.
type scope struct {
	keys      []string
	template  place
	key, tmpl once
}

// FromAccountJWT returns the headers claim in the template of the scope that
// belongs to signingKey, as FromUserJWT does for a user's. Values may hold
// template calls such as {{name()}}: here they are text.
func FromAccountJWT(token, signingKey string, l Limits) (*Claim, error) {
	data, err := payload(token)
	if err != nil {
		return nil, asErrors(err)
	}
	if !mayClaim(data) {
		return nil, nil
	}
	var nats, list once
	var scopes []*scope
	err = readObject(data, func(r *reader, key []byte) error {
		if !isKey(key, keyNats) {
			return r.skip()
		}
		nats.note(key, keyNats)
		return r.inObject(func(key []byte) error {
			if !isKey(key, keySigningKeys) {
				return r.skip()
			}
			list.note(key, keySigningKeys)
			return r.scopes(func(s *scope) {
				if slices.Contains(s.keys, signingKey) {
					scopes = append(scopes, s)
				}
			})
		})
	})
	if err != nil {
		return nil, asErrors(err)
	}
	return oneScope(scopes, append(nats.faults, list.faults...), l)
}

// oneScope returns the claim of the only scope of a key. jwt/v2 lets the last
// of several win, and with it perhaps a scope without the claim, or no scope.
func oneScope(scopes []*scope, around Errors, l Limits) (*Claim, error) {
	for _, s := range scopes {
		if !s.template.found() {
			continue
		}
		if len(scopes) > 1 {
			around.add("", ErrSigningKey)
		}
		around = append(append(around, s.key.faults...), s.tmpl.faults...)
		return s.template.claim(l, around)
	}
	return nil, nil
}

// scopes calls each for every object and string of the list that is the next value.
func (r *reader) scopes(each func(*scope)) error {
	if !r.accept('[') {
		return r.skip()
	}
	return r.items(func() error {
		s := &scope{}
		if r.peek() == '"' {
			n, err := r.value(0)
			s.keys = []string{n.text}
			each(s)
			return err
		}
		err := r.inObject(func(key []byte) error { return s.member(r, key) })
		each(s)
		return err
	})
}

func (s *scope) member(r *reader, key []byte) error {
	switch {
	case isKey(key, keyKey):
		s.key.note(key, keyKey)
		n, err := r.value(0)
		s.keys = append(s.keys, n.text)
		return err
	case isKey(key, keyTemplate):
		s.tmpl.note(key, keyTemplate)
		return r.inObject(func(key []byte) error { return s.template.member(r, key) })
	}
	return r.skip()
}
