package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"stamp/test/harness"
)

// openIDFake is an OpenID provider whose endpoints are at addresses of their own, each of which can be
// made to misbehave. It logs alice in without asking.
type openIDFake struct {
	key    *ecdsa.PrivateKey
	server *httptest.Server
	at     map[string]*harness.Faulty
	once   bool          // a refresh token that comes twice ends its session
	slow   time.Duration // how long the token endpoint takes for a refresh

	mu     sync.Mutex
	nonces map[string]string // by code
	good   map[string]bool   // refresh tokens
	issued int
	asked  int // refreshes that have begun
	reused int // refresh tokens that came twice
}

// openIDEndpoints are the endpoints that the handler asks.
var openIDEndpoints = []string{"discovery", "keys", "token", "userinfo"}

func newOpenIDFake(t *testing.T) *openIDFake {
	t.Helper()
	p := &openIDFake{
		key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), at: map[string]*harness.Faulty{},
		nonces: map[string]string{}, good: map[string]bool{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, map[string]any{
			"issuer": p.issuer(), "authorization_endpoint": p.server.URL + "/authorize", "token_endpoint": "http://" + p.at["token"].Addr() + "/token",
			"jwks_uri": "http://" + p.at["keys"].Addr() + "/keys", "userinfo_endpoint": "http://" + p.at["userinfo"].Addr() + "/userinfo", "id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, map[string]any{"sub": "alice", "team": "red"})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		p.mu.Lock()
		p.issued++
		code := fmt.Sprint("code", p.issued)
		p.nonces[code] = q.Get("nonce")
		p.mu.Unlock()
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /token", p.token)
	p.server = httptest.NewServer(mux)
	t.Cleanup(p.server.Close)
	for _, name := range openIDEndpoints {
		p.at[name] = harness.StartFaulty(t, p.server.Listener.Addr().String())
	}
	return p
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}

func (p *openIDFake) issuer() string { return "http://" + p.at["discovery"].Addr() }

func (p *openIDFake) token(w http.ResponseWriter, r *http.Request) {
	claims := map[string]any{"sub": "alice"}
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		p.mu.Lock()
		claims["nonce"] = p.nonces[r.PostFormValue("code")]
		p.mu.Unlock()
	case "refresh_token":
		p.mu.Lock()
		p.asked++
		given := r.PostFormValue("refresh_token")
		good := p.good[given]
		if p.once {
			p.good[given] = false
		}
		if !good {
			p.reused++
		}
		slow := p.slow
		p.mu.Unlock()
		time.Sleep(slow)
		if !good {
			w.WriteHeader(http.StatusBadRequest)
			answerJSON(w, map[string]any{"error": "invalid_grant"})
			return
		}
	}
	p.mu.Lock()
	p.issued++
	access, refresh := fmt.Sprint("access", p.issued), fmt.Sprint("refresh", p.issued)
	p.good[refresh] = true
	p.mu.Unlock()
	answerJSON(w, map[string]any{
		"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 6, "id_token": p.sign(claims),
	})
}

// sign makes an ID token.
func (p *openIDFake) sign(claims map[string]any) string {
	all := map[string]any{"iss": p.issuer(), "aud": "app", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: "k"}}, nil))
	return must(jwt.Signed(signer).Claims(all).Serialize())
}

func (p *openIDFake) counts() (asked, reused int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked, p.reused
}

// awaitRefresh waits until one more refresh begins.
func (p *openIDFake) awaitRefresh(t *testing.T) {
	t.Helper()
	before, _ := p.counts()
	harness.Eventually(t, "a refresh to begin", func() bool { asked, _ := p.counts(); return asked > before })
}

func (p *openIDFake) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// openIDPages is a source of kind login, and the address of its pages.
type openIDPages struct {
	address, key string
}

func newOpenIDPages(t *testing.T) openIDPages {
	t.Helper()
	return openIDPages{harness.FreeAddr(t), loginKey(t)}
}

func (o openIDPages) url() string { return "http://" + o.address + "/auth" }

// source returns the fields of the source. Each n makes another configuration.
func (o openIDPages) source(p *openIDFake, n int, more string) string {
	return fmt.Sprintf(`kind: login, listen: %q, public_url: %q, issuer: %q, client_id: app, client_secret: s
		bucket: sessions, key_file: %q, claims: [sub, n%d], refresh_before: 5s, %s`, o.address, o.url(), p.issuer(), o.key, n, more)
}

