package login

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// badly are answers of a token endpoint that say nothing of a grant.
var badly = map[string]func(*provider, http.ResponseWriter){
	"403 of a firewall": func(_ *provider, w http.ResponseWriter) { w.WriteHeader(403); _, _ = w.Write([]byte("<html>")) },
	"500":               func(_ *provider, w http.ResponseWriter) { w.WriteHeader(500) },
	"429 and Retry-After": func(_ *provider, w http.ResponseWriter) {
		w.Header().Set("Retry-After", "300")
		w.WriteHeader(429)
	},
	"unauthorized_client": func(p *provider, w http.ResponseWriter) { p.refuse(w, "unauthorized_client") },
}

// What the provider answers to the codes that a stranger makes up fails his logins, and keeps nobody else's
// session from being refreshed and nobody else from logging in. His lines in the log are bounded.
func TestBadAnswersToAStranger(t *testing.T) {
	for name, answer := range badly {
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
					t.Fatalf("the stranger's status %d", status)
				}
				return b.mustFind().Data["access_token"] != "access-secret-1"
			})
			if status, _, _ := newBrowser(t, s).ask("GET", "/login?to=/inbox", ""); status != http.StatusSeeOther {
				t.Errorf("another's login: %d", status)
			}
			if n := strings.Count(s.text(), "level=WARN"); n > 15 {
				t.Errorf("%d lines in the log", n)
			}
		})
	}
}

// A session that the provider answers badly is tried less and less often; all others are refreshed.
func TestBadAnswersToOneSession(t *testing.T) {
	for name, answer := range badly {
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
				t.Errorf("asked %d times for the one", n)
			}
			if strings.Contains(s.text(), "tokens are refreshed again") || s.gate.Wait() > 0 {
				t.Error("all were kept waiting")
			}
		})
	}
}

// Where tokens live hardly longer than they are refreshed before their end, or for moments, one refresh follows
// another at half of their lives, and not at once.
func TestShortLives(t *testing.T) {
	for _, c := range []struct{ life, before, least time.Duration }{
		{61 * time.Second, time.Minute, 30 * time.Second}, {75 * time.Second, time.Minute, 30 * time.Second},
		{time.Minute, time.Minute, 30 * time.Second}, {90 * time.Second, time.Minute, 15 * time.Second},
		{time.Hour, time.Minute, 58 * time.Minute}, {6 * time.Second, 5 * time.Second, 3 * time.Second}, {time.Second, time.Minute, time.Second / 2}, {0, time.Minute, 0}, {-time.Hour, time.Minute, 0},
	} {
		for range 1000 {
			if wait := dueBefore(c.life, c.before, false); wait < c.least || wait > max(c.life, time.Second) {
				t.Fatalf("%s, %s before: after %s", c.life, c.before, wait)
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
				t.Errorf("two refreshes within %s", passed)
			}
		})
	}
}

// A new key of the provider is not refused while it is too early to ask for its keys again: a logout token is to be
// sent again, and a login waits.
func TestNewKeyOfTheProvider(t *testing.T) {
	t.Parallel()
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	p.set(func() { p.keyID = "new" })
	token := p.sign(p.key, logoutClaims(func(map[string]any) {}))
	if code := s.logOutBy(t, token); code != http.StatusServiceUnavailable || s.ended(t, b) {
		t.Errorf("a logout token: %d", code)
	}
	harnessWait(t, 2*timeout, "a login", func() bool {
		status, _, _ := newBrowser(t, s).ask("GET", "/login?to=/inbox", "")
		return status == http.StatusSeeOther
	})
	if n := p.count("/token"); n != 2 {
		t.Errorf("%d codes for two logins", n)
	}
	if code := s.logOutBy(t, token); code != http.StatusOK || !s.ended(t, b) {
		t.Errorf("the logout token again: %d", code)
	}
	if code := s.logOutBy(t, foreign(t, p, "new", nil)); code != http.StatusBadRequest {
		t.Errorf("a made-up token: %d", code)
	}
}

// A userinfo endpoint that says nothing holds up no refreshes, costs no claims, and is not waited for at the end.
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
		t.Errorf("%d requests for userinfo", n)
	}
	waits := p.count("/userinfo")
	harnessWait(t, 2*timeout, "a request for userinfo", func() bool { return p.count("/userinfo") > waits })
	began := time.Now()
	if err := s.source.Close(); err != nil || time.Since(began) > 3*time.Second {
		t.Errorf("the end takes %s, %v", time.Since(began), err)
	}
}

// A userinfo endpoint that is away at a login is no fault of the visitor's.
func TestUserInfoAwayAtALogin(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	p.userinfo = map[string]any{"sub": "alice"}
	p.document = map[string]any{"userinfo_endpoint": p.URL + "/userinfo"}
	s := startSite(t, p, nc, newKey(), "userinfo: true")
	p.intercept("/userinfo", status(http.StatusServiceUnavailable))
	if code, _, _ := newBrowser(t, s).ask("GET", "/login", ""); code != http.StatusBadGateway {
		t.Errorf("status %d", code)
	}
}
