package login

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// However often strangers send requests of any kind, each page writes only a few lines of each kind to the log in a period,
// even if the log has all levels.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	const often = 300
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), workers(t, ""))
	own := newBrowser(t, s)
	own.logIn()
	cookie := &http.Cookie{Name: s.cfg.CookieName, Value: own.cookie()}
	other, err := s.cfg.own.sealState(began{ID: "x", Browser: hashed("x"), To: "/"})
	if err != nil {
		t.Fatal(err)
	}
	post := func(path, body string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, s.base+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", own.origin())
		return r
	}
	get := func(path string) *http.Request { return httptest.NewRequest(http.MethodGet, s.base+path, nil) }
	for name, ask := range map[string]func() *http.Request{
		"a callback":                    func() *http.Request { return get("/callback?state=x&code=y") },
		"a callback of another browser": func() *http.Request { return get("/callback?code=y&state=" + other) },
		"a logout token":                func() *http.Request { return post("/backchannel", "logout_token=x") },
		"a ticket": func() *http.Request {
			r := post("/ticket", "{}")
			r.AddCookie(cookie)
			return r
		},
		"a request that is given up": func() *http.Request {
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			r := get("/session").WithContext(gone)
			r.AddCookie(cookie)
			return r
		},
		"a login to elsewhere": func() *http.Request { return get("/login?to=" + url.QueryEscape("//evil.test")) },
	} {
		before := strings.Count(s.text(), "\n")
		for range often {
			s.source.pages().ServeHTTP(httptest.NewRecorder(), ask())
		}
		if lines := strings.Count(s.text(), "\n") - before; lines > often/10 {
			t.Errorf("%s: the log has %d lines for %d requests", name, lines, often)
		}
	}
	if strings.Contains(s.text(), "level=ERROR") {
		t.Error("a request that its browser has given up is logged as an error of ours")
	}
	lines := s.logged.Lines("connection", "a connection") // what net/http logs of each, with TLS
	before := strings.Count(s.text(), "\n")
	for range often {
		rawAnswer(t, s.address(), "EVIL\r\n\r\n")
		lines.Print("TLS handshake error")
	}
	if n := strings.Count(s.text(), "\n") - before; n == 0 || n > often/10 {
		t.Errorf("the log has %d lines for %d connections that send no request", n, often)
	}
}
