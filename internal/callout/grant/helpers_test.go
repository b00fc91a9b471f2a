package grant

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

var now = time.Unix(1_700_000_000, 500_000_000)

func parse(t testing.TB, text string) (*Grants, error) {
	t.Helper()
	n, err := conf.ParseString(text)
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	g := Parse(n.Get("grants"), &faults)
	return g, faults.Err()
}

func mustParse(t testing.TB, text string) *Grants {
	t.Helper()
	g, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// one returns the configuration of one grant with these fields, and with the required fields that are not among them.
func one(fields string) string {
	for name, value := range map[string]string{"account": "APP", "publish": "[]", "subscribe": "[]"} {
		if !strings.HasPrefix(fields, name) {
			fields += "\n" + name + ": " + value
		}
	}
	return "grants: [{ name: g\n" + fields + " }]"
}

// data is the content of a session, from JSON.
func data(t testing.TB, text string) *session.Session {
	t.Helper()
	s := &session.Session{Source: "kv"}
	if err := json.Unmarshal([]byte(text), &s.Data); err != nil {
		t.Fatal(err)
	}
	return s
}

func cookie() *session.Request {
	return &session.Request{
		Credential: session.Credential{Kind: session.Cookie, Value: "c00k1e"},
		Host:       "192.0.2.7", Type: "websocket", Kind: "Client", Name: "page",
		Headers: map[string][]string{"User-Agent": {"Mozilla/5.0", "second"}, "Authorization": {"Basic x"}},
		Cookies: map[string]string{"theme": "dark"},
	}
}

// refusal fails the test unless the error is a refusal of that field, with all words in
// it.
func refusal(t testing.TB, err error, field string, words ...string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a refusal", err)
	}
	if r.Field != field {
		t.Errorf("refused for field %q, want %q: %v", r.Field, field, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("expected %q in the refusal; found %q", w, err)
		}
	}
}
