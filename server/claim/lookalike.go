package claim

import (
	"slices"
	"strings"
)

// maxLookalikes is how many keys Lookalikes returns.
const maxLookalikes = 8

// Lookalikes returns keys of a user JWT that seem meant for the claim and are not read: their first word is
// header or headers, in any case, and they stand elsewhere than the claim's keys or are spelled otherwise. They
// are quoted, cut to 64 characters, each once; the first maxLookalikes of them. A JWT with a fault has none:
// FromUserJWT reports that.
func Lookalikes(token string) []string {
	return lookalikes(token, func(found *likes, r *reader, key []byte) error {
		if !isKey(key, keyNats) {
			return found.beside(r, key)
		}
		return r.inObject(func(key []byte) error { return found.beside(r, key) })
	})
}

// AccountLookalikes are those of an account JWT, where templates of scopes alone have a claim. Of what is
// elsewhere only the first keys count: some fields of an account have keys that are subjects.
func AccountLookalikes(token string) []string {
	return lookalikes(token, func(found *likes, r *reader, key []byte) error {
		if !isKey(key, keyNats) {
			found.note(key)
			return r.skip()
		}
		return r.inObject(func(key []byte) error {
			if !isKey(key, keySigningKeys) {
				found.note(key)
				return r.skip()
			}
			return found.inScopes(r)
		})
	})
}

// lookalikes calls each for the keys of a JWT's payload.
func lookalikes(token string, each func(found *likes, r *reader, key []byte) error) []string {
	data, err := payload(token)
	if err != nil || !mayClaim(data) {
		return nil
	}
	var found likes
	if readObject(data, func(r *reader, key []byte) error { return each(&found, r, key) }) != nil {
		return nil
	}
	return found
}

// likes are quoted keys.
type likes []string

func (l *likes) note(key []byte) {
	if !lookalike(key) {
		return
	}
	if shown := quote(string(key)); len(*l) < maxLookalikes && !slices.Contains(*l, shown) {
		*l = append(*l, shown)
	}
}

// within notes key, and the keys in its value.
func (l *likes) within(r *reader, key []byte) error {
	l.note(key)
	r.visit = func(key []byte) (bool, error) { l.note(key); return false, nil }
	defer func() { r.visit = nil }()
	return r.skip()
}

// beside is within for a key of an object that may have the claim.
func (l *likes) beside(r *reader, key []byte) error {
	if isKey(key, keyHeaders) || isKey(key, keyPermissions) {
		return r.skip()
	}
	return l.within(r, key)
}

// inScopes reads the list of signing keys that is the next value.
func (l *likes) inScopes(r *reader) error {
	if !r.accept('[') {
		return r.skip()
	}
	return r.items(func() error {
		return r.inObject(func(key []byte) error {
			if !isKey(key, keyTemplate) {
				return l.within(r, key)
			}
			return r.inObject(func(key []byte) error { return l.beside(r, key) })
		})
	})
}

// lookalike tells whether the first word of a key is header or headers.
func lookalike(key []byte) bool {
	const word = "header"
	return len(key) >= len(word) && strings.EqualFold(string(key[:len(word)]), word)
}
