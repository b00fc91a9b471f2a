package login

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stamp/internal/callout/session"
)

// Two processes share one bucket and one key, and each has a provider of its own. Neither accepts the other's sessions, sends
// their refresh tokens to its provider, or ends them by a logout token of its provider.
func TestSessionsOfAnotherProvider(t *testing.T) {
	nc, key := startServer(t), newKey()
	p, q := newProvider(t), newProvider(t)
	theirs, ours := startSite(t, p, nc, key, ""), startSite(t, q, nc, key, "")
	b := newBrowser(t, theirs)
	b.logIn()
	if _, err := ours.find(t, session.Cookie, b.cookie()); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("a session of the other provider: %v; want that it is unknown", err)
	}
	if body := ours.asked(t, b.cookie()); body != `{"authenticated":false}` {
		t.Errorf("/session says %s of a session of the other provider", body)
	}
	st, err := theirs.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := st.get(t.Context(), hashed(b.cookie()))
	if err != nil {
		t.Fatal(err)
	}
	own, err := ours.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	due := refreshDue{key: hashed(b.cookie()), ends: e.accessEnds()}
	if next := ours.source.refresh(t.Context(), own, due); next.wait != 0 || q.refreshes() != 0 {
		t.Errorf("a refresh token of the other provider was sent %d times, and is to be tried again in %s; want neither", q.refreshes(), next.wait)
	}
	eventually(t, "the log to say it", func() bool { return strings.Contains(ours.text(), "sessions of another provider") })
	sameID := logoutClaims(func(map[string]any) {})
	if code := ours.logOutBy(t, q.sign(q.key, sameID)); code != http.StatusOK {
		t.Errorf("the logout token has status %d, want 200", code)
	}
	b.mustFind()
	if next := theirs.source.refresh(t.Context(), st, due); next.wait != 0 || p.refreshes() != 1 {
		t.Errorf("the session's own provider has %d refreshes, and the next one is in %s; want 1 and none", p.refreshes(), next.wait)
	}
	if code := theirs.logOutBy(t, p.sign(p.key, sameID)); code != http.StatusOK || !theirs.ended(t, b) {
		t.Errorf("a logout by its own provider, with an id that the other one has used: %d, ended: %t", code, theirs.ended(t, b))
	}
}

