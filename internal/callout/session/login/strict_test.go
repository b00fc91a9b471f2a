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

// strictJar is a browser's cookies where the cookie of the session is SameSite=Strict: the provider is another site,
// and so that cookie does not go along with the callback.
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

// A login ends the session that the browser had when it was begun, though the cookie of that does not come with the
// callback.
func TestStrictLoginEndsTheOldSession(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "same_site: strict")
	b := strictBrowser(t, s)
	b.logIn()
	old := b.cookie()
	if b.logIn(); b.cookie() == old {
		t.Error("the cookie stays the same")
	}
	if _, err := s.find(t, session.Cookie, old); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("the old session: %v; want that it has ended", err)
	}
	b.mustFind()
}

// Whoever gets hold of the callback of somebody else's login ends nothing with it: neither the session that was there
// when it was begun, nor, by a callback of theirs that they have another one load, the other one's.
func TestStrictLoginEndsNoOtherSession(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "same_site: strict")
	victim, thief := strictBrowser(t, s), strictBrowser(t, s)
	victim.logIn()
	stolen := victim.begin("/login")
	thief.logIn()
	if to := thief.followPages(stolen); to != "/" {
		t.Fatalf("leads to %q", to)
	}
	victim.mustFind()
	if to := victim.followPages(thief.begin("/login")); to != "/" {
		t.Fatalf("leads to %q", to)
	}
	thief.mustFind()
	if to := strictBrowser(t, s).followPages(victim.begin("/login")); to != "/" {
		t.Fatalf("leads to %q", to)
	}
	victim.mustFind()
}

// A callback that is loaded again, for instance by the browser's way back, leads to the page of the session that there is,
// as with a cookie that is not strict. Without a session it leads to a new login, once.
func TestStrictCallbackAgain(t *testing.T) {
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), "same_site: strict")
	b := strictBrowser(t, s)
	callback := b.begin("/login?to=/inbox")
	if status, _, header := b.ask("GET", callback, ""); status != http.StatusSeeOther || header.Get("Location") != "/inbox" {
		t.Fatalf("status %d, to %s", status, header.Get("Location"))
	}
	first := b.cookie()
	begun := p.begun
	to := b.followPages(callback)
	if to != "/inbox" || b.cookie() != first || p.begun != begun {
		t.Errorf("leads to %s, the cookie is the same: %t, %d new logins", to, b.cookie() == first, p.begun-begun)
	}
	anew := strictBrowser(t, s)
	if to := anew.followPages(callback); to != "/inbox" || anew.cookie() == "" {
		t.Errorf("without a session: leads to %s, with a cookie: %t", to, anew.cookie() != "")
	}
	// A browser that keeps no cookies does not go in circles.
	blind := strictBrowser(t, s)
	blind.Jar = nil
	begun = p.begun
	if to := blind.followPages("/login"); to != "" || p.begun-begun > 2 {
		t.Errorf("without cookies: leads to %q, %d times at the provider", to, p.begun-begun)
	}
}

// Of several logins that a browser has begun anew, one makes the session, and the others lead to their pages then, as with
// a cookie that is not strict. Without a session the last one is refused.
func TestStrictLoginsBegunAnew(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "same_site: strict")
	b := strictBrowser(t, s)
	one, two := b.begin("/login?again=&to=/one"), b.begin("/login?again=&to=/two")
	for _, at := range []struct{ callback, page string }{{one, "/one"}, {two, "/two"}, {one, "/one"}} {
		if to := b.followPages(at.callback); to != at.page {
			t.Errorf("leads to %q, not %s", to, at.page)
		}
	}
	b.mustFind()
	failures := s.metrics.failures.Get()
	if to := strictBrowser(t, s).followPages(one); to != "" || s.metrics.failures.Get() != failures+1 {
		t.Errorf("without a session: leads to %q, %d failures", to, s.metrics.failures.Get()-failures)
	}
}

// refreshing is where a page leads that the browser leaves by itself.
var refreshing = regexp.MustCompile(`<meta http-equiv=refresh content="0;url=([^"]*)">`)

// followPages loads a page of ours, and what pages lead to by themselves; it returns the path where that ends, empty if
// it does with an error.
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
