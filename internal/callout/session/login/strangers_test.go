package login

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
	"stamp/internal/callout/session/internal/webserver"
)

// Many strangers begin logins while the provider says nothing and is not known yet. Visitors get their pages all the same.
func TestStrangersWhileTheProviderIsNotKnown(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"login": "GET /auth/login HTTP/1.1\r\nHost: x\r\n\r\n", "logout": "POST /auth/logout HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			nc, p := startServer(t), newProvider(t)
			release := p.hang(t, "/.well-known/openid-configuration")
			defer release()
			s := startSite(t, p, nc, newKey(), "")
			visitor := patient(newBrowser(t, s))
			visitor.ask("GET", "/session", "")
			for range webserver.MaxConnections {
				sourcetest.Dial(t, s.address(), text)
			}
			s.source.mu.Lock()
			pages := s.web
			s.source.mu.Unlock()
			eventually(t, "that all have asked", func() bool { return pages.CountUnused() == 0 })
			http.DefaultClient.CloseIdleConnections()
			answer, err := (&http.Client{Timeout: timeout, Transport: &http.Transport{}}).Get(s.base + "/session")
			if err != nil {
				t.Fatalf("a visitor gets no answer: %v", err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Errorf("a visitor gets status %d, want 200", answer.StatusCode)
			}
		})
	}
}

// madeUp holds the requests for tokens with codes that strangers have made up, until release is called.
func madeUp(t *testing.T, p *provider) (held chan struct{}, release func()) {
	held, released := make(chan struct{}, 1000), make(chan struct{})
	p.intercept("/token", func(w http.ResponseWriter, r *http.Request) bool {
		if r.PostFormValue("code") != "made-up" {
			return false
		}
		held <- struct{}{}
		<-released
		p.refuse(w, "invalid_grant")
		return true
	})
	release = sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	return held, release
}

// callbackWithACode begins a login, and returns the path of its callback with a code that was made up.
func (b *browser) callbackWithACode() string {
	callback := strings.Replace(b.begin("/login"), "code=code-", "code=made-up&x=", 1)
	return callback[strings.Index(callback, "/callback"):]
}

// A browser that sends made-up codes gets a few turns at the provider, and not all of them.
func TestCodesOfOneStranger(t *testing.T) {
	t.Parallel()
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	held, release := madeUp(t, p)
	stranger := newBrowser(t, s)
	at := stranger.callbackWithACode()
	stranger.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var all sync.WaitGroup
	defer all.Wait()
	defer release()
	for range 2 * exchanges {
		all.Go(func() {
			if answer, err := stranger.Get(s.base + at); err == nil {
				_ = answer.Body.Close()
			}
		})
	}
	<-held
	if status, _, _ := newBrowser(t, s).ask("GET", "/login?to=/inbox", ""); status != http.StatusSeeOther {
		t.Errorf("another visitor cannot log in: status %d", status)
	}
}

// If strangers with as many browsers have all turns, a login waits for a turn.
func TestCodesOfManyStrangers(t *testing.T) {
	t.Parallel()
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	held, release := madeUp(t, p)
	var all sync.WaitGroup
	defer all.Wait()
	defer release()
	for range exchanges {
		stranger := newBrowser(t, s)
		at := stranger.callbackWithACode()
		stranger.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		all.Go(func() {
			if answer, err := stranger.Get(s.base + at); err == nil {
				_ = answer.Body.Close()
			}
		})
	}
	for range exchanges {
		<-held
	}
	honest := newBrowser(t, s)
	callback := honest.begin("/login?to=/inbox")
	done := make(chan int, 1)
	go func() {
		status, _, _ := honest.ask("GET", callback[strings.Index(callback, "/callback"):], "")
		done <- status
	}()
	select {
	case status := <-done:
		t.Errorf("a login does not wait for its turn: status %d", status)
		return
	case <-waits(s):
	}
	release()
	if status := <-done; status != http.StatusSeeOther {
		t.Errorf("a login after its turn has status %d", status)
	}
}

