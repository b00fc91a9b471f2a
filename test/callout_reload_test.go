package test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"stamp/test/harness"
)

// besideConf is a handler in a process of its own, with a source that may hang and one that does not.
func besideConf(t *testing.T, s *harness.Server, keys, url, header string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("open"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
		connect { urls: ["nats://%s"], user: auth, password: auth }
		%s
		sessions: [
			{kind: users, users: [{user: alice, password: %q}]}
			{kind: http, url: %q, header: Authorization, scheme: Bearer, timeout: 60s}
		]
		grants: [{account: APP, publish: ">", subscribe: ">", headers: {%s: "{{ session.user }}"}}]`, s.Addr(t), keys, hash, url, header)
}

// While look-ups of the old handler hang, a reload comes into force, and so does a second one. The process ends when it is told
// to.
func TestReloadOfNatsCalloutBesideASlowLookUp(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(strings.Replace(calloutConf, "authorization {", "authorization { timeout: 60, ", 1), harness.Public(t, issuer), ""))
	app := startApplication(t)
	defer app.block()()
	file := filepath.Join(t.TempDir(), "callout.conf")
	write := func(header string) {
		if err := os.WriteFile(file, []byte(besideConf(t, s, "issuer: "+harness.Seed(t, issuer), app.url, header)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("X-One")
	h := harness.Run(t, harness.CalloutBinary(t), "serve", "-c", file)
	h.WaitLog(t, "msg=serving")
	sub := subscriber(t, s, harness.Password("alice", "open"))
	for n, header := range []string{"X-Two", "X-Three"} {
		slow := harness.Dial(t, s)
		slow.Connect(token(fmt.Sprint("slow", n)))
		harness.Eventually(t, "the look-up", func() bool { return app.asked.Load() == int64(n+1) })
		write(header)
		mark := h.Mark()
		h.Signal(t, syscall.SIGHUP)
		mark.WaitLog(t, "msg=reloaded")
		expectStamp(t, harness.Client(t, s, harness.Password("alice", "open")), sub, header+": alice")
		if strings.Contains(h.Text(), "left without an answer") {
			t.Fatalf("the reload waited for a look-up:\n%s", h.Text())
		}
	}
	h.Signal(t, syscall.SIGTERM)
	h.WaitLog(t, "msg=draining")
	h.Exit(t)
}

// A SIGHUP that comes while a reload waits for a server that is away ends the wait of that reload.
func TestReloadOfNatsCalloutDuringAReload(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(calloutConf, harness.Public(t, issuer), ""))
	file := filepath.Join(t.TempDir(), "callout.conf")
	write := func(conf string) {
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := besideConf(t, s, "issuer: "+harness.Seed(t, issuer), "http://127.0.0.1:1", "X-One")
	write(good)
	h := harness.Run(t, harness.CalloutBinary(t), "serve", "-c", file)
	h.WaitLog(t, "msg=serving")
	write(strings.Replace(good, s.Addr(t), "127.0.0.1:1", 1))
	h.Signal(t, syscall.SIGHUP)
	h.WaitLog(t, "cannot connect to NATS")
	write(good)
	mark := h.Mark()
	h.Signal(t, syscall.SIGHUP)
	if line := mark.WaitLog(t, "msg=reloaded|deadline exceeded|did not serve within"); !strings.Contains(line, "reloaded") {
		t.Errorf("the second reload waited for the first: %s", line)
	}
}

// A changed callout block comes into force while look-ups of the old handler hang, and a request to its endpoint is half sent.
func TestReloadInsideBesideASlowLookUp(t *testing.T) {
	app := startApplication(t)
	defer app.block()()
	endpoint := harness.FreeAddr(t)
	conf := func(header string) string {
		hash, err := bcrypt.GenerateFromPassword([]byte("open"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`
			accounts { APP { users: [{user: sub, password: sub}] } }
			authorization { timeout: 60 }
			callout {
				http: %q
				sessions: [
					{kind: users, users: [{user: alice, password: %q}]}
					{kind: http, url: %q, header: Authorization, scheme: Bearer, timeout: 50s}
				]
				grants: [{account: APP, publish: ">", subscribe: ">", headers: {%s: "{{ session.user }}"}}]
			}`, endpoint, hash, app.url, header)
	}
	s := harness.Start(t, conf("X-One"))
	sub := subscriber(t, s, password("sub"))
	for n, header := range []string{"X-Two", "X-Three"} {
		slow := harness.Dial(t, s)
		slow.Connect(token(fmt.Sprint("slow", n)))
		harness.Eventually(t, "the look-up", func() bool { return app.asked.Load() == int64(n+1) })
		half, err := net.Dial("tcp", endpoint)
		if err != nil {
			t.Fatal(err)
		}
		defer half.Close()
		fmt.Fprint(half, "GET /readyz HTTP/1.1\r\nHost: x\r\n")
		mark := s.Mark()
		s.Reload(t, conf(header))
		mark.WaitLog(t, "Reloaded: callout handler")
		expectStamp(t, harness.Client(t, s, harness.Password("alice", "open")), sub, header+": alice")
		if strings.Contains(s.Text(), "left without an answer") {
			t.Fatal("the reload waited for a look-up")
		}
	}
}

// A half-sent request to the login pages, and a refresh of tokens that is under way, delay neither a reload nor the next one.
func TestReloadInsideBesideLoginPages(t *testing.T) {
	pages := harness.FreeAddr(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("open"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "login.key")
	if err := os.WriteFile(key, []byte("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	conf := func(header string) string {
		return fmt.Sprintf(`
			jetstream { store_dir: %q }
			accounts { APP { jetstream: enabled, users: [{user: sub, password: sub}] } }
			websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: session, allowed_origins: ["http://app.test"] }
			callout {
				sessions: [
					{kind: users, users: [{user: alice, password: %q}]}
					{kind: login, listen: %q, public_url: "http://localhost/auth", issuer: "http://127.0.0.1:1", client_id: web, client_secret: secret
					 bucket: logins, account: APP, key_file: %q, cookie_name: session}
				]
				grants: [{account: APP, publish: ">", subscribe: ">", headers: {%s: "{{ session.user }}"}}]
			}`, dir, hash, pages, key, header)
	}
	s := harness.Start(t, conf("X-One"))
	sub := subscriber(t, s, password("sub"))
	for _, header := range []string{"X-Two", "X-Three"} {
		var half net.Conn
		harness.Eventually(t, "a connection to the pages", func() bool { // an old handler may be closing
			half, err = net.Dial("tcp", pages)
			return err == nil
		})
		defer half.Close()
		fmt.Fprint(half, "POST /auth/logout HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
		mark := s.Mark()
		s.Reload(t, conf(header))
		mark.WaitLog(t, "Reloaded: callout handler")
		expectStamp(t, harness.Client(t, s, harness.Password("alice", "open")), sub, header+": alice")
	}
	// The newest handler serves its pages when those of the old handlers are closed.
	harness.Eventually(t, "pages", func() bool {
		c, err := net.Dial("tcp", pages)
		if err != nil {
			return false
		}
		defer c.Close()
		fmt.Fprint(c, "GET /auth/session HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(c)
		return strings.Contains(string(answer), "authenticated")
	})
	s.Signal(t, syscall.SIGTERM)
	if code := s.Exit(t); code != 0 {
		t.Errorf("expected exit code 0 after SIGTERM; found %d", code)
	}
}

// The server ends without waiting for a callout that nobody answers, whose time-out may be long.
func TestEndWhileACalloutIsWaitedFor(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(`
		accounts { AUTH { users: [{user: auth, password: auth}] }, APP {} }
		authorization { timeout: 300, auth_callout { issuer: %s, account: AUTH, auth_users: [auth] } }`, harness.Public(t, issuer)))
	asked := subscribedTo(t, s.Connect(t, userInfo("auth")), "$SYS.REQ.USER.AUTH")
	raw := harness.Dial(t, s)
	raw.Send(`CONNECT {"auth_token":"x"}` + "\r\n")
	next(t, asked, nil)
	s.Signal(t, syscall.SIGTERM)
	s.Exit(t)
}
