package main

import (
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
	w := &web{sessions: store, say: func(string, string, ...any) {}}
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
	status("session", do("GET", "/session", http.Header{"Cookie": {pair}}, nil), 200)
	status("session without cookie", do("GET", "/session", nil, nil), 401)
	status("session with a made-up cookie", do("GET", "/session", http.Header{"Cookie": {"session=*"}}, nil), 401)
	status("session with two cookies", do("GET", "/session", http.Header{"Cookie": {pair + "; session=planted"}}, nil), 401)
	status("logout", do("POST", "/logout", http.Header{"Cookie": {pair}}, nil), 204)
	status("session after logout", do("GET", "/session", http.Header{"Cookie": {pair}}, nil), 401)
	status("no nats.js", do("GET", "/nats.js", nil, nil), 404)
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
		t.Error("the key was made anew")
	}
}
