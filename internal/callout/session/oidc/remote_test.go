package oidc

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
	"stamp/internal/conf"
)

const issuer = "https://login.test"

// remote is a provider without a network, so that hours pass at once.
type remote struct {
	mu      sync.Mutex
	keys    string // path of the keys
	host    string // of the keys, as the document says; issuer when empty
	set     []json.RawMessage
	down    bool
	delay   time.Duration
	fetches int // of anything

	calls string // itself; issuer when empty
	at    string // path of the document; the default's when empty
	only  string // host that it answers at; any when empty
}

func (r *remote) RoundTrip(request *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetches++
	if r.delay > 0 {
		delay := r.delay
		r.mu.Unlock()
		select {
		case <-time.After(delay):
		case <-request.Context().Done():
		}
		r.mu.Lock()
	}
	if err := request.Context().Err(); err != nil {
		return nil, err
	}
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}}
	body := []byte("body-4711")
	switch path := request.URL.Path; {
	case r.down:
		answer.StatusCode = http.StatusBadGateway
	case r.only != "" && request.URL.Host != r.only:
		answer.StatusCode = http.StatusNotFound
	case path == cmp.Or(r.at, "/.well-known/openid-configuration"):
		body = fmt.Appendf(nil, `{"issuer":%q,"jwks_uri":%q}`, cmp.Or(r.calls, issuer), cmp.Or(r.host, issuer)+r.keys)
	case path == r.keys:
		body, _ = json.Marshal(map[string]any{"keys": r.set})
	default:
		answer.StatusCode = http.StatusNotFound
	}
	answer.Body = io.NopCloser(strings.NewReader(string(body)))
	return answer, nil
}

// change changes the provider, and count returns how often it was asked.
func (r *remote) change(f func(*remote)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r)
}

func (r *remote) count() (n int) {
	r.change(func(r *remote) { n = r.fetches })
	return n
}

func public(t testing.TB, keys ...jose.JSONWebKey) []json.RawMessage {
	t.Helper()
	set := []json.RawMessage{}
	for _, k := range keys {
		raw, err := json.Marshal(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, raw)
	}
	return set
}

// virtually runs a test with a source of that provider, in virtual time.
func virtually(t *testing.T, r *remote, test func(t *testing.T, s session.Source)) {
	t.Helper()
	r.keys = "/keys"
	synctest.Test(t, func(t *testing.T) {
		s := openAt(t, r, "")
		synctest.Wait()
		test(t, s)
		_ = s.Close()
	})
}

// openAt opens a source of that provider.
func openAt(t testing.TB, r *remote, fields string) session.Source {
	t.Helper()
	return openAs(t, r, issuer, fields)
}

func openAs(t testing.TB, r *remote, issuer, fields string) session.Source {
	t.Helper()
	n, err := conf.ParseString(fmt.Sprintf("kind: oidc, issuer: %q, audience: app, %s\n", issuer, fields))
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	opener := Parse(n, &faults).(*Config)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	opener.HTTP().HTTP().Transport = r
	s, err := opener.Open(t.Context(), session.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func faultsOf(t *testing.T, fields string) error {
	t.Helper()
	return sourcetest.Faults(t, Parse, "kind: oidc, audience: a\n"+fields)
}

func by(t *testing.T, key jose.JSONWebKey, iss string) string {
	t.Helper()
	return token(t, jose.ES256, key, "JWT", map[string]any{
		"iss": iss, "sub": "alice", "aud": "app", "exp": time.Now().Add(100 * time.Hour).Unix(),
	})
}

// expect looks a token up, and compares what comes of it.
func expect(t *testing.T, s session.Source, text, want string) {
	t.Helper()
	t.Log("expected:", want)
	got, err := find(t, s, text)
	is := "cannot tell"
	switch {
	case err == nil && got != nil:
		is = "known"
	case errors.Is(err, session.ErrUnknown):
		is = "unknown"
	}
	if is != want {
		t.Errorf("the token is %s, want %s: %v", is, want, err)
	}
}
