package forwarded

import (
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func upgradeRequest(header http.Header) *http.Request { return &http.Request{Header: header} }

func TestPick(t *testing.T) {
	list := List{Headers: []string{"user-agent", "X-Gone", "x-many"}, Cookies: []string{"a", "b", "twice", "gone"}}
	r := upgradeRequest(http.Header{
		"User-Agent": {"Mozilla"}, "X-Many": {"1", "2"}, "Authorization": {"secret"},
		"Cookie": {`a=1; twice=x; other=o`, `twice=y; b="quoted"`},
	})
	want := Request{
		Headers: map[string][]string{"User-Agent": {"Mozilla"}, "X-Many": {"1", "2"}},
		Cookies: map[string]string{"a": "1", "b": "quoted"},
	}
	if got := list.Pick(r); !reflect.DeepEqual(got, want) {
		t.Errorf("Pick returned %+v, want %+v", got, want)
	}
	if got := (List{}).Pick(r); !reflect.DeepEqual(got, Request{}) {
		t.Errorf("without a list, Pick returned %+v, want nothing", got)
	}
}

// Values outside ASCII are forwarded unchanged. A value that JSON would change is left out and named: the handler must not
// take it for absent, and two such values must not become equal.
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
		// A duplicate is left out even if one of its values is not text.
		{header: http.Header{"Cookie": {"s=1; t=1", "s=\xff"}}, want: Request{Cookies: map[string]string{"t": "1"}}},
		{header: http.Header{"Cookie": {`s=1; t=1; s="é"`}}, want: Request{Cookies: map[string]string{"t": "1"}}},
	} {
		tt.want.NotText = tt.notText
		got := list.Pick(upgradeRequest(tt.header))
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("upgrade request with %q: Pick returned %+v, want %+v", tt.header, got, tt.want)
		}
		if decoded, ok := FromTags([]string{got.Tag()}); !ok || !reflect.DeepEqual(decoded, got) {
			t.Errorf("upgrade request with %q: its tag is decoded as %+v, want %+v", tt.header, decoded, got)
		}
	}
}

func TestCookieNames(t *testing.T) {
	r := upgradeRequest(http.Header{"Cookie": {"a=1; b=é;a=2", "; =x; c"}})
	if got := CookieNames(r); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("CookieNames returned %q, want a, b and c", got)
	}
}

// A header or cookie that exceeds the limits is left out as a whole and named. The others are forwarded unchanged.
func TestPickIsBounded(t *testing.T) {
	list := List{Headers: []string{"a", "B", "C", "D", "E"}, Cookies: []string{"s", "t"}}
	fitting := func(name string) string { return strings.Repeat("v", MaxField-lineExtra-len(name)) }
	for name, tt := range map[string]struct {
		header  http.Header
		tooLong []string
		kept    int
	}{
		"header fits":               {http.Header{"A": {fitting("A")}}, nil, 1},
		"header is too long":        {http.Header{"A": {fitting("A") + "v"}, "B": {"b"}}, []string{"A"}, 1},
		"two lines are too long":    {http.Header{"A": {fitting("A"), ""}}, []string{"A"}, 0},
		"empty lines are too many":  {http.Header{"A": make([]string, MaxField/lineExtra)}, []string{"A"}, 0},
		"cookie fits":               {http.Header{"Cookie": {"s=" + fitting("s")}}, nil, 1},
		"cookie is too long":        {http.Header{"Cookie": {"s=" + fitting("s") + "v; t=x"}}, []string{"s"}, 1},
		"what is not listed counts": {http.Header{"X": {strings.Repeat("v", MaxAll)}, "A": {"a"}}, nil, 1},
		"all together fit":          {http.Header{"A": {fitting("A")}, "B": {fitting("B")}, "C": {fitting("C")}, "D": {fitting("D")}}, nil, 4},
		"all together are too long": {http.Header{"A": {fitting("A")}, "B": {fitting("B")}, "C": {fitting("C")}, "D": {fitting("D")}, "E": {""}, "Cookie": {"s=1"}}, []string{"E", "s"}, 4},
	} {
		got := list.Pick(upgradeRequest(tt.header))
		if !slices.Equal(got.TooLong, tt.tooLong) || len(got.Headers)+len(got.Cookies) != tt.kept {
			t.Errorf("%s: named as too long are %q, and %d values are kept", name, got.TooLong, len(got.Headers)+len(got.Cookies))
		}
		for name, values := range got.Headers {
			if !slices.Equal(values, tt.header[name]) {
				t.Errorf("%s: Pick changed a header", name)
			}
		}
		if again, ok := FromTags([]string{got.Tag()}); !ok || !slices.Equal(again.TooLong, tt.tooLong) {
			t.Errorf("%s: the tag does not name what is too long", name)
		}
	}
	// JSON encodes each of these characters in six bytes, and the request, of at most 1 MiB, encodes the tag once more.
	escaped := http.Header{}
	for _, name := range []string{"A", "B", "C", "D"} {
		escaped.Set(name, strings.Repeat("<", len(fitting(name))))
	}
	if n := len(list.Pick(upgradeRequest(escaped)).Tag()); n > 512<<10 {
		t.Errorf("the tag has %d bytes, want 512 KiB or less", n)
	}
}

// What Pick returns does not keep the rest of the HTTP request in memory.
func TestPickKeepsNothingElse(t *testing.T) {
	list := List{Cookies: []string{"s"}, Headers: []string{"A"}}
	var kept []Request
	for range 100 {
		kept = append(kept, list.Pick(upgradeRequest(http.Header{"Cookie": {"x=" + strings.Repeat("v", 100<<10) + "; s=1"}, "A": {strings.Repeat("v", 100<<10)[:10]}})))
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 8<<20 {
		t.Errorf("%d bytes are in use, want 8 MiB or less", m.HeapAlloc)
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
			t.Errorf("FromTags returned %+v, %t; want %+v", got, ok, r)
		}
	}
}

// A stock server sends no Request. FromTags must say so, and not return a Request whose credential is from no cookie.
func TestNoTag(t *testing.T) {
	for _, tags := range [][]string{nil, {"a", "b"}, {requestPrefix}, {requestPrefix + "!"}, {requestPrefix + "e30x"}, {"x" + Request{}.Tag()}} {
		if got, ok := FromTags(tags); ok || !reflect.DeepEqual(got, Request{}) {
			t.Errorf("FromTags(%q) = %+v, %t; want nothing", tags, got, ok)
		}
	}
}

func FuzzFromTags(f *testing.F) {
	f.Add(Request{FromCookie: true}.Tag())
	f.Fuzz(func(t *testing.T, tag string) {
		if r, ok := FromTags([]string{tag}); ok {
			if again, ok := FromTags([]string{r.Tag()}); !ok || !reflect.DeepEqual(again, r) {
				t.Error("the tag of the decoded request is decoded differently")
			}
		}
	})
}

func TestAddTokenCookie(t *testing.T) {
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
		got.AddTokenCookie(upgradeRequest(http.Header{"Cookie": {tt.cookies}}), tt.name)
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("cookie %q of a header of %d bytes: named as too long are %q", tt.name, len(tt.cookies), got.TooLong)
		}
	}
}
