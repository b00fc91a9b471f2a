package test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"stamp/test/harness"
)

// site is app.example behind a proxy of deploy/proxies: browsers reach it by TLS, from 127.0.0.2.
type site struct {
	server  *harness.Server
	proxy   *harness.Process
	address string // of the proxy's TLS port
	nats    string // of its port for NATS, where it has one
	log     string // file of its access log, if it has one
	tls     *tls.Config
	issuer  string
}

const siteURL = "https://app.example"

// proxies are those whose configuration is in deploy/proxies.
var proxies = map[string]struct {
	file string
	run  func(t *testing.T, binary, conf string) *harness.Process
}{
	"nginx": {"nginx.conf", func(t *testing.T, binary, conf string) *harness.Process {
		// One process, so that it ends with the test.
		return harness.Run(t, binary, "-c", conf, "-g", "daemon off; master_process off;", "-e", "stderr")
	}},
	"haproxy": {"haproxy.cfg", func(t *testing.T, binary, conf string) *harness.Process {
		return harness.Run(t, binary, "-db", "-f", conf)
	}},
	"caddy": {"Caddyfile", func(t *testing.T, binary, conf string) *harness.Process {
		t.Setenv("XDG_DATA_HOME", t.TempDir())
		t.Setenv("XDG_CONFIG_HOME", t.TempDir())
		return harness.Run(t, binary, "run", "--adapter", "caddyfile", "--config", conf)
	}},
	"traefik": {"traefik-stamp.yaml", func(t *testing.T, binary, conf string) *harness.Process {
		return harness.Run(t, binary, "--configFile="+filepath.Join(filepath.Dir(conf), "traefik.yaml"))
	}},
}

// installed is the path of a program of the system; without it, the test is skipped.
func installed(t *testing.T, name string) string {
	t.Helper()
	binary, err := exec.LookPath(name)
	if err != nil && name != "traefik" && os.Getenv("STAMP_TEST_ALL") != "" { // Debian has no Traefik
		t.Fatalf("there is no %s (hint: apt-get install %s)", name, name)
	}
	if err != nil {
		t.Skipf("there is no %s (hint: apt-get install %s)", name, name)
	}
	return binary
}

// rewritten is a file of deploy/proxies with other addresses and paths; each must be in it.
func rewritten(t *testing.T, name string, by map[string]string) string {
	t.Helper()
	text := string(must(os.ReadFile(filepath.Join("..", "deploy", "proxies", name))))
	var pairs []string
	for old, with := range by {
		if !strings.Contains(text, old) {
			t.Fatalf("the file %s lacks %q", name, old)
		}
		pairs = append(pairs, old, with)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func startSite(t *testing.T, name string) *site {
	t.Helper()
	proxy, binary := proxies[name], installed(t, name)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	t.Setenv("REDIRECT_URI", siteURL+"/auth/callback")
	t.Setenv("APP_PASSWORD", "backend")
	x := &site{issuer: openIDProvider(t), address: harness.FreeAddr(t), nats: harness.FreeAddr(t)}
	pages := harness.FreeAddr(t)
	x.server = harness.Start(t, rewritten(t, "stamp.conf", map[string]string{
		"listen: \"127.0.0.1:4222\"\n": "", "127.0.0.1:8080": "127.0.0.1:-1", "127.0.0.1:8090": pages, "./data": t.TempDir(),
		"user: app": "user: backend", "https://login.example": x.issuer, "client_id: app": "client_id: web",
		"secrets/oidc":      write("oidc", "secret"),
		"secrets/login.key": write("login.key", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))),
	}))
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "application") }))
	t.Cleanup(application.Close)

	ca := harness.NewCA(t)
	cert, key := ca.Issue(t, "app.example")
	x.tls = &tls.Config{RootCAs: ca.Pool, ServerName: "app.example"}
	by := map[string]string{"127.0.0.1:8090": pages, "127.0.0.1:8080": x.server.Websocket(t), "127.0.0.1:3000": application.Listener.Addr().String()}
	switch name {
	case "nginx":
		by["/etc/ssl/app.example.pem"], by["/etc/ssl/app.example.key"], by["listen 443"] = cert, key, "listen "+x.address
		x.log = filepath.Join(dir, "access.log")
		by["/run/nginx.pid"], by["/var/log/nginx/access.log"], by["/var/log/nginx/error.log"] = filepath.Join(dir, "pid"), x.log, "stderr"
	case "haproxy":
		by["/etc/ssl/app.example.both.pem"] = write("both.pem", string(must(os.ReadFile(cert)))+string(must(os.ReadFile(key))))
		by["bind :443"], by["bind :4222"] = "bind "+x.address, "bind "+x.nats
	case "caddy":
		by["/etc/ssl/app.example.pem"], by["/etc/ssl/app.example.key"] = cert, key
		_, port, _ := net.SplitHostPort(x.address)
		_, other, _ := net.SplitHostPort(x.nats) // where it leads http to https
		by["\napp.example {"] = fmt.Sprintf("\n{\n\tadmin off\n\thttps_port %s\n\thttp_port %s\n\tdefault_bind 127.0.0.1\n}\napp.example {", port, other)
	case "traefik":
		by["/etc/ssl/app.example.pem"], by["/etc/ssl/app.example.key"] = cert, key
		x.log = filepath.Join(dir, "access.log")
		write("traefik.yaml", rewritten(t, "traefik.yaml", map[string]string{
			":443": x.address, ":4222": x.nats, "/etc/traefik/traefik-stamp.yaml": filepath.Join(dir, proxy.file),
		})+fmt.Sprintf("accessLog:\n  filePath: %q\n  fields: {queryParameters: {defaultMode: drop}}\n", x.log))
	}
	x.proxy = proxy.run(t, binary, write(proxy.file, rewritten(t, proxy.file, by)))
	harness.Eventually(t, name+" answers", func() bool {
		answer, err := x.client(t).Get(siteURL + "/")
		if err != nil {
			return false
		}
		defer func() { _ = answer.Body.Close() }()
		text, _ := io.ReadAll(answer.Body)
		return string(text) == "application"
	})
	return x
}

