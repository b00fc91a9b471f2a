package forwarded

import (
	"fmt"
	"strings"
)

// Revision identifies one entry among all that a store has had for a session. It is zero if
// the store has no revisions.
//
// A sequence alone is not enough. A bucket that is deleted and made anew begins with 1
// again, and so does one in memory whose servers have restarted, which keeps the time of
// its creation. In both cases its entries have later times.
type Revision struct {
	Bucket   int64  `json:"bucket"`   // when the bucket was created, in nanoseconds since 1970
	Sequence uint64 `json:"sequence"` // of the entry in the bucket
	Written  int64  `json:"written"`  // when the entry was written, in nanoseconds since 1970
}

// Covers reports whether the entry r is the entry other of the same session, or replaced it.
// It returns false if that is not certain.
func (r Revision) Covers(other Revision) bool {
	return other != Revision{} && r.Bucket == other.Bucket && r.Sequence >= other.Sequence && r.Written >= other.Written
}

// revisionPrefix begins the tag of a user JWT that names the revision of the session's
// entry that it was granted by.
const revisionPrefix = reservedPrefix + "revision:"

// Tag returns the tag of a user JWT for a revision that is not zero.
func (r Revision) Tag() string {
	return fmt.Sprintf("%s%d:%d:%d", revisionPrefix, r.Bucket, r.Sequence, r.Written)
}

// RevisionOf returns the revision in the tags of a user JWT. It is zero if there is none.
func RevisionOf(tags []string) (r Revision) {
	for _, tag := range tags {
		text, ok := strings.CutPrefix(FoldSession(tag), revisionPrefix)
		if !ok {
			continue
		}
		if n, err := fmt.Sscanf(text, "%d:%d:%d", &r.Bucket, &r.Sequence, &r.Written); n != 3 || err != nil || r.Tag() != revisionPrefix+text {
			return Revision{}
		}
		return r
	}
	return Revision{}
}
