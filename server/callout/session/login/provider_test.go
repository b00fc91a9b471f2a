package login

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// provider is an OpenID provider that can be told to misbehave, as a real one cannot.
type provider struct {
	*httptest.Server
	key *ecdsa.PrivateKey

	mu       sync.Mutex
	grants   map[string]url.Values // by code: the request for authorization
	refresh  map[string]bool       // tokens that are good
	issued   int
	exchange func(claims map[string]any) // changes an ID token
	life     time.Duration               // of access tokens
	down     bool
	refused  bool // refreshes
	noRotate bool
	offline  bool   // refresh tokens are given
	asked    int    // refreshes
	denied   string // the error that the browser is sent back with
	begun    int    // authorizations
	codes    int    // that were shown
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{key: key, grants: map[string]url.Values{}, refresh: map[string]bool{}, life: time.Hour, offline: true}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.json(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.down {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// set changes the provider.
func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *provider) refreshes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *provider) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (p *provider) discovery(w http.ResponseWriter, _ *http.Request) {
	p.json(w, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
		"jwks_uri": p.URL + "/keys", "end_session_endpoint": p.URL + "/end", "id_token_signing_alg_values_supported": []string{"ES256"},
	})
}

// authorize logs alice in, and sends the browser back.
func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.begun++
	code := fmt.Sprintf("code-%d", p.begun)
	p.grants[code] = q
	answer := url.Values{"code": {code}, "state": {q.Get("state")}}
	if p.denied != "" {
		answer = url.Values{"error": {p.denied}, "error_description": {"top-secret"}, "state": {q.Get("state")}}
	}
	if q.Get("response_mode") == "form_post" {
		fmt.Fprint(w, answer.Encode()) // of a form that the browser posts by itself
		return
	}
	back, _ := url.Parse(q.Get("redirect_uri"))
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// unused tells whether the code in the URL of a callback was never shown.
func (p *provider) unused(callback string) bool {
	u, _ := url.Parse(callback)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.grants[u.Query().Get("code")] != nil
}

func (p *provider) refuse(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": "top-secret"})
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	user, secret, _ := r.BasicAuth()
	if user != "app" || secret != "app-secret" {
		p.refuse(w, "invalid_client")
		return
	}
	claims := map[string]any{"sub": "alice", "name": "Alice", "email": "alice@example.test", "sid": "provider-session"}
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		p.codes++
		q, ok := p.grants[r.PostFormValue("code")]
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if !ok || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) {
			p.refuse(w, "invalid_grant")
			return
		}
		delete(p.grants, r.PostFormValue("code"))
		claims["nonce"] = q.Get("nonce")
	case "refresh_token":
		p.asked++
		given := r.PostFormValue("refresh_token")
		if !p.refresh[given] || p.refused {
			p.refuse(w, "invalid_grant")
			return
		}
		if !p.noRotate {
			delete(p.refresh, given)
		}
	}
	if p.exchange != nil {
		p.exchange(claims)
	}
	p.issued++
	answer := map[string]any{
		"access_token": fmt.Sprintf("access-secret-%d", p.issued), "token_type": "Bearer", "expires_in": int(p.life / time.Second),
		"id_token": p.sign(p.key, claims),
	}
	if p.offline {
		next := fmt.Sprintf("refresh-secret-%d", p.issued)
		p.refresh[next] = true
		answer["refresh_token"] = next
	}
	p.json(w, answer)
}

// sign makes a token of the provider's with claims, which may replace those that all have.
func (p *provider) sign(key *ecdsa.PrivateKey, claims map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		panic(err)
	}
	all := map[string]any{"iss": p.URL, "aud": "app", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	token, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		panic(err)
	}
	return token
}
