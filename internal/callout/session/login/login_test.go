package login

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sealed"
	"stamp/internal/callout/session/internal/sourcetest"
	"stamp/internal/conf"
	"stamp/test/harness"
)

const timeout = 10 * time.Second

func startServer(t testing.TB) *nats.Conn {
	t.Helper()
	return connected(t, sourcetest.Server(t, &natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir()}))
}

func connected(t testing.TB, s *natsserver.Server) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// site is a source with its provider.
type site struct {
	*source
	*provider
	nc   *nats.Conn
	log  *bytes.Buffer
	base string

	mu      sync.Mutex
	changes []string
}

func newKey() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

func config(p *provider, address, key, more string) string {
	secret := "client_secret: app-secret"
	if strings.Contains(more, "client_key_file") {
		secret = ""
	}
	return fmt.Sprintf(`
		kind: login, listen: %q, public_url: "http://%s/auth"
		issuer: %q, client_id: app, %s
		bucket: sessions, key: %q, claims: [sub, email]
		%s`, address, address, cmp.Or(p.calls, p.URL), secret, key, more)
}

func parse(t testing.TB, text string) (*Config, error) {
	t.Helper()
	n, err := conf.ParseString(text)
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	c := Parse(n, &faults).(*Config)
	return c, faults.Err()
}

// startSite starts a source. edits are pairs of a text in the configuration and its replacement.
func startSite(t *testing.T, p *provider, nc *nats.Conn, key, more string, edits ...string) *site {
	t.Helper()
	address := harness.FreeAddr(t)
	c, err := parse(t, strings.NewReplacer(edits...).Replace(config(p, address, key, more)))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{provider: p, nc: nc, log: &bytes.Buffer{}, base: "http://" + address + "/auth"}
	env := session.Env{
		Log:     slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Connect: func(string) (*nats.Conn, error) { return nc, nil }, Cookies: true,
		Changed: func(c session.Change) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changes = append(s.changes, fmt.Sprintf("%s %t", c.Key, c.Deleted))
		},
	}
	opened, err := c.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	s.source = opened.(*source)
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(s.text())
		}
		for _, secret := range []string{"access-secret", "refresh-secret", "alice@example.test", "top-secret", "code-"} {
			if strings.Contains(s.text(), secret) {
				t.Errorf("the log shows the secret %q", secret)
			}
		}
	})
	eventually(t, "the pages", func() bool { _, err := http.Get(s.base + "/session"); return err == nil })
	return s
}

func (s *site) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

func (s *site) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for: %s", timeout, what)
		}
	}
}

// stored returns the browser's session as it is stored: the store, the key, the entry and its revision.
func (b *browser) stored() (st *store, key string, e *entry, revision uint64) {
	b.t.Helper()
	st, err := b.site.opened(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	key = hashed(b.cookie())
	if e, revision, err = st.get(b.t.Context(), key); err != nil {
		b.t.Fatal(err)
	}
	return st, key, e, revision
}

// browser has cookies, and follows redirects up to the site's own pages.
type browser struct {
	t *testing.T
	*http.Client
	site *site
}

func newBrowser(t *testing.T, s *site) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections) // those that nothing was asked on, too: the pages' end waits for them
	return &browser{t, &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.Path, "/auth/") && !strings.HasPrefix(r.URL.String(), s.provider.URL) {
			return http.ErrUseLastResponse
		}
		return nil
	}}, s}
}

// ask sends a request as a page of that origin does; an empty origin is left out.
func (b *browser) ask(method, path, origin string) (int, string, http.Header) {
	b.t.Helper()
	r, err := http.NewRequest(method, b.site.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	answer, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer.StatusCode, string(body), answer.Header
}

func (b *browser) origin() string { return strings.TrimSuffix(b.site.base, "/auth") }

// logIn logs alice in, and returns where the browser is sent then.
func (b *browser) logIn() string {
	b.t.Helper()
	status, body, header := b.ask("GET", "/login?to=/inbox", "")
	if status != http.StatusSeeOther {
		b.t.Fatalf("/login ended with status %d: %s", status, body)
	}
	return header.Get("Location")
}

// cookie is the value of the session's cookie; empty: none.
func (b *browser) cookie() string {
	u, _ := url.Parse(b.site.base)
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == b.site.cfg.CookieName {
			return c.Value
		}
	}
	return ""
}

