package docpage

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	got, err := Parse("# Page\n\n```hcl a.conf\nx: 1\n```\n\n```sh\nnot run\n```\n```console\n$ one \\\n  two\nout\nmore\n$ three\n```\n" +
		"<!-- browser: open http://a; click b -->\n```js console\nf()\n// 1\n```\n" +
		"<!-- run\nserve a.conf\n-->\n<!-- not run: it asks -->\n```console\n$ ask\n```\n1. List\n\n   ```console\n   $ four\n   out\n   ```\n")
	want := []Step{
		{3, File, "a.conf", "x: 1\n", ""}, {11, Command, "", "one \\\n  two", "out\nmore\n"}, {15, Command, "", "three", ""},
		{17, Browser, "", "open http://a", ""}, {17, Browser, "", "click b", ""}, {18, Script, "", "f()", "1"},
		{23, Hidden, "", "serve a.conf", ""}, {32, Command, "", "four", "out\n"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Parse returned %+v and error %v; want %+v", got, err, want)
	}
	for _, page := range []string{"```sh\n", "```js console\nf()\n```\n", "```js console\n// 1\n```\n", "<!-- run\n"} {
		if got, err := Parse(page); err == nil {
			t.Errorf("Parse accepted the faulty page %q as %v", page, got)
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
			t.Errorf("Matches(%q, %q) = %t, want %t", tt.want, tt.got, !tt.is, tt.is)
		}
	}
}

func TestBlocks(t *testing.T) {
	got, err := Blocks("<!-- in: source -->\n```hcl\nkind: kv\n```\n```sh\nls\n```\n<!-- not run: it asks -->\n\n   ```console\n   $ ask\n   ```\n")
	want := []Block{
		{2, "hcl", "", "kind: kv\n", "", "source"}, {5, "sh", "", "ls\n", "", ""}, {10, "console", "", "$ ask\n", "it asks", ""},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Blocks returned %+v and error %v; want %+v", got, err, want)
	}
}
