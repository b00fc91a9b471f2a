package test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"stamp/test/harness"
)

// openIDProvider runs a real OpenID provider, the example server of
// github.com/zitadel/oidc/v3, which scripts/test installs, and returns its issuer.
func openIDProvider(t *testing.T) string {
	t.Helper()
	file := harness.Tool(t, "openid-provider")
	_, port, _ := net.SplitHostPort(harness.FreeAddr(t))
	t.Setenv("PORT", port)
	harness.Run(t, file)
	issuer := "http://localhost:" + port + "/"
	harness.Eventually(t, "the OpenID provider answers", func() bool {
		response, err := http.Get(issuer + ".well-known/openid-configuration")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return issuer
}

const (
	clientID     = "web" // as the provider knows it
	clientSecret = "secret"
	redirectURI  = "http://localhost:9999/auth/callback"
)

// provided is what the discovery document says.
type provided struct {
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	Introspection string `json:"introspection_endpoint"`
}

func endpoints(t *testing.T, issuer string) provided {
	t.Helper()
	answer, err := http.Get(issuer + ".well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var p provided
	if err := json.NewDecoder(answer.Body).Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p
}

type tokens struct {
	Access string `json:"access_token"`
	ID     string `json:"id_token"`
}

// logIn goes through the authorization code flow, as a browser and then the
// application do.
func logIn(t *testing.T, issuer string) tokens {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirectURI) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	query := url.Values{
		"client_id": {clientID}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "scope": {"openid profile email"}, "state": {"s"},
	}
	at := endpoints(t, issuer)
	page := do(t, browser, must(http.NewRequest(http.MethodGet, at.Authorization+"?"+query.Encode(), nil)))
	form := url.Values{"id": {page.Request.URL.Query().Get("authRequestID")}, "username": {"test-user2"}, "password": {"verysecure"}}
	r := must(http.NewRequest(http.MethodPost, issuer+"login/username", strings.NewReader(form.Encode())))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	back := must(url.Parse(do(t, browser, r).Header.Get("Location")))
	code := url.Values{"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {redirectURI}}
	r = must(http.NewRequest(http.MethodPost, at.Token, strings.NewReader(code.Encode())))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(clientID, clientSecret)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var got tokens
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || got.ID == "" || got.Access == "" {
		t.Fatalf("the provider's answer has no tokens: status %s, %v", answer.Status, err)
	}
	return got
}

// do sends a request whose answer's body does not matter.
func do(t *testing.T, c *http.Client, r *http.Request) *http.Response {
	t.Helper()
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // what the tests themselves write is right
	}
	return v
}

// Tokens of a real OpenID provider: an ID token, checked with the provider's keys, and an
// access token that only the provider can read.
func TestInsideOpenIDProvider(t *testing.T) {
	issuer := openIDProvider(t)
	s := harness.Start(t, fmt.Sprintf(`
		accounts { APP { users: [{user: backend, password: backend}] } }
		callout {
			sessions: [
				{kind: oidc, issuer: %q, audience: web}
				{kind: introspection, url: %q, client_id: web, client_secret: secret}
			]
			grants: [{account: APP, publish: ">", subscribe: ">", headers: {X-Subject: "{{ session.sub }}", X-Source: "{{ source }}"}}]
		}`, issuer, endpoints(t, issuer).Introspection))
	got := logIn(t, issuer)
	sub := subscriber(t, s, password("backend"))
	expectStamp(t, harness.Client(t, s, token(got.ID)), sub, "X-Source: oidc", "X-Subject: id2")
	expectStamp(t, harness.Client(t, s, token(got.Access)), sub, "X-Source: introspection", "X-Subject: id2")
	changed := []byte(got.ID)
	changed[len(changed)-5] ^= 1
	for _, bad := range []string{string(changed), "x" + got.Access, got.ID + "x", strings.Split(got.ID, ".")[0] + "..", "nobody"} {
		expectRefused(t, s, token(bad))
	}
	for _, secret := range []string{got.ID, got.Access, "id2", "test-user2"} {
		if strings.Contains(s.Text(), secret) {
			t.Error("the log holds a token or a claim")
		}
	}
}