func (s *site) find(t *testing.T, kind session.Kind, credential string) (*session.Session, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return s.Find(ctx, &session.Request{ServerID: "S", ClientID: 1, Credential: session.Credential{Kind: kind, Value: credential}})
}

func (b *browser) mustFind() *session.Session {
	b.t.Helper()
	found, err := b.site.find(b.t, session.Cookie, b.cookie())
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

// The whole way: log in, look the session up, log in again, and log out.
func TestLogin(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	b := newBrowser(t, s)
	if status, body, _ := b.ask("GET", "/session", ""); status != 200 || strings.TrimSpace(body) != `{"authenticated":false}` {
		t.Errorf("/session before the login: status %d, %s", status, body)
	}
	if to := b.logIn(); to != "/inbox" {
		t.Errorf("after the login the browser is at %s, want /inbox", to)
	}
	found := b.mustFind()
	if found.Data["sub"] != "alice" || found.Data["name"] != "Alice" || found.Data["access_token"] != "access-secret-1" || found.Expires.IsZero() {
		t.Errorf("the session, of %d fields, is not alice's with a token and an end", len(found.Data))
	}
	for _, hidden := range []string{"refresh_token", "id_token", "nonce"} {
		if _, ok := found.Data[hidden]; ok {
			t.Errorf("grants can see the field %s", hidden)
		}
	}
	status, body, header := b.ask("GET", "/session", "")
	var told struct {
		Authenticated bool
		Expires       int64
		Claims        map[string]any
	}
	if err := json.Unmarshal([]byte(body), &told); err != nil || status != 200 || !told.Authenticated || told.Expires != found.Expires.Unix() ||
		fmt.Sprint(told.Claims) != "map[email:alice@example.test sub:alice]" {
		t.Errorf("expected alice's session from /session; found %d %s, error %v", status, body, err)
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if header.Get(name) != want {
			t.Errorf("header %s of /session is %q, want %q", name, header.Get(name), want)
		}
	}
	// Nothing in the bucket can be read, or used as a credential.
	stored := dump(t, nc)
	for _, secret := range []string{"access-secret", "refresh-secret", "alice", "Alice", b.cookie(), "provider-session"} {
		if strings.Contains(stored, secret) {
			t.Errorf("the bucket shows %q", secret)
		}
	}
	// A second login gives another cookie, and the old one is worth nothing (session fixation).
	old := b.cookie()
	b.logIn()
	if b.cookie() == old {
		t.Error("the second login gave the same cookie")
	}
	if _, err := s.find(t, session.Cookie, old); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("expected ErrUnknown for the cookie of the last session; found %v", err)
	}
	// Logout.
	last := b.cookie()
	status, body, _ = b.ask("POST", "/logout", b.origin())
	if status != 200 || !strings.Contains(body, `"logged_out":true`) || !strings.Contains(body, p.URL+"/end?client_id=app") || strings.Contains(body, "id_token") {
		t.Errorf("expected /logout to end the session, and to lead to the provider without the ID token; found %d %s", status, body)
	}
	if b.cookie() != "" {
		t.Error("the browser keeps the cookie")
	}
	if _, err := s.find(t, session.Cookie, last); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("expected ErrUnknown after the logout; found %v", err)
	}
	eventually(t, "the change to be told", func() bool { return strings.Contains(fmt.Sprint(s.seen()), found.Key+" true") })
}

func (s *site) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.changes...)
}

