package login

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
)

// patient returns the browser with a time-out of seconds, so that a request that hangs fails.
func patient(b *browser) *browser {
	b.Timeout = 5 * time.Second
	return b
}

// A provider that accepts connections and does not answer delays neither the pages that do not need it nor the end of the
// source.
func TestProviderThatHangsAtDiscovery(t *testing.T) {
	t.Parallel()
	nc, p := startServer(t), newProvider(t)
	release := p.hang(t, "/.well-known/openid-configuration")
	s := startSite(t, p, nc, newKey(), "ticket: 10s, provider_timeout: 1s")
	var logins sync.WaitGroup
	for range 8 {
		b := newBrowser(t, s)
		logins.Go(func() {
			if answer, err := b.Get(s.base + "/login"); err == nil {
				_ = answer.Body.Close()
			}
		})
	}
	b := patient(newBrowser(t, s))
	if status, _, _ := b.ask("GET", "/session", ""); status != http.StatusOK {
		t.Errorf("/session has status %d, want 200", status)
	}
	if status, _, _ := b.ask("POST", "/ticket", b.origin()); status != http.StatusUnauthorized {
		t.Errorf("/ticket has status %d, want 401", status)
	}
	logins.Wait()
	release()
	eventually(t, "a login after the recovery", func() bool {
		status, _, _ := b.ask("GET", "/login?to=/inbox", "")
		return status == http.StatusSeeOther
	})
	p.hang(t, "/.well-known/openid-configuration")
	closed := make(chan error, 1)
	go func() { closed <- s.source.Close() }()
	select {
	case <-closed:
	case <-time.After(timeout):
		t.Error("the source does not end")
	}
}

