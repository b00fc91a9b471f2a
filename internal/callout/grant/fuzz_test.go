package grant

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"stamp.example/claim"
	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

// FuzzContent: whatever a session holds, its grant allows nothing wider than the template says, and each header has the value
// of the session and nothing more. The oracle for subjects compares token by token with the template, and takes any one literal
// token for an expression.
func FuzzContent(f *testing.F) {
	g := mustParse(f, `grants: [{
		account: "T-{{ session.v }}", user: "{{ session.v }}", tags: ["t:{{ session.v }}"]
		publish: ["a.{{ session.v }}.b.>", "{{ session.v }}", "x-{{ session.v }}-{{ session.v }}.*"]
		subscribe {allow: ["s.{{ session.v }}", "s.{{ session.v }} q.{{ session.v }}"], deny: ["s.{{ session.v }}.>"]}
	}]`)
	h := mustParse(f, one(`headers {A: "{{ session.v }}", B: "Bearer {{ session.v }}"}`))
	for _, text := range []string{
		`"alice"`, `"a.b"`, `"*"`, `">"`, `"a b"`, `"$SYS"`, `"_INBOX"`, `""`, `null`, `[]`, `["a","b"]`, `["a",["b"]]`, `42`, `4.2`, `1e30`,
		`true`, `{"a":1}`, `"a\r\nB: c"`, `"\u0000"`, `"\u2028"`, `"\ufeffa"`, `"\ufffd"`, `"{{name()}}"`, `" a"`, `"日本"`, `"a\tb"`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var v any
		if json.Unmarshal(text, &v) != nil {
			v = string(text) // a source may give bytes that are no UTF-8
		}
		s := &session.Session{Data: map[string]any{"v": v}}
		if got, err := g.Match(s, cookie(), now); err == nil {
			for _, c := range []struct {
				got   []string
				forms []string
			}{
				{got.User.Pub.Allow, []string{"a.?.b.>", "?", "x-?-?.*"}},
				{got.User.Sub.Allow, []string{"s.?", "s.? q.?"}},
				{got.User.Sub.Deny, []string{"s.?.>"}},
			} {
				for _, subject := range c.got {
					checkForm(t, subject, c.forms)
				}
			}
			if got.User.Pub.Empty() || got.User.Sub.Empty() {
				t.Fatal("a permission is empty, which allows everything")
			}
			checkForm(t, got.Account, []string{"T-?"})
		}
		if got, err := h.Match(s, cookie(), now); err == nil {
			if err := got.Claim.Check(claim.MaxLimits); err != nil {
				t.Fatalf("the claim is not valid: %v", err)
			}
			a, b := got.Claim.Headers[0].Values, got.Claim.Headers[1].Values
			if text, ok := v.(string); ok && (len(a) != 1 || a[0] != text || b[0] != "Bearer "+text) {
				t.Fatalf("the headers are %q and %q, which is not the value of the session", a, b)
			}
		}
	})
}

// checkForm fails unless the subject is of one of the forms, where ? is part of one
// literal token.
func checkForm(t *testing.T, subject string, forms []string) {
	t.Helper()
	for _, form := range forms {
		if ofForm(subject, form) {
			return
		}
	}
	t.Fatalf("%q is of none of the forms %q", subject, forms)
}

func ofForm(subject, form string) bool {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == '.' || unicode.IsSpace(r) })
	}
	seps := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == '.' || unicode.IsSpace(r) {
				return r
			}
			return -1
		}, s)
	}
	tokens, want := split(subject), split(form)
	if len(tokens) != len(want) || seps(subject) != seps(form) || form[0] == '?' && strings.ContainsAny(subject[:1], "$_") {
		return false
	}
	for i, token := range tokens {
		before, rest, open := strings.Cut(want[i], "?")
		after := rest[strings.LastIndex(rest, "?")+1:]
		switch {
		case !open && token != want[i]:
			return false
		case open && (strings.ContainsAny(token, "*>") || !utf8.ValidString(token) || strings.ContainsFunc(token, unicode.IsControl)):
			return false
		case open && (!strings.HasPrefix(token, before) || !strings.HasSuffix(token, after) || len(token) <= len(before)+len(after)):
			return false
		}
	}
	return true
}

// FuzzParse: no text of a grant makes Parse panic, and no grant without faults makes Match panic.
func FuzzParse(f *testing.F) {
	f.Add(`session.a == "b"`, `a.{{ session.a }}.>`, `Bearer {{ credential }}`)
	f.Add(`any(session.a, # > 1)`, `{{ {"a": {"b": "c"}}.a.b }}`, `{{ toJSON(session) }}`)
	f.Add(`let x = session.a; x matches "^a"`, `{{ if true { "a" } else { "b" } }}`, "{{ `}}` }}")
	f.Fuzz(func(t *testing.T, when, subject, header string) {
		text, err := json.Marshal(map[string]any{"grants": []any{map[string]any{
			"account": "A", "when": when, "publish": subject, "subscribe": subject, "headers": map[string]any{"A": header},
		}}})
		if err != nil {
			t.Skip()
		}
		n, err := conf.ParseString(string(text))
		if err != nil {
			return
		}
		var faults conf.Faults
		g := Parse(n.Get("grants"), &faults)
		if faults.Err() != nil {
			return
		}
		g.Warnings()
		s := &session.Session{Data: map[string]any{"a": "b", "l": []any{1.0, "x"}}}
		if got, err := g.Match(s, cookie(), now); err == nil {
			if err := got.Claim.Check(claim.MaxLimits); err != nil {
				t.Fatalf("the claim is not valid: %v", err)
			}
			if got.User.Pub.Empty() {
				t.Fatal("a permission is empty, which allows everything")
			}
		}
	})
}
