package login

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// sent is the request for authorization that /login begins.
func (b *browser) sent() url.Values {
	b.t.Helper()
	r, err := http.NewRequest("GET", b.site.base+"/login", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = answer.Body.Close()
	u, err := url.Parse(answer.Header.Get("Location"))
	if err != nil {
		b.t.Fatal(err)
	}
	return u.Query()
}

// Google needs access_type and prompt for a refresh token, Auth0 an audience, and Keycloak accepts kc_idp_hint.
func TestMoreParametersOfAuthorization(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), `authorization { access_type: offline, prompt: "consent", audience: "https://api.example", max_age: 3600 }`)
	q := patient(newBrowser(t, s)).sent()
	for name, want := range map[string]string{
		"access_type": "offline", "prompt": "consent", "audience": "https://api.example", "max_age": "3600",
		"response_type": "code", "client_id": "app", "scope": "openid", "code_challenge_method": "S256",
	} {
		if q.Get(name) != want {
			t.Errorf("the authorization request has %s=%q, want %q", name, q.Get(name), want)
		}
	}
	for fields, want := range map[string]string{
		"authorization { state: x }":       "the handler sets this parameter itself",
		"authorization { prompt: [a, b] }": "expected a string",
		"authorization: x":                 "expected a block",
		"access_lifetime: 1s":              "access_lifetime: between",
		"client_auth: basic":               "client_auth: expected",
		"client_key: x":                    "expected client_secret or client_key",
	} {
		if _, err := parse(t, config(p, "127.0.0.1:1", newKey(), fields)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected the fault %q; found %v", fields, want, err)
		}
	}
}

// Okta needs id_token_hint at a logout. That is an option, since the page gets the ID token then.
func TestIDTokenHint(t *testing.T) {
	for fields, want := range map[string]bool{"": false, "id_token_hint: true": true} {
		nc, p := startServer(t), newProvider(t)
		s := startSite(t, p, nc, newKey(), fields)
		b := newBrowser(t, s)
		b.logIn()
		_, body, _ := b.ask("POST", "/logout", b.origin())
		var told struct {
			URL string `json:"end_session_url"`
		}
		if err := json.Unmarshal([]byte(body), &told); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(told.URL)
		if err != nil || u.Query().Get("client_id") != "app" {
			t.Errorf("%q: the logout URL lacks client_id=app; error %v", fields, err)
		}
		if hint := u.Query().Get("id_token_hint"); (hint != "") != want || want && strings.Count(hint, ".") != 2 {
			t.Errorf("%q: a hint of %d bytes", fields, len(hint))
		}
	}
}

// clientKey is a private key for private_key_jwt, and the file that has it.
func clientKey(t *testing.T) (key *ecdsa.PrivateKey, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "client.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return key, file
}