// foreign returns a token that somebody has made up, with claims that would be accepted.
func foreign(t *testing.T, p *provider, kid string, claims map[string]any) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{
		"iss": p.URL, "aud": "app", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "sub": "alice", "jti": rand.Text(),
		"events": map[string]any{logoutEvent: map[string]any{}},
	}
	for name, value := range claims {
		all[name] = value
	}
	token, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (s *site) logOutBy(t *testing.T, token string) int {
	t.Helper()
	client := http.Client{Timeout: timeout}
	answer, err := client.PostForm(s.base+"/backchannel", url.Values{"logout_token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// However many tokens strangers make up, the source fetches keys at a fixed rate. While the keys cannot be fetched, visitors
// who are logged in are served.
func TestStrangersCauseNoFetches(t *testing.T) {
	fetches := func(tokens int) int {
		nc, p := startServer(t), newProvider(t)
		s := startSite(t, p, nc, newKey(), "")
		patient(newBrowser(t, s)).logIn()
		before := p.count("/keys")
		for i := range tokens {
			if status := s.logOutBy(t, foreign(t, p, fmt.Sprint("made-up", i), nil)); status != http.StatusBadRequest && status != http.StatusServiceUnavailable {
				t.Fatalf("a made-up logout token has status %d, want 400 or 503", status)
			}
		}
		return p.count("/keys") - before
	}
	for _, tokens := range []int{75, 150, 300} {
		if n := fetches(tokens); n > 1 {
			t.Errorf("%d made-up tokens caused %d fetches of the keys, want 1 at most", tokens, n)
		}
	}
}

// While the provider's keys hang, made-up tokens do not keep a visitor from logging in.
func TestKeysThatHang(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	patient(newBrowser(t, s)).logIn()
	release := p.hang(t, "/keys")
	var strangers sync.WaitGroup
	for i := range 128 {
		token := foreign(t, p, fmt.Sprint("made-up", i), nil)
		strangers.Go(func() {
			client := http.Client{Timeout: 3 * time.Second}
			if answer, err := client.PostForm(s.base+"/backchannel", url.Values{"logout_token": {token}}); err == nil {
				_ = answer.Body.Close()
			}
		})
	}
	b := patient(newBrowser(t, s))
	if to := b.logIn(); to != "/inbox" {
		t.Errorf("after the login the browser is at %s, want /inbox", to)
	}
	strangers.Wait()
	release()
	if to := patient(newBrowser(t, s)).logIn(); to != "/inbox" {
		t.Errorf("after the provider's recovery a login leads to %s, want /inbox", to)
	}
}

// A provider ends a session if a refresh token comes twice. No session is lost, neither while the provider's keys cannot be
// fetched, nor if this process ends or reloads during a refresh.
func TestRefreshTokensAreKept(t *testing.T) {
	t.Parallel()
	t.Run("keys", func(t *testing.T) {
		t.Parallel()
		nc, p := startServer(t), newProvider(t)
		p.life = 6 * time.Second
		s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
		var all []*browser
		for range 5 {
			b := newBrowser(t, s)
			b.logIn()
			all = append(all, b)
		}
		// A new key, which cannot be fetched.
		p.set(func() { p.keyID = "new" })
		p.intercept("/keys", status(http.StatusServiceUnavailable))
		eventually(t, "refreshes that cannot be judged", func() bool { return p.refreshes() >= len(all) })
		p.heal()
		for _, b := range all {
			first := b.mustFind().Data["access_token"]
			harnessWait(t, 30*time.Second, "the session to go on", func() bool {
				found, err := s.find(t, session.Cookie, b.cookie())
				if errors.Is(err, session.ErrUnknown) {
					t.Fatal("the visitor is logged out")
				}
				return err == nil && found.Data["access_token"] != first
			})
		}
	})
	t.Run("end", func(t *testing.T) {
		t.Parallel()
		nc, p := startServer(t), newProvider(t)
		p.life = 6 * time.Second
		key := newKey()
		s := startSite(t, p, nc, key, "refresh_before: 5s")
		b := newBrowser(t, s)
		begun := make(chan struct{}, 16)
		p.intercept("/token", func(_ http.ResponseWriter, r *http.Request) bool {
			if r.PostFormValue("grant_type") == "refresh_token" {
				begun <- struct{}{}
				time.Sleep(time.Second) // a slow provider
			}
			return false
		})
		b.logIn()
		<-begun
		if err := s.source.Close(); err != nil {
			t.Errorf("Close returned %v", err)
		}
		p.heal()
		if n := p.refreshes(); n != 1 {
			t.Fatalf("%d refreshes were sent, want 1", n)
		}
		next := startSite(t, p, nc, key, "refresh_before: 5s")
		eventually(t, "another refresh", func() bool { return p.refreshes() > 1 })
		if _, err := next.find(t, session.Cookie, b.cookie()); err != nil {
			t.Errorf("the session is lost: %v", err)
		}
	})
}

func harnessWait(t *testing.T, long time.Duration, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(long); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for: %s", long, what)
		}
	}
}

// logoutClaims returns the claims of a valid logout token, which edit may change.
func logoutClaims(edit func(map[string]any)) map[string]any {
	claims := map[string]any{
		"sub": "alice", "sid": "provider-session", "jti": rand.Text(), "events": map[string]any{logoutEvent: map[string]any{}},
	}
	edit(claims)
	return claims
}

func (s *site) ended(t *testing.T, b *browser) bool {
	_, err := s.find(t, session.Cookie, b.cookie())
	return errors.Is(err, session.ErrUnknown)
}

// Providers leave exp out of logout tokens.
func TestLogoutTokenWithoutEnd(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	if code := s.logOutBy(t, p.sign(p.key, logoutClaims(func(c map[string]any) { c["exp"] = nil }))); code != http.StatusOK || !s.ended(t, b) {
		t.Errorf("a logout token without exp: status %d, session ended: %t; want 200 and true", code, s.ended(t, b))
	}
}

// If a logout fails half-way, the provider can send the token again.
func TestLogoutByProviderThatFails(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	rollup(t, s, false)
	token := p.sign(p.key, logoutClaims(func(map[string]any) {}))
	if code := s.logOutBy(t, token); code != http.StatusServiceUnavailable || s.ended(t, b) {
		t.Errorf("a logout while the store refuses deletions has status %d", code)
	}
	rollup(t, s, true)
	if code := s.logOutBy(t, token); code != http.StatusOK || !s.ended(t, b) {
		t.Errorf("the logout token that is sent again: status %d, session ended: %t; want 200 and true", code, s.ended(t, b))
	}
}

// The sessions of a person end even if the provider does not wait for the answer.
func TestLogoutByImpatientProvider(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	p.exchange = func(c map[string]any) { delete(c, "sid") }
	s := startSite(t, p, nc, newKey(), "")
	var all []*browser
	for range 60 {
		b := newBrowser(t, s)
		b.logIn()
		all = append(all, b)
	}
	token := p.sign(p.key, logoutClaims(func(c map[string]any) { delete(c, "sid") }))
	client := http.Client{Timeout: 2 * time.Millisecond}
	if answer, err := client.PostForm(s.base+"/backchannel", url.Values{"logout_token": {token}}); err == nil {
		_ = answer.Body.Close() // it was fast
	}
	// If the first request was not sent completely, the provider sends it again.
	if code := s.logOutBy(t, token); code != http.StatusOK {
		t.Errorf("the logout token that is sent again has status %d, want 200", code)
	}
	for i, b := range all {
		if !s.ended(t, b) {
			t.Fatalf("session %d lives on after the logout", i)
		}
	}
}

// A session that the provider gave no sid ends by a logout token for its person, even if the token has a sid too. A session
// with another sid does not end.
func TestLogoutOfASessionWithoutSID(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	p.exchange = func(c map[string]any) { delete(c, "sid") }
	s := startSite(t, p, nc, newKey(), "")
	without := newBrowser(t, s)
	without.logIn()
	p.set(func() { p.exchange = func(c map[string]any) { c["sid"] = "another" } })
	other := newBrowser(t, s)
	other.logIn()
	if code := s.logOutBy(t, p.sign(p.key, logoutClaims(func(map[string]any) {}))); code != http.StatusOK || !s.ended(t, without) {
		t.Errorf("status %d, session ended: %t; want 200 and true", code, s.ended(t, without))
	}
	if s.ended(t, other) {
		t.Error("the person's other session has ended, too")
	}
}

// The buckets keep their entries for as long as sessions live, even if they were made when sessions had a shorter life.
func TestBucketsKeepEntriesLongEnough(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	key := newKey()
	startSite(t, p, nc, key, `lifetime: "1m"`)
	startSite(t, p, nc, key, `lifetime: "720h"`)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sessions", "sessions-index"} {
		bucket, err := js.KeyValue(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		status, err := bucket.Status(t.Context())
		if err != nil || status.TTL() < 720*time.Hour {
			t.Errorf("bucket %s keeps entries for %s, want 720h or more; error %v", name, status.TTL(), err)
		}
	}
}

// The ID token of a refresh may have fewer claims, or be left out (OpenID Connect Core 1.0, section 12.2).
func TestRefreshWithFewerClaims(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(p *provider){
		"fewer claims": func(p *provider) {
			p.exchange = func(c map[string]any) { delete(c, "name"); delete(c, "email"); delete(c, "sid") }
		},
		"no ID token": func(p *provider) { p.answer = func(a map[string]any) { delete(a, "id_token") } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, p := startServer(t), newProvider(t)
			p.life = 6 * time.Second
			s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
			b := newBrowser(t, s)
			b.logIn()
			p.set(func() { change(p) })
			eventually(t, "a refresh", func() bool { return b.mustFind().Data["access_token"] != "access-secret-1" })
			if data := b.mustFind().Data; data["name"] != "Alice" || data["email"] != "alice@example.test" {
				t.Error("the refresh lost claims of the session")
			}
			if code := s.logOutBy(t, p.sign(p.key, logoutClaims(func(c map[string]any) { delete(c, "sub") }))); code != http.StatusOK || !s.ended(t, b) {
				t.Errorf("a logout by the sid of the login: status %d, want 200 and the session ended", code)
			}
		})
	}
}