// dump is everything that JetStream has, raw.
func dump(t *testing.T, nc *nats.Conn) string {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range []string{"sessions", "sessions-index"} {
		bucket, err := js.KeyValue(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		w, err := bucket.WatchAll(t.Context(), jetstream.IncludeHistory())
		if err != nil {
			t.Fatal(err)
		}
		for e := range w.Updates() {
			if e == nil {
				break
			}
			all.WriteString(e.Key() + " " + string(e.Value()) + "\n")
		}
		_ = w.Stop()
	}
	return all.String()
}

// The cookies have the attributes by which browsers protect them, if TLS ends in front of the server.
func TestCookieAttributes(t *testing.T) {
	p := newProvider(t)
	c, err := parse(t, strings.Replace(config(p, "127.0.0.1:1", newKey(), "same_site: strict"), "http://127", "https://127", 1))
	if err != nil {
		t.Fatal(err)
	}
	s := &source{cfg: c}
	if got := s.sessionCookie("v", time.Hour).String(); got != "__Host-session=v; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Strict" {
		t.Errorf("the session cookie is %s", got)
	}
	if got := s.cfg.loginCookie(); got != "__Host-login" {
		t.Errorf("the login cookie is named %s, want __Host-login", got)
	}
}

// At a reload the new source is opened before the old one is closed, and takes over its address.
func TestAddressIsHandedOver(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	key := newKey()
	s := startSite(t, p, nc, key, "")
	b := newBrowser(t, s)
	b.logIn()
	c, err := parse(t, config(p, strings.TrimPrefix(b.origin(), "http://"), key, "claims: [name]"))
	if err != nil {
		t.Fatal(err)
	}
	next, err := c.Open(t.Context(), s.env)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := s.source.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new pages", func() bool {
		r, err := http.NewRequest("GET", s.base+"/session", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := b.Do(r)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		return strings.Contains(string(body), `"claims":{"name":"Alice"}`)
	})
}

// If the provider's document names another issuer, logins are refused, and the log says why.
func TestAnotherIssuer(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	p.document = map[string]any{"issuer": "https://other.example"}
	s := startSite(t, p, nc, newKey(), "")
	if status, _, _ := newBrowser(t, s).ask("GET", "/login", ""); status != http.StatusBadGateway {
		t.Errorf("/login has status %d, want 502", status)
	}
	if !strings.Contains(s.text(), "another issuer than the field issuer") {
		t.Error("the log does not say why")
	}
}

// If anything is wrong at the callback, no session begins.
func TestCallbackFaults(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, exchange := range map[string]func(map[string]any){
		"another nonce":    func(c map[string]any) { c["nonce"] = "x" },
		"no nonce":         func(c map[string]any) { delete(c, "nonce") },
		"another audience": func(c map[string]any) { c["aud"] = "other" },
		"another issuer":   func(c map[string]any) { c["iss"] = "https://evil.test" },
		"expired":          func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() },
		"no subject":       func(c map[string]any) { c["sub"] = "" },
	} {
		p.set(func() { p.exchange = exchange })
		b := newBrowser(t, s)
		if status, body, _ := b.ask("GET", "/login", ""); status != http.StatusBadRequest || b.cookie() != "" {
			t.Errorf("%s: expected status 400 and no session; found %d %s", name, status, body)
		}
	}
	p.set(func() { p.exchange = nil })
	key := p.key
	p.set(func() { p.key = other })
	if status, _, _ := newBrowser(t, s).ask("GET", "/login", ""); status != http.StatusBadRequest {
		t.Errorf("an ID token by a key that is not the provider's has status %d", status)
	}
	p.set(func() { p.key = key })

	// A callback that this browser has not begun, with somebody else's code (login CSRF), leads to a login of its own.
	victim, attacker := newBrowser(t, s), newBrowser(t, s)
	stolen := attacker.begin("/login")
	if status, _, header := victim.ask("GET", stolen, ""); status != http.StatusSeeOther || header.Get("Location") != "/" || victim.cookie() == "" {
		t.Errorf("the callback of a login that another browser has begun has status %d", status)
	}
	if !p.unused(stolen) {
		t.Error("the code of another browser was shown to the provider")
	}
	attacker.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if status, _, _ := attacker.ask("GET", stolen, ""); status != http.StatusSeeOther || attacker.cookie() == "" {
		t.Errorf("the callback in the browser that has begun the login has status %d", status)
	}
	for _, path := range []string{
		"/callback", "/callback?state=x&code=y", "/callback?state=&code=y", "/callback?error=access_denied&error_description=top-secret", "/callback?posted=x",
	} {
		if status, body, _ := newBrowser(t, s).ask("GET", path, ""); status != http.StatusBadRequest || strings.Contains(body, "top-secret") {
			t.Errorf("%s: expected status 400 without the provider's words; found %d %s", path, status, body)
		}
	}
	p.set(func() { p.down = true })
	if status, body, _ := newBrowser(t, s).ask("GET", "/login", ""); status == http.StatusSeeOther {
		t.Errorf("a login while the provider is down: status %d, %s", status, body)
	}
}

