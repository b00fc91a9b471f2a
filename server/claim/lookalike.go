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
	data, err := payload(token)
	if err != nil || !mayClaim(data) {
		return nil
	}
	var found []string
	look := func(key []byte) {
		folded := strings.ToLower(string(key))
		if shown := quote(string(key)); len(found) < maxLookalikes && strings.HasPrefix(folded, "header") && !slices.Contains(found, shown) {
			found = append(found, shown)
		}
	}
	level := func(r *reader, key []byte) error {
		if isKey(key, keyHeaders) || isKey(key, keyPermissions) {
			return r.skip()
		}
		look(key)
		r.visit = func(key []byte) (bool, error) { look(key); return false, nil }
		defer func() { r.visit = nil }()
		return r.skip()
	}
	err = readObject(data, func(r *reader, key []byte) error {
		if !isKey(key, keyNats) {
			return level(r, key)
		}
		return r.inObject(func(key []byte) error { return level(r, key) })
	})
	if err != nil {
		return nil
	}
	return found
}
