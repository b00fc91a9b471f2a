package login

import (
	"cmp"
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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// provider is an OpenID provider that can be told to misbehave in ways in which a real one cannot.
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

	calls    string               // itself, in the document; empty: by its URL
	keyID    string               // of key
	odd      []json.RawMessage    // keys beside key
	document map[string]any       // more members of the document
	answer   func(map[string]any) // changes an answer of the token endpoint, when all is done for it
	code     string               // of the refusal of refreshes; empty: invalid_grant
	auth     func(*http.Request) bool
	userinfo map[string]any
	counts   map[string]int // requests by path
	// before is called for each request, without a lock. If it returns true, it has answered the request.
	before atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
}

// intercept calls a function for the requests of a path. The function reports whether it has answered.
func (p *provider) intercept(path string, do func(w http.ResponseWriter, r *http.Request) bool) {
	f := func(w http.ResponseWriter, r *http.Request) bool { return r.URL.Path == path && do(w, r) }
	p.before.Store(&f)
}

// hang leaves requests of a path without an answer until release is called, which may be called more than once.
func (p *provider) hang(t *testing.T, path string) (release func()) {
	released := make(chan struct{})
	p.intercept(path, func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-released:
			return false
		case <-r.Context().Done():
			return true
		}
	})
	release = sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	return release
}

func status(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(code)
		return true
	}
}

// heal ends the effects of intercept and hang.
func (p *provider) heal() { p.before.Store(nil) }

// count is how many requests there were of a path.
func (p *provider) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[path]
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{key: key, grants: map[string]url.Values{}, refresh: map[string]bool{}, life: time.Hour, offline: true, keyID: "k", counts: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		own, _ := json.Marshal(jose.JSONWebKey{Key: key.Public(), KeyID: p.keyID, Algorithm: "ES256", Use: "sig"})
		p.json(w, map[string]any{"keys": append(slices.Clone(p.odd), own)})
	})
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer access-secret-") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		p.json(w, p.userinfo)
	})
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.counts[r.URL.Path]++
		p.mu.Unlock()
		if before := p.before.Load(); before != nil && (*before)(w, r) {
			return
		}
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

// set changes the provider's fields under its lock.
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
	document := map[string]any{
		"issuer": cmp.Or(p.calls, p.URL), "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
		"jwks_uri": p.URL + "/keys", "end_session_endpoint": p.URL + "/end", "id_token_signing_alg_values_supported": []string{"ES256"},
	}
	maps.Copy(document, p.document)
	p.json(w, document)
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

// unused reports whether the code in the URL of a callback was never sent to the provider.
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
	if p.auth != nil && !p.auth(r) || p.auth == nil && (user != "app" || secret != "app-secret") {
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
			p.refuse(w, cmp.Or(p.code, "invalid_grant"))
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
	if p.answer != nil {
		p.answer(answer)
	}
	p.json(w, answer)
}

// sign makes a token of the provider's with claims, which may replace those that all have.
func (p *provider) sign(key *ecdsa.PrivateKey, claims map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: p.keyID}}, nil)
	if err != nil {
		panic(err)
	}
	all := map[string]any{"iss": cmp.Or(p.calls, p.URL), "aud": "app", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	token, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		panic(err)
	}
	return token
}