// No value of to leads a visitor to another site.
func TestOpenRedirect(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	for _, to := range []string{"https://evil.test", "//evil.test", `/\evil.test`, `\\evil.test`, "/\t/evil.test", "javascript:alert(1)", "evil", "/\n/evil.test", "/ä"} {
		if status, _, h := newBrowser(t, s).ask("GET", "/login?to="+url.QueryEscape(to), ""); status != http.StatusBadRequest {
			t.Errorf("to=%q: status %d, leads to %q; want 400", to, status, h.Get("Location"))
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, to := range []string{"/", "/a?b#c", "//evil.test", `/\evil.test`, "/\t/evil.test", "/%2f/evil.test", "/.//evil.test", "/@evil.test"} {
		f.Add(to)
	}
	base, _ := url.Parse("https://app.example/auth/callback")
	f.Fuzz(func(t *testing.T, to string) {
		if !isLocalPath(to) {
			return
		}
		// What browsers do first (WHATWG URL): tabs and line breaks are left out, a backslash is a slash.
		seen := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.Trim(to, " "))
		u, err := base.Parse(seen)
		if err != nil || u.Host != "app.example" || u.Scheme != "https" || strings.HasPrefix(seen, "//") {
			t.Errorf("isLocalPath accepts %q, which leads to %v; error %v", to, u, err)
		}
	})
}

// Pages of other origins can do nothing with the visitor's cookie.
func TestOrigins(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), `origins: ["https://friend.test"], ticket: 10s`)
	b := newBrowser(t, s)
	b.logIn()
	for _, path := range []string{"/ticket", "/logout"} {
		for _, origin := range []string{"https://evil.test", "null", ""} {
			if status, body, h := b.ask("POST", path, origin); status != http.StatusForbidden || h.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("POST %s from origin %q: status %d, want 403 without CORS; %s", path, origin, status, body)
			}
		}
	}
	if status, _, h := b.ask("GET", "/session", "https://evil.test"); status != http.StatusForbidden || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("GET /session from another origin: status %d, want 403 without CORS", status)
	}
	if status, _, h := b.ask("GET", "/session", "https://friend.test"); status != 200 || h.Get("Access-Control-Allow-Origin") != "https://friend.test" ||
		h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Vary") != "Origin" {
		t.Errorf("GET /session from a listed origin: status %d, headers %v", status, h)
	}
	for _, path := range []string{"/logout", "/ticket", "/backchannel"} {
		if status, _, _ := b.ask("GET", path, b.origin()); status != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: status %d, want 405", path, status)
		}
	}
	b.mustFind()
}

