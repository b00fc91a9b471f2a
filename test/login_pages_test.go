package test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"stamp/test/harness"
)

// loginConf is a server with a login source. Its parts can be changed by a reload, one by one.
type loginConf struct {
	address, url, issuer string
	key, store           string // files
	fields               string // of the source
	callout              string // fields of the callout block
}

func newLoginConf(t *testing.T) loginConf {
	t.Helper()
	address := harness.FreeAddr(t)
	return loginConf{
		address: address, url: "http://" + strings.Replace(address, "127.0.0.1", "localhost", 1) + "/auth",
		issuer: "http://127.0.0.1:1", key: loginKey(t), store: t.TempDir(),
	}
}

// newLoginConfAtProvider starts a real OpenID provider too, which sends visitors back to these pages.
func newLoginConfAtProvider(t *testing.T) loginConf {
	t.Helper()
	c := newLoginConf(t)
	t.Setenv("REDIRECT_URI", c.url+"/callback")
	c.issuer = openIDProvider(t)
	return c
}

func (c loginConf) String() string {
	return fmt.Sprintf(`
		jetstream { store_dir: %q }
		accounts { APP { jetstream: enabled, users: [{user: backend, password: backend}] } }
		websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: session, allowed_origins: ["http://app.test"] }
		callout {
			%s
			sessions: [{
				kind: login, listen: %q, public_url: %q, issuer: %q, client_id: web, client_secret: secret
				scopes: [profile, email, offline_access], bucket: sessions, account: APP, key_file: %q
				%s
			}]
			grants: [{account: APP, publish: ">", subscribe: ">"}]
		}`, c.store, c.callout, c.address, c.url, c.issuer, c.key, c.fields)
}

// If only tickets open connections, the value of the session's cookie does not.
func TestLoginCookieIsNoTicket(t *testing.T) {
	c := newLoginConfAtProvider(t)
	c.fields, c.callout = "ticket: 10s", "credential: [token]"
	s := harness.Start(t, c.String())
	v := newVisitor(t, c.url)
	v.logIn(t, c.issuer)
	expectBrowserRefused(t, s, http.Header{}, token(v.cookie()))
	expectRefused(t, s, token(v.cookie()))
	expectBrowserRefused(t, s, cookies("session="+v.cookie()), harness.Nobody)
	var issued struct{ Ticket string }
	v.ask(t, http.MethodPost, "/ticket", &issued)
	mustBrowse(t, s, http.Header{}, token(issued.Ticket))
}

// Values with which the pages cannot be served are refused by -t, at start and at a reload, after which the server continues.
func TestReloadOfLoginPagesThatCannotBe(t *testing.T) {
	c := newLoginConf(t)
	s := harness.Start(t, c.String())
	for _, path := range []string{"/auth/../x", "//auth", "/{", "/{x}", "/auth?x", "/a b"} {
		bad := c
		bad.url = strings.TrimSuffix(c.url, "/auth") + path
		if line := s.TryReload(t, bad.String()); !strings.Contains(line, "Failed to reload") || !strings.Contains(line, "public_url: ") {
			t.Errorf("expected a reload to the path %q to be refused because of public_url; the server logged %q", path, line)
		}
		expectPages(t, c.url)
	}
}

func expectPages(t *testing.T, url string) {
	t.Helper()
	answer, err := http.Get(url + "/session")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("expected status 200 from /session; found %s", answer.Status)
	}
}

// An address that is taken is an error at start. A reload to it is refused and changes nothing.
func TestLoginPortIsTaken(t *testing.T) {
	other := must(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = other.Close() }()
	c := newLoginConf(t)
	taken := c
	taken.address = other.Addr().String()
	failed := harness.Launch(t, "listen: \"127.0.0.1:-1\"\n"+taken.String())
	failed.WaitLog(t, "login pages.*"+other.Addr().String()+".*address already in use")
	if code := failed.Exit(t); code == 0 {
		t.Errorf("the server ended with exit code %d, though its login pages could not start", code)
	}
	s := harness.Start(t, c.String())
	s.Reload(t, taken.String())
	s.WaitLog(t, "the previous one keeps running.*address already in use")
	expectPages(t, c.url)
}

// A reload hands the address over to the new pages: no request that comes meanwhile fails.
func TestLoginPagesDuringReloads(t *testing.T) {
	c := newLoginConf(t)
	s := harness.Start(t, c.String())
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	stop := make(chan struct{})
	var work sync.WaitGroup
	asked, failures := 0, []error{}
	work.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			asked++
			answer, err := fresh.Get(c.url + "/session")
			if err != nil {
				failures = append(failures, err)
				continue
			}
			_ = answer.Body.Close()
		}
	})
	for i := range 5 {
		c.fields = fmt.Sprintf("claims: [c%d]", i)
		mark := s.Mark()
		s.Reload(t, c.String())
		mark.WaitLog(t, "Reloaded: callout handler")
	}
	close(stop)
	work.Wait()
	if len(failures) > 0 || asked < 10 {
		t.Errorf("%d of %d requests failed; the first: %v", len(failures), asked, failures[:min(1, len(failures))])
	}
}
