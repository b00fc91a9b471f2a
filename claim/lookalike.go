package claim

import (
	"slices"
	"strings"
)

// maxLookalikes is how many keys Lookalikes and AccountLookalikes return at most.
const maxLookalikes = 8

// Lookalikes returns the keys of a user JWT that seem to be meant for the claim,
// but are ignored. Such a key begins with "header" in any case, and is misspelled
// or in the wrong place. Each key is returned once, in quotes, cut to 64
// characters. There are none for a JWT that cannot be read: FromUserJWT reports
// its faults.
func Lookalikes(token string) []string {
	return lookalikes(token, func(found *lookalikeKeys, r *reader, key []byte) error {
		if !isKey(key, keyNats) {
			return found.addUnlessRead(r, key)
		}
		return r.inObject(func(key []byte) error { return found.addUnlessRead(r, key) })
	})
}

// AccountLookalikes does the same for an account JWT, which can have a claim only
// in the template of a scope. Outside of signing_keys it looks at the keys of the
// payload and of the "nats" object only, since keys further down can be subjects.
func AccountLookalikes(token string) []string {
	return lookalikes(token, func(found *lookalikeKeys, r *reader, key []byte) error {
		if !isKey(key, keyNats) {
			found.add(key)
			return r.skip()
		}
		return r.inObject(func(key []byte) error {
			if !isKey(key, keySigningKeys) {
				found.add(key)
				return r.skip()
			}
			return found.addFromScopes(r)
		})
	})
}

// lookalikes calls each for every key of a JWT's payload. each reads the value, and
// adds what it finds to found.
func lookalikes(token string, each func(found *lookalikeKeys, r *reader, key []byte) error) []string {
	data, err := payload(token)
	if err != nil || !mayHoldClaim(data) {
		return nil
	}
	var found lookalikeKeys
	if readObject(data, func(r *reader, key []byte) error { return each(&found, r, key) }) != nil {
		return nil
	}
	return found
}

// lookalikeKeys collects keys, in quotes.
type lookalikeKeys []string

// add adds key if it is a lookalike.
func (l *lookalikeKeys) add(key []byte) {
	if !isLookalike(key) {
		return
	}
	if shown := quote(string(key)); len(*l) < maxLookalikes && !slices.Contains(*l, shown) {
		*l = append(*l, shown)
	}
}

// addAll adds key and the keys at any depth of its value.
func (l *lookalikeKeys) addAll(r *reader, key []byte) error {
	l.add(key)
	r.visit = func(key []byte) (bool, error) { l.add(key); return false, nil }
	defer func() { r.visit = nil }()
	return r.skip()
}

// addUnlessRead is addAll for an object that may hold the claim: it leaves out the
// claim's own keys.
func (l *lookalikeKeys) addUnlessRead(r *reader, key []byte) error {
	if isKey(key, keyHeaders) || isKey(key, keyPermissions) {
		return r.skip()
	}
	return l.addAll(r, key)
}

// addFromScopes reads the list of signing keys that is the next value.
func (l *lookalikeKeys) addFromScopes(r *reader) error {
	if !r.accept('[') {
		return r.skip()
	}
	return r.items(func() error {
		return r.inObject(func(key []byte) error {
			if !isKey(key, keyTemplate) {
				return l.addAll(r, key)
			}
			return r.inObject(func(key []byte) error { return l.addUnlessRead(r, key) })
		})
	})
}

// isLookalike reports whether key begins with "header" in any case.
func isLookalike(key []byte) bool {
	const word = "header"
	return len(key) >= len(word) && strings.EqualFold(string(key[:len(word)]), word)
}
