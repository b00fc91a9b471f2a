package login

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
)

// If a page asks for the logout and is left at once, the browser gives the request up. The session ends all the same. The same
// holds for the provider's frame of front-channel logout.
func TestLogoutOfAPageThatGoes(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	for _, page := range []string{"POST /logout", "GET /frontchannel"} {
		b := newBrowser(t, s)
		b.logIn()
		method, path, _ := strings.Cut(page, " ")
		if path == "/frontchannel" {
			path += "?sid=provider-session&iss=" + s.provider.URL
		}
		r := httptest.NewRequest(method, s.base+path, nil)
		r.Header.Set("Origin", b.origin())
		r.AddCookie(&http.Cookie{Name: s.cfg.CookieName, Value: b.cookie()})
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		s.source.pages().ServeHTTP(httptest.NewRecorder(), r.WithContext(gone))
		if !s.ended(t, b) {
			t.Errorf("page %s: the session lives on", page)
		}
	}
}

// A replica that is behind may lack the entry of a session. A logout does not conclude from it that there is no session.
func TestLogoutWithAReplicaThatIsBehind(t *testing.T) {
	nc := startServer(t)
	var behind atomic.Bool
	if _, err := nc.Subscribe("FAKE.API.>", func(m *nats.Msg) {
		call := strings.TrimPrefix(m.Subject, "FAKE.API.")
		if !strings.HasPrefix(call, "$KV.") {
			call = "$JS.API." + call
		}
		to := nats.NewMsg(call)
		to.Reply, to.Data, to.Header = m.Reply, m.Data, m.Header
		if behind.Load() && strings.Contains(m.Subject, ".DIRECT.GET.") {
			to = nats.NewMsg(m.Reply)
			to.Header = nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}
		}
		_ = nc.PublishMsg(to)
	}); err != nil {
		t.Fatal(err)
	}
	s := startSite(t, newProvider(t), nc, newKey(), "api_prefix: FAKE.API")
	b := newBrowser(t, s)
	b.logIn()
	cookie := b.cookie()
	behind.Store(true)
	if status, _, _ := b.ask("POST", "/logout", b.origin()); status != http.StatusOK {
		t.Fatalf("the logout has status %d, want 200", status)
	}
	before := s.entries(t)
	made := newBrowser(t, s)
	u := s.base
	r, _ := http.NewRequest(http.MethodGet, u, nil)
	made.Jar.SetCookies(r.URL, []*http.Cookie{{Name: s.cfg.CookieName, Value: newSecret(), Path: "/"}})
	if status, _, _ := made.ask("POST", "/logout", made.origin()); status != http.StatusOK || s.entries(t) != before {
		t.Errorf("a logout with a made-up cookie: status %d, and %d entries in the bucket after %d", status, s.entries(t), before)
	}
	behind.Store(false)
	if _, err := s.find(t, session.Cookie, cookie); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("expected ErrUnknown after the logout; found %v", err)
	}
}

// entries is how many messages the bucket of the sessions has got so far.
func (s *site) entries(t *testing.T) uint64 {
	t.Helper()
	state, err := s.stateOf(t.Context(), s.cfg.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	return state.last
}

// A logout token that is carried out while a login is under way ends the session of that login, also if the replica that is
// asked lacks the note of the logout, or has an older one.
func TestLogoutDuringALoginWithAReplicaThatIsBehind(t *testing.T) {
	nc := startServer(t)
	var behind atomic.Int32
	if _, err := nc.Subscribe("FAKE.API.>", func(m *nats.Msg) {
		call := strings.TrimPrefix(m.Subject, "FAKE.API.")
		if !strings.HasPrefix(call, "$KV.") {
			call = "$JS.API." + call
		}
		to := nats.NewMsg(call)
		to.Reply, to.Data, to.Header = m.Reply, m.Data, m.Header
		if strings.Contains(m.Subject, ".DIRECT.GET.KV_sessions-index") && behind.Add(-1) >= 0 {
			to = nats.NewMsg(m.Reply)
			to.Header = nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}
		}
		_ = nc.PublishMsg(to)
	}); err != nil {
		t.Fatal(err)
	}
	s := startSite(t, newProvider(t), nc, newKey(), "api_prefix: FAKE.API")
	b := newBrowser(t, s)
	b.logIn()
	st, _, e, _ := b.stored()
	began := time.Now()
	ended := func(what string, want bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		if got, err := st.hasEnded(ctx, e, began); got != want || err != nil {
			t.Errorf("%s: hasEnded returned %t, error %v; want %t", what, got, err, want)
		}
	}
	ended("no logout", false)
	token := logoutToken{subject: e.Subject, id: "1", issued: began.Add(-time.Hour)}
	if _, err := st.noteEnd(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	behind.Store(2)
	ended("an older logout", false)
	older, err := st.index.Get(t.Context(), st.cfg.endsNames(token)[0])
	if err != nil {
		t.Fatal(err)
	}
	token.issued = began.Add(time.Hour)
	if _, err := st.noteEnd(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	behind.Store(2)
	ended("a logout", true)
	real := st.index
	st2 := *st
	st2.index = &replicated{sessionBucket: &bucketWithHints{KeyValue: real}, behind: []jetstream.KeyValueEntry{older}}
	st = &st2
	ended("a logout of which the replica has the one before", true)
}
