package forwarded

import (
	"net/http"
	"reflect"
	"testing"
)

func upgrade(header http.Header) *http.Request { return &http.Request{Header: header} }

func TestPick(t *testing.T) {
	list := List{Headers: []string{"user-agent", "X-Gone", "x-many"}, Cookies: []string{"a", "b", "twice", "gone"}}
	r := upgrade(http.Header{
		"User-Agent": {"Mozilla"}, "X-Many": {"1", "2"}, "Authorization": {"secret"},
		"Cookie": {`a=1; twice=x; other=o`, `twice=y; b="quoted"`},
	})
	want := Request{
		Headers: map[string][]string{"User-Agent": {"Mozilla"}, "X-Many": {"1", "2"}},
		Cookies: map[string]string{"a": "1", "b": "quoted"},
	}
	if got := list.Pick(r); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if got := (List{}).Pick(r); !reflect.DeepEqual(got, Request{}) {
		t.Errorf("nothing is listed, got %+v", got)
	}
}

func TestTag(t *testing.T) {
	for _, r := range []Request{
		{}, {FromCookie: true},
		{Headers: map[string][]string{"A": {"x", "ÿ\n"}}, Cookies: map[string]string{"c": "=;, "}},
	} {
		got, ok := FromTags([]string{"other:tag", r.Tag()})
		if !ok || !reflect.DeepEqual(got, r) {
			t.Errorf("got %+v, %t; want %+v", got, ok, r)
		}
	}
}

// A server that is not ours tells nothing: that must not look like "not a cookie".
func TestNoTag(t *testing.T) {
	for _, tags := range [][]string{nil, {"a", "b"}, {prefix}, {prefix + "!"}, {prefix + "e30x"}, {"x" + Request{}.Tag()}} {
		if got, ok := FromTags(tags); ok || !reflect.DeepEqual(got, Request{}) {
			t.Errorf("%q: %+v, %t", tags, got, ok)
		}
	}
}

func FuzzFromTags(f *testing.F) {
	f.Add(Request{FromCookie: true}.Tag())
	f.Fuzz(func(t *testing.T, tag string) {
		if r, ok := FromTags([]string{tag}); ok {
			if again, ok := FromTags([]string{r.Tag()}); !ok || !reflect.DeepEqual(again, r) {
				t.Error("it does not survive a second time")
			}
		}
	})
}