// A ticket opens one connection, within its time, while its session lives.
func TestTickets(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "ticket: 10s")
	if status, _, _ := newBrowser(t, s).ask("POST", "/ticket", s.cfg.origin()); status != http.StatusUnauthorized {
		t.Errorf("/ticket without a session has status %d, want 401", status)
	}
	b := newBrowser(t, s)
	b.logIn()
	issue := func() string {
		t.Helper()
		status, body, _ := b.ask("POST", "/ticket", b.origin())
		var told struct {
			Ticket  string
			Expires int `json:"expires_in"`
		}
		if err := json.Unmarshal([]byte(body), &told); err != nil || status != 200 || told.Expires != 10 {
			t.Fatalf("expected a ticket for 10 seconds from /ticket; found %d %s", status, body)
		}
		return told.Ticket
	}
	redeem := func(ticket string, conn uint64) error {
		r := &session.Request{ServerID: "S", ClientID: conn, Credential: session.Credential{Kind: session.Token, Value: ticket}}
		if key, ok := s.Accepts(r); key != "" || !ok {
			t.Fatalf("Accepts returned %t, and the cache key %q; want true and none", ok, key)
		}
		found, err := s.Find(t.Context(), r)
		if err == nil && found.Key != b.mustFind().Key {
			t.Error("the ticket leads to another session")
		}
		return err
	}
	one := issue()
	if err := redeem(one, 1); err != nil {
		t.Fatal(err)
	}
	if err := redeem(one, 1); err != nil {
		t.Errorf("a renewal of the same connection by its ticket was refused: %v", err)
	}
	if err := redeem(one, 2); !errors.Is(err, session.ErrUnknown) || !errors.Is(err, errTicketUsed) {
		t.Errorf("the ticket on another connection: expected errTicketUsed; found %v", err)
	}
	if !strings.Contains(s.text(), "a ticket is replayed") || s.metrics.replays.Get() != 1 {
		t.Error("the replay is not reported")
	}
	if err := redeem(ticketPrefix+"unknown", 1); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("an unknown ticket: expected ErrUnknown; found %v", err)
	}
	// If many connections come with one ticket at once, exactly one is let in.
	raced := issue()
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for conn := range uint64(20) {
		wg.Go(func() {
			if redeem(raced, 100+conn) == nil {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("one ticket opened %d connections, want 1", won)
	}
	// A ticket expires, and ends with its session.
	expired, err := s.cfg.own.newTicket(hashed(b.cookie()), "", -time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := redeem(expired, 1); !errors.Is(err, errTicketExpired) {
		t.Errorf("an expired ticket: expected errTicketExpired; found %v", err)
	}
	used, fresh := issue(), issue()
	if err := redeem(used, 1); err != nil {
		t.Fatal(err)
	}
	b.ask("POST", "/logout", b.origin())
	for _, ticket := range []string{used, fresh} {
		if _, err := s.find(t, session.Token, ticket); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("expected ErrUnknown for a ticket after the logout; found %v", err)
		}
	}
	if strings.Contains(dump(t, nc), strings.TrimPrefix(one, ticketPrefix)) {
		t.Error("the bucket shows a ticket")
	}
}

// Without tickets, a token that looks like a ticket is treated as any other token.
func TestNoTickets(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	if status, _, _ := b.ask("POST", "/ticket", b.origin()); status != http.StatusNotFound {
		t.Errorf("/ticket has status %d, want 404", status)
	}
	if _, err := s.find(t, session.Token, ticketPrefix+"x"); !errors.Is(err, session.ErrUnknown) {
		t.Error(err)
	}
}

// Two handlers share one bucket: each refresh is made once, rotated tokens are kept, and the session gets the new access token.
func TestRefresh(t *testing.T) {
	t.Parallel()
	nc, p := startServer(t), newProvider(t)
	p.life = 6 * time.Second
	key := newKey()
	s := startSite(t, p, nc, key, "refresh_before: 5s")
	startSite(t, p, nc, key, "refresh_before: 5s")
	b := newBrowser(t, s)
	b.logIn()
	first := b.mustFind()
	eventually(t, "two refreshes", func() bool { return p.refreshes() >= 2 })
	eventually(t, "the new access token", func() bool {
		token := b.mustFind().Data["access_token"]
		return token != "access-secret-1" && token != "access-secret-2"
	})
	if now := b.mustFind(); now.Key != first.Key || !now.Expires.Equal(first.Expires) || now.Data["sub"] != "alice" {
		t.Error("more than the tokens has changed")
	}
	eventually(t, "three changes to be told", func() bool { return strings.Count(fmt.Sprint(s.seen()), first.Key+" false") >= 3 })
}

// A refresh that fails ends the session or is tried again, depending on the failure.
func TestRefreshFailures(t *testing.T) {
	t.Parallel()
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		nc, p := startServer(t), newProvider(t)
		p.life = 6 * time.Second
		s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
		b := newBrowser(t, s)
		b.logIn()
		key := b.mustFind().Key
		p.set(func() { p.refused = true })
		eventually(t, "the session to end", func() bool { return strings.Contains(fmt.Sprint(s.seen()), key+" true") })
	})
	t.Run("provider down", func(t *testing.T) {
		t.Parallel()
		nc, p := startServer(t), newProvider(t)
		p.life = 6 * time.Second
		s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
		b := newBrowser(t, s)
		b.logIn()
		p.set(func() { p.down = true })
		eventually(t, "a failure", func() bool { return s.metrics.refreshFailures.Get() > 0 })
		b.mustFind()
		p.set(func() { p.down = false })
		eventually(t, "a refresh", func() bool { return b.mustFind().Data["access_token"] != "access-secret-1" })
	})
	t.Run("another person", func(t *testing.T) {
		t.Parallel()
		nc, p := startServer(t), newProvider(t)
		p.life = 6 * time.Second
		s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
		b := newBrowser(t, s)
		b.logIn()
		p.set(func() { p.exchange = func(c map[string]any) { c["sub"] = "bob" } })
		eventually(t, "the session to end", func() bool {
			_, err := s.find(t, session.Cookie, b.cookie())
			return errors.Is(err, session.ErrUnknown)
		})
	})
	t.Run("no refresh token", func(t *testing.T) {
		t.Parallel()
		nc, p := startServer(t), newProvider(t)
		p.life, p.offline = 2*time.Second, false
		s := startSite(t, p, nc, newKey(), "")
		b := newBrowser(t, s)
		b.logIn()
		if left := time.Until(b.mustFind().Expires); left > 2*time.Second {
			t.Errorf("the session ends in %s, want 2s or less", left)
		}
		eventually(t, "the session to end", func() bool {
			_, err := s.find(t, session.Cookie, b.cookie())
			return errors.Is(err, session.ErrUnknown)
		})
	})
}

