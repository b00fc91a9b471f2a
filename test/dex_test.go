package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"stamp/test/harness"
)

// dex returns the program of github.com/dexidp/dex. go install cannot install its releases, since their major version is not in
// the module's path, so scripts/test does not install it. Build it yourself to run this test; otherwise it is skipped.
func dex(t *testing.T) string {
	t.Helper()
	file := must(filepath.Abs(filepath.Join("..", ".cache", "bin", "dex")))
	if _, err := os.Stat(file); err != nil {
		t.Skip("there is no .cache/bin/dex; build it in a checkout of github.com/dexidp/dex: go build -o .cache/bin/dex ./cmd/dex")
	}
	return file
}

// startDex runs Dex with one person in memory, and returns its issuer. Only newer versions have sessions.
func startDex(t *testing.T, pages string) (issuer string, endSession bool) {
	t.Helper()
	binary, address := dex(t), harness.FreeAddr(t)
	issuer = "http://" + address + "/dex"
	hash := must(bcrypt.GenerateFromPassword([]byte("open"), 10)) // Dex takes no cheaper one
	conf := map[string]any{
		"issuer": issuer, "storage": map[string]any{"type": "memory"}, "web": map[string]any{"http": address},
		"oauth2": map[string]any{"skipApprovalScreen": true},
		"expiry": map[string]any{"idTokens": "5m", "refreshTokens": map[string]any{"reuseInterval": "3s"}},
		"staticClients": []any{map[string]any{
			"id": "web", "secret": "secret", "name": "Web", "redirectURIs": []string{pages + "/callback"},
			"postLogoutRedirectURIs": []string{strings.TrimSuffix(pages, "/auth") + "/"}, "backchannelLogoutURI": pages + "/backchannel",
		}},
		"enablePasswordDB": true,
		"staticPasswords": []any{map[string]any{
			"email": "alice@example.com", "hash": string(hash), "username": "alice", "userID": "08a8684b-db88-4b73-90a9-3cd1661f5466",
			"groups": []string{"example:ops"},
		}},
		"sessions": map[string]any{"cookieEncryptionKey": strings.Repeat("k", 32)},
	}
	t.Setenv("DEX_SESSIONS_ENABLED", "true")
	file := filepath.Join(t.TempDir(), "dex.json")
	if err := os.WriteFile(file, must(json.Marshal(conf)), 0o600); err != nil {
		t.Fatal(err)
	}
	harness.Run(t, binary, "serve", file)
	var told struct {
		EndSession string `json:"end_session_endpoint"`
	}
	harness.Eventually(t, "Dex answers", func() bool {
		answer, err := http.Get(issuer + "/.well-known/openid-configuration")
		if err != nil {
			return false
		}
		defer func() { _ = answer.Body.Close() }()
		return json.NewDecoder(answer.Body).Decode(&told) == nil
	})
	return issuer, told.EndSession != ""
}

// logInAtDex logs in, with the password unless Dex has a session of the visitor.
func logInAtDex(t *testing.T, v *visitor) {
	t.Helper()
	page := do(t, v.Client, must(http.NewRequest(http.MethodGet, v.pages+"/login", nil)))
	if v.cookie() != "" {
		return
	}
	form := url.Values{"login": {"alice@example.com"}, "password": {"open"}}
	r := must(http.NewRequest(http.MethodPost, page.Request.URL.String(), strings.NewReader(form.Encode())))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if end := do(t, v.Client, r); v.cookie() == "" {
		t.Fatalf("there is no session after the login: %s at %s", end.Status, end.Request.URL.Path)
	}
}

// TestDex uses the real Dex: a login, refreshes with rotating tokens under a live connection, ID tokens with the source oidc,
// and a logout.
func TestDex(t *testing.T) {
	c := newLoginConf(t)
	issuer, endSession := startDex(t, c.url)
	s := harness.Start(t, fmt.Sprintf(`
		jetstream { store_dir: %q }
		accounts { APP { jetstream: enabled, users: [{user: backend, password: backend}] } }
		websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: session, allowed_origins: ["http://app.test"] }
		callout {
			sessions: [
				{ kind: login, listen: %q, public_url: %q, issuer: %q, client_id: web, client_secret: secret
				  scopes: [profile, email, groups, offline_access], bucket: sessions, account: APP, key_file: %q
				  refresh_before: 298s, id_token_hint: true, claims: [sub, name, email, groups] }
				{ kind: oidc, issuer: %q, audience: [web] }
			]
			grants: [{account: APP, when: '"example:ops" in (session.groups ?? ["example:ops"])', publish: ">", subscribe: ">"
				headers: {Authorization: "Bearer {{ session.access_token ?? 'none' }}", X-User: "{{ session.email ?? session.sub }}"}}]
		}`, c.store, c.address, c.url, issuer, c.key, issuer))
	v := newVisitor(t, c.url)
	logInAtDex(t, v)
	var told struct {
		Authenticated bool
		Claims        map[string]any
	}
	v.ask(t, http.MethodGet, "/session", &told)
	if !told.Authenticated || told.Claims["email"] != "alice@example.com" {
		t.Errorf("expected /session to tell that alice@example.com is logged in; found %v", told)
	}
	sub := subscriber(t, s, password("backend"))
	tab := mustBrowse(t, s, cookies("session="+v.cookie()), harness.Nobody)
	bearer := func(raw *harness.Raw) string {
		t.Helper()
		raw.Pub("t.x", "payload")
		lines := sub.Msg().Lines()
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "Authorization: Bearer ") || lines[1] != "X-User: alice@example.com" {
			t.Fatalf("expected a bearer token and alice's address; the header has %d lines: %s", len(lines), lines[1:])
		}
		return strings.TrimPrefix(lines[0], "Authorization: Bearer ")
	}
	seen := map[string]bool{}
	harness.Eventually(t, "three access tokens under the live connection, by refresh tokens that Dex rotates", func() bool {
		seen[bearer(tab)] = true
		return len(seen) >= 3
	})
	// Dex's access token is a JWT that is signed by the same keys.
	expectStamp(t, harness.Client(t, s, token(bearer(tab))), sub, "Authorization: Bearer none", "X-User: alice@example.com")

	var out struct {
		LoggedOut bool   `json:"logged_out"`
		End       string `json:"end_session_url"`
	}
	if v.ask(t, http.MethodPost, "/logout", &out); !out.LoggedOut || (out.End != "") != endSession {
		t.Errorf("the logout reports logged out: %t, an end_session_url: %t; want both", out.LoggedOut, out.End != "")
	}
	tab.ExpectClosed()
	if !endSession {
		return
	}
	if end := do(t, v.Client, must(http.NewRequest(http.MethodGet, out.End, nil))); end.Request.URL.String() != strings.TrimSuffix(c.url, "/auth")+"/" {
		t.Errorf("the end of Dex' session: %s at %s", end.Status, end.Request.URL.Path)
	}
	// A session ends at Dex, which sends the handler a logout token.
	logInAtDex(t, v)
	tab = mustBrowse(t, s, cookies("session="+v.cookie()), harness.Nobody)
	bearer(tab)
	mark := s.Mark()
	do(t, v.Client, must(http.NewRequest(http.MethodPost, issuer+"/logout", nil)))
	mark.WaitLog(t, "sessions ended by the provider")
	tab.ExpectClosed()
}
