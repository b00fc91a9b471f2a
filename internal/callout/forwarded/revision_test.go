package forwarded

import (
	"testing"

	"github.com/nats-io/jwt/v2"
)

// A revision covers itself and earlier entries of the same bucket. Everything else is not certain.
func TestRevisionCovers(t *testing.T) {
	r := Revision{Bucket: 1, Sequence: 5, Written: 50}
	for other, want := range map[Revision]bool{
		r:                                     true,
		{Bucket: 1, Sequence: 4, Written: 40}: true,
		{Bucket: 1, Sequence: 6, Written: 60}: false,
		{Bucket: 2, Sequence: 4, Written: 40}: false, // of another bucket
		{Bucket: 1, Sequence: 4, Written: 60}: false, // the bucket has lost its entries, and has begun again
		{}:                                    false,
	} {
		if r.Covers(other) != want {
			t.Errorf("%+v covers %+v: %t, want %t", r, other, !want, want)
		}
	}
	if (Revision{}).Covers(r) || (Revision{}).Covers(Revision{}) {
		t.Error("an unknown revision covers another")
	}
}

func TestRevisionTags(t *testing.T) {
	r := Revision{Bucket: 1795857600123456789, Sequence: 7, Written: 1795857600223456789}
	var added jwt.TagList
	added.Add(SessionTag("kv/a"), r.Tag())
	for _, tags := range [][]string{{SessionTag("kv/a"), r.Tag()}, added} {
		if got := RevisionOf(tags); got != r {
			t.Errorf("RevisionOf(%q) = %+v, want %+v", tags, got, r)
		}
	}
	for _, tag := range []string{"", "stamp-revision:", "stamp-revision:1:2", "stamp-revision:1:2:3:4", "stamp-revision:1:-2:3", "stamp-revision:1:2:3x", "stamp-revision:01:2:3", "stamp-revision:1:2:99999999999999999999"} {
		if got := RevisionOf([]string{tag}); got != (Revision{}) {
			t.Errorf("RevisionOf(%q) = %+v, want none", tag, got)
		}
	}
	if !IsReserved(r.Tag()) {
		t.Error("a grant may set the tag of a revision")
	}
}
