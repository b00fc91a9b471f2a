package forwarded

import "strings"

// sessionPrefix begins the tag of a user JWT that names its session. If a user JWT has
// this tag, the server renews the connection before the JWT expires.
const sessionPrefix = "stamp-session:"

// SessionName returns the name that a session has in all handlers and servers: the name
// of its source, and its key in that source. The key may be empty. Names appear in logs,
// so the key must not be secret.
func SessionName(source, key string) string { return source + "/" + key }

// SessionTag returns the tag of a user JWT for a session.
func SessionTag(name string) string { return sessionPrefix + name }

// SessionOf returns the name of the session in the tags of a user JWT, folded as by
// FoldSession.
func SessionOf(tags []string) (name string, ok bool) {
	for _, tag := range tags {
		tag = FoldSession(tag)
		if name, ok := strings.CutPrefix(tag, sessionPrefix); ok {
			return name, true
		}
	}
	return "", false
}

// FoldSession returns the form of a session's name that is equal for all its spellings:
// in lower case, without white space around it. The Add method of jwt.TagList, which most
// services use, changes tags in this way, while requests contain the name as the service
// spells it.
func FoldSession(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// reservedPrefix begins all tags of this package.
const reservedPrefix = "stamp-"

// IsReserved reports whether a tag begins with the prefix of this package's tags, in
// lower or upper case. A grant must not set such a tag: if it could name another session,
// the connection would be renewed and closed with that session instead of its own.
func IsReserved(tag string) bool {
	tag = strings.ReplaceAll(FoldSession(tag), "\u017f", "s") // ToLower keeps the long s, but strings.EqualFold takes it for an s
	return strings.HasPrefix(tag, reservedPrefix)
}