// transport reaches app.example at the proxy, and every other host as it is.
func (x *site) transport(http2 bool) *http.Transport {
	return &http.Transport{
		TLSClientConfig: x.tls.Clone(), ForceAttemptHTTP2: http2,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			d := net.Dialer{}
			if strings.HasPrefix(address, "app.example:") {
				d.LocalAddr, address = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, x.address
			}
			return d.DialContext(ctx, network, address)
		},
	}
}

// client is a browser's HTTP client, over HTTP/2.
func (x *site) client(t *testing.T) *http.Client {
	t.Helper()
	transport := x.transport(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Jar: must(cookiejar.New(nil))}
}

// open opens the site's websocket as a page of origin does, with the cookies of a client and these headers.
func (x *site) open(t *testing.T, c *http.Client, origin string, header http.Header) (*harness.Raw, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Timeout)
	defer cancel()
	header.Set("Origin", origin)
	one := x.transport(false)
	t.Cleanup(one.CloseIdleConnections)
	ws, answer, err := websocket.Dial(ctx, siteURL+"/nats", &websocket.DialOptions{HTTPHeader: header, HTTPClient: &http.Client{Transport: one, Jar: c.Jar}})
	if err != nil {
		if answer != nil {
			return nil, fmt.Errorf("upgrade: %s", answer.Status)
		}
		return nil, err
	}
	return harness.NewRaw(t, websocket.NetConn(context.Background(), ws, websocket.MessageBinary)), nil
}

