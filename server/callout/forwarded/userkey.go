package forwarded

import (
	"strings"

	"github.com/nats-io/nkeys"
)

// userKeyPrefix is that of the tag of a user JWT with the key by which an account can revoke its user. The subject of the
// JWT cannot be it: the server makes a new one for each connection.
const userKeyPrefix = "stamp-user-key:"

// UserKeyTag is the tag of a user JWT for a public user key.
func UserKeyTag(key string) string { return userKeyPrefix + key }

// UserKeyOf finds the key in the tags of a user JWT. Like names of sessions, it may be in lower case.
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
