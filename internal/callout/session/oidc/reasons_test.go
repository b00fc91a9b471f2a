package oidc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"stamp/internal/callout/session"
)

// A refusal says why, and shows nothing of the token.
func TestReasons(t *testing.T) {
	p, key, other := newProvider(t), newKey(t, "k1"), newKey(t, "k1")
	p.set(key)
	s := p.open(t, "scopes: [api]")
	soon := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	claim := func(name string, value any) map[string]any { return map[string]any{name: value} }
	for name, c := range map[string]struct{ text, want string }{
		"audience":     {token(t, jose.ES256, key, "JWT", p.claims(claim("aud", "value-4711"))), "aud "},
		"issuer":       {token(t, jose.ES256, key, "JWT", p.claims(claim("iss", "value-4711"))), "iss "},
		"expired":      {token(t, jose.ES256, key, "JWT", p.claims(claim("exp", soon(-time.Hour)))), "expired"},
		"no exp":       {token(t, jose.ES256, key, "JWT", p.claims(claim("exp", nil))), "exp is missing"},
		"no sub":       {token(t, jose.ES256, key, "JWT", p.claims(claim("sub", nil))), "sub is missing"},
		"future iat":   {token(t, jose.ES256, key, "JWT", p.claims(claim("iat", soon(time.Hour)))), "iat "},
		"future nbf":   {token(t, jose.ES256, key, "JWT", p.claims(claim("nbf", soon(time.Hour)))), "nbf "},
		"scope":        {token(t, jose.ES256, key, "JWT", p.claims(claim("scope", "value-4711"))), "scope"},
		"type":         {token(t, jose.ES256, key, "logout+jwt", p.claims()), "typ "},
		"logout token": {token(t, jose.ES256, key, "JWT", p.claims(claim("events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}))), "events"},
		"signature":    {token(t, jose.ES256, other, "JWT", p.claims()), "signature"},
		"algorithm":    {token(t, jose.HS256, []byte(strings.Repeat("x", 32)), "JWT", p.claims()), "algorithm"},
	} {
		_, err := find(t, s, c.text)
		if !errors.Is(err, session.ErrUnknown) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: expected a refusal that says %q; found %v", name, c.want, err)
		}
	}
	_, err := find(t, s, token(t, jose.ES256, newKey(t, "k4711"), "JWT", p.claims()))
	if err == nil || errors.Is(err, session.ErrUnknown) || !strings.Contains(err.Error(), "may be new") || strings.Contains(err.Error(), "4711") {
		t.Errorf("a key that may be new: %v", err)
	}
}

// Access tokens of some providers have client_id in place of aud.
func TestClientID(t *testing.T) {
	p, key := newProvider(t), newKey(t, "k1")
	p.set(key)
	s := p.open(t, "client_id: [app-client]")
	for name, c := range map[string]struct {
		claims map[string]any
		known  bool
	}{
		"client_id":         {map[string]any{"aud": nil, "client_id": "app-client"}, true},
		"aud":               {map[string]any{"aud": "app"}, true},
		"another client_id": {map[string]any{"aud": nil, "client_id": "x"}, false},
		"neither":           {map[string]any{"aud": nil}, false},
		"a list":            {map[string]any{"aud": nil, "client_id": []string{"app-client"}}, false},
		"Client_ID":         {map[string]any{"aud": nil, "Client_ID": "app-client"}, false},
	} {
		if _, err := find(t, s, token(t, jose.ES256, key, "JWT", p.claims(c.claims))); (err == nil) != c.known {
			t.Errorf("%s: accepted must be %t; found error %v", name, c.known, err)
		}
	}
	_, err := find(t, s, token(t, jose.ES256, newKey(t, "k4711"), "JWT", p.claims()))
	if err == nil || errors.Is(err, session.ErrUnknown) || !strings.Contains(err.Error(), "may be new") || strings.Contains(err.Error(), "4711") {
		t.Errorf("a key that may be new: %v", err)
	}
}

// An issuer with {tenantid} stands for the issuers of the listed tenants, and a key of one tenant does not sign for another.
func TestTenants(t *testing.T) {
	const multi = issuer + "/{tenantid}/v2.0"
	key := newKey(t, "k1")
	open := func(t *testing.T, tenants string) session.Source {
		r := &remote{keys: "/keys", set: public(t, key), calls: multi, at: "/common/v2.0/.well-known/openid-configuration"}
		return openAs(t, r, multi, "tenants: "+tenants)
	}
	by := func(tid, iss string) string {
		return token(t, jose.ES256, key, "JWT", map[string]any{"iss": iss, "tid": tid, "sub": "alice", "aud": "app", "exp": time.Now().Add(time.Hour).Unix()})
	}
	of := func(tid string) string { return issuer + "/" + tid + "/v2.0" }
	one := open(t, "[t1, t2]")
	defer one.Close()
	expect(t, one, by("t1", of("t1")), "known")
	expect(t, one, by("t2", of("t2")), "known")
	expect(t, one, by("t3", of("t3")), "unknown")
	expect(t, one, by("t1", of("t2")), "unknown")
	expect(t, one, by("t1", multi), "unknown")
	expect(t, one, by("", of("")), "unknown")
	expect(t, one, by("{tenantid}", multi), "unknown")
	any := open(t, `["*"]`)
	defer any.Close()
	expect(t, any, by("t3", of("t3")), "known")
	expect(t, any, by("t1/../t2", of("t1/../t2")), "unknown")
	expect(t, any, by("", of("")), "unknown")
}

func TestTenantsMustBeListed(t *testing.T) {
	for fields, want := range map[string]string{
		`issuer: "https://x/{tenantid}"`:                                              "needs tenants",
		`issuer: "https://x", tenants: [a]`:                                           "expected {tenantid} in issuer",
		`issuer: "https://x/{tenantid}", tenants: ["a/b"]`:                            "tenants: expected ids",
		`issuer: "https://x", provider_timeout: "1h"`:                                 "provider_timeout: expected",
		`issuer: "https://x", endpoints { jwks: "x" }`:                                "jwks: expected a URL",
		`issuer: "https://x", discovery_url: "ftp://x"`:                               "discovery_url: expected a URL",
		`issuer: "https://x", client_id: [""]`:                                        "client_id: expected a text",
		`issuer: "https://x", jwks_url: "https://x", endpoints { jwks: "https://x" }`: "expected jwks_url or jwks in endpoints",
	} {
		if err := faultsOf(t, fields); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected the fault %q; found %v", fields, want, err)
		}
	}
}

// The document and the endpoints may be at other addresses than issuer says.
func TestSplitHorizon(t *testing.T) {
	key := newKey(t, "k1")
	for name, fields := range map[string]string{
		"document":        `discovery_url: "http://internal:8080/realm/.well-known/openid-configuration"`,
		"keys":            `endpoints { jwks: "http://internal:8080/keys" }`,
		"keys, old field": `jwks_url: "http://internal:8080/keys"`,
	} {
		r := &remote{keys: "/keys", set: public(t, key), host: "http://internal:8080", only: "internal:8080", at: "/realm/.well-known/openid-configuration"}
		s := openAs(t, r, issuer, fields)
		t.Log(name)
		expect(t, s, by(t, key, issuer), "known")
		_ = s.Close()
	}
}

func FuzzReadClaims(f *testing.F) {
	f.Add(fmt.Sprintf(`{"iss":"i","sub":"s","aud":"app","scope":"api","exp":%d}`, time.Now().Add(time.Hour).Unix()))
	f.Add(`{"events":{}}`)
	f.Fuzz(func(t *testing.T, payload string) {
		got, err := readText(config(), []byte(payload))
		if (got == nil) == (err == nil) {
			t.Errorf("readText returned session %v and error %v, want one of the two", got, err)
		}
		if got != nil && (got.Data["iss"] != "i" || got.Data["sub"] == "" || got.Expires.Before(time.Now())) {
			t.Error("the claims in the session are not those of this payload")
		}
	})
}
