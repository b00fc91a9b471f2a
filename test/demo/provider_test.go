package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// The provider sends codes to its client alone, and takes each code and each refresh token once.
func TestProvider(t *testing.T) {
	p, err := newProvider("http://127.0.0.1:1", func(string, string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	p.register(mux)
	post := func(path string, form url.Values) *http.Response {
		r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, r)
		return rec.Result()
	}
	const verifier = "a verifier that only the client knows"
	challenge := sha256.Sum256([]byte(verifier))
	good := url.Values{
		"client_id": {providerClient}, "redirect_uri": {p.redirect}, "response_type": {"code"}, "state": {"s"}, "nonce": {"n"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	alice := url.Values{"user": {"alice"}}
	for name, value := range map[string]string{
		"client_id": "other", "redirect_uri": "http://elsewhere.example/", "response_type": "token", "code_challenge": "", "code_challenge_method": "plain",
	} {
		bad := url.Values{}
		for key, values := range good {
			bad[key] = values
		}
		bad.Set(name, value)
		if r := post("/provider/authorize?"+bad.Encode(), alice); r.StatusCode != 400 {
			t.Errorf("%s=%s: status %d, want 400", name, value, r.StatusCode)
		}
	}
	if r := post("/provider/authorize?"+good.Encode(), url.Values{"user": {"a.b"}}); r.StatusCode != 400 {
		t.Errorf("a name that is no token of a subject: status %d, want 400", r.StatusCode)
	}
	r := post("/provider/authorize?"+good.Encode(), alice)
	back, err := r.Location()
	if err != nil || back.Query().Get("state") != "s" {
		t.Fatalf("signing in has status %d, error %v", r.StatusCode, err)
	}
	tokens := func(form url.Values) (refresh string) {
		var answer struct {
			Refresh string `json:"refresh_token"`
		}
		if err := json.NewDecoder(post("/provider/token", form).Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer.Refresh
	}
	code := url.Values{"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {p.redirect}, "code_verifier": {"another"}}
	if tokens(code) != "" {
		t.Error("a code without its verifier was exchanged for tokens")
	}
	code.Set("code_verifier", verifier)
	first := tokens(code)
	if first == "" || tokens(code) != "" {
		t.Error("a code must give tokens once: it gave none, or twice")
	}
	second := tokens(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first}})
	if second == "" || second == first || tokens(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first}}) != "" {
		t.Error("a refresh token must give tokens and a new one, once: it did not")
	}
	for range maxLogins + 1 {
		post("/provider/authorize?"+good.Encode(), alice)
	}
	if len(p.logins) != maxLogins {
		t.Errorf("the provider remembers %d logins, want %d", len(p.logins), maxLogins)
	}
}