// If the answer does not tell when the access token ends, the token itself may tell it. Otherwise it is refreshed at an
// interval.
func TestAccessTokenWithoutExpiresIn(t *testing.T) {
	t.Parallel()
	t.Run("JWT", func(t *testing.T) {
		t.Parallel()
		nc, p := startServer(t), newProvider(t)
		p.answer = func(a map[string]any) {
			delete(a, "expires_in")
			a["access_token"] = p.sign(p.key, map[string]any{"exp": time.Now().Add(6 * time.Second).Unix(), "jti": rand.Text()})
		}
		s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
		b := newBrowser(t, s)
		b.logIn()
		if b.mustFind().Data["access_expires"] == nil {
			t.Error("the session has no access_expires, though the token says it")
		}
		eventually(t, "a refresh", func() bool { return p.refreshes() > 0 })
	})
	t.Run("opaque", func(t *testing.T) {
		t.Parallel()
		nc, p := startServer(t), newProvider(t)
		p.answer = func(a map[string]any) { delete(a, "expires_in") }
		s := startSite(t, p, nc, newKey(), "refresh_before: 9s, access_lifetime: 10s")
		b := newBrowser(t, s)
		b.logIn()
		if b.mustFind().Data["access_expires"] != nil {
			t.Error("the session has access_expires, though nothing says it")
		}
		eventually(t, "a refresh", func() bool { return p.refreshes() > 0 })
	})
}

