package redis

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

const scripts = "../../../../test/js"

// startSite runs a site whose sessions are in Redis, and returns its address.
func startSite(t *testing.T, name, socket, maxAge string) string {
	t.Helper()
	_, err := os.Stat(filepath.Join(scripts, "node_modules", "connect-redis"))
	node, errNode := exec.LookPath("node")
	if err = errors.Join(err, errNode); err != nil {
		if os.Getenv("STAMP_TEST_ALL") != "" {
			t.Fatalf("node or its packages are missing (hint: scripts/test tools): %v", err)
		}
		t.Skip("node or its packages are missing (hint: scripts/test tools)")
	}
	cmd := exec.Command(node, "sessions/"+name+".mjs", socket, maxAge)
	cmd.Dir, cmd.Stderr = scripts, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the site does not tell its port: %v", err)
	}
	return "http://127.0.0.1:" + strings.TrimSpace(port)
}

// visit asks the site, and returns the cookie that it sets; empty: none.
func visit(t *testing.T, method, url, cookie string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s has status %s, want 200", method, url, answer.Status)
	}
	set, _, _ := strings.Cut(answer.Header.Get("Set-Cookie"), ";")
	return set
}

// documented returns the source of an example, with another secret and address.
func documented(t *testing.T, example, socket, secret string) session.Source {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/examples/callout/" + example)
	if err != nil {
		t.Fatal(err)
	}
	start := strings.Index(string(text), "sessions: [ {") + len("sessions: [ {")
	block, _, _ := strings.Cut(string(text)[start:], "} ]")
	var fields []string
	for _, line := range strings.Split(block, "\n") {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "url:"):
			line = fmt.Sprintf("url: %q", "unix://"+socket)
		case strings.HasPrefix(line, "signed_cookie"):
			before, after, _ := strings.Cut(line, "secret_file:")
			_, after, _ = strings.Cut(strings.TrimPrefix(after, ` "`), `"`)
			line = before + fmt.Sprintf("secret: %q", secret) + after
		}
		fields = append(fields, line)
	}
	n, err := conf.ParseString(strings.Join(fields, "\n"))
	if err != nil {
		t.Fatalf("cannot read the configuration: %v in\n%s", err, strings.Join(fields, "\n"))
	}
	var faults conf.Faults
	opener := Parse(n, &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	s, err := opener.Open(t.Context(), session.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestSites: with the documented configuration, a session lives as long as the site says: an active visitor is not logged out,
// and an inactive one is.
func TestSites(t *testing.T) {
	for _, c := range []struct{ name, example, cookie, secret string }{
		{"express", "redis-express.conf", "connect.sid", "newest & secret"},
		{"fastify", "redis-fastify.conf", "sessionId", "a secret of at least 32 characters: 0123456789"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := startRedis(t, "")
			const maxAge = 3 * time.Second
			site := startSite(t, c.name, p.socket, fmt.Sprint(maxAge.Milliseconds()))
			s := documented(t, c.example, p.socket, c.secret)
			cookie := visit(t, http.MethodPost, site+"/login", "")
			name, value, _ := strings.Cut(cookie, "=")
			if name != c.cookie {
				t.Fatalf("the site's cookie is named %s", name)
			}
			current := func() error {
				found, err := find(t, s, value)
				if err != nil {
					return err
				}
				if user, _ := found.Data["user"].(map[string]any); user["id"] != "alice" {
					return errors.New("the session has another user")
				}
				if found.Expires.IsZero() || time.Until(found.Expires) > maxAge {
					return fmt.Errorf("it ends at %s", found.Expires)
				}
				return nil
			}
			// A site may answer before the session is stored.
			known := func() (err error) {
				for end := time.Now().Add(maxAge / 2); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					if err = current(); err == nil {
						break
					}
				}
				return err
			}
			// The visitor is active for longer than a session lasts without a request.
			for began := time.Now(); time.Since(began) < maxAge+maxAge/2; {
				visit(t, http.MethodGet, site+"/page", cookie)
				if err := known(); err != nil {
					t.Fatalf("%s after the login, the session of an active visitor is gone: %v", time.Since(began), err)
				}
			}
			if _, err := find(t, s, value[:len(value)-1]); !errors.Is(err, session.ErrUnknown) {
				t.Errorf("another signature: %v; want it unknown", err)
			}
			gone := func(what string) {
				t.Helper()
				for end := time.Now().Add(timeout); ; time.Sleep(10 * time.Millisecond) {
					_, err := find(t, s, value)
					if errors.Is(err, session.ErrUnknown) {
						return
					}
					if time.Now().After(end) {
						t.Fatalf("%s: %v; want it unknown", what, err)
					}
				}
			}
			gone("inactive")
			cookie = visit(t, http.MethodPost, site+"/login", "")
			_, value, _ = strings.Cut(cookie, "=")
			if err := known(); err != nil {
				t.Fatal(err)
			}
			visit(t, http.MethodPost, site+"/logout", cookie)
			gone("logged out")
		})
	}
}

// TestSitesWithoutAge: if a site's cookie has no end, which is the default of both sites, its session ends by the TTL of its
// key alone.
func TestSitesWithoutAge(t *testing.T) {
	for _, name := range []string{"express", "fastify"} {
		p := startRedis(t, "")
		site := startSite(t, name, p.socket, "none")
		visit(t, http.MethodPost, site+"/login", "")
		conn, err := redis.Dial("unix", p.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var keys []string
		for end := time.Now().Add(timeout); len(keys) == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			keys, err = redis.Strings(conn.Do("KEYS", "*"))
		}
		if err != nil || len(keys) != 1 {
			t.Fatalf("%s: expected one key in Redis; found %q, error %v", name, keys, err)
		}
		for _, expires := range []string{"expires", "cookie.expires"} {
			s := open(t, fmt.Sprintf("url: %q, expires: %q", p.url(), expires))
			found, err := find(t, s, strings.TrimPrefix(keys[0], "sess:"))
			if err != nil || found.Expires.IsZero() {
				t.Errorf("%s with expires: %s: expected an end by the TTL; found %+v, error %v", name, expires, found, err)
			}
		}
	}
}

// TestCookieExpires: the end in a session's cookie counts only if the key has no TTL.
func TestCookieExpires(t *testing.T) {
	p := startRedis(t, "")
	past, future := "2001-01-01T00:00:00.000Z", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for id, value := range map[string]string{
		"past": `"` + past + `"`, "future": `"` + future + `"`, "no": "false", "null": "null", "odd": `"soon"`,
	} {
		text := `{"cookie":{"expires":` + value + `}}`
		p.do(t, "", "SET", "sess:"+id+"-ttl", text, "EX", "600")
		p.do(t, "", "SET", "sess:"+id, text)
	}
	s := open(t, fmt.Sprintf(`url: %q, expires: "cookie.expires"`, p.url()))
	for id, want := range map[string]string{
		"past-ttl": "10m", "future-ttl": "10m", "no-ttl": "10m", "null-ttl": "10m", "odd-ttl": "10m",
		"past": "unknown", "future": "1h", "no": "never", "null": "never", "odd": "unsure",
	} {
		found, err := find(t, s, id)
		got := "unsure"
		switch {
		case errors.Is(err, session.ErrUnknown):
			got = "unknown"
		case err == nil && found.Expires.IsZero():
			got = "never"
		case err == nil && time.Until(found.Expires) > 10*time.Minute:
			got = "1h"
		case err == nil:
			got = "10m"
		}
		if got != want {
			t.Errorf("session %s lives for %s, want %s (%v)", id, got, want, err)
		}
	}
}
