package login

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// A claim that the userinfo endpoint no longer gives is dropped from the session. A claim that the ID token of a refresh lacks
// is kept, since refreshes may leave claims out.
func TestWithdrawnUserInfo(t *testing.T) {
	p := newProvider(t)
	p.document = map[string]any{"userinfo_endpoint": p.URL + "/userinfo"}
	p.userinfo = map[string]any{"sub": "alice", "groups": []string{"admin"}, "team": "red"}
	p.exchange = func(c map[string]any) { c["signed"] = "yes" }
	s := startSite(t, p, startServer(t), newKey(), "userinfo: true")
	b := newBrowser(t, s)
	b.logIn()
	p.set(func() {
		p.userinfo = map[string]any{"sub": "alice", "team": "blue"}
		p.exchange = func(map[string]any) {}
	})
	for _, team := range []any{"blue", nil, "red"} {
		if wait := b.refreshNow(); wait != 0 {
			t.Fatalf("the refresh is to be tried again in %s, want it done", wait)
		}
		data := b.mustFind().Data
		if data["team"] != team || data["groups"] != nil || data["signed"] != "yes" || data["sub"] != "alice" {
			t.Errorf("the session has team %v, groups %v, signed %v", data["team"], data["groups"], data["signed"])
		}
		p.set(func() {
			p.userinfo = map[string]any{"sub": "alice"}
			if team == nil {
				p.userinfo["team"] = "red"
			}
		})
	}
}

// If a claim of userinfo comes in the ID token later, it counts as the ID token's from then on.
func TestUserInfoThatIsSignedLater(t *testing.T) {
	p := newProvider(t)
	p.document = map[string]any{"userinfo_endpoint": p.URL + "/userinfo"}
	p.userinfo = map[string]any{"sub": "alice", "team": "red"}
	s := startSite(t, p, startServer(t), newKey(), "userinfo: true")
	b := newBrowser(t, s)
	b.logIn()
	p.set(func() { p.exchange = func(c map[string]any) { c["team"] = "signed" } })
	for range 2 {
		if wait := b.refreshNow(); wait != 0 || b.mustFind().Data["team"] != "signed" {
			t.Errorf("the refresh is to be tried again in %s, team is %v; want it done, and the signed team", wait, b.mustFind().Data["team"])
		}
		p.set(func() {
			p.exchange = nil
			p.userinfo = map[string]any{"sub": "alice"}
		})
	}
}

// If refresh_before is not less than the life of a token, the token is refreshed at half of its life, and the log says so.
func TestRefreshBeforeIsTooMuch(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	p.life = 5 * time.Minute
	s := startSite(t, p, nc, newKey(), `refresh_before: "5m"`)
	b := newBrowser(t, s)
	b.logIn()
	eventually(t, "a line about it", func() bool { return strings.Contains(s.text(), "refresh_before") })
	_, _, e, _ := b.stored()
	if wait, ok := s.dueIn(e.timing()); !ok || wait < 2*time.Minute {
		t.Errorf("the token is refreshed in %s, want 2 minutes or more", wait)
	}
	if n := strings.Count(s.text(), "refresh_before is not less"); n > 1 {
		t.Errorf("the log says %d times that refresh_before is too much, want once at most", n)
	}
}

// A logout token of one tenant ends no session of another tenant, whatever sid it has.
func TestLogoutOfATenantWithTheSIDOfAnother(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	p.calls = p.URL + "/{tenantid}/v2.0"
	of := func(tid, sub string) func(map[string]any) {
		return func(c map[string]any) {
			c["tid"], c["iss"], c["sid"], c["sub"] = tid, p.URL+"/"+tid+"/v2.0", "the-sid", sub
		}
	}
	s := startSite(t, p, nc, newKey(), fmt.Sprintf("tenants: [t1, t2], discovery_url: %q", p.URL+"/.well-known/openid-configuration"))
	b := newBrowser(t, s)
	p.exchange = of("t1", "alice")
	b.logIn()
	if code := s.logOutBy(t, p.sign(p.key, logoutClaims(of("t2", "mallory")))); code != 200 || s.ended(t, b) {
		t.Errorf("status %d, session ended: %t; want 200 and false", code, s.ended(t, b))
	}
	if code := s.logOutBy(t, p.sign(p.key, logoutClaims(of("t1", "alice")))); code != 200 || !s.ended(t, b) {
		t.Errorf("the tenant's own logout token: status %d, session ended: %t; want 200 and true", code, s.ended(t, b))
	}
}

// If a refresh brings another person's ID token, its refresh token is not stored before the session ends.
func TestRefreshOfAnotherPerson(t *testing.T) {
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	p.set(func() { p.exchange = func(c map[string]any) { c["sub"] = "mallory" } })
	before, err := s.stateOf(t.Context(), "sessions")
	if err != nil {
		t.Fatal(err)
	}
	b.refreshNow()
	after, err := s.stateOf(t.Context(), "sessions")
	if err != nil {
		t.Fatal(err)
	}
	if n := after.last - before.last; n != 1 || !s.ended(t, b) {
		t.Errorf("the refused refresh made %d writes and ended the session: %t; want 1 and true", n, s.ended(t, b))
	}
}

// If a bucket was made beforehand without a TTL, what sessions leave in it stays for ever. The log says so.
func TestBucketsWithoutTTL(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sessions", "sessions-index"} {
		if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: name}); err != nil {
			t.Fatal(err)
		}
	}
	s := startSite(t, p, nc, newKey(), "")
	eventually(t, "a line for each", func() bool { return strings.Count(s.text(), "has no TTL") == 2 })
}

// Settings that have no effect together, or with which no login could succeed, are refused.
func TestSettingsThatDoNotGoTogether(t *testing.T) {
	p := newProvider(t)
	for name, c := range map[string]struct{ more, want string }{
		"userinfo without its endpoint": {fmt.Sprintf("userinfo: true, endpoints { authorization: %q, token: %q, jwks: %q }", p.URL+"/authorize", p.URL+"/token", p.URL+"/keys"), "userinfo"},
		"secret of a public client":     {"client_auth: none", "client_secret"},
		"id of no key":                  {"client_key_id: x", "client_key_id"},
		"refreshed before it is given":  {`refresh_before: "5m", access_lifetime: "5m"`, "refresh_before"},
	} {
		_, err := parse(t, config(p, harness.FreeAddr(t), newKey(), c.more))
		if err == nil || !strings.Contains(err.Error(), c.want) || !placed.MatchString(err.Error()) {
			t.Errorf("%s: expected the fault %q with its place; found %v", name, c.want, err)
		}
	}
}
