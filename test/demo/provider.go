package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"sync"
	"time"

	_ "embed"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// provider is a small OpenID provider, so that the demonstration needs none. It believes whoever
// says a name, and knows one client. Its access tokens live for a short time, so that a
// visitor sees a refresh.
type provider struct {
	issuer, redirect string // URLs
	key              *ecdsa.PrivateKey
	say              sayer

	mu     sync.Mutex
	logins []*login // oldest first, at most maxLogins
}

// login is what the provider remembers of one login.
type login struct {
	user, sid, nonce      string
	code, challenge       string // the code is empty once it was used
	accessToken, renewing string // renewing is the refresh token
	refreshed             bool
}

const (
	providerPath   = "/provider"
	providerClient = "demo"
	providerKey    = "k1"
	accessLifetime = 20 * time.Second
	maxLogins      = 256 // the oldest is forgotten then
)

//go:embed signin.html
var signInHTML string

var signInPage = template.Must(template.New("signin.html").Parse(signInHTML))

// newProvider returns the provider of a web server with that origin.
func newProvider(origin string, say sayer) (*provider, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key of the OpenID provider: %w", err)
	}
	return &provider{issuer: origin + providerPath, redirect: origin + "/auth/callback", key: key, say: say}, nil
}

func (p *provider) register(mux *http.ServeMux) {
	mux.HandleFunc("GET "+providerPath+"/.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET "+providerPath+"/keys", p.keys)
	mux.HandleFunc("GET "+providerPath+"/authorize", p.authorize)
	mux.HandleFunc("POST "+providerPath+"/authorize", p.signIn)
	mux.HandleFunc("POST "+providerPath+"/token", p.token)
}

func (p *provider) discovery(rw http.ResponseWriter, _ *http.Request) {
	writeJSON(rw, http.StatusOK, map[string]any{
		"issuer":                                p.issuer,
		"authorization_endpoint":                p.issuer + "/authorize",
		"token_endpoint":                        p.issuer + "/token",
		"jwks_uri":                              p.issuer + "/keys",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
		"code_challenge_methods_supported":      []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"none"},
	})
}

func (p *provider) keys(rw http.ResponseWriter, _ *http.Request) {
	key := jose.JSONWebKey{Key: p.key.Public(), KeyID: providerKey, Algorithm: "ES256", Use: "sig"}
	writeJSON(rw, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}})
}

// authorize shows the form in which a visitor says a name. The request's parameters go along with
// the form.
func (p *provider) authorize(rw http.ResponseWriter, r *http.Request) {
	if fault := p.fault(r); fault != "" {
		http.Error(rw, fault, http.StatusBadRequest)
		return
	}
	rw.Header().Set("Content-Security-Policy", signInPolicy)
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.Header().Set("Cache-Control", "no-store")
	_ = signInPage.Execute(rw, map[string]string{
		"Action": providerPath + "/authorize?" + r.URL.RawQuery, "User": visitorName,
	})
}

// fault says what is wrong with an authorization request; empty if nothing is. A provider never
// sends a code to an address that is not registered.
func (p *provider) fault(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Get("client_id") != providerClient:
		return "client_id is unknown"
	case q.Get("redirect_uri") != p.redirect:
		return "redirect_uri is not the client's"
	case q.Get("response_type") != "code":
		return "response_type: expected code"
	case q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "":
		return "code_challenge is missing: PKCE with S256 is required"
	}
	return ""
}

// signIn sends the browser back with a code.
func (p *provider) signIn(rw http.ResponseWriter, r *http.Request) {
	user, q := r.PostFormValue("user"), r.URL.Query()
	fault := p.fault(r)
	if fault == "" && !userName.MatchString(user) {
		fault = userFault
	}
	if fault != "" {
		http.Error(rw, fault, http.StatusBadRequest)
		return
	}
	l := &login{user: user, sid: rand.Text(), nonce: q.Get("nonce"), code: rand.Text(), challenge: q.Get("code_challenge")}
	p.mu.Lock()
	p.logins = append(p.logins, l)
	p.logins = p.logins[max(0, len(p.logins)-maxLogins):]
	p.mu.Unlock()
	p.say("provider", "logs %s in", user)
	back := url.Values{"code": {l.code}, "state": {q.Get("state")}}
	http.Redirect(rw, r, p.redirect+"?"+back.Encode(), http.StatusSeeOther)
}

// token gives tokens for a code, and new ones for a refresh token, which then is worth nothing.
func (p *provider) token(rw http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.entitled(r)
	if l == nil {
		writeJSON(rw, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	idToken, err := p.idToken(l)
	if err != nil {
		http.Error(rw, "the ID token cannot be signed", http.StatusInternalServerError)
		return
	}
	if l.accessToken != "" && !l.refreshed {
		p.say("provider", "refreshes the access token of %s, and will again and again", l.user)
		l.refreshed = true
	}
	l.code, l.accessToken, l.renewing = "", rand.Text(), rand.Text()
	writeJSON(rw, http.StatusOK, map[string]any{
		"token_type": "Bearer", "access_token": l.accessToken, "refresh_token": l.renewing,
		"id_token": idToken, "expires_in": int(accessLifetime.Seconds()),
	})
}

// entitled returns the login whose code or refresh token a request has; nil if there is none. The
// caller holds p.mu.
func (p *provider) entitled(r *http.Request) *login {
	challenge := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	for _, l := range p.logins {
		switch r.PostFormValue("grant_type") {
		case "authorization_code":
			if l.code != "" && l.code == r.PostFormValue("code") && r.PostFormValue("redirect_uri") == p.redirect &&
				l.challenge == base64.RawURLEncoding.EncodeToString(challenge[:]) {
				return l
			}
		case "refresh_token":
			if l.renewing != "" && l.renewing == r.PostFormValue("refresh_token") {
				return l
			}
		}
	}
	return nil
}

func (p *provider) idToken(l *login) (string, error) {
	key := jose.JSONWebKey{Key: p.key, KeyID: providerKey}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	now := time.Now()
	return jwt.Signed(signer).Claims(map[string]any{
		"iss": p.issuer, "aud": providerClient, "sub": l.user, "sid": l.sid, "nonce": l.nonce,
		"iat": now.Unix(), "exp": now.Add(accessLifetime).Unix(),
	}).Serialize()
}

// secrets returns what nobody but the handler should have.
func (p *provider) secrets() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.logins {
		all = append(all, l.accessToken, l.renewing)
	}
	return all
}

func writeJSON(rw http.ResponseWriter, status int, value any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Cache-Control", "no-store")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(value)
}