// Each proxy works with its configuration in deploy/proxies: a login over HTTP/2, the cookie as the pages set it, the websocket
// with the visitor's address, large cookies, and refusals.
func TestProxies(t *testing.T) {
	for name := range proxies {
		t.Run(name, func(t *testing.T) {
			x := startSite(t, name)
			v := &visitor{x.client(t), siteURL + "/auth"}
			var callback string
			var set []string
			v.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
				if r.Response != nil && r.Response.Request.URL.Path == "/auth/callback" {
					callback, set = r.Response.Request.URL.String(), r.Response.Header.Values("Set-Cookie")
				}
				return nil
			}
			page := do(t, v.Client, must(http.NewRequest(http.MethodGet, v.pages+"/login?to=/inbox", nil)))
			form := url.Values{"id": {page.Request.URL.Query().Get("authRequestID")}, "username": {"test-user2"}, "password": {"verysecure"}}
			r := must(http.NewRequest(http.MethodPost, x.issuer+"login/username", strings.NewReader(form.Encode())))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if inbox := do(t, v.Client, r); inbox.Request.URL.String() != siteURL+"/inbox" || inbox.ProtoMajor != 2 {
				t.Fatalf("the login ends at %s, over %s", inbox.Request.URL, inbox.Proto)
			}
			if !strings.HasPrefix(set[0], "__Host-session=") || !strings.Contains(set[0], "; Path=/; ") || !strings.Contains(set[0], "; HttpOnly; Secure; SameSite=Lax") || strings.Contains(set[0], "Domain") {
				t.Errorf("the cookie has other attributes: %s", set[0][strings.Index(set[0], ";"):])
			}
			// The callback comes again, as from a proxy that retries. It leads to the page, and the session lives on.
			if again := do(t, v.Client, must(http.NewRequest(http.MethodGet, callback, nil))); again.Request.URL.String() != siteURL+"/inbox" {
				t.Errorf("the callback again ends with %s at %s, want the page", again.Status, again.Request.URL)
			}
			x.expectSession(t, v)
			x.expectOrigins(t, v)
			x.expectWebsocket(t, v)
			text := x.proxy.Text()
			if x.log != "" {
				text += string(must(os.ReadFile(x.log)))
			}
			if strings.Contains(text, "code=") || strings.Contains(text, "state=") {
				t.Error("the proxy's log shows the query of a callback")
			}
		})
	}
}

// expectSession asks for the session, with 20 KB of the application's cookies beside the session's.
func (x *site) expectSession(t *testing.T, v *visitor) {
	t.Helper()
	for i := range 5 {
		v.Jar.SetCookies(must(url.Parse(siteURL)), []*http.Cookie{{Name: fmt.Sprintf("app%d", i), Value: strings.Repeat("x", 4000)}})
	}
	var told struct{ Authenticated bool }
	if v.ask(t, http.MethodGet, "/session", &told); !told.Authenticated {
		t.Error("/session tells no session")
	}
}

// expectOrigins checks that a page of another site gets nothing, nor does a client without the cookie.
func (x *site) expectOrigins(t *testing.T, v *visitor) {
	t.Helper()
	for _, origin := range []string{"https://evil.example", "http://app.example", "null"} {
		r := must(http.NewRequest(http.MethodPost, v.pages+"/logout", nil))
		r.Header.Set("Origin", origin)
		if answer := do(t, v.Client, r); answer.StatusCode != http.StatusForbidden {
			t.Errorf("a logout from the origin %s has status %s, want 403", origin, answer.Status)
		}
		if raw, err := x.open(t, v.Client, origin, http.Header{}); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("expected a websocket from the origin %s to be refused with 403; found %v, error %v", origin, raw, err)
		}
	}
	raw, err := x.open(t, x.client(t), siteURL, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	raw.Connect(harness.Nobody)
	raw.ExpectClosed()
	// Paths that only look like ours belong to the application.
	for _, path := range []string{"/authx/session", "/nats/x", "/x/auth/session"} {
		answer, err := v.Get(siteURL + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if string(text) != "application" {
			t.Errorf("expected %s to give another site the application only; found status %s", path, answer.Status)
		}
	}
	r := must(http.NewRequest(http.MethodPost, v.pages+"/backchannel", strings.NewReader("logout_token=x")))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if answer := do(t, v.Client, r); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("a made-up logout token has status %s, want 400", answer.Status)
	}
}

