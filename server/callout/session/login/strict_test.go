package login

import (
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"stamp/server/callout/session"
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
// callback: also where the callback has to begin it anew.
func TestStrictLoginEndsTheOldSession(t *testing.T) {
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), "same_site: strict")
	for name, end := range map[string]func(b *browser, callback string){
		"at once":                   func(*browser, string) {},
		"after a code that is over": func(*browser, string) { p.set(func() { clear(p.grants) }) },
	} {
		b := strictBrowser(t, s)
		b.logIn()
		old := b.cookie()
		callback := b.begin("/login")
		end(b, callback)
		if status, _, _ := b.ask("GET", callback, ""); status != http.StatusSeeOther || b.cookie() == old {
			t.Fatalf("%s: %d", name, status)
		}
		if _, err := s.find(t, session.Cookie, old); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s: the old session: %v; want that it has ended", name, err)
		}
		b.mustFind()
	}
}

// Whoever gets hold of the callback of somebody else's login ends nothing with it: neither the session that was there
// when it was begun, nor, by a callback of theirs that they have another one load, the other one's.
func TestStrictLoginEndsNoOtherSession(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "same_site: strict")
	victim, thief := strictBrowser(t, s), strictBrowser(t, s)
	victim.logIn()
	stolen := victim.begin("/login")
	thief.logIn()
	if status, _, _ := thief.ask("GET", stolen, ""); status != http.StatusSeeOther {
		t.Fatalf("status %d", status)
	}
	victim.mustFind()
	if status, _, _ := victim.ask("GET", thief.begin("/login"), ""); status != http.StatusSeeOther {
		t.Fatalf("status %d", status)
	}
	thief.mustFind()
}
