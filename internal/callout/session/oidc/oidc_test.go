package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
)

// provider serves a discovery document and keys.
type provider struct {
	*httptest.Server
	mu   sync.Mutex
	keys []jose.JSONWebKey
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"authorization_endpoint":"x","token_endpoint":"x"}`, p.URL, p.URL+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: p.keys})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// set makes these the provider's keys.
func (p *provider) set(keys ...jose.JSONWebKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = nil
	for _, k := range keys {
		p.keys = append(p.keys, k.Public())
	}
}

func newKey(t testing.TB, id string) jose.JSONWebKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, KeyID: id, Algorithm: "ES256", Use: "sig"}
}

// token signs claims.
func token(t *testing.T, alg jose.SignatureAlgorithm, key any, typ string, claims map[string]any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(data)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (p *provider) claims(edit ...map[string]any) map[string]any {
	c := map[string]any{
		"iss": p.URL, "sub": "alice", "aud": []string{"other", "app"}, "scope": "openid api",
		"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "secret": "claim-4711",
	}
	for _, e := range edit {
		maps.Copy(c, e)
	}
	return c
}

func (p *provider) open(t *testing.T, fields string) source {
	t.Helper()
	text := fmt.Sprintf("kind: oidc, issuer: %q, audience: app, %s", p.URL, fields)
	return sourcetest.Open(t, Parse, text).(source)
}

func find(t *testing.T, s session.Source, text string) (*session.Session, error) {
	t.Helper()
	got, err := s.Find(t.Context(), &session.Request{Credential: session.Credential{Kind: session.Token, Value: text}})
	if err != nil && strings.Contains(err.Error(), "4711") {
		t.Error("the error tells a secret")
	}
	return got, err
}

func TestTakesTokens(t *testing.T) {
	p, key := newProvider(t), newKey(t, "k1")
	p.set(key)
	s := p.open(t, "scopes: [api]")
	for _, typ := range []string{"", "JWT", "at+jwt", "application/at+jwt"} {
		got, err := find(t, s, token(t, jose.ES256, key, typ, p.claims()))
		if err != nil || got.Data["sub"] != "alice" || got.Key == "" || time.Until(got.Expires) < time.Minute {
			t.Errorf("a token with typ %q was refused: %v", typ, err)
		}
	}
}

func TestRefusesTokens(t *testing.T) {
	p, key, other := newProvider(t), newKey(t, "k1"), newKey(t, "k1")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs := jose.JSONWebKey{Key: rsaKey, KeyID: "r1", Algorithm: "RS256"}
	enc := newKey(t, "e1")
	enc.Use = "enc"
	p.set(key, rs, enc)
	s := p.open(t, "scopes: [api]")
	der, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good := token(t, jose.ES256, key, "JWT", p.claims())
	parts := strings.Split(good, ".")
	soon := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, text := range map[string]string{
		"empty":                "",
		"not a token":          "eyJ.x.y",
		"none":                 "eyJhbGciOiJub25lIn0." + parts[1] + ".",
		"changed":              parts[0] + "." + parts[1][:len(parts[1])-4] + "AAAA." + parts[2],
		"signed by another":    token(t, jose.ES256, other, "JWT", p.claims()),
		"public key as HMAC":   token(t, jose.HS256, public, "JWT", p.claims()),
		"another algorithm":    token(t, jose.PS256, jose.JSONWebKey{Key: rsaKey, KeyID: "r1"}, "JWT", p.claims()),
		"key for encryption":   token(t, jose.ES256, enc, "JWT", p.claims()),
		"logout token":         token(t, jose.ES256, key, "logout+jwt", p.claims()),
		"issuer":               token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"iss": p.URL + "/"})),
		"audience":             token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"aud": "other"})),
		"no audience":          token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"aud": []string{}})),
		"scope":                token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"scope": "openid apix"})),
		"over":                 token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"exp": soon(-time.Minute)})),
		"no end":               token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"exp": nil})),
		"not yet":              token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"nbf": soon(time.Minute)})),
		"issued in the future": token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"iat": soon(time.Minute)})),
		"no subject":           token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"sub": ""})),
		"long":                 token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"x": strings.Repeat("x", 20000)})),
	} {
		// An unknown key may be a new one, while it is too early to fetch the keys again.
		mayBeNew := name == "key for encryption"
		if got, err := find(t, s, text); got != nil || err == nil || !mayBeNew && !errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s: expected the token to be unknown; found error %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"over by less than the skew": token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"exp": soon(-10 * time.Second)})),
		"begins within the skew":     token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"nbf": soon(10 * time.Second)})),
		"RSA":                        token(t, jose.RS256, rs, "JWT", p.claims()),
	} {
		if _, err := find(t, s, text); err != nil {
			t.Errorf("%s: the token was refused: %v", name, err)
		}
	}
}

func TestIssuerMustBeTheProviders(t *testing.T) {
	p, key := newProvider(t), newKey(t, "k1")
	p.set(key)
	other := strings.Replace(p.URL, "127.0.0.1", "localhost", 1)
	s := sourcetest.Open(t, Parse, fmt.Sprintf("kind: oidc, issuer: %q, audience: app", other))
	if _, err := find(t, s, token(t, jose.ES256, key, "JWT", p.claims(map[string]any{"iss": other}))); err == nil || errors.Is(err, session.ErrUnknown) {
		t.Errorf("the provider calls itself otherwise: %v", err)
	}
}

func TestFaults(t *testing.T) {
	for fields, want := range map[string]string{
		`audience: a`:                                         `field "issuer" is missing`,
		`issuer: "https://x"`:                                 `field "audience" is missing`,
		`issuer: "https://x", audience: []`:                   `field "audience" is missing`,
		`issuer: x, audience: a`:                              "expected a URL",
		`issuer: "https://x", audience: ""`:                   "not empty",
		`issuer: "https://x", audience: a, algorithms: HS256`: "HS256",
		`issuer: "https://x", audience: a, algorithms: none`:  "none",
		`issuer: "https://x", audience: a, clock_skew: "1h"`:  "clock_skew",
		`issuer: "https://x", audience: a, refresh: "1s"`:     "refresh",
	} {
		if err := sourcetest.Faults(t, Parse, "kind: oidc\n"+fields); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected the fault %q; found %v", fields, want, err)
		}
	}
}
