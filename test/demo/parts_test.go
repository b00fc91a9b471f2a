package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

func TestMask(t *testing.T) {
	for _, c := range []struct{ secret, want string }{
		{"", "…"}, {"abcd", "…"}, {"abcde", "abcd…"}, {"forged", "forg…"},
	} {
		if got := mask(c.secret); got != c.want {
			t.Errorf("mask of %d characters: %q, want %q", len(c.secret), got, c.want)
		}
	}
}

func TestStampedUser(t *testing.T) {
	for name, c := range map[string]struct {
		header nats.Header
		want   string
	}{
		"stamped":      {nats.Header{"Session": {"s"}, "X-User": {"alice"}}, "alice"},
		"no header":    {nil, ""},
		"no session":   {nats.Header{"X-User": {"alice"}}, ""},
		"no user":      {nats.Header{"Session": {"s"}}, ""},
		"two users":    {nats.Header{"Session": {"s"}, "X-User": {"alice", "bob"}}, ""},
		"other case":   {nats.Header{"session": {"s"}, "x-user": {"alice"}}, ""},
		"two sessions": {nats.Header{"Session": {"s", "t"}, "X-User": {"alice"}}, ""},
	} {
		if got := stampedUser(c.header); got != c.want {
			t.Errorf("%s: user %q, want %q", name, got, c.want)
		}
	}
}

// natsServer is a server with JetStream, in this process, and a connection to it.
func natsServer(t *testing.T) *nats.Conn {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestWeb(t *testing.T) {
	store, err := openSessions(t.Context(), natsServer(t))
	if err != nil {
		t.Fatal(err)
	}
	w := &web{sessions: store, websocket: "http://127.0.0.1:1", say: func(string, string, ...any) {}}
	handler := w.handler()
	do := func(method, path string, header http.Header, form url.Values) *http.Response {
		r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
		for name, values := range header {
			r.Header[name] = values
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		return rec.Result()
	}
	status := func(what string, r *http.Response, want int) {
		t.Helper()
		if r.StatusCode != want {
			t.Errorf("%s: status %d, want %d", what, r.StatusCode, want)
		}
	}
	for _, user := range []string{"", "A", "a.b", "a>", strings.Repeat("a", 33)} {
		status("login as "+user, do("POST", "/login", nil, url.Values{"user": {user}}), 400)
	}
	status("login from another site", do("POST", "/login", http.Header{"Sec-Fetch-Site": {"cross-site"}}, url.Values{"user": {"alice"}}), 403)

	in := do("POST", "/login", nil, url.Values{"user": {"alice"}})
	status("login", in, 204)
	cookie := in.Cookies()[0]
	if err := cookieFault(cookie); err != nil {
		t.Error(err)
	}
	pair := cookie.Name + "=" + cookie.Value
	signedIn := func(what, cookies string, want bool) {
		t.Helper()
		r := do("GET", "/session", http.Header{"Cookie": {cookies}}, nil)
		status(what, r, 200) // 401 would be an error in the console of each page that is not signed in
		var got visitor
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil || got.Authenticated != want || (got.Claims["sub"] == "alice") != want {
			t.Errorf("%s: /session says %+v, error %v; want signed in: %v", what, got, err, want)
		}
	}
	signedIn("session", pair, true)
	signedIn("session without cookie", "", false)
	signedIn("session with a made-up cookie", "session=*", false)
	signedIn("session with two cookies", pair+"; session=planted", false)
	found := func(loot string) bool {
		r := httptest.NewRequest("POST", "/attack/search", strings.NewReader(loot))
		r.Header.Set("Cookie", pair)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		return strings.Contains(rec.Body.String(), "true")
	}
	for loot, want := range map[string]bool{
		"": false, "alice": false, "x" + cookie.Value + "y": true, store.token(t.Context(), cookie.Value): true, strings.ToLower(cookie.Value): false,
	} {
		if found(loot) != want {
			t.Errorf("a search finds a secret in %d bytes: %v, want %v", len(loot), !want, want)
		}
	}
	status("logout", do("POST", "/logout", http.Header{"Cookie": {pair}}, nil), 204)
	signedIn("session after logout", pair, false)
	policy := do("GET", "/", nil, nil).Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the page's policy allows too much: %q", policy)
	}
	status("no nats.js", do("GET", "/nats.js", nil, nil), 404)
}

// The cookie, the worker and the websocket belong to one origin. Whoever opens the page under another name of this
// machine is sent there.
func TestPageHasOneOrigin(t *testing.T) {
	p, err := newProvider("http://127.0.0.1:8000", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &web{websocket: "http://127.0.0.1:1", worker: &workerPages{origin: "http://127.0.0.1:8000", pages: "127.0.0.1:1", provider: p}}
	for host, want := range map[string]string{"127.0.0.1:8000": "", "localhost:8000": "http://127.0.0.1:8000", "elsewhere.example": "http://127.0.0.1:8000"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		rec := httptest.NewRecorder()
		w.handler().ServeHTTP(rec, r)
		if got := rec.Header().Get("Location"); got != want {
			t.Errorf("the page of %s goes to %q, want %q", host, got, want)
		}
	}
}

func TestKeysAreKept(t *testing.T) {
	dir := t.TempDir() + "/keys"
	first, err := keepKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := keepKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if public(first.backend) != public(second.backend) {
		t.Error("the key was made anew by the second run")
	}
}