// tryLogIn logs in, and returns the status of the last page: the redirect to the page behind the login, or an error's status.
func (o openIDPages) tryLogIn(t *testing.T) (v *visitor, status int) {
	t.Helper()
	v = newVisitor(t, o.url())
	v.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	v.Timeout = 30 * time.Second
	// A connection that was opened before a reload may lead to the old pages for a while.
	v.Transport = &http.Transport{DisableKeepAlives: true}
	answer, err := v.Get(o.url() + "/login")
	if err != nil {
		return v, 0 // the pages are being handed over
	}
	_ = answer.Body.Close()
	return v, answer.StatusCode
}

// openIDFaults are those of a provider.
func openIDFaults() []harness.Fault {
	return []harness.Fault{
		harness.Silent, harness.Down, harness.HalfWay, harness.Drip(200 * time.Millisecond), harness.Slow(4 * time.Second),
		harness.Answers("503", harness.HTTPAnswer("503 Service Unavailable", "text/plain", "later\n")),
		harness.Answers("429 with Retry-After", harness.HTTPAnswer("429 Too Many Requests", "text/plain", "slower\n", "Retry-After: 2")),
		harness.Answers("wrong type", harness.HTTPAnswer("200 OK", "text/html", "<html>welcome</html>")),
		harness.Answers("not HTTP", "220 mail.example ESMTP\r\n"),
		harness.Huge("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"a\":\"", "x"),
	}
}

// However an endpoint of the provider misbehaves, a reload is done at once, and live connections stay and keep their stamp. New
// logins and tokens are refused if they need that endpoint. Soon after the fault everything works again.
func TestFaultyOpenIDProvider(t *testing.T) {
	for _, endpoint := range openIDEndpoints {
		t.Run(endpoint, func(t *testing.T) {
			t.Parallel()
			p, pages := newOpenIDFake(t), newOpenIDPages(t)
			store := t.TempDir()
			conf := func(n int) string {
				return fmt.Sprintf(`
					jetstream { store_dir: %q }
					accounts { APP { jetstream: enabled, users: [{user: backend, password: backend}] } }
					websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: session, allowed_origins: ["http://app.test"] }
					callout {
						sessions: [{%s}, {kind: oidc, issuer: %q, audience: app, provider_timeout: 2s, negative_cache: 0}]
						grants: [{account: APP, publish: ">", subscribe: ">", expires: 1h, headers: {X-Subject: "{{ session.sub }}"}}]
					}`, store, pages.source(p, n, "account: APP, userinfo: true, provider_timeout: 2s"), p.issuer())
			}
			s := harness.Start(t, conf(0))
			sub := subscriber(t, s, password("backend"))
			var v *visitor
			harness.Eventually(t, "a login", func() (in bool) { v, _ = pages.tryLogIn(t); return v.cookie() != "" })
			live := mustBrowse(t, s, cookies("session="+v.cookie()), harness.Nobody)
			expectStamp(t, live, sub, "X-Subject: alice")
			for n, fault := range openIDFaults() {
				p.at[endpoint].Be(fault)
				mark := s.Mark()
				s.Reload(t, conf(n+1))
				mark.WaitLog(t, "Reloaded: callout handler")
				mark.WaitLog(t, "login pages") // the new ones, which have waited for the address
				stranger, status := pages.tryLogIn(t)
				if status < 400 || stranger.cookie() != "" {
					t.Errorf("%s: a login ends with status %d", fault.Name, status)
				}
				if endpoint == "discovery" || endpoint == "keys" {
					expectRefused(t, s, token(p.sign(map[string]any{"sub": "alice"})))
				}
				expectStamp(t, live, sub, "X-Subject: alice")
				p.at[endpoint].Be(harness.Well)
				began := time.Now()
				harness.Eventually(t, fault.Name+": a login after it", func() bool { stranger, _ = pages.tryLogIn(t); return stranger.cookie() != "" })
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("%s: the first login after it comes %s late", fault.Name, took)
				}
				harness.Eventually(t, fault.Name+": a token after it", func() bool {
					raw := harness.Dial(t, s)
					defer raw.Close()
					raw.Connect(token(p.sign(map[string]any{"sub": "alice"})))
					raw.Send("PING\r\n")
					for {
						line, err := raw.Line()
						if err != nil || strings.HasPrefix(line, "-ERR") {
							return false
						}
						if strings.HasPrefix(line, "PONG") {
							return true
						}
					}
				})
				expectStamp(t, live, sub, "X-Subject: alice")
			}
			p.at[endpoint].Be(harness.Silent)
			s.Signal(t, syscall.SIGTERM)
			s.Exit(t)
		})
	}
}

