package http

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
)

const secret = "credential-4711"

// open parses and opens a source whose block has these fields.
func open(t *testing.T, fields string) session.Source {
	t.Helper()
	return sourcetest.Open(t, Parse, "kind: http\n"+fields)
}

func cookie(value string) *session.Request {
	return &session.Request{Credential: session.Credential{Kind: session.Cookie, Value: value}}
}

// find asks, and checks that no error tells a secret.
func find(t *testing.T, s session.Source, r *session.Request) (*session.Session, error) {
	t.Helper()
	got, err := s.Find(t.Context(), r)
	if err != nil {
		for _, s := range []string{secret, "url-password", "body-4711"} {
			if strings.Contains(err.Error(), s) {
				t.Errorf("the error shows the secret %q", s)
			}
		}
	}
	return got, err
}

// application is an application with a session store, as people write them.
func application(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/session", func(w http.ResponseWriter, r *http.Request) {
		c := r.CookiesNamed("sid")
		if len(c) != 1 || c[0].Value != secret {
			http.Error(w, "who is that?", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("X-Forwarded-User", "alice")
		w.Header().Add("X-Twice", "a")
		w.Header().Add("X-Twice", "b")
		fmt.Fprintf(w, `{"user":"json","id":"s1","n":1,"agent":%q,"theme":%q,"key":%q,"expires":%d}`,
			r.UserAgent(), value(r, "theme"), r.Header.Get("X-Api-Key"), time.Now().Add(time.Hour).Unix())
	})
	mux.HandleFunc("/bearer", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret || r.Header.Get("Cookie") != "" || r.Method != http.MethodPost {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		w.Header().Set("X-Forwarded-User", "alice")
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/odd/{what}", func(w http.ResponseWriter, r *http.Request) { odd(w, r, r.PathValue("what")) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func value(r *http.Request, name string) string {
	if c, err := r.Cookie(name); err == nil {
		return c.Value
	}
	return ""
}

func odd(w http.ResponseWriter, r *http.Request, what string) {
	w.Header().Set("Content-Type", "application/json")
	switch what {
	case "redirect":
		http.Redirect(w, r, "/session", http.StatusFound)
	case "500":
		http.Error(w, "body-4711", http.StatusInternalServerError)
	case "list":
		fmt.Fprint(w, `["body-4711"]`)
	case "broken":
		fmt.Fprint(w, `{"user": "body-4711"`)
	case "long":
		fmt.Fprintf(w, `{"user": %q}`, strings.Repeat("x", 70_000))
	case "text":
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `{"user":"alice"}`)
	case "late":
		<-r.Context().Done()
	case "expires":
		fmt.Fprint(w, `{"expires": "soon"}`)
	}
}

func TestAsksTheApplication(t *testing.T) {
	app := application(t)
	s := open(t, fmt.Sprintf(`url: %q, cookie_name: sid, key: id
		forward { headers: [User-Agent], cookies: [theme] }
		headers { X-Api-Key: k1 }
		fields { user: X-Forwarded-User, gone: X-Gone, n: X-N }`, strings.Replace(app.URL, "://", "://u:url-password@", 1)+"/session?q=url-password"))
	r := cookie(secret)
	r.Headers = map[string][]string{"User-Agent": {"Mozilla"}, "X-Other": {"o"}}
	r.Cookies = map[string]string{"theme": "dark", "sid": "forged"}
	got, err := find(t, s, r)
	if err != nil {
		t.Fatal(err)
	}
	delete(got.Data, "expires")
	// A field that comes as a header never comes from the body.
	want := map[string]any{"user": "alice", "id": "s1", "agent": "Mozilla", "theme": "dark", "key": "k1"}
	if !reflect.DeepEqual(got.Data, want) {
		t.Errorf("the session has the data %v, want %v", got.Data, want)
	}
	if time.Until(got.Expires) < time.Minute || got.Key == "" || strings.Contains(got.Key, "s1") {
		t.Errorf("expected an end in a minute or more, and a key that does not show the id; found %s and %s", got.Expires, got.Key)
	}
	if _, err := find(t, s, cookie("other")); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("expected ErrUnknown for an unknown cookie; found %v", err)
	}
	for _, bad := range []string{"", "a;sid=" + secret, "a b", "a\r\nX: y", "\x00", "é"} {
		if _, ok := s.Accepts(cookie(bad)); ok {
			t.Errorf("Accepts(%q) = true, though it is no value of a cookie", bad)
		}
	}
}

func TestBearerAndHeaderFields(t *testing.T) {
	app := application(t)
	s := open(t, fmt.Sprintf(`url: %q, method: POST, header: Authorization, scheme: Bearer, fields { user: X-Forwarded-User }`, app.URL+"/bearer"))
	r := cookie(secret)
	r.Credential.Kind = session.Token
	got, err := find(t, s, r)
	if err != nil || got.Data["user"] != "alice" {
		t.Errorf("expected the session of alice; found %v, error %v", got, err)
	}
	r.Credential = session.Credential{Kind: session.Password, Username: "u", Password: secret}
	if _, ok := s.Accepts(r); ok {
		t.Error("Accepts takes a password")
	}
}

