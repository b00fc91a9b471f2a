package login

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// badAnswers are answers of a token endpoint that say nothing about the grant.
var badAnswers = map[string]func(*provider, http.ResponseWriter){
	"403 of a firewall": func(_ *provider, w http.ResponseWriter) { w.WriteHeader(403); _, _ = w.Write([]byte("<html>")) },
	"500":               func(_ *provider, w http.ResponseWriter) { w.WriteHeader(500) },
	"429 and Retry-After": func(_ *provider, w http.ResponseWriter) {
		w.Header().Set("Retry-After", "300")
		w.WriteHeader(429)
	},
	"unauthorized_client": func(p *provider, w http.ResponseWriter) { p.refuse(w, "unauthorized_client") },
}

// A stranger's made-up codes make the provider answer badly. Only the stranger's own logins fail: sessions are refreshed, and
// other visitors log in. The number of lines in the log is bounded.
func TestBadAnswersToAStranger(t *testing.T) {
	for name, answer := range badAnswers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, p := startServer(t), newProvider(t)
			p.life = 8 * time.Second
			s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
			b := newBrowser(t, s)
			b.logIn()
			p.intercept("/token", func(w http.ResponseWriter, r *http.Request) bool {
				if r.PostFormValue("code") != "made-up" {
					return false
				}
				answer(p, w)
				return true
			})
			stranger := patient(newBrowser(t, s))
			callback := strings.Replace(stranger.begin("/login"), "code=code-", "code=made-up&x=", 1)
			at := callback[strings.Index(callback, "/callback"):]
			eventually(t, "a refresh", func() bool {
				if status, _, _ := stranger.ask("GET", at, ""); status < 400 {
					t.Fatalf("the stranger's login succeeds with status %d", status)
				}
				return b.mustFind().Data["access_token"] != "access-secret-1"
			})
			if status, _, _ := newBrowser(t, s).ask("GET", "/login?to=/inbox", ""); status != http.StatusSeeOther {
				t.Errorf("another visitor cannot begin a login: status %d", status)
			}
			if n := strings.Count(s.text(), "level=WARN"); n > 15 {
				t.Errorf("the log has %d warnings, want 15 or less", n)
			}
		})
	}
}

// A session whose refreshes the provider answers badly is tried less and less often. All others are refreshed.
func TestBadAnswersToOneSession(t *testing.T) {
	for name, answer := range badAnswers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, p := startServer(t), newProvider(t)
			p.life = 6 * time.Second
			s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
			newBrowser(t, s).logIn()
			var bad atomic.Int64
			p.intercept("/token", func(w http.ResponseWriter, r *http.Request) bool {
				if r.PostFormValue("refresh_token") != "refresh-secret-1" {
					return false
				}
				bad.Add(1)
				answer(p, w)
				return true
			})
			var others []*browser
			for range 5 {
				b := newBrowser(t, s)
				b.logIn()
				others = append(others, b)
			}
			eventually(t, "two bad answers, or one and a long wait", func() bool { return bad.Load() > 1 || bad.Load() == 1 && strings.Contains(name, "429") })
			for i, b := range others {
				eventually(t, "a refresh", func() bool { return b.mustFind().Data["access_token"] != fmt.Sprintf("access-secret-%d", i+2) })
			}
			if n := bad.Load(); n > 3 {
				t.Errorf("the provider was asked %d times about the one session", n)
			}
			if strings.Contains(s.text(), "tokens are refreshed again") || s.gate.Wait() > 0 {
				t.Error("the other sessions were kept waiting")
			}
		})
	}
}

// If tokens live hardly longer than refresh_before, or for moments only, each refresh comes at half of the token's life, and
// not at once.
func TestShortLives(t *testing.T) {
	for _, c := range []struct{ life, before, least time.Duration }{
		{61 * time.Second, time.Minute, 30 * time.Second}, {75 * time.Second, time.Minute, 30 * time.Second},
		{time.Minute, time.Minute, 30 * time.Second}, {90 * time.Second, time.Minute, 15 * time.Second},
		{time.Hour, time.Minute, 58 * time.Minute}, {6 * time.Second, 5 * time.Second, 3 * time.Second}, {time.Second, time.Minute, time.Second / 2}, {0, time.Minute, 0}, {-time.Hour, time.Minute, 0},
	} {
		for range 1000 {
			if wait := dueBefore(c.life, c.before, false); wait < c.least || wait > max(c.life, time.Second) {
				t.Fatalf("tokens live %s, refresh_before is %s: the refresh is due after %s, want %s or more", c.life, c.before, wait, c.least)
			}
		}
	}
	for _, life := range []any{1, 0.5, "0.1", 2} {
		t.Run(fmt.Sprint(life), func(t *testing.T) {
			t.Parallel()
			nc, p := startServer(t), newProvider(t)
			p.answer = func(m map[string]any) { m["expires_in"] = life }
			s := startSite(t, p, nc, newKey(), "")
			began := time.Now()
			newBrowser(t, s).logIn()
			eventually(t, "two refreshes", func() bool { return p.refreshes() > 1 })
			if passed := time.Since(began); passed < 2*(refreshPause-time.Second) {
				t.Errorf("two refreshes followed within %s, want the pause between them", passed)
			}
		})
	}
}