// asked returns what /session says to a browser that has the cookie.
func (s *site) asked(t *testing.T, cookie string) string {
	t.Helper()
	b := newBrowser(t, s)
	r, err := http.NewRequest(http.MethodGet, s.base+"/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	b.Jar.SetCookies(r.URL, []*http.Cookie{{Name: s.cfg.CookieName, Value: cookie, Path: "/"}})
	status, body, _ := b.ask(http.MethodGet, "/session", "")
	if status != http.StatusOK {
		t.Fatalf("/session has status %d, want 200", status)
	}
	return strings.TrimSpace(body)
}

// The same holds for two clients of one provider, and for its tenants, also for a tenant that is no longer in the list.
func TestSessionsOfAnotherClientOrTenant(t *testing.T) {
	p, key := newProvider(t), newKey()
	configured := func(more string, edits ...string) *Config {
		t.Helper()
		c, err := parse(t, strings.NewReplacer(edits...).Replace(config(p, "127.0.0.1:1", key, more)))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	many := []string{fmt.Sprintf("issuer: %q", p.URL), fmt.Sprintf("issuer: %q", p.URL+"/{tenantid}")}
	app, other := configured(""), configured("", "client_id: app", "client_id: other")
	one, two, every := configured("tenants: [t1]", many...), configured("tenants: [t2]", many...), configured(`tenants: ["*"]`, many...)
	of := func(claims map[string]any) *entry { return &entry{Subject: "alice", Claims: claims} }
	single := of(map[string]any{"iss": p.URL, "aud": []any{"app"}, "sub": "alice"})
	inOne := of(map[string]any{"iss": p.URL + "/t1", "tid": "t1", "aud": "app", "sub": "alice"})
	beside := of(map[string]any{"iss": p.URL, "aud": []any{"app", "other"}, "azp": "app", "sub": "alice"})
	none := of(map[string]any{"sub": "alice"})
	for name, c := range map[string]struct {
		of   *entry
		by   *Config
		ours bool
	}{
		"its own":                 {single, app, true},
		"another client":          {single, other, false},
		"its own, with others":    {beside, app, true},
		"a client beside":         {beside, other, false},
		"a provider of many":      {single, every, false},
		"a tenant":                {inOne, one, true},
		"any tenant":              {inOne, every, true},
		"another tenant":          {inOne, two, false},
		"a provider without them": {inOne, app, false},
		"nobody's":                {none, app, false},
		"nobody's, of any tenant": {none, every, false},
	} {
		t.Run(name, func(t *testing.T) {
			value, err := (&store{cfg: app}).encode("key", c.of)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.by.openVisible("key", value); (err == nil) != c.ours || !c.ours && !errors.Is(err, session.ErrUnknown) {
				t.Errorf("%v; want that it is taken: %t", err, c.ours)
			}
		})
	}
}

// An ID token may name several clients of the provider in aud. The session belongs to the client at which the visitor has
// logged in, whether azp says so or not.
func TestSessionsOfAClientBeside(t *testing.T) {
	nc, key, p := startServer(t), newKey(), newProvider(t)
	p.auth = func(*http.Request) bool { return true }
	theirs := startSite(t, p, nc, key, "")
	ours := startSite(t, p, nc, key, "", "client_id: app", "client_id: other")
	st, err := ours.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(map[string]any){
		"azp":    func(c map[string]any) { c["aud"], c["azp"] = []string{"app", "other"}, "app" },
		"no azp": func(c map[string]any) { c["aud"] = []string{"app", "other"} },
	} {
		p.set(func() { p.exchange = edit })
		b := newBrowser(t, theirs)
		b.logIn()
		found := b.mustFind()
		if _, err := ours.find(t, session.Cookie, b.cookie()); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s: a session of the other client: %v; want that it is unknown", name, err)
		}
		asked := p.refreshes()
		due := refreshDue{key: hashed(b.cookie()), ends: int64(found.Data["access_expires"].(float64))}
		if ours.source.refresh(t.Context(), st, due); p.refreshes() != asked {
			t.Errorf("%s: its refresh token was sent", name)
		}
		b.mustFind()
	}
}

// The answer of the userinfo endpoint does not decide which client a session belongs to.
func TestPartyOfUserInfo(t *testing.T) {
	p := newProvider(t)
	p.document = map[string]any{"userinfo_endpoint": p.URL + "/userinfo"}
	p.userinfo = map[string]any{"sub": "alice", "azp": "other", "team": "red"}
	s := startSite(t, p, startServer(t), newKey(), "userinfo: true")
	b := newBrowser(t, s)
	b.logIn()
	if data := b.mustFind().Data; data["team"] != "red" || data["azp"] != nil {
		t.Errorf("the session has team %v, azp %v", data["team"], data["azp"])
	}
}

// A subject and a sid are those of one provider and one client. A logout token of another one that shares the bucket ends
// nothing here, nor does a logout that the other one has noted, also if each has a key of its own.
func TestLogoutOfAnotherProvider(t *testing.T) {
	nc := startServer(t)
	p, q := newProvider(t), newProvider(t)
	theirs, ours := startSite(t, p, nc, newKey(), ""), startSite(t, q, nc, newKey(), "")
	beside := startSite(t, p, nc, newKey(), "", "client_id: app", "client_id: other")
	b := newBrowser(t, theirs)
	b.logIn()
	for name, c := range map[string]struct {
		by     *site
		signed string
	}{
		"another provider's": {ours, q.sign(q.key, logoutClaims(func(c map[string]any) { c["iat"] = time.Now().Unix() + 5 }))},
		"another client's":   {beside, p.sign(p.key, logoutClaims(func(c map[string]any) { c["iat"], c["aud"] = time.Now().Unix()+5, "other" }))},
	} {
		if code := c.by.logOutBy(t, c.signed); code != http.StatusOK || theirs.ended(t, b) {
			t.Fatalf("%s logout token: status %d, session ended: %t; want 200 and false", name, code, theirs.ended(t, b))
		}
	}
	if to := newBrowser(t, theirs).logIn(); to != "/inbox" { // as if it was under way
		t.Errorf("a login leads to %q, want /inbox", to)
	}
}

// If a session's key was removed, the session cannot be read any more. A logout ends it all the same, because the index says
// whose it is.
func TestLogoutAfterTheKeyWasRemoved(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	before, now := startSite(t, p, nc, newKey(), ""), startSite(t, p, nc, newKey(), "")
	b := newBrowser(t, before)
	b.logIn()
	if code := now.logOutBy(t, p.sign(p.key, logoutClaims(func(map[string]any) {}))); code != http.StatusOK || !before.ended(t, b) {
		t.Errorf("status %d, session ended: %t; want 200 and true", code, before.ended(t, b))
	}
}

// The index of older releases does not say whose a session is. A logout ends such a session if it can be read, and belongs to
// this client. Its next refresh writes names that say it.
func TestLogoutByTheOldIndex(t *testing.T) {
	for _, name := range []string{"sub." + hashed("alice"), "sid." + hashed("provider-session")} {
		nc, key, p := startServer(t), newKey(), newProvider(t)
		s, other := startSite(t, p, nc, key, ""), startSite(t, p, nc, newKey(), "")
		b := newBrowser(t, s)
		b.logIn()
		s.onlyIndexedBy(t, name+"."+hashed(b.cookie()))
		if code := other.logOutBy(t, p.sign(p.key, logoutClaims(func(c map[string]any) { c["jti"] = "other" }))); code != http.StatusOK {
			t.Fatalf("the other handler answers the logout token with status %d, want 200", code)
		}
		b.mustFind()
		token := p.sign(p.key, logoutClaims(func(c map[string]any) {
			if strings.HasPrefix(name, "sub.") {
				delete(c, "sid")
			}
		}))
		if code := s.logOutBy(t, token); code != http.StatusOK || !s.ended(t, b) {
			t.Errorf("old index %s: status %d, session ended: %t; want 200 and true", name, code, s.ended(t, b))
		}
	}
	nc, p := startServer(t), newProvider(t)
	s, other := startSite(t, p, nc, newKey(), ""), startSite(t, p, nc, newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	s.onlyIndexedBy(t, "sub."+hashed("alice")+"."+hashed(b.cookie()))
	if wait := b.refreshNow(); wait != 0 {
		t.Fatalf("the refresh is to be tried again in %s, want it done", wait)
	}
	if code := other.logOutBy(t, p.sign(p.key, logoutClaims(func(map[string]any) {}))); code != http.StatusOK || !s.ended(t, b) {
		t.Errorf("a logout token after a refresh: status %d, session ended: %t; want 200 and true", code, s.ended(t, b))
	}
}

// onlyIndexedBy leaves a single name in the bucket beside the sessions.
func (s *site) onlyIndexedBy(t *testing.T, name string) {
	t.Helper()
	st, err := s.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := st.index.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if err := st.index.Purge(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := st.index.Put(t.Context(), name, nil); err != nil {
		t.Fatal(err)
	}
}
