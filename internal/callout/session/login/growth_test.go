package login

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout/session/internal/sourcetest"
)

// refreshNow refreshes the session of a browser, and returns after how long the refresh is to be tried again; 0 if it is not.
func (b *browser) refreshNow() time.Duration {
	b.t.Helper()
	st, err := b.site.opened(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	key := hashed(b.cookie())
	e, _, err := st.get(b.t.Context(), key)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.site.source.refresh(b.t.Context(), st, refreshDue{key: key, ends: e.accessEnds()}).wait
}

// Claims that a refresh lacks are kept. If a provider sends other claims each time, a session would grow until it can be
// neither stored nor read. So what is kept has a bound, and the log says when that is reached.
func TestClaimsThatGrow(t *testing.T) {
	big := strings.Repeat("x", 30<<10)
	for name, more := range map[string]string{"of ID tokens": "", "of userinfo": "userinfo: true"} {
		t.Run(name, func(t *testing.T) {
			p, round := newProvider(t), 0
			newest := func() string { return fmt.Sprint("claim-", round) }
			p.document = map[string]any{"userinfo_endpoint": p.URL + "/userinfo"}
			p.userinfo = map[string]any{"sub": "alice"}
			s := startSite(t, p, startServer(t), newKey(), more)
			b := newBrowser(t, s)
			b.logIn()
			for round = 1; round <= 16; round++ {
				p.set(func() {
					if more == "" {
						p.exchange = func(c map[string]any) { c[newest()] = big }
					} else {
						p.userinfo = map[string]any{"sub": "alice", newest(): big}
					}
				})
				if wait := b.refreshNow(); wait != 0 {
					t.Fatalf("refresh %d is to be tried again in %s", round, wait)
				}
				found := b.mustFind()
				if found.Data[newest()] != big || found.Data["sub"] != "alice" || found.Data["access_token"] != fmt.Sprint("access-secret-", round+1) {
					t.Fatalf("refresh %d: the session lacks what it brought", round)
				}
				if len(found.Data) > 20 {
					t.Fatalf("after refresh %d the session has %d fields, want 20 or less", round, len(found.Data))
				}
			}
			// The answer of userinfo replaces all earlier ones, so it does not grow.
			if dropped := strings.Contains(s.text(), "claims from before are dropped"); dropped != (more == "") {
				t.Errorf("the log says that claims were dropped: %t", dropped)
			}
		})
	}
}

// If the refreshed session is too large for the bucket, the session does not end: only the refresh token is stored.
func TestSessionTooLargeForTheBucket(t *testing.T) {
	p, nc := newProvider(t), startServer(t)
	s := startSite(t, p, nc, newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	stream, err := s.js.Stream(t.Context(), "KV_sessions")
	if err != nil {
		t.Fatal(err)
	}
	limited := stream.CachedInfo().Config
	limited.MaxMsgSize = 8 << 10
	if _, err := s.js.UpdateStream(t.Context(), limited); err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.exchange = func(c map[string]any) { c["groups"] = strings.Repeat("x", 30<<10) } })
	if wait := b.refreshNow(); wait == 0 {
		t.Error("the refresh of a session that is too large is not tried again")
	}
	if found := b.mustFind(); found.Data["access_token"] != "access-secret-1" {
		t.Error("a session that is too large has changed")
	}
	if !strings.Contains(s.text(), errTooLarge.Error()) {
		t.Error("the log does not say why")
	}
	p.set(func() { p.exchange = nil })
	if wait := b.refreshNow(); wait != 0 || b.mustFind().Data["access_token"] != "access-secret-3" {
		t.Errorf("the next refresh is to be tried again in %s", wait)
	}
}

// Under the names of the session's own fields, grants see what the handler has stored, even if a provider or a person has
// claims with these names.
func TestClaimsWithNamesOfFields(t *testing.T) {
	claims := map[string]any{"sub": "mallory", "access_token": "x", "access_expires": 1, "expires": 1, "login": 1}
	e := &entry{Claims: claims, Subject: "alice", AccessToken: "a", Expires: 7, Login: 8}
	if got := fmt.Sprint(e.visible()); got != "map[access_token:a expires:7 login:8 sub:alice]" {
		t.Errorf("without the end of the access token, grants see %s", got)
	}
	e.AccessExpires = 9
	if got := fmt.Sprint(e.visible()); got != "map[access_expires:9 access_token:a expires:7 login:8 sub:alice]" {
		t.Errorf("with the end of the access token, grants see %s", got)
	}
	if len(claims) != 5 {
		t.Error("the claims themselves were changed")
	}
}

// If a session has grown beyond what the server accepts in a message, it is left as it is, except for its refresh token.
func TestSessionTooLargeForTheServer(t *testing.T) {
	server := sourcetest.Server(t, &natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), MaxPayload: 16 << 10})
	p := newProvider(t)
	s := startSite(t, p, connected(t, server), newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	p.set(func() { p.exchange = func(c map[string]any) { c["groups"] = strings.Repeat("x", 20<<10) } })
	if wait := b.refreshNow(); wait == 0 || b.mustFind().Data["access_token"] != "access-secret-1" {
		t.Errorf("the refresh is tried again in %s, want later, with the session as it was", wait)
	}
	p.set(func() { p.exchange = nil })
	if wait := b.refreshNow(); wait != 0 || b.mustFind().Data["access_token"] != "access-secret-3" {
		t.Errorf("the next refresh is to be tried again in %s", wait)
	}
}

// The bound of claims counts their JSON, in which they are read: a login whose session nobody could read is refused.
func TestClaimsThatAreLongInJSON(t *testing.T) {
	p := newProvider(t)
	p.document = map[string]any{"userinfo_endpoint": p.URL + "/userinfo"}
	p.intercept("/userinfo", func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = fmt.Fprintf(w, `{"sub": "alice", "x": %q}`, strings.Repeat("<", 60000))
		return true
	})
	s := startSite(t, p, startServer(t), newKey(), "userinfo: true")
	b := newBrowser(t, s)
	if status, _, _ := b.ask("GET", "/login?to=/inbox", ""); status != http.StatusBadRequest || b.cookie() != "" {
		t.Errorf("the login has status %d, want 400 and no session", status)
	}
}