// If the store refuses a logout, the visitor can try again.
func TestLogoutThatFails(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	cookie := b.cookie()
	rollup(t, s, false)
	if status, _, _ := b.ask("POST", "/logout", b.origin()); status != http.StatusServiceUnavailable || b.cookie() != cookie {
		t.Errorf("a logout while the store refuses deletions has status %d, the cookie is kept: %t", status, b.cookie() == cookie)
	}
	rollup(t, s, true)
	if status, _, _ := b.ask("POST", "/logout", b.origin()); status != http.StatusOK || b.cookie() != "" {
		t.Errorf("the second try of the logout has status %d, the cookie is kept: %t", status, b.cookie() != "")
	}
	if err := s.connect(t, session.Credential{Kind: session.Cookie, Value: cookie}, 1); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("expected ErrUnknown after the logout; found %v", err)
	}
}

// If a visitor logs out while a refresh is under way, the session stays ended.
func TestLogoutDuringRefresh(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	st, key, e, revision := b.stored()
	b.ask("POST", "/logout", b.origin())
	if _, err := st.update(t.Context(), key, e, revision); err == nil {
		t.Error("the refresh writes the entry again after the logout")
	}
	if _, _, err := st.get(t.Context(), key); !errors.Is(err, errGone) {
		t.Errorf("the session is not gone: error %v", err)
	}
}

