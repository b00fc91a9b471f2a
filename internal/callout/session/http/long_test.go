package http

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
)

// TestLongCredentials: a large access token reaches the application. The configuration sets the bound.
func TestLongCredentials(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"length":%d}`, len(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
	}))
	t.Cleanup(s.Close)
	for _, c := range []struct {
		fields string
		length int
		known  bool
	}{
		{"", 4096, true}, {"", 4097, true}, {"", 16384, true}, {"", 16385, false},
		{"max_credential: 100", 100, true}, {"max_credential: 100", 101, false}, {"max_credential: 65536", 65536, true},
	} {
		asked = 0
		source := open(t, fmt.Sprintf("url: %q, header: Authorization, scheme: Bearer\n%s", s.URL, c.fields))
		got, err := find(t, source, &session.Request{Credential: session.Credential{Kind: session.Token, Value: strings.Repeat("x", c.length)}})
		switch {
		case c.known && (err != nil || got.Data["length"] != float64(c.length)):
			t.Errorf("%s: a credential of %d bytes does not reach the application: %v", c.fields, c.length, err)
		case !c.known && (!errors.Is(err, session.ErrUnknown) || asked > 0):
			t.Errorf("%s: %d bytes: %v, asked %d times; want it unknown without asking", c.fields, c.length, err, asked)
		}
	}
	for _, value := range []string{"0", "-1", "2000000"} {
		if err := sourcetest.Faults(t, Parse, "kind: http, url: \"http://x\"\nmax_credential: "+value); err == nil || !strings.Contains(err.Error(), "max_credential: expected") {
			t.Errorf("max_credential: %s: expected a fault; found %v", value, err)
		}
	}
}

// TestKeyThatCannotBeDecoded: two sessions whose keys differ only in bytes that cannot be decoded stay two.
func TestKeyThatCannotBeDecoded(t *testing.T) {
	for _, id := range []string{`"a\ud800"`, `"a\udfff"`, "\"a\xff\""} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"id":%s}`, id)
		}))
		t.Cleanup(s.Close)
		got, err := find(t, open(t, fmt.Sprintf("url: %q, key: id", s.URL)), cookie(secret))
		if err == nil || errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s: %v, %v; want that it cannot tell", id, got, err)
		}
	}
}
