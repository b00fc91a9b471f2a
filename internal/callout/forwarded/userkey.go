package forwarded

import (
	"strings"

	"github.com/nats-io/nkeys"
)

// userKeyPrefix begins the tag of a user JWT with the public user key by which an account
// can revoke the user. The subject of the JWT cannot serve for that, because the server
// creates a new one for each connection.
const userKeyPrefix = "stamp-user-key:"

// UserKeyTag returns the tag of a user JWT for a public user key.
func UserKeyTag(key string) string { return userKeyPrefix + key }

// UserKeyOf returns the public user key in the tags of a user JWT. Tags may be in lower
// case; see FoldSession. ok is false if there is no such tag, or no valid key in it.
func UserKeyOf(tags []string) (key string, ok bool) {
	for _, tag := range tags {
		prefix := tag[:min(len(tag), len(userKeyPrefix))]
		if !strings.EqualFold(prefix, userKeyPrefix) {
			continue
		}
		key = strings.ToUpper(strings.TrimSpace(tag[len(userKeyPrefix):]))
		return key, nkeys.IsValidPublicUserKey(key)
	}
	return "", false
}