// expectWebsocket publishes with the cookie, and logs out.
func (x *site) expectWebsocket(t *testing.T, v *visitor) {
	t.Helper()
	sub := harness.Client(t, x.server, password("backend"))
	sub.Sub("api.>", "1")
	sub.Flush()
	for _, forged := range []http.Header{{}, {"X-Forwarded-For": {"6.6.6.6"}}, {"X-Forwarded-For": {"6.6.6.6, 127.0.0.1"}, "Forwarded": {"for=6.6.6.6"}, "X-Real-Ip": {"6.6.6.6"}}} {
		tab, err := x.open(t, v.Client, siteURL, forged)
		if err != nil {
			t.Fatal(err)
		}
		tab.Connect(harness.Nobody)
		tab.Flush()
		tab.Pub("api.x", "payload")
		if got := sub.Msg().Header; !strings.Contains(got, "X-Client: 127.0.0.2\r\n") || !strings.Contains(got, "X-User: id2\r\n") {
			t.Errorf("with %v, the message lacks the visitor's own address or user", forged)
		}
	}
	tab, err := x.open(t, v.Client, siteURL, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	tab.Connect(harness.Nobody)
	tab.Flush()
	var out struct {
		LoggedOut bool `json:"logged_out"`
	}
	if v.ask(t, http.MethodPost, "/logout", &out); !out.LoggedOut {
		t.Error("/logout does not say that the visitor is logged out")
	}
	tab.ExpectClosed()
}

// proxyProtocols are the configurations that have a port for NATS too. Each writes them for an address at which clients connect and
// one of the server, and returns what to start.
var proxyProtocols = map[string]func(t *testing.T, dir, address, server string) []string{
	"haproxy": func(t *testing.T, dir, address, server string) []string {
		_, text, _ := strings.Cut(rewritten(t, "haproxy.cfg", map[string]string{"bind :4222": "bind " + address, "127.0.0.1:4223": server}), "\nfrontend nats")
		conf := filepath.Join(dir, "haproxy.cfg")
		putText(t, conf, "defaults\n\ttimeout connect 5s\nfrontend nats"+text)
		return []string{"-db", "-f", conf}
	},
	"traefik": func(t *testing.T, dir, address, server string) []string {
		conf, routes := filepath.Join(dir, "traefik.yaml"), filepath.Join(dir, "traefik-stamp.yaml")
		cert, key := harness.NewCA(t).Issue(t, "app.example")
		putText(t, conf, rewritten(t, "traefik.yaml", map[string]string{":443": harness.FreeAddr(t), ":4222": address, "/etc/traefik/traefik-stamp.yaml": routes}))
		putText(t, routes, rewritten(t, "traefik-stamp.yaml", map[string]string{
			"127.0.0.1:4223": server, "/etc/ssl/app.example.pem": cert, "/etc/ssl/app.example.key": key,
		}))
		return []string{"--configFile=" + conf}
	},
}

func putText(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// On the port for NATS, the server gets the client's address by the PROXY protocol, and takes no address that the client itself
// sends.
func TestProxyProtocol(t *testing.T) {
	for name, configure := range proxyProtocols {
		t.Run(name, func(t *testing.T) {
			binary := installed(t, name)
			s := harness.Start(t, `proxy_protocol: true, headers { all: {X-Client: "{{client-ip()}}"} }`)
			address := harness.FreeAddr(t)
			proxy := harness.Run(t, binary, configure(t, t.TempDir(), address, s.Addr(t))...)
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			harness.Eventually(t, name+" leads to the server", func() bool {
				conn, err := d.Dial("tcp", address)
				if err != nil {
					return false
				}
				defer func() { _ = conn.Close() }()
				// Before Traefik has its routes it takes connections, and says nothing on them.
				_ = conn.SetReadDeadline(time.Now().Add(time.Second))
				_, err = conn.Read(make([]byte, 1))
				return err == nil
			})
			dial := func(begin string) *harness.Raw {
				conn := must(d.Dial("tcp", address))
				if _, err := io.WriteString(conn, begin); err != nil {
					t.Fatal(err)
				}
				return harness.NewRaw(t, conn)
			}
			sub, pub := dial(""), dial("")
			for _, raw := range []*harness.Raw{sub, pub} {
				raw.Connect(harness.Nobody)
				raw.Flush()
			}
			sub.Sub(">", "1")
			sub.Flush()
			pub.Pub("t.x", "payload")
			if m := sub.Msg(); !strings.Contains(m.Header, "X-Client: 127.0.0.2\r\n") {
				t.Errorf("expected the client's address 127.0.0.2 from the PROXY protocol; the message has %q", m.Header)
			}
			dial("PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n").ExpectClosed()
			if strings.Contains(proxy.Text(), "ALERT") {
				t.Errorf("%s logged an alert:\n%s", name, proxy.Text())
			}
		})
	}
}
