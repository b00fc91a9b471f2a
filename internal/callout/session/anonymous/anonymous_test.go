package anonymous

import (
	"errors"
	"strings"
	"testing"

	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

func parse(t *testing.T, text string) (session.Opener, error) {
	t.Helper()
	n, err := conf.ParseString(text)
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	return Parse(n, &faults), faults.Err()
}

func TestFind(t *testing.T) {
	opener, err := parse(t, `kind: anonymous, data: {role: guest, level: 1}`)
	if err != nil {
		t.Fatal(err)
	}
	s, err := opener.Open(t.Context(), session.Env{})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []session.Kind{session.None, session.Cookie, session.Token, session.Password, session.Nkey, session.JWT, ""} {
		r := &session.Request{Credential: session.Credential{Kind: kind}}
		found, err := s.Find(t.Context(), r)
		if kind == session.None {
			if err != nil || found.Data["role"] != "guest" || found.Data["level"] != 1.0 {
				t.Errorf("kind %s: expected the guest's data; found %+v, error %v", kind, found, err)
			}
		} else if !errors.Is(err, session.ErrUnknown) {
			t.Errorf("kind %q: %v, %v; want it unknown", kind, found, err)
		}
		if key, ok := s.Accepts(r); key != "" || ok != (kind == session.None) {
			t.Errorf("kind %q: Accepts returned %q, %v; want no key, and true only without a credential", kind, key, ok)
		}
	}
}

func TestParse(t *testing.T) {
	for text, fault := range map[string]string{
		`kind: anonymous`:              "",
		`kind: anonymous, data: {}`:    "",
		`kind: anonymous, data: guest`: "expected a block",
		`kind: anonymous, user: x`:     `unknown field "user"`,
	} {
		_, err := parse(t, text)
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%s: found error %v, want %q", text, err, fault)
		}
	}
}