// One handler at a time holds the lease of a session.
func TestLease(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	st, err := s.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now, leaseTime := time.Now(), s.leaseTime()
	var held []*lease
	for i, step := range []struct {
		at   time.Time
		want bool
	}{{now, true}, {now, false}, {now.Add(leaseTime / 2), false}, {now.Add(leaseTime + time.Second), true}, {now.Add(leaseTime + time.Second), false}} {
		got, err := st.lease(t.Context(), "k", step.at, leaseTime)
		if (got != nil) != step.want || err != nil {
			t.Errorf("step %d: the lease is %v, error %v; want a lease: %t", i, got, err, step.want)
		}
		if got != nil {
			held = append(held, got)
		}
	}
	st.release(t.Context(), held[0], 5) // late: another one has it since
	if got, err := st.lease(t.Context(), "k", now.Add(leaseTime+time.Second), leaseTime); got != nil || err != nil {
		t.Errorf("after a release by the holder before, expected no lease; found %v, error %v", got, err)
	}
	st.release(t.Context(), held[1], 7)
	if got, err := st.lease(t.Context(), "k", now, leaseTime); got == nil || got.atLeast != 7 || err != nil {
		t.Errorf("a lease that was given back: expected one with revision 7 or later; found %+v, error %v", got, err)
	}
}

// A valid logout token ends its sessions. Any other is refused.
func TestBackChannelLogout(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	event := map[string]any{logoutEvent: map[string]any{}}
	send := func(token string) int {
		t.Helper()
		answer, err := http.PostForm(s.base+"/backchannel", url.Values{"logout_token": {token}})
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	b := newBrowser(t, s)
	b.logIn()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	base := func(edit func(map[string]any)) map[string]any {
		claims := map[string]any{"sub": "alice", "sid": "provider-session", "jti": newSecret(), "events": event}
		edit(claims)
		return claims
	}
	for name, token := range map[string]string{
		"nothing":          "",
		"no token":         "x",
		"another key":      p.sign(other, base(func(map[string]any) {})),
		"another audience": p.sign(p.key, base(func(c map[string]any) { c["aud"] = "other" })),
		"another issuer":   p.sign(p.key, base(func(c map[string]any) { c["iss"] = "https://evil.test" })),
		"expired":          p.sign(p.key, base(func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() })),
		"old":              p.sign(p.key, base(func(c map[string]any) { c["iat"] = time.Now().Add(-time.Hour).Unix() })),
		"a nonce":          p.sign(p.key, base(func(c map[string]any) { c["nonce"] = "x" })),
		"no event":         p.sign(p.key, base(func(c map[string]any) { delete(c, "events") })),
		"an ID token":      p.sign(p.key, map[string]any{"sub": "alice", "nonce": "x"}),
		"event no object":  p.sign(p.key, base(func(c map[string]any) { c["events"] = map[string]any{logoutEvent: "x"} })),
		"no id":            p.sign(p.key, base(func(c map[string]any) { delete(c, "jti") })),
		"nobody":           p.sign(p.key, base(func(c map[string]any) { delete(c, "sub"); delete(c, "sid") })),
	} {
		if status := send(token); status != http.StatusBadRequest {
			t.Errorf("logout token with %s: status %d, want 400", name, status)
		}
	}
	b.mustFind()
	good := p.sign(p.key, base(func(map[string]any) {}))
	if status := send(good); status != 200 {
		t.Fatalf("a valid logout token has status %d, want 200", status)
	}
	if _, err := s.find(t, session.Cookie, b.cookie()); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("the session does not end by its sid: error %v", err)
	}
	b.logIn()
	if status := send(good); status != http.StatusOK { // it was carried out, and ends nothing any more
		t.Errorf("the same logout token again has status %d, want 200", status)
	}
	b.mustFind()
	another := newBrowser(t, s)
	another.logIn()
	if status := send(p.sign(p.key, base(func(c map[string]any) { delete(c, "sid") }))); status != 200 {
		t.Errorf("a logout token with a sub alone has status %d, want 200", status)
	}
	for _, each := range []*browser{b, another} {
		if _, err := s.find(t, session.Cookie, each.cookie()); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("a session does not end by its sub: error %v", err)
		}
	}
}