// Keys that cannot be read are passed over, and the log says so once.
func TestOddKeys(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	p.odd = []json.RawMessage{
		[]byte(`{"kty":"EC","crv":"secp256k1","kid":"a","use":"sig","x":"AA","y":"AA"}`),
		[]byte(`{"kty":"RSA","kid":"b","use":"sig","n":"AQAB==","e":"AQAB=="}`),
		[]byte(`{"kty":"RSA","kid":"c","n":1}`), []byte(`7`), []byte(`null`),
	}
	s := startSite(t, p, nc, newKey(), "")
	if to := patient(newBrowser(t, s)).logIn(); to != "/inbox" {
		t.Errorf("after the login the browser is at %s, want /inbox", to)
	}
	if n := strings.Count(s.text(), "are skipped"); n != 1 {
		t.Errorf("%d lines of the log tell of skipped keys, want 1", n)
	}
}

// If the provider refuses a person's grant, the session ends. If it refuses this client, no session ends, and the source does
// not ask again for each session.
func TestRefusedRefreshes(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"invalid_grant", "interaction_required", "login_required", "consent_required"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			nc, p := startServer(t), newProvider(t)
			p.life = 6 * time.Second
			s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
			b := newBrowser(t, s)
			b.logIn()
			p.set(func() { p.refused, p.code = true, code })
			eventually(t, "the session to end", func() bool { return s.ended(t, b) })
			if !strings.Contains(s.text(), code) {
				t.Error("the log does not say why")
			}
		})
	}
	t.Run("invalid_client", func(t *testing.T) {
		t.Parallel()
		nc, p := startServer(t), newProvider(t)
		p.life = 6 * time.Second
		s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
		b := newBrowser(t, s)
		for range 30 {
			b = newBrowser(t, s)
			b.logIn()
		}
		p.set(func() { p.refused, p.code, p.asked = true, "invalid_client", 0 })
		eventually(t, "a refusal", func() bool { return p.refreshes() > 0 })
		// Those that were under way when the first was refused, and then one at a time.
		time.Sleep(4 * time.Second)
		if n := p.refreshes(); n > atOnce+4 {
			t.Errorf("%d refreshes were sent for 30 sessions of a refused client", n)
		}
		b.mustFind()
		p.set(func() { p.refused = false })
		harnessWait(t, 20*time.Second, "a refresh", func() bool { return b.mustFind().Data["access_token"] != "access-secret-30" })
	})
}