// When the provider has a new key, and it is too early to fetch its keys again, nothing is refused: the provider has to send a
// logout token again, and a login waits.
func TestNewKeyOfTheProvider(t *testing.T) {
	t.Parallel()
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	p.set(func() { p.keyID = "new" })
	token := p.sign(p.key, logoutClaims(func(map[string]any) {}))
	if code := s.logOutBy(t, token); code != http.StatusServiceUnavailable || s.ended(t, b) {
		t.Errorf("a logout token with a new key: status %d, want 503 and the session kept", code)
	}
	harnessWait(t, 2*timeout, "a login", func() bool {
		status, _, _ := newBrowser(t, s).ask("GET", "/login?to=/inbox", "")
		return status == http.StatusSeeOther
	})
	if n := p.count("/token"); n != 2 {
		t.Errorf("%d codes were sent to the provider for two logins", n)
	}
	if code := s.logOutBy(t, token); code != http.StatusOK || !s.ended(t, b) {
		t.Errorf("the logout token that is sent again: status %d, want 200 and the session ended", code)
	}
	if code := s.logOutBy(t, foreign(t, p, "new", nil)); code != http.StatusBadRequest {
		t.Errorf("a made-up logout token: status %d, want 400", code)
	}
}

// A userinfo endpoint that says nothing delays no refresh of other sessions, removes no claims, and is not waited for when the
// source ends.
func TestSilentUserInfo(t *testing.T) {
	t.Parallel()
	nc, p := startServer(t), newProvider(t)
	p.life = 8 * time.Second
	p.userinfo = map[string]any{"sub": "alice", "team": "red"}
	p.document = map[string]any{"userinfo_endpoint": p.URL + "/userinfo"}
	s := startSite(t, p, nc, newKey(), "refresh_before: 5s, userinfo: true, provider_timeout: 4s")
	var all []*browser
	for range 4 * atOnce {
		b := newBrowser(t, s)
		b.logIn()
		all = append(all, b)
	}
	asked := p.count("/userinfo")
	p.hang(t, "/userinfo")
	harnessWait(t, 3*timeout, "refreshes after those that wait", func() bool { return p.count("/userinfo") >= asked+3 && p.refreshes() >= 8*atOnce })
	for _, b := range all {
		data := b.mustFind().Data
		if ends, _ := data["access_expires"].(float64); data["team"] != "red" || int64(ends) < time.Now().Unix()-1 {
			t.Errorf("team %v, the access token ends in %ds", data["team"], int64(ends)-time.Now().Unix())
		}
	}
	if n := p.count("/userinfo") - asked; n > 2*atOnce {
		t.Errorf("%d requests were sent to userinfo, which says nothing", n)
	}
	waits := p.count("/userinfo")
	harnessWait(t, 2*timeout, "a request for userinfo", func() bool { return p.count("/userinfo") > waits })
	began := time.Now()
	if err := s.source.Close(); err != nil || time.Since(began) > 3*time.Second {
		t.Errorf("Close took %s, and returned %v", time.Since(began), err)
	}
}

// If the userinfo endpoint is away at a login, the page says so, and does not blame the visitor.
func TestUserInfoAwayAtALogin(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	p.userinfo = map[string]any{"sub": "alice"}
	p.document = map[string]any{"userinfo_endpoint": p.URL + "/userinfo"}
	s := startSite(t, p, nc, newKey(), "userinfo: true")
	p.intercept("/userinfo", status(http.StatusServiceUnavailable))
	if code, _, _ := newBrowser(t, s).ask("GET", "/login", ""); code != http.StatusBadGateway {
		t.Errorf("expected status 502 while userinfo is away; found %d", code)
	}
}