// The provider accepts a refresh token once, and ends the session if it comes twice. A session survives reloads and restarts of
// nats-callout that come while the provider takes its time.
func TestRefreshOutlivesSignals(t *testing.T) {
	p, pages := newOpenIDFake(t), newOpenIDPages(t)
	p.once = true
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(`
		jetstream { store_dir: %q }
		accounts {
			AUTH { jetstream: enabled, users: [{user: auth, password: auth}] }
			APP { users: [{user: backend, password: backend}] }
		}
		authorization { auth_callout { issuer: %s, auth_users: [auth, backend], account: AUTH } }`, t.TempDir(), harness.Public(t, issuer)))
	conf := func(n int) string {
		return fmt.Sprintf(`
			connect { urls: ["nats://%s"], user: auth, password: auth }
			issuer: %s
			sessions: [{%s}]
			grants: [{account: APP, publish: ">", subscribe: ">", headers: {X-Subject: "{{ session.sub }}"}}]`,
			s.Addr(t), harness.Seed(t, issuer), pages.source(p, n, ""))
	}
	file := filepath.Join(t.TempDir(), "callout.conf")
	write := func(n int) {
		t.Helper()
		if err := os.WriteFile(file, []byte(conf(n)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := func() *harness.Process {
		t.Helper()
		h := harness.Run(t, harness.CalloutBinary(t), "serve", "-c", file)
		h.WaitLog(t, "msg=serving")
		return h
	}
	write(0)
	h := start()
	var v *visitor
	harness.Eventually(t, "a login", func() bool { v, _ = pages.tryLogIn(t); return v.cookie() != "" })
	p.set(func() { p.slow = 2 * time.Second })
	p.awaitRefresh(t)
	write(1)
	mark := h.Mark()
	h.Signal(t, syscall.SIGHUP)
	mark.WaitLog(t, "msg=reloaded")
	p.awaitRefresh(t)
	h.Signal(t, syscall.SIGTERM)
	if code := h.Exit(t); code != 0 {
		t.Errorf("expected exit code 0 after SIGTERM; found %d", code)
	}
	start()
	p.awaitRefresh(t)
	if _, reused := p.counts(); reused != 0 {
		t.Errorf("%d refresh tokens were sent twice, want none", reused)
	}
	sub := subscriber(t, s, password("backend"))
	expectStamp(t, harness.Client(t, s, token(v.cookie())), sub, "X-Subject: alice")
}

// A grant can use nested roles, such as Keycloak's, and claims whose names are URNs, such as ZITADEL's.
func TestNestedClaims(t *testing.T) {
	p := newOpenIDFake(t)
	s := harness.Start(t, fmt.Sprintf(`
		accounts { APP { users: [{user: backend, password: backend}] } }
		callout {
			sessions: [{kind: oidc, issuer: %q, audience: app, negative_cache: 0}]
			grants: [{
				account: APP, publish: ">", subscribe: ">"
				when: '"orders" in (session.realm_access?.roles ?? []) && "sales" in (session["urn:zitadel:iam:org:project:roles"] ?? {})'
				headers: { X-Roles: "{{ session.realm_access.roles }}", X-Org: "{{ session['urn:zitadel:iam:user:resourceowner:name'] }}" }
			}]
		}`, p.issuer()))
	claims := func(roles ...string) map[string]any {
		return map[string]any{
			"sub": "alice", "realm_access": map[string]any{"roles": roles}, "urn:zitadel:iam:user:resourceowner:name": "acme",
			"urn:zitadel:iam:org:project:roles": map[string]any{"sales": map[string]any{"1": "acme.example"}},
		}
	}
	sub := subscriber(t, s, password("backend"))
	harness.Eventually(t, "the provider's keys", func() bool { return p.at["keys"].Asked() > 0 })
	expectStamp(t, harness.Client(t, s, token(p.sign(claims("orders")))), sub, "X-Org: acme", "X-Roles: orders")
	expectRefused(t, s, token(p.sign(claims("other"))))
	expectRefused(t, s, token(p.sign(map[string]any{"sub": "alice"})))
	mark := s.Mark()
	expectRefused(t, s, token(p.sign(map[string]any{"sub": "alice", "aud": "other-4711"})))
	mark.WaitLog(t, "aud has none of the configured audience")
	if strings.Contains(s.Text(), "4711") {
		t.Error("the log holds a claim")
	}
}
