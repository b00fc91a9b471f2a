package login

import (
	"errors"
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"stamp/internal/callout/session"
)

// strictJar keeps cookies as a browser does if the session's cookie is SameSite=Strict: the provider is another site, so that
// cookie does not come with the callback.
type strictJar struct {
	*cookiejar.Jar
	name string
}

func (j strictJar) Cookies(u *url.URL) (sent []*http.Cookie) {
	for _, c := range j.Jar.Cookies(u) {
		if c.Name != j.name || !strings.HasSuffix(u.Path, "/callback") {
			sent = append(sent, c)
		}
	}
	return sent
}

func strictBrowser(t *testing.T, s *site) *browser {
	t.Helper()
	b := newBrowser(t, s)
	b.Jar = strictJar{b.Jar.(*cookiejar.Jar), s.cfg.CookieName}
	return b
}

// A new login ends the session that the browser had before, though its cookie does not come with the callback.
func TestStrictLoginEndsTheOldSession(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "same_site: strict")
	b := strictBrowser(t, s)
	b.logIn()
	old := b.cookie()
	if b.logIn(); b.cookie() == old {
		t.Error("the new login gave the same cookie")
	}
	if _, err := s.find(t, session.Cookie, old); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("expected the old session to have ended; found %v", err)
	}
	b.mustFind()
}

// Whoever loads the callback of another person's login ends no session of that person: neither a thief who has stolen the
// callback, nor a visitor who was led to it.
func TestStrictLoginEndsNoOtherSession(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "same_site: strict")
	victim, thief := strictBrowser(t, s), strictBrowser(t, s)
	victim.logIn()
	stolen := victim.begin("/login")
	thief.logIn()
	if to := thief.followPages(stolen); to != "/" {
		t.Fatalf("the stolen callback leads to %q, want /", to)
	}
	victim.mustFind()
	if to := victim.followPages(thief.begin("/login")); to != "/" {
		t.Fatalf("the thief's callback leads the victim to %q, want /", to)
	}
	thief.mustFind()
	if to := strictBrowser(t, s).followPages(victim.begin("/login")); to != "/" {
		t.Fatalf("the callback leads another browser to %q, want /", to)
	}
	victim.mustFind()
}

// A callback that is loaded again, for instance by the browser's back button, leads to the page if there is a session, as with
// a cookie that is not strict. Without a session it leads to a new login, once.
func TestStrictCallbackAgain(t *testing.T) {
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), "same_site: strict")
	b := strictBrowser(t, s)
	callback := b.begin("/login?to=/inbox")
	if status, _, header := b.ask("GET", callback, ""); status != http.StatusSeeOther || header.Get("Location") != "/inbox" {
		t.Fatalf("expected the callback to lead to /inbox again; found status %d, to %s", status, header.Get("Location"))
	}
	first := b.cookie()
	begun := p.begun
	to := b.followPages(callback)
	if to != "/inbox" || b.cookie() != first || p.begun != begun {
		t.Errorf("the callback leads to %s, the cookie is the same: %t, and %d logins were begun", to, b.cookie() == first, p.begun-begun)
	}
	anew := strictBrowser(t, s)
	if to := anew.followPages(callback); to != "/inbox" || anew.cookie() == "" {
		t.Errorf("the callback without a session leads to %s, with a cookie: %t; want /inbox and true", to, anew.cookie() != "")
	}
	// A browser that keeps no cookies does not go in circles.
	blind := strictBrowser(t, s)
	blind.Jar = nil
	begun = p.begun
	if to := blind.followPages("/login"); to != "" || p.begun-begun > 2 {
		t.Errorf("a browser without cookies is led to %q, after %d times at the provider; want no page, and 2 at most", to, p.begun-begun)
	}
}

// If a browser has begun several logins anew, the first callback makes the session, and the others lead to their pages, as with
// a cookie that is not strict. Without a session the last one is refused.
func TestStrictLoginsBegunAnew(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "same_site: strict")
	b := strictBrowser(t, s)
	one, two := b.begin("/login?again=&to=/one"), b.begin("/login?again=&to=/two")
	for _, at := range []struct{ callback, page string }{{one, "/one"}, {two, "/two"}, {one, "/one"}} {
		if to := b.followPages(at.callback); to != at.page {
			t.Errorf("the callback leads to %q, want %s", to, at.page)
		}
	}
	b.mustFind()
	failures := s.metrics.failures.Get()
	if to := strictBrowser(t, s).followPages(one); to != "" || s.metrics.failures.Get() != failures+1 {
		t.Errorf("the callback without a session leads to %q, with %d failures; want no page and 1", to, s.metrics.failures.Get()-failures)
	}
}

// refreshing finds the URL to which a page leads by itself.
var refreshing = regexp.MustCompile(`<meta http-equiv=refresh content="0;url=([^"]*)">`)

// followPages loads a page of the source, follows where pages lead by themselves, and returns the last path; empty if it ends
// with an error.
func (b *browser) followPages(path string) string {
	b.t.Helper()
	for range 10 {
		status, body, header := b.ask("GET", path, "")
		found := refreshing.FindStringSubmatch(body)
		switch {
		case status == http.StatusSeeOther:
			return header.Get("Location")
		case found == nil:
			return ""
		}
		path = "/" + html.UnescapeString(found[1])
	}
	b.t.Fatal("the pages lead in circles")
	return ""
}
