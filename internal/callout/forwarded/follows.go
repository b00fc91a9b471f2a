package forwarded

import "strings"

// Handlers is the subject on which handlers in processes of their own say to each other what they
// follow, in the system account.
const Handlers = "_STAMP.HANDLERS"

// MaxFollowed is how many buckets may be followed: far more than a configuration has sources.
const MaxFollowed = 1000

// Follows says which buckets a server's own handler follows, so that the server needs nobody to tell
// it of their changes. On Handlers, it says which buckets a handler in a process of its own follows.
type Follows struct {
	Server  string     `json:"server"` // id of the server or process
	Buckets []Followed `json:"buckets"`
}

// Followed is a bucket that a session source follows.
type Followed struct {
	Source string `json:"source"` // name of the source
	Bucket int64  `json:"bucket"` // as in Revision
}

// Reports reports whether the source hears of the change that q is about.
func (b Followed) Reports(q Renew) bool {
	return q.Revision != nil && q.Revision.Bucket == b.Bucket && strings.HasPrefix(q.Session, SessionName(b.Source, ""))
}
