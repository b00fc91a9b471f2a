package login

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"stamp/test/harness"

	"stamp/internal/callout/session/internal/sourcetest"
	"stamp/internal/callout/session/internal/webserver"
)

func (s *site) address() string {
	return strings.TrimSuffix(strings.TrimPrefix(s.base, "http://"), "/auth")
}

// The pages do not verify certificates of browsers. A configuration that asks for it is refused, instead of serving anybody.
func TestListenTLSHasNoClientCertificates(t *testing.T) {
	cert, key := harness.NewCA(t).Issue(t, "localhost")
	p := newProvider(t)
	for fields, want := range map[string]string{
		fmt.Sprintf("cert: %q, key: %q", cert, key):                 "",
		fmt.Sprintf("cert: %q, key: %q, ca: %q", cert, key, cert):   `unknown field "ca"`,
		fmt.Sprintf("cert: %q, key: %q, server_name: x", cert, key): `unknown field "server_name"`,
		fmt.Sprintf("cert: %q", cert):                               "expected both cert and key",
		"":                                                          "cert and key are missing",
	} {
		_, err := parse(t, config(p, "127.0.0.1:8090", newKey(), "listen_tls {"+fields+"}"))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("listen_tls {%s}: found error %v, want %q", fields, err, want)
		}
	}
}

// Over TLS too, a connection has one request at a time, and a header has a bound.
func TestPagesAreHTTP1(t *testing.T) {
	cert, key := harness.NewCA(t).Issue(t, "localhost")
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	c, err := parse(t, config(s.provider, harness.FreeAddr(t), newKey(), fmt.Sprintf("listen_tls { cert: %q, key: %q }", cert, key)))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := c.Open(t.Context(), s.env)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = opened.Close() }()
	conn, err := tls.Dial("tcp", c.Listen, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := conn.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("the protocol by ALPN is %q, want http/1.1", got)
	}
	go func() {
		_, _ = io.WriteString(conn, "GET /auth/session HTTP/1.1\r\nHost: x\r\nCookie: "+strings.Repeat("x", webserver.MaxHeader+8<<10)+"\r\n\r\n")
	}()
	line := make([]byte, len("HTTP/1.1 431"))
	if _, err := io.ReadFull(conn, line); err != nil || !strings.HasSuffix(string(line), " 431") {
		t.Errorf("a too long header: expected status 431; found %q, error %v", line, err)
	}
}

// Clients that send half of a body lose their connections to others, however many they are.
func TestHalfBodiesGiveWay(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	b := newBrowser(t, s)
	half := "POST /auth/backchannel HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nlogout_token="
	for range webserver.MaxConnections {
		sourcetest.Dial(t, s.address(), half)
	}
	eventually(t, "their headers", func() bool { return s.web.CountUnused() == 0 })
	answer, err := b.Get(s.base + "/session")
	if err != nil {
		t.Fatal("a visitor gets no answer")
	}
	_ = answer.Body.Close()
}

// The pages do not wait for a body that they do not need. A body that they need has to come within a short time.
func TestBodiesAreNotAwaited(t *testing.T) {
	t.Parallel()
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	for request, want := range map[string]int{
		"POST /nothing": 404, "POST /auth/nothing": 404, "GET /auth/session": 200, "PUT /auth/logout": 405, "POST /auth/backchannel": 408,
	} {
		for _, length := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
			conn := sourcetest.Dial(t, s.address(), request+" HTTP/1.1\r\nHost: x\r\n"+length+"\r\n\r\n")
			_ = conn.SetReadDeadline(time.Now().Add(webserver.ReadTimeout - time.Second))
			text, err := io.ReadAll(conn)
			if err != nil && isTimeout(err) || !strings.HasPrefix(string(text), fmt.Sprintf("HTTP/1.1 %d ", want)) {
				t.Errorf("%s with %s: expected status %d before the body is sent; found %.30q, error %v", request, length, want, text, err)
			}
		}
	}
	conn := sourcetest.Dial(t, s.address(), "POST /auth/backchannel HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", webserver.MaxBody+1))
	line := make([]byte, len("HTTP/1.1 413"))
	if _, err := io.ReadFull(conn, line); err != nil || !strings.HasSuffix(string(line), " 413") {
		t.Errorf("a too long body: expected status 413; found %q, error %v", line, err)
	}
}

// A login that was begun at one provider cannot be finished at another one, even if the sources share their key, and the host
// its cookies. The other source accepts neither the state of the login nor its ticket.
func TestMixUp(t *testing.T) {
	nc, key := startServer(t), newKey()
	evil := startSite(t, newProvider(t), nc, key, "name: evil, cookie_name: a, ticket: 10s")
	honest := startSite(t, newProvider(t), nc, key, "name: honest, cookie_name: b, ticket: 10s")
	b := newBrowser(t, evil)
	state, err := url.Parse(b.begin("/login?to=/x"))
	if err != nil {
		t.Fatal(err)
	}
	b.site = honest
	b.ask("GET", "/callback?code=x&"+url.Values{"state": state.Query()["state"]}.Encode(), "")
	if !strings.Contains(honest.text(), "no login of ours was begun with that state") {
		t.Error("the source accepts the state of another source")
	}
	ticket, err := evil.cfg.own.newTicket(hashed("x"), "", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := honest.cfg.own.openTicket(ticket); ok {
		t.Error("the source accepts the ticket of another source")
	}
}

// RFC 9207: if an answer says which provider it comes from, only that provider's source accepts it.
func TestIssuerOfAnAnswer(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	b := newBrowser(t, s)
	for _, iss := range []string{"https://evil.test", s.provider.URL + "&iss=https://evil.test"} {
		if status, _, header := b.ask("GET", b.begin("/login?to=/x")+"&iss="+iss, ""); status != http.StatusBadRequest || b.cookie() != "" || header.Get("Location") != "" {
			t.Errorf("an answer with iss=%s must be refused; found status %d", iss, status)
		}
	}
	if n := s.provider.count("/token"); n != 0 {
		t.Errorf("%d codes are shown to the provider", n)
	}
	if status, _, _ := b.ask("GET", b.begin("/login?to=/x")+"&iss="+s.provider.URL, ""); status != http.StatusSeeOther || b.cookie() == "" {
		t.Errorf("an answer with the provider's own iss: status %d, want 303 and a session", status)
	}
	tenants := &Config{}
	tenants.Issuer = "https://login.test/{tenantid}/v2.0"
	for iss, want := range map[string]bool{"https://login.test/a/v2.0": true, "https://login.test//v2.0": false, "https://evil.test/a/v2.0": false} {
		if tenants.isIssuer(iss) != want {
			t.Errorf("isIssuer(%s) = %t, want %t", iss, !want, want)
		}
	}
}

// HEAD changes nothing: a program that checks links logs nobody in or out.
func TestHeadChangesNothing(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	b := newBrowser(t, s)
	callback := b.begin("/login?to=/x")
	for _, path := range []string{"/login", callback, "/frontchannel"} {
		status, _, header := b.ask("HEAD", path, "")
		if status != http.StatusMethodNotAllowed || header.Get("Set-Cookie") != "" {
			t.Errorf("HEAD of %.10s: status %d, want 405 and no cookie", path, status)
		}
	}
	if n := s.metrics.logins.Get(); n != 0 {
		t.Errorf("HEAD logged %d visitors in", n)
	}
}
