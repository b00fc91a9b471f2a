package grant

import (
	"math"
	"strings"
	"testing"

	"stamp/internal/callout/session"
)

func TestClosing(t *testing.T) {
	for text, want := range map[string]int{
		` x }} y`: 3, `}}`: 0, `"}}" }}`: 5, `'}}' }}`: 5, "`}}` }}": 5, `"\"}}" }}`: 7, "`\\`}}": 3,
		`{"a": {"b": 1}}.a }}`: 18, `{{1}} }}`: 6, ``: -1, ` x }`: -1, ` "x }}`: -1, `{ x }}`: -1,
	} {
		if got := closing(text); got != want {
			t.Errorf("closing(%s) = %d, want %d", text, got, want)
		}
	}
}

func TestTemplateFaults(t *testing.T) {
	for text, want := range map[string]error{"a {{ b": errOpen, "a }} b": errClose, "{{ source }} }}": errClose} {
		if _, err := parseTemplate(text, checkValue); err != want {
			t.Errorf("template %s: error %v, want %v", text, err, want)
		}
	}
	for _, text := range []string{"{{}}", "{{ }}", "{{ a b }}", "{{ nobody }}"} {
		if _, err := parseTemplate(text, checkValue); err == nil {
			t.Errorf("template %s was accepted", text)
		}
	}
}

// How each kind of value is written in a header, in a subject and in a name. An empty want stands for a refusal.
func TestValues(t *testing.T) {
	long := strings.Repeat("x", maxToken+1)
	for _, c := range []struct {
		what                   string
		value                  any
		header, subject, named string
	}{
		{"text", "abc", "abc", "abc", "abc"},
		{"letters", "Zoë-日本_1", "Zoë-日本_1", "Zoë-日本_1", "Zoë-日本_1"},
		{"integer of JSON", 42.0, "42", "42", "42"},
		{"large integer of JSON", 1234567890123.0, "1234567890123", "1234567890123", "1234567890123"},
		{"negative", -7.0, "-7", "-7", "-7"},
		{"int", 7, "7", "7", "7"},
		{"int64", int64(8), "8", "8", "8"},
		{"true", true, "true", "true", "true"},
		{"fraction", 4.2, "", "", ""},
		{"not exact", float64(1 << 53), "", "", ""},
		{"no number", math.NaN(), "", "", ""},
		{"infinity", math.Inf(1), "", "", ""},
		{"absent", nil, "", "", ""},
		{"empty", "", "", "", ""},
		{"object", map[string]any{"a": "b"}, "", "", ""},
		{"list in a list", []any{[]any{"a"}}, "", "", ""},
		{"absent in a list", []any{"a", nil}, "", "", ""},
		{"empty in a list", []any{"a", ""}, "", "", ""},
		{"list of one", []any{"a"}, "a", "a", ""},
		{"list", []any{"a", "b"}, "a|b", "a|b", ""},
		{"list of strings", []string{"a", "b"}, "a|b", "a|b", ""},
		{"empty list", []any{}, "", "nothing", ""},
		{"dot", "a.b", "a.b", "", "a.b"},
		{"star", "*", "*", "", "*"},
		{"greater", ">", ">", "", ">"},
		{"space inside", "a b", "a b", "", "a b"},
		{"space before", " a", "", "", ""},
		{"space after", "a ", "", "", ""},
		{"tab inside", "a\tb", "a\tb", "", ""},
		{"line feed", "a\nb", "", "", ""},
		{"carriage return", "a\r", "", "", ""},
		{"NUL", "a\x00", "", "", ""},
		{"delete", "a\x7f", "", "", ""},
		{"no UTF-8", "a\xff", "", "", ""},
		{"what no UTF-8 becomes", "a\ufffd", "", "", ""},
		{"invisible space", "a\u200bb", "a\u200bb", "", ""},
		{"wide space", "a\u3000b", "a\u3000b", "", ""},
		{"line separator", "a\u2028b", "", "", ""},
		{"right to left", "a\u202eb", "a\u202eb", "", ""},
		{"template", "{{name()}}", "", "", ""},
		{"long", long, long, "", ""},
		{"dollar", "$SYS", "$SYS", "", "$SYS"},
		{"underscore", "_INBOX", "_INBOX", "", "_INBOX"},
	} {
		for _, k := range []struct {
			kind, want string
			rule       rule
		}{{"header", c.header, checkValue}, {"subject", c.subject, checkToken}, {"name", c.named, checkName}} {
			tmpl, err := parseTemplate("{{ session.v }}", k.rule)
			if err != nil {
				t.Fatal(err)
			}
			s := &session.Session{Data: map[string]any{"v": c.value}}
			m := newMachine(s, cookie(), false)
			values, reason := tmpl.evalAll(m)
			if k.kind == "name" {
				var text string
				text, reason = tmpl.evalOne(m)
				values = []string{text}
			}
			m.release()
			got := strings.Join(values, "|")
			if reason == "" && len(values) == 0 {
				got = map[string]string{"header": "", "subject": "nothing"}[k.kind] // header.give refuses it
			}
			if reason != "" {
				got = ""
			}
			if got != k.want || (got == "" && reason == "" && len(values) > 0) {
				t.Errorf("%s in a %s becomes %q (%s), want %q", c.what, k.kind, got, reason, k.want)
			}
			if v, ok := c.value.(string); ok && len(v) > 2 && strings.Contains(reason, v) && v != "{{name()}}" {
				t.Errorf("%s in a %s: the refusal shows the value", c.what, k.kind)
			}
		}
	}
}

// A value cannot be the first token of a subject if it begins with $ or _, as the server's own names do. It may be a later
// token.
func TestFirstToken(t *testing.T) {
	for text, ok := range map[string]bool{
		"{{ session.v }}.>": false, "{{ session.v }}": false, "{{ session.v }}-x": false, "a.{{ session.v }}": true, "a-{{ session.v }}": true,
	} {
		for _, v := range []string{`"$JS"`, `"_INBOX"`, `"$"`, `["a","$SYS"]`} {
			_, err := mustParse(t, one(`publish: "`+text+`"`)).Match(data(t, `{"v":`+v+`}`), cookie(), now)
			if ok != (err == nil) {
				t.Errorf("template %s with the value %s: accepted must be %t; found error %v", text, v, ok, err)
			}
		}
	}
}

func TestListsAreBounded(t *testing.T) {
	list := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("1,", n), ",") + "]" }
	for _, c := range []struct {
		field string
		a, b  int
		ok    bool
	}{
		{`publish: "a.{{ session.a }}"`, 1000, 0, true},
		{`publish: "a.{{ session.a }}"`, 1001, 0, false},
		{`publish: "{{ session.a }}"`, 1001, 0, false},
		{`publish: "{{ session.a }}.{{ session.b }}"`, 10, 100, true},
		{`publish: "{{ session.a }}.{{ session.b }}"`, 10, 101, false},
		{`publish: ["a.{{ session.a }}", "b.{{ session.b }}"]`, 500, 501, false},
		{`headers {X: "{{ session.a }}"}`, 1000, 0, true},
		{`headers {X: "v{{ session.a }}"}`, 1001, 0, false},
		{`headers {X: "{{ session.a }}-{{ session.b }}"}`, 10, 101, false},
	} {
		_, err := mustParse(t, one(c.field)).Match(data(t, `{"a":`+list(c.a)+`,"b":`+list(c.b)+`}`), cookie(), now)
		if c.ok != (err == nil) {
			t.Errorf("%s with lists of %d and %d: accepted must be %t; found error %v", c.field, c.a, c.b, c.ok, err)
		}
	}
}
