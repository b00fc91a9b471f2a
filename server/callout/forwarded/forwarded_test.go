package forwarded

import (
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
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

// What browsers and proxies send beyond ASCII is told as it came, and what JSON could not carry unchanged is named: it must
// not pass for absent, nor two values for one.
func TestPickBeyondASCII(t *testing.T) {
	list := List{Headers: []string{"A", "B"}, Cookies: []string{"s", "t"}}
	for _, tt := range []struct {
		header  http.Header
		want    Request
		notText []string
	}{
		{header: http.Header{"A": {"Zürich", "\t日本"}}, want: Request{Headers: map[string][]string{"A": {"Zürich", "\t日本"}}}},
		{header: http.Header{"A": {"Z\xfcrich"}, "B": {"b"}}, want: Request{Headers: map[string][]string{"B": {"b"}}}, notText: []string{"A"}},
		{header: http.Header{"A": {"a", "\xed\xa0\x80"}}, notText: []string{"A"}},
		{header: http.Header{"A": {"\ufffd"}}, notText: []string{"A"}},
		{header: http.Header{"Cookie": {"s=Zürich; t=a b,c"}}, want: Request{Cookies: map[string]string{"s": "Zürich", "t": "a b,c"}}},
		{header: http.Header{"Cookie": {`s={"a":"\\"}; t=""`}}, want: Request{Cookies: map[string]string{"s": `{"a":"\\"}`, "t": ""}}},
		{header: http.Header{"Cookie": {"s=\xff; t=1"}}, want: Request{Cookies: map[string]string{"t": "1"}}, notText: []string{"s"}},
		// Twice is twice, whatever the values are.
		{header: http.Header{"Cookie": {"s=1; t=1", "s=\xff"}}, want: Request{Cookies: map[string]string{"t": "1"}}},
		{header: http.Header{"Cookie": {`s=1; t=1; s="é"`}}, want: Request{Cookies: map[string]string{"t": "1"}}},
	} {
		tt.want.NotText = tt.notText
		got := list.Pick(upgrade(tt.header))
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %+v; want %+v", tt.header, got, tt.want)
		}
		if told, ok := FromTags([]string{got.Tag()}); !ok || !reflect.DeepEqual(told, got) {
			t.Errorf("%q: told as %+v", tt.header, told)
		}
	}
}

func TestCookieNames(t *testing.T) {
	r := upgrade(http.Header{"Cookie": {"a=1; b=é;a=2", "; =x; c"}})
	if got := CookieNames(r); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("got %q", got)
	}
}

// A header or cookie above the bounds is left out as a whole, and named; the rest is as it came.
func TestPickIsBounded(t *testing.T) {
	list := List{Headers: []string{"a", "B", "C", "D", "E"}, Cookies: []string{"s", "t"}}
	fitting := func(name string) string { return strings.Repeat("v", MaxField-perLine-len(name)) }
	for name, tt := range map[string]struct {
		header  http.Header
		tooLong []string
		kept    int
	}{
		"header fits":               {http.Header{"A": {fitting("A")}}, nil, 1},
		"header is too long":        {http.Header{"A": {fitting("A") + "v"}, "B": {"b"}}, []string{"A"}, 1},
		"two lines are too long":    {http.Header{"A": {fitting("A"), ""}}, []string{"A"}, 0},
		"empty lines are too many":  {http.Header{"A": make([]string, MaxField/perLine)}, []string{"A"}, 0},
		"cookie fits":               {http.Header{"Cookie": {"s=" + fitting("s")}}, nil, 1},
		"cookie is too long":        {http.Header{"Cookie": {"s=" + fitting("s") + "v; t=x"}}, []string{"s"}, 1},
		"what is not listed counts": {http.Header{"X": {strings.Repeat("v", MaxAll)}, "A": {"a"}}, nil, 1},
		"all together fit":          {http.Header{"A": {fitting("A")}, "B": {fitting("B")}, "C": {fitting("C")}, "D": {fitting("D")}}, nil, 4},
		"all together are too long": {http.Header{"A": {fitting("A")}, "B": {fitting("B")}, "C": {fitting("C")}, "D": {fitting("D")}, "E": {""}, "Cookie": {"s=1"}}, []string{"E", "s"}, 4},
	} {
		got := list.Pick(upgrade(tt.header))
		if !slices.Equal(got.TooLong, tt.tooLong) || len(got.Headers)+len(got.Cookies) != tt.kept {
			t.Errorf("%s: too long %q, %d are kept", name, got.TooLong, len(got.Headers)+len(got.Cookies))
		}
		for name, values := range got.Headers {
			if !slices.Equal(values, tt.header[name]) {
				t.Errorf("%s: header %s is another one", name, name)
			}
		}
		if again, ok := FromTags([]string{got.Tag()}); !ok || !slices.Equal(again.TooLong, tt.tooLong) {
			t.Errorf("%s: what is too long is not told", name)
		}
	}
	// JSON writes these characters in six bytes each; the tag is encoded once more in a request of 1 MiB.
	dear := http.Header{}
	for _, name := range []string{"A", "B", "C", "D"} {
		dear.Set(name, strings.Repeat("<", len(fitting(name))))
	}
	if n := len(list.Pick(upgrade(dear)).Tag()); n > 512<<10 {
		t.Errorf("a tag of %d bytes", n)
	}
}

// What is kept of a request does not hold the rest of it.
func TestPickHoldsNothingElse(t *testing.T) {
	list := List{Cookies: []string{"s"}, Headers: []string{"A"}}
	var kept []Request
	for range 100 {
		kept = append(kept, list.Pick(upgrade(http.Header{"Cookie": {"x=" + strings.Repeat("v", 100<<10) + "; s=1"}, "A": {strings.Repeat("v", 100<<10)[:10]}})))
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 8<<20 {
		t.Errorf("%d bytes are held", m.HeapAlloc)
	}
	runtime.KeepAlive(kept)
}

func TestTag(t *testing.T) {
	for _, r := range []Request{
		{}, {FromCookie: true}, {TooLong: []string{"a"}},
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

func TestPickToken(t *testing.T) {
	long := strings.Repeat("x", MaxField)
	for _, tt := range []struct {
		cookies, name string
		want          Request
	}{
		{"sid=s; other=o", "sid", Request{TokenCookie: "s"}},
		{"sid=s; sid=t", "sid", Request{}},
		{"other=o", "sid", Request{}},
		{"sid=s", "", Request{}},
		{"sid=" + long, "sid", Request{TooLong: []string{"sid"}}},
		{"sid=\xff", "sid", Request{NotText: []string{"sid"}}},
		{"sid=s; sid=\xff", "sid", Request{}},
	} {
		var got Request
		got.PickToken(upgrade(http.Header{"Cookie": {tt.cookies}}), tt.name)
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q of a header of %d bytes: too long: %q", tt.name, len(tt.cookies), got.TooLong)
		}
	}
}
