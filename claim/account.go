package claim

import "slices"

const (
	keySigningKeys = "signing_keys"
	keyKey         = "key"
	keyTemplate    = "template"
)

// scope is an entry of signing_keys in an account JWT. The entry is an object
// (jwt/v2, signingkeys.go, UserScope), or a string, which is a key without a scope.
type scope struct {
	signingKeys []string // one, unless the entry has a duplicate key
	template    location

	keyField, templateField outerKey
}

// FromAccountJWT returns the headers claim in the template of the scope of
// signingKey, as FromUserJWT returns that of a user. Values may hold template
// functions such as {{name()}}. This package treats them as text.
func FromAccountJWT(token, signingKey string, l Limits) (*Claim, error) {
	data, err := payload(token)
	if err != nil {
		return nil, asErrors(err)
	}
	if !mayHoldClaim(data) {
		return nil, nil
	}
	var nats, list outerKey
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
				if slices.Contains(s.signingKeys, signingKey) {
					scopes = append(scopes, s)
				}
			})
		})
	})
	if err != nil {
		return nil, asErrors(err)
	}
	return templateClaim(scopes, append(nats.faults, list.faults...), l)
}

// templateClaim returns the claim of a signing key, of which scopes are all
// entries. More than one is a fault: jwt/v2 uses the last one, which may be an
// entry without the claim or without a scope.
func templateClaim(scopes []*scope, outer Errors, l Limits) (*Claim, error) {
	for _, s := range scopes {
		if !s.template.hasClaim() {
			continue
		}
		if len(scopes) > 1 {
			outer.add("", ErrSigningKey)
		}
		outer = append(append(outer, s.keyField.faults...), s.templateField.faults...)
		return s.template.claim(l, outer)
	}
	return nil, nil
}

// scopes reads the list that is the next value, and calls each for every entry.
// Another value is skipped.
func (r *reader) scopes(each func(*scope)) error {
	if !r.accept('[') {
		return r.skip()
	}
	return r.items(func() error {
		s := &scope{}
		if r.peek() == '"' {
			n, err := r.value(0)
			s.signingKeys = []string{n.text}
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
		s.keyField.note(key, keyKey)
		n, err := r.value(0)
		s.signingKeys = append(s.signingKeys, n.text)
		return err
	case isKey(key, keyTemplate):
		s.templateField.note(key, keyTemplate)
		return r.inObject(func(key []byte) error { return s.template.member(r, key) })
	}
	return r.skip()
}
