package docpage

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	got, err := Parse("# Page\n\n```hcl a.conf\nx: 1\n```\n\n```sh\nnot run\n```\n```console\n$ one \\\n  two\nout\nmore\n$ three\n```\n" +
		"<!-- browser: open http://a; click b -->\n```js console\nf()\n// 1\n```\n")
	want := []Step{
		{3, File, "a.conf", "x: 1\n", ""}, {11, Command, "", "one \\\n  two", "out\nmore\n"}, {15, Command, "", "three", ""},
		{17, Browser, "", "open http://a", ""}, {17, Browser, "", "click b", ""}, {18, Script, "", "f()", "1"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, page := range []string{"```sh\n", "```js console\nf()\n```\n", "```js console\n// 1\n```\n"} {
		if got, err := Parse(page); err == nil {
			t.Errorf("%q: %v", page, got)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		want, got string
		is        bool
	}{
		{"a\n", "a\n", true}, {"a\n", "a\nb\n", false}, {"", "", true}, {"", "a\n", false}, {"a… c\n", "a bb c\n", true}, {"a…c\n", "a\nc\n", false},
		{"a\n…\nz\n", "a\nb\nc\nz\n", true}, {"…\n", "a\nb\n", true}, {"…\n", "", true}, {"a.c\n", "abc\n", false}, {"x\n…\n", "a\n", false},
	} {
		if Matches(tt.want, tt.got) != tt.is {
			t.Errorf("%q, %q: not %t", tt.want, tt.got, tt.is)
		}
	}
}