// If the answer is not certain, the source returns an error that says neither that there is a session nor that there is none.
func TestDoubt(t *testing.T) {
	app := application(t)
	for _, what := range []string{"redirect", "500", "list", "broken", "long", "text", "late", "expires"} {
		s := open(t, fmt.Sprintf("url: %q", app.URL+"/odd/"+what))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if what != "late" {
			ctx = t.Context()
		}
		got, err := s.Find(ctx, cookie(secret))
		cancel()
		if got != nil || err == nil || errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s: expected an error that leaves open whether there is a session; found %v, error %v", what, got, err)
		} else if strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: the error tells a secret", what)
		}
	}
	s := open(t, fmt.Sprintf("url: %q, fields { user: X-Twice }, cookie_name: sid", app.URL+"/session"))
	if _, err := find(t, s, cookie(secret)); err == nil || errors.Is(err, session.ErrUnknown) {
		t.Errorf("expected an error for a header field that comes twice; found %v", err)
	}
	app.Close()
	if _, err := find(t, s, cookie(secret)); err == nil || errors.Is(err, session.ErrUnknown) {
		t.Errorf("expected an error that leaves open whether there is a session, while the application is down; found %v", err)
	}
}

func TestUnknownIsSettable(t *testing.T) {
	var status atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	defer app.Close()
	s := open(t, fmt.Sprintf("url: %q, unknown: [ 410, 401 ]", app.URL))
	for code, unknown := range map[int64]bool{410: true, 401: true, 403: false, 404: false, 503: false} {
		status.Store(code)
		if _, err := find(t, s, cookie(secret)); errors.Is(err, session.ErrUnknown) != unknown {
			t.Errorf("status %d: unknown must be %t; found error %v", code, unknown, err)
		}
	}
}

func TestTLS(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"user":"alice"}`)
	}))
	app.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	app.StartTLS()
	defer app.Close()
	if _, err := find(t, open(t, fmt.Sprintf("url: %q", app.URL)), cookie(secret)); err == nil {
		t.Error("a certificate that nobody vouches for was taken")
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: app.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := find(t, open(t, fmt.Sprintf("url: %q, tls { ca: %q }", app.URL, ca)), cookie(secret)); err != nil {
		t.Error(err)
	}
	if _, err := find(t, open(t, fmt.Sprintf("url: %q, tls { ca: %q, server_name: other.test }", app.URL, ca)), cookie(secret)); err == nil {
		t.Error("a certificate for another name was taken")
	}
}

// Equal keys get equal answers, so all that is sent is in the key.
func TestKeyCoversWhatIsSent(t *testing.T) {
	s := open(t, "url: \"http://x\", forward { headers: [A, B], cookies: [c] }")
	seen := map[string]bool{}
	for _, edit := range []func(*session.Request){
		func(*session.Request) {},
		func(r *session.Request) { r.Credential.Value = "other" },
		func(r *session.Request) { r.Headers = map[string][]string{"A": {"x"}} },
		func(r *session.Request) { r.Headers = map[string][]string{"B": {"x"}} },
		func(r *session.Request) { r.Headers = map[string][]string{"A": {"x", "y"}} },
		func(r *session.Request) { r.Cookies = map[string]string{"c": "x"} },
	} {
		r := cookie(secret)
		edit(r)
		key, ok := s.Accepts(r)
		if !ok || seen[key] {
			t.Errorf("key %q is there twice, or none", key)
		}
		seen[key] = true
	}
}

func TestFaults(t *testing.T) {
	for fields, want := range map[string]string{
		"":                                             `field "url" is missing`,
		`url: "ftp://u:hush@x"`:                        "expected a URL with http or https",
		`url: "http://x#hush"`:                         "without a fragment",
		`url: "http://x", method: PUT`:                 "method",
		`url: "http://x", header: "a b"`:               "header: expected a token",
		`url: "http://x", scheme: Bearer`:              "scheme: expected a header field other",
		`url: "http://x", unknown: [ 500 ]`:            "from 400 to 499",
		`url: "http://x", headers {A: "\n"}`:           "headers",
		`url: "http://x", headers {cookie: hush}`:      "because it carries the credential",
		`url: "http://x", fields {a: "b c"}`:           "fields",
		`url: "http://x", tls {ca: "/nowhere"}`:        "tls: ca",
		`url: "http://x", tls {cert: "/nowhere"}`:      "both cert and key",
		`url: "http://x", forward {headers: [Cookie]}`: "cannot be forwarded",
	} {
		if err := sourcetest.Faults(t, Parse, "kind: http\n"+fields); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: expected the fault %q; found %v", fields, want, err)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the fault tells a secret", fields)
		}
	}
}