// A token for several audiences is refused if its azp names another client.
func TestAuthorizedParty(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	for name, c := range map[string]struct {
		edit func(map[string]any)
		want int
	}{
		"another client's": {func(c map[string]any) { c["aud"], c["azp"] = []string{"x", "app"}, "x" }, http.StatusBadRequest},
		"odd":              {func(c map[string]any) { c["aud"], c["azp"] = []string{"x", "app"}, 7 }, http.StatusBadRequest},
		"a logout token":   {func(c map[string]any) { c["events"] = map[string]any{logoutEvent: map[string]any{}} }, http.StatusBadRequest},
		"Aud":              {func(c map[string]any) { c["aud"], c["AUD"] = "x", "app" }, http.StatusBadRequest},
		"ours":             {func(c map[string]any) { c["aud"], c["azp"] = []string{"x", "app"}, "app" }, http.StatusSeeOther},
	} {
		p.set(func() { p.exchange = c.edit })
		if status, _, _ := patient(newBrowser(t, s)).ask("GET", "/login?to=/inbox", ""); status != c.want {
			t.Errorf("%s: status %d, want %d", name, status, c.want)
		}
	}
}

// rollup permits deletions in the bucket of sessions, or forbids them.
func rollup(t *testing.T, s *site, allowed bool) {
	t.Helper()
	js, err := jetstream.New(s.nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_sessions")
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.AllowRollup = allowed
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// If two tenants have persons with the same subject, a logout in one tenant does not end sessions in the other.
func TestLogoutInATenant(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	p.calls = p.URL + "/{tenantid}/v2.0"
	of := func(tid string) func(map[string]any) {
		return func(c map[string]any) { c["tid"], c["iss"], c["sid"] = tid, p.URL+"/"+tid+"/v2.0", nil }
	}
	s := startSite(t, p, nc, newKey(), fmt.Sprintf("tenants: [t1, t2], discovery_url: %q", p.URL+"/.well-known/openid-configuration"))
	both := map[string]*browser{"t1": newBrowser(t, s), "t2": newBrowser(t, s)}
	for tid, b := range both {
		p.set(func() { p.exchange = of(tid) })
		b.logIn()
	}
	token := p.sign(p.key, logoutClaims(of("t1")))
	if code := s.logOutBy(t, token); code != http.StatusOK || !s.ended(t, both["t1"]) || s.ended(t, both["t2"]) {
		t.Errorf("status %d, session of t1 ended: %t, session of t2 ended: %t; want 200, true and false", code, s.ended(t, both["t1"]), s.ended(t, both["t2"]))
	}
}

// A replica that is behind another handler's write would give a refresh token that was used already. The source sends nothing
// then.
func TestNoRefreshOfWhatIsBehind(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	st, key, e, revision := b.stored()
	due := refreshDue{key: key, ends: e.accessEnds()}
	first, err := st.lease(t.Context(), key, time.Now(), time.Minute)
	if first == nil || err != nil {
		t.Fatalf("no lease before the refresh: %v", err)
	}
	st.release(t.Context(), first, revision+1)
	for range 2 { // a try that finds that does not forget it
		if next := s.source.refresh(t.Context(), st, due); next.wait == 0 || p.refreshes() != 0 {
			t.Errorf("tries again in %s, after %d refreshes", next.wait, p.refreshes())
		}
	}
	second, err := st.lease(t.Context(), key, time.Now(), time.Minute)
	if second == nil || err != nil {
		t.Fatalf("no lease after the refresh: %v", err)
	}
	st.release(t.Context(), second, revision)
	if next := s.source.refresh(t.Context(), st, due); next.wait != 0 || p.refreshes() != 1 {
		t.Errorf("tries again in %s, after %d refreshes", next.wait, p.refreshes())
	}
	if l, err := st.lease(t.Context(), key, time.Now(), time.Minute); err != nil || l == nil || l.atLeast <= revision {
		t.Errorf("the lease after the refresh: %+v, %v", l, err)
	}
}
