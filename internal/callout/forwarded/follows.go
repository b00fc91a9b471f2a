package forwarded

import "strings"

// Follows says which buckets a server's own handler follows, so that the server needs nobody to tell
// it of their changes.
type Follows struct {
	Server  string     `json:"server"` // id
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
