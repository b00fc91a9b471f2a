package grant

import (
	"encoding/json"
	"strings"
	"testing"

	"stamp/internal/callout/session"
)

// everywhere has a grant for each place where an expression may be.
var everywhere = map[string]string{
	"account":          `account: "{{ session.v }}", accounts: [APP]`,
	"user":             `user: "{{ session.v }}"`,
	"tags":             `tags: ["t:{{ session.v }}"]`,
	"publish":          `publish: ["a.{{ session.v }}"]`,
	"subscribe":        `subscribe: ["a.{{ session.v }} q"]`,
	"headers: X":       `headers { X: "{{ session.v }}" }`,
	"headers: X, part": `headers { X: "Bearer {{ session.v }}" }`,
	"headers: X, of":   `headers { X: { value: v, subjects: ["a.{{ session.v }}"] } }`,
	"base64":           `headers { X: "{{ toBase64(session.v) }}" }`,
}

// A value with characters that show nothing, or that stand for other text, is refused wherever it becomes part of a grant.
func TestHiddenCharacters(t *testing.T) {
	for place, fields := range everywhere {
		g := mustParse(t, one(fields))
		for _, text := range []string{`"al\ud800ice"`, `"\udfff"`, `"al\ufffdice"`, "\"al\xffice\"", "\"al\xf0\x9f\x98ice\""} {
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatal(err)
			}
			got, err := g.Match(&session.Session{Data: map[string]any{"v": v}}, cookie(), now)
			if got != nil {
				t.Errorf("%s: the value %q was accepted", place, text)
				continue
			}
			if field, _, _ := strings.Cut(place, ","); field != "base64" && field != "account" {
				refusal(t, err, field)
			}
		}
		if strings.Contains(place, "part") || place == "base64" {
			continue
		}
		for _, r := range []rune{0x115f, 0x1160, 0x3164, 0xffa0, 0x2800, 0x17b4, 0x180b, 0x200b, 0x200d, 0x2060, 0x34f, 0xfe0f, 0xfeff, 0xe0101, 0xad} {
			values := []any{string(r), string(r) + string(r)}
			if !strings.HasPrefix(place, "headers: X") || strings.Contains(place, "of") {
				values = append(values, "al"+string(r)+"ice", "APP"+string(r))
			}
			for _, v := range values {
				if got, _ := g.Match(&session.Session{Data: map[string]any{"v": v}}, cookie(), now); got != nil {
					t.Errorf("%s: the value %q was accepted", place, v)
				}
			}
		}
	}
	// What can be seen is accepted.
	g := mustParse(t, one(`user: "{{ session.v }}", headers { X: "{{ session.v }}" }`))
	for _, v := range []any{"Łukasz", "한글", "日本語", "é́", "a b", "😀", "⠓"} {
		if _, err := g.Match(&session.Session{Data: map[string]any{"v": v}}, cookie(), now); err != nil {
			t.Errorf("value %q, which can be seen, was refused: %v", v, err)
		}
	}
}

// The tags that name sessions are the server's: with one of them, a session could take a connection
// away from its own logout.
func TestTagsOfOthersSessions(t *testing.T) {
	names := []string{"stamp-session:kv/ffff", "STAMP-SESSION:kv/ffff", "Stamp-Session:x", "\u017ftamp-\u017fession:x", "stamp-request:e30", "stamp-"}
	for _, tag := range names {
		for _, fields := range []string{
			`tags: ["{{ session.tag }}"]`, `tags: [x, "{{ session.tags }}"]`, `tags: ["{{ session.first }}{{ session.rest }}"]`,
			`tags: ["s{{ session.second }}"]`,
		} {
			g := mustParse(t, one(fields))
			content, err := json.Marshal(map[string]any{"tag": tag, "tags": []string{"y", tag}, "first": tag[:3], "rest": tag[3:], "second": tag[1:]})
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(fields, `"s{{`) && tag[0] != 's' || tag[0] >= 0x80 && strings.Contains(fields, "rest") {
				continue
			}
			_, err = g.Match(data(t, string(content)), cookie(), now)
			refusal(t, err, "tags", "stamp-")
			if err != nil && strings.Contains(err.Error(), "ffff") {
				t.Errorf("the refusal holds the value: %v", err)
			}
		}
		text, err := json.Marshal(tag)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(t, one("tags: ["+string(text)+"]")); err == nil || !strings.Contains(err.Error(), "stamp-") {
			t.Errorf("tag %s in the configuration: expected a fault that names the server's prefix; found %v", tag, err)
		}
	}
	for _, tag := range []string{"stamp", "stamps-x", "my-stamp-session:a"} {
		if _, err := mustParse(t, one(`tags: ["{{ session.tag }}"]`)).Match(data(t, `{"tag":"`+tag+`"}`), cookie(), now); err != nil {
			t.Errorf("tag %s, which is no tag of the server's, was refused: %v", tag, err)
		}
	}
}

// Where one value is needed, a list is refused, even a list of one.
func TestListsOfOne(t *testing.T) {
	for field, fields := range map[string]string{
		"account": `account: "{{ session.v }}", accounts: [APP]`, "user": `user: "{{ session.v }}"`,
	} {
		for _, fields := range []string{fields, strings.Replace(fields, `"{{ session.v }}"`, `"A{{ session.v }}"`, 1)} {
			g := mustParse(t, one(fields))
			for _, text := range []string{`["APP"]`, `["PP"]`, `["APP","B"]`, `[]`, `[["APP"]]`, `{"a":1}`} {
				_, err := g.Match(data(t, `{"v":`+text+`}`), cookie(), now)
				refusal(t, err, field)
			}
		}
	}
	if _, err := mustParse(t, one(`account: "{{ first(session.v) }}", accounts: [APP]`)).Match(data(t, `{"v":["APP"]}`), cookie(), now); err != nil {
		t.Errorf("the first of a list: %v", err)
	}
	s, err := (&Subject{mustTemplate(t, "a.{{ session.v }}")}).For(data(t, `{"v":["b"]}`))
	if err == nil {
		t.Errorf("a list became the subject %q", s)
	}
}

func mustTemplate(t *testing.T, text string) *template {
	t.Helper()
	s, err := parseSubject(text, false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