func TestClientAuthentication(t *testing.T) {
	key, file := clientKey(t)
	byPost := func(r *http.Request) bool {
		_, _, basic := r.BasicAuth()
		return !basic && r.PostFormValue("client_id") == "app" && r.PostFormValue("client_secret") == "app-secret"
	}
	for name, c := range map[string]struct {
		fields string
		auth   func(p *provider) func(*http.Request) bool
	}{
		"post": {"client_auth: client_secret_post", func(*provider) func(*http.Request) bool { return byPost }},
		"post, says the document": {"", func(p *provider) func(*http.Request) bool {
			p.document = map[string]any{"token_endpoint_auth_methods_supported": []string{"client_secret_post"}}
			return byPost
		}},
		"private_key_jwt": {fmt.Sprintf("client_key_file: %q, client_key_id: k9", file), func(p *provider) func(*http.Request) bool {
			return func(r *http.Request) bool {
				signed, err := jose.ParseSignedCompact(r.PostFormValue("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
				if err != nil || signed.Signatures[0].Protected.KeyID != "k9" {
					return false
				}
				payload, err := signed.Verify(key.Public())
				return err == nil && strings.Contains(string(payload), `"aud":"`+p.URL+`/token"`) && r.PostFormValue("client_secret") == "" &&
					r.PostFormValue("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			nc, p := startServer(t), newProvider(t)
			p.auth = c.auth(p)
			s := startSite(t, p, nc, newKey(), c.fields)
			if to := patient(newBrowser(t, s)).logIn(); to != "/inbox" {
				t.Errorf("after the login the browser is at %s, want /inbox", to)
			}
		})
	}
}

// The handler may reach the provider at another address than browsers do.
func TestSplitHorizonLogin(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	p.calls = "https://login.example/realms/main" // issuer, and not to be reached
	p.document = map[string]any{
		"token_endpoint": "https://login.example/token", "jwks_uri": "https://login.example/keys",
	}
	_, file := clientKey(t)
	// The assertion is for the token endpoint as the provider knows it.
	p.auth = func(r *http.Request) bool {
		parts := strings.Split(r.PostFormValue("client_assertion"), ".")
		payload, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
		return err == nil && strings.Contains(string(payload), `"aud":"https://login.example/token"`)
	}
	inside := p.URL
	s := startSite(t, p, nc, newKey(), fmt.Sprintf("client_key_file: %q, discovery_url: %q, endpoints { token: %q, jwks: %q }",
		file, inside+"/.well-known/openid-configuration", inside+"/token", inside+"/keys"))
	if to := patient(newBrowser(t, s)).logIn(); to != "/inbox" {
		t.Errorf("after the login the browser is at %s, want /inbox", to)
	}
}

func TestTenantsAtALogin(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	p.calls = p.URL + "/{tenantid}/v2.0"
	p.exchange = func(c map[string]any) { c["tid"], c["iss"] = "t1", p.URL+"/t1/v2.0" }
	s := startSite(t, p, nc, newKey(), fmt.Sprintf("tenants: [t1], discovery_url: %q", p.URL+"/.well-known/openid-configuration"))
	if to := patient(newBrowser(t, s)).logIn(); to != "/inbox" {
		t.Errorf("after the login the browser is at %s, want /inbox", to)
	}
	p.set(func() { p.exchange = func(c map[string]any) { c["tid"], c["iss"] = "t2", p.URL+"/t2/v2.0" } })
	if status, _, _ := patient(newBrowser(t, s)).ask("GET", "/login", ""); status != http.StatusBadRequest {
		t.Errorf("a login of another tenant has status %d, want 400", status)
	}
}

// Claims of the userinfo endpoint are part of the session, and are refreshed with the tokens. Claims of the ID token win, and
// another person's userinfo is refused.
func TestUserInfo(t *testing.T) {
	t.Parallel()
	nc, p := startServer(t), newProvider(t)
	p.life = 6 * time.Second
	p.document = map[string]any{"userinfo_endpoint": p.URL + "/userinfo"}
	p.userinfo = map[string]any{"sub": "bob", "groups": []string{"a"}}
	s := startSite(t, p, nc, newKey(), "userinfo: true, refresh_before: 5s")
	b := patient(newBrowser(t, s))
	if status, _, _ := b.ask("GET", "/login", ""); status != http.StatusBadRequest {
		t.Errorf("a login with another person's userinfo has status %d, want 400", status)
	}
	p.set(func() { p.userinfo = map[string]any{"sub": "alice", "name": "Mallory", "groups": []string{"a"}} })
	b.logIn()
	if data := b.mustFind().Data; data["name"] != "Alice" || fmt.Sprint(data["groups"]) != "[a]" {
		t.Errorf("the groups are %v, or the name is userinfo's; want [a] and the ID token's name", data["groups"])
	}
	p.set(func() { p.userinfo["groups"] = []string{"b"} })
	eventually(t, "the new groups", func() bool { return fmt.Sprint(b.mustFind().Data["groups"]) == "[b]" })
	// If userinfo does not answer, its earlier claims stay.
	p.intercept("/userinfo", status(http.StatusServiceUnavailable))
	token := b.mustFind().Data["access_token"]
	eventually(t, "another refresh", func() bool { return b.mustFind().Data["access_token"] != token })
	if groups := b.mustFind().Data["groups"]; fmt.Sprint(groups) != "[b]" {
		t.Errorf("without an answer of userinfo the groups are %v, want those of before, [b]", groups)
	}
}
