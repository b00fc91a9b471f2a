package test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stamp/test/harness"
)

// visitor is a browser as far as HTTP goes.
type visitor struct {
	*http.Client
	pages string // where the handler's login pages are
}

func newVisitor(t *testing.T, pages string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{&http.Client{Jar: jar}, pages}
}

// logIn goes through the pages of the handler and of the provider.
func (v *visitor) logIn(t *testing.T, issuer string) {
	t.Helper()
	page := do(t, v.Client, must(http.NewRequest(http.MethodGet, v.pages+"/login", nil)))
	form := url.Values{"id": {page.Request.URL.Query().Get("authRequestID")}, "username": {"test-user2"}, "password": {"verysecure"}}
	r := must(http.NewRequest(http.MethodPost, issuer+"login/username", strings.NewReader(form.Encode())))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	do(t, v.Client, r)
	if v.cookie() == "" {
		t.Fatal("there is no session after the login")
	}
}

func (v *visitor) cookie() string {
	for _, c := range v.Jar.Cookies(must(url.Parse(v.pages))) {
		if c.Name == "session" {
			return c.Value
		}
	}
	return ""
}

// ask sends a request as a page of the handler's origin does.
func (v *visitor) ask(t *testing.T, method, path string, into any) {
	t.Helper()
	r := must(http.NewRequest(method, v.pages+path, nil))
	r.Header.Set("Origin", strings.TrimSuffix(v.pages, "/auth"))
	answer, err := v.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("expected status 200 and JSON from %s %s; found %s, error %v", method, path, answer.Status, err)
	}
}

// loginKey writes a key of a login source, and returns the file's name.
func loginKey(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "login.key")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The whole way with a real OpenID provider: log in over HTTP, connect with the cookie, publish with an access token that no
// script has seen, which changes under the live connection, and log out in one tab, which closes the other one.
func TestLoginAtAProvider(t *testing.T) {
	c := newLoginConfAtProvider(t)
	// The provider's access tokens live for 5 minutes.
	s := harness.Start(t, fmt.Sprintf(`
		jetstream { store_dir: %q }
		accounts { APP { jetstream: enabled, users: [{user: backend, password: backend}] } }
		websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: session, allowed_origins: ["http://app.test"] }
		callout {
			sessions: [{
				kind: login, listen: %q, public_url: %q, issuer: %q, client_id: web, client_secret: secret
				scopes: [profile, email, offline_access], bucket: sessions, account: APP, key_file: %q
				refresh_before: 295s, ticket: 10s, claims: [sub, name]
			}]
			grants: [{account: APP, publish: ">", subscribe: ">", expires: 1h
				headers: {Authorization: "Bearer {{ session.access_token }}", X-Subject: "{{ session.sub }}"}}]
		}`, c.store, c.address, c.url, c.issuer, c.key), "-DV")
	v := newVisitor(t, c.url)
	v.logIn(t, c.issuer)
	var told struct {
		Authenticated bool
		Claims        map[string]any
	}
	if v.ask(t, http.MethodGet, "/session", &told); !told.Authenticated || told.Claims["sub"] != "id2" || told.Claims["email"] != nil {
		t.Errorf("expected /session to tell that id2 is logged in, and no email; found %v", told)
	}
	sub := subscriber(t, s, password("backend"))
	tab := mustBrowse(t, s, cookies("session="+v.cookie()), harness.Nobody)
	bearer := func(raw *harness.Raw) string {
		t.Helper()
		raw.Pub("t.x", "payload")
		lines := sub.Msg().Lines()
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "Authorization: Bearer ") || lines[1] != "X-Subject: id2" {
			t.Fatalf("expected a bearer token and the subject; the header has %d lines", len(lines))
		}
		return lines[0]
	}
	first := bearer(tab)
	harness.Eventually(t, "another access token under the live connection", func() bool { return bearer(tab) != first })

	// Another tab, with a ticket; it can be used once.
	var issued struct{ Ticket string }
	v.ask(t, http.MethodPost, "/ticket", &issued)
	second := mustBrowse(t, s, http.Header{}, token(issued.Ticket))
	if bearer(second) == first {
		t.Error("the new tab has the old access token")
	}
	expectBrowserRefused(t, s, http.Header{}, token(issued.Ticket))
	s.WaitLog(t, "a ticket is replayed")

	var out struct {
		LoggedOut bool `json:"logged_out"`
	}
	if v.ask(t, http.MethodPost, "/logout", &out); !out.LoggedOut || v.cookie() != "" {
		t.Errorf("expected the answer that the user is logged out; found %v", told)
	}
	tab.ExpectClosed()
	second.ExpectClosed()

	// An operator ends a session by the key that list and logs show.
	v.logIn(t, c.issuer)
	tab = mustBrowse(t, s, cookies("session="+v.cookie()), harness.Nobody)
	t.Setenv("NATS_PASSWORD", "backend")
	session := func(command string, args ...string) string {
		t.Helper()
		p := harness.Run(t, harness.CalloutBinary(t), append([]string{"session", command, "--server", "nats://" + s.Addr(t), "--user", "backend", "--bucket", "sessions"}, args...)...)
		if code := p.Exit(t); code != 0 {
			t.Fatalf("session %s ends with exit code %d:\n%s", command, code, p.Text())
		}
		return p.Text()
	}
	listed := session("list")
	ended, _, _ := strings.Cut(listed, " ")
	if strings.Count(listed, "\n") != 1 {
		t.Fatalf("expected one session; session list prints\n%s", listed)
	}
	if !sealedLine.MatchString(listed) {
		t.Errorf("session list says of a session that only the handler can read:\n%s", listed)
	}
	session("revoke", ended)
	tab.ExpectClosed()
	v.ask(t, http.MethodGet, "/session", &told)
	if told.Authenticated {
		t.Error("the session that was revoked lives")
	}
	for _, secret := range []string{strings.TrimPrefix(first, "Authorization: Bearer "), issued.Ticket, "id2"} {
		if strings.Contains(s.Text(), secret) {
			t.Error("the log holds a token or a claim")
		}
	}
}

// sealedLine is what session list says of an entry of a login source.
var sealedLine = regexp.MustCompile(`^[0-9a-f]{32}  written \S+Z  sealed, of a login source; ends by \S+Z\n$`)