// With a new key in front of the old one, sessions that the old key encrypted can be read. Without the old key they cannot.
func TestKeyRotation(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	old, next := newKey(), newKey()
	s := startSite(t, p, nc, old, "")
	b := newBrowser(t, s)
	b.logIn()
	both := startSite(t, p, nc, next+"\n# the old one\n"+old, "")
	if _, err := both.find(t, session.Cookie, b.cookie()); err != nil {
		t.Errorf("the session is not found with both keys: %v", err)
	}
	alone := startSite(t, p, nc, next, "")
	if _, err := alone.find(t, session.Cookie, b.cookie()); err == nil || errors.Is(err, session.ErrUnknown) {
		t.Errorf("without the old key: %v; want that it cannot tell", err)
	}
}

func FuzzOpen(f *testing.F) {
	var faults conf.Faults
	n, err := conf.ParseString("key: x")
	if err != nil {
		f.Fatal(err)
	}
	keys := sealed.ParseKeys(n, conf.Secret(newKey()), &faults)
	c := &Config{keys: keys}
	good, err := keys.Seal("name", []byte(`{"sub":"alice"}`))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{good, {}, {1}, good[:10], append([]byte{2}, good[1:]...)} {
		f.Add("name", seed)
	}
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		text, err := keys.Open(name, value)
		if err == nil && (name != "name" || !bytes.Equal(value, good) || string(text) != `{"sub":"alice"}`) {
			t.Errorf("value %q opened under the name %q, though it is not what was sealed", value, name)
		}
		if _, err := c.openVisible(name, value); err != nil && strings.Contains(err.Error(), "alice") {
			t.Error("the error holds a value")
		}
	})
}

var placed = regexp.MustCompile(`\d+:\d+`)

func TestConfigFaults(t *testing.T) {
	p := newProvider(t)
	good := config(p, "127.0.0.1:1", newKey(), "")
	if _, err := parse(t, good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown":       {"bucket:", "bukket:", `unknown field "bukket"`},
		"no bucket":     {"bucket: sessions,", "", `field "bucket" is missing`},
		"bad bucket":    {"bucket: sessions", `bucket: "a b"`, "bucket: expected a name of letters"},
		"plain http":    {"http://127.0.0.1:1/auth", "http://app.example/auth", "must be https"},
		"cookie name":   {`"http://127.0.0.1:1/auth"`, `"https://app.example/auth", cookie_name: sid`, "must begin with __Host-"},
		"listen":        {`listen: "127.0.0.1:1"`, "listen: here", "listen: expected an address"},
		"same_site":     {"claims:", "same_site: none, claims:", "same_site: lax or strict"},
		"origin":        {"claims:", `origins: ["https://a.test/"], claims:`, "is not an origin"},
		"after_login":   {"claims:", `after_login: "//evil.test", claims:`, "after_login: must be a path"},
		"ticket":        {"claims:", `ticket: 1h, claims:`, "ticket: between"},
		"short ticket":  {"claims:", `ticket: "1ms", claims:`, "ticket: between"},
		"half a second": {"claims:", `ticket: 0.5, claims:`, "ticket: between"},
		"lifetime":      {"claims:", `lifetime: 1s, claims:`, "lifetime: between"},
		"refreshes":     {"claims:", `refreshes: 0, claims:`, "refreshes: expected 1 to 4096; found 0"},
		"key":           {"key: ", `key: "c2hvcnQ=", x: `, "not 32 bytes in base64"},
		"other cookie":  {"claims:", "cookie: x, claims:", "cookie_name"},
		"issuer":        {p.URL, "ftp://x", "issuer: expected a URL"},
	} {
		_, err := parse(t, strings.Replace(good, c.from, c.to, 1))
		if err == nil || !strings.Contains(err.Error(), c.want) || !placed.MatchString(err.Error()) {
			t.Errorf("%s: expected the fault %q with its place; found %v", name, c.want, err)
		}
		if err != nil && (strings.Contains(err.Error(), "app-secret") || strings.Contains(err.Error(), "c2hvcnQ=")) {
			t.Errorf("%s: the error holds a secret", name)
		}
	}
}
