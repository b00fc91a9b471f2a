package forwarded

import "strings"

// sessionPrefix is that of the tag of a user JWT that names the session. A connection whose
// user JWT has it is renewed before the JWT ends.
const sessionPrefix = "stamp-session:"

// SessionName is the name of a session over all handlers and servers: of its source, and its key
// there, which may be printed. The key may be empty.
func SessionName(source, key string) string { return source + "/" + key }

// SessionTag is the tag of a user JWT for a session.
func SessionTag(name string) string { return sessionPrefix + name }

// SessionOf finds the name of the session in the tags of a user JWT, as FoldSession gives it.
func SessionOf(tags []string) (name string, ok bool) {
	for _, tag := range tags {
		tag = FoldSession(tag)
		if name, ok := strings.CutPrefix(tag, sessionPrefix); ok {
			return name, true
		}
	}
	return "", false
}

// FoldSession returns the form in which names of sessions are compared. Tags that are set by
// jwt.TagList's Add, as most services do, are in lower case and without outer white space; a
// name that a request has is as the service wrote it.
func FoldSession(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// reservedPrefix begins all tags of ours.
const reservedPrefix = "stamp-"

// IsReserved tells whether a tag is one of ours, in whatever letters, so that nobody else may set it:
// with a tag that names a session, a connection would be renewed and closed with that session, and not
// with its own.
func IsReserved(tag string) bool {
	tag = strings.ReplaceAll(FoldSession(tag), "\u017f", "s") // the long s: only case folding makes an s of it
	return strings.HasPrefix(tag, reservedPrefix)
}
