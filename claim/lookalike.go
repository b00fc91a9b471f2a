package claim

import (
	"bytes"
	"slices"
	"strings"
)

// maxLookalikes is how many keys Lookalikes and AccountLookalikes return at most.
const maxLookalikes = 8

// ReadUserJWT is FromUserJWT and Lookalikes in one: it decodes the JWT once, and if the claim has
// no faults, it looks for lookalikes only where there can be any.
func ReadUserJWT(token string, l Limits) (c *Claim, lookalikes []string, err error) {
	data, err := payload(token)
	if err != nil {
		return nil, nil, asErrors(err)
	}
	if !mayHoldClaim(data) {
		return nil, nil, nil
	}
	keys, c, err := fromUserPayload(data, l)
	if err != nil || keys == countLookalikes(data) {
		return c, nil, err
	}
	return c, userLookalikes(data), nil
}

// countLookalikes returns how many strings in data begin with "header" in any case, or -1 if
// that cannot be told without decoding them. The claim's own keys are among them.
func countLookalikes(data []byte) (n int) {
	if bytes.Contains(data, []byte(`\u`)) {
		return -1
	}
	for at := bytes.IndexByte(data, '"'); at >= 0; {
		data = data[at+1:]
		if isLookalike(data) {
			n++
		}
		at = bytes.IndexByte(data, '"')
	}
	return n
}

// Lookalikes returns the keys of a user JWT that seem to be meant for the claim,
// but are ignored. Such a key begins with "header" in any case, and is misspelled
// or in the wrong place. Each key is returned once, in quotes, cut to 64
// characters. There are none for a JWT that cannot be read: FromUserJWT reports
// its faults.
func Lookalikes(token string) []string {
	data, err := payload(token)
	if err != nil {
		return nil
	}
	return userLookalikes(data)
}

// userLookalikes is Lookalikes for the payload of a user JWT.
func userLookalikes(data []byte) []string {
	return lookalikes(data, func(found *lookalikeKeys, r *reader, key []byte) error {
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
	data, err := payload(token)
	if err != nil {
		return nil
	}
	return lookalikes(data, func(found *lookalikeKeys, r *reader, key []byte) error {
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

// lookalikes calls each for every key of data, the payload of a JWT. each reads the value, and
// adds what it finds to found.
func lookalikes(data []byte, each func(found *lookalikeKeys, r *reader, key []byte) error) []string {
	if !mayHoldClaim(data) {
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