// kept is how many sessions there are.
func (s *site) kept(t *testing.T) int {
	t.Helper()
	st, err := s.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := st.sessions.Keys(t.Context())
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		t.Fatal(err)
	}
	return len(keys)
}

// A logout by the provider ends a login that is under way. A login that begins after the logout succeeds.
func TestLogoutWhileALoginIsUnderWay(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(map[string]any){
		"sid and sub": func(map[string]any) {}, "sid": func(c map[string]any) { delete(c, "sub") }, "sub": func(c map[string]any) { delete(c, "sid") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, p := startServer(t), newProvider(t)
			p.userinfo = map[string]any{"sub": "alice"}
			p.document = map[string]any{"userinfo_endpoint": p.URL + "/userinfo"}
			s := startSite(t, p, nc, newKey(), "userinfo: true")
			in, goOn := make(chan struct{}), make(chan struct{})
			p.intercept("/userinfo", func(http.ResponseWriter, *http.Request) bool {
				p.heal()
				close(in)
				<-goOn
				return false
			})
			b := newBrowser(t, s)
			done := make(chan int, 1)
			go func() { status, _, _ := b.ask("GET", "/login?to=/inbox", ""); done <- status }()
			<-in
			code := s.logOutBy(t, p.sign(p.key, logoutClaims(edit)))
			close(goOn)
			if status := <-done; code != http.StatusOK || status != http.StatusBadRequest || b.cookie() != "" {
				t.Errorf("the logout has status %d and the login %d, want 200 and 400 without a session", code, status)
			}
			if n := s.kept(t); n != 0 {
				t.Errorf("%d sessions are stored, want none", n)
			}
			b.logIn()
			b.mustFind()
		})
	}
}

// The path to which a visitor is led after a login is not changed.
func TestPathAfterALogin(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	for _, to := range []string{"/a//b", "/go/https://x.test/y", "/app/../x", "/a/./b/?u=//x/../y"} {
		if _, _, h := newBrowser(t, s).ask("GET", "/login?to="+to, ""); h.Get("Location") != to {
			t.Errorf("to=%s leads to %s", to, h.Get("Location"))
		}
	}
}

// Each path that /login accepts is short enough for the callback that follows the provider's form.
func TestLongPathAfterAFormPost(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "response_mode: form_post")
	for _, c := range []string{"x", "%26", "%3C", "%22"} {
		b := newBrowser(t, s)
		_, form, _ := b.ask("GET", "/login?to=/"+strings.Repeat(c, maxTo-1), "")
		answer, err := b.Post(s.base+"/callback", "application/x-www-form-urlencoded", strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusSeeOther || b.cookie() == "" {
			t.Errorf("posted answer of a login with %.40s: status %d, want 303 and a session", c, answer.StatusCode)
		}
	}
}

// A session that no key decrypts counts as no session for the pages: its visitor can log out and log in.
func TestSessionOfARemovedKey(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	b.site = startSite(t, p, nc, newKey(), "")
	if status, body, _ := b.ask("GET", "/session", ""); status != http.StatusOK || !strings.Contains(body, `"authenticated":false`) {
		t.Errorf("expected /session to find no session; found %d, %s", status, body)
	}
	if !strings.Contains(b.site.text(), "cannot be decrypted") {
		t.Error("the log says nothing of the session that no key decrypts")
	}
	if _, err := b.site.find(t, session.Cookie, b.cookie()); err == nil {
		t.Error("a session that no key decrypts opens a connection")
	}
	if status, _, _ := b.ask("POST", "/logout", b.origin()); status != http.StatusOK || b.cookie() != "" || s.kept(t) != 0 {
		t.Errorf("/logout has status %d and leaves %d sessions, want 200 and none", status, s.kept(t))
	}
	b.logIn()
	b.mustFind()
}
