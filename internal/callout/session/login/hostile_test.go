package login

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/webserver"
)

// begin begins a login, and returns the callback to which the provider sends the browser, without loading it.
func (b *browser) begin(path string) (callback string) {
	b.t.Helper()
	follow := b.CheckRedirect
	defer func() { b.CheckRedirect = follow }()
	b.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/callback") {
			callback = strings.TrimPrefix(r.URL.RequestURI(), "/auth")
			return http.ErrUseLastResponse
		}
		return nil
	}
	b.ask("GET", path, "")
	if callback == "" {
		b.t.Fatalf("%s leads to no callback", path)
	}
	return callback
}

// publicURLs are values of public_url, and what becomes of each. An empty text stands for a refusal.
var publicURLs = map[string]string{
	"https://app.example":                   "https://app.example",
	"https://app.example/":                  "https://app.example",
	"https://app.example/auth":              "https://app.example/auth",
	"https://app.example/auth/":             "https://app.example/auth",
	"https://app.example/a-b/c.d/~e_f":      "https://app.example/a-b/c.d/~e_f",
	"https://APP.Example/Auth":              "https://app.example/Auth",
	"HTTPS://app.example":                   "https://app.example",
	"https://app.example:443/auth":          "https://app.example/auth",
	"https://app.example:0443/auth":         "https://app.example/auth",
	"https://app.example:/auth":             "https://app.example/auth",
	"https://app.example:8443/auth":         "https://app.example:8443/auth",
	"http://localhost:80/auth":              "http://localhost/auth",
	"http://localhost:8090":                 "http://localhost:8090",
	"https://[2001:DB8:0::1]/auth":          "https://[2001:db8::1]/auth",
	"https://xn--bcher-kva.example/auth":    "https://xn--bcher-kva.example/auth",
	"https://app.example/auth/../x":         "",
	"https://app.example/./auth":            "",
	"https://app.example//auth":             "",
	"https://app.example/auth//":            "",
	"https://app.example//":                 "",
	"https://app.example/{":                 "",
	"https://app.example/}":                 "",
	"https://app.example/{x}":               "",
	"https://app.example/{x...}":            "",
	"https://app.example/a b":               "",
	"https://app.example/a%20b":             "",
	"https://app.example/%61uth":            "",
	"https://app.example/%2e%2e/auth":       "",
	"https://app.example/a;b":               "",
	"https://app.example/ä":                 "",
	"https://app.example/auth?x=1":          "",
	"https://app.example/auth?":             "",
	"https://app.example/auth#x":            "",
	"https://app.example/auth#":             "",
	"https://user:hush@app.example/auth":    "",
	"https://user@app.example/auth":         "",
	"https://@app.example/auth":             "",
	"https://app.example:0/auth":            "",
	"https://app.example:65536/auth":        "",
	"https://:443/auth":                     "",
	"https:///auth":                         "",
	"https:app.example":                     "",
	"//app.example/auth":                    "",
	"/auth":                                 "",
	"app.example":                           "",
	"ftp://app.example":                     "",
	"wss://app.example":                     "",
	"https://bücher.example/auth":           "",
	"https://app.example./auth":             "",
	"https://app..example/auth":             "",
	"https://-app.example/auth":             "",
	"https://app;x.example/auth":            "",
	"https://127.1/auth":                    "",
	"https://0x7f.0.0.1/auth":               "",
	"https://010.0.0.1/auth":                "",
	"https://[fe80::1%25eth0]/auth":         "",
	"https://[::ffff:127.0.0.1]/auth":       "",
	"http://app.example/auth":               "",
	"http://127.0.0.1.evil.example/auth":    "",
	"https://" + strings.Repeat("a", 64):    "",
	"https://app.example/auth\x7f":          "",
	"https://app.example/auth/%00/x":        "",
	"https://app.example/auth\\..\\x":       "",
	"https://app.example/auth/session/../x": "",
}

// If -t accepts a public_url, its pages can be served: their paths are valid patterns, and the origin is what browsers send.
func TestPublicURL(t *testing.T) {
	p := newProvider(t)
	good := config(p, "127.0.0.1:1", newKey(), "")
	for text, want := range publicURLs {
		c, err := parse(t, strings.Replace(good, `"http://127.0.0.1:1/auth"`, fmt.Sprintf("%q", text), 1))
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "public_url: ") || !placed.MatchString(err.Error()) {
				t.Errorf("public_url %s: expected a fault with its place; found %v", text, err)
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("%s: the error holds a password", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("public_url %s was refused: %v", text, err)
			continue
		}
		if got := c.origin() + c.path(""); got != want {
			t.Errorf("public_url %s: the pages are at %s, want %s", text, got, want)
		}
		serves(t, c)
	}
}

// serves makes the pages of a configuration, and asks for one.
func serves(t *testing.T, c *Config) {
	t.Helper()
	pages := (&source{cfg: c}).pages()
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, httptest.NewRequest(http.MethodPut, c.path("/login"), nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("public_url %s: PUT of /login has status %d, want 405", c.PublicURL, w.Code)
	}
}

func FuzzPublicURL(f *testing.F) {
	for text := range publicURLs {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parseAddress(text)
		if err != nil {
			return
		}
		again, err := url.Parse(u.String())
		if err != nil || again.Host == "" || again.User != nil || again.RawQuery != "" || again.Path != u.Path || strings.ToLower(again.Host) != again.Host {
			t.Errorf("%q was accepted as %q, which reads again as something else; error %v", text, u, err)
		}
		serves(t, &Config{public: u, PublicURL: u.String(), Worker: &Worker{}, Ticket: time.Second, ResponseMode: formPost})
	})
}

// Every other address, path and name of the block is refused if browsers or ServeMux would not accept it.
func TestAddressesOfTheBlock(t *testing.T) {
	p := newProvider(t)
	good := config(p, "127.0.0.1:1", newKey(), "")
	for _, c := range []struct{ field, value, want string }{
		{"listen", "a b:80", "listen: expected an address"},
		{"listen", "{x}:80", "listen: expected an address"},
		{"listen", "http://127.0.0.1:80", "listen: expected an address"},
		{"origins", "https://b.example/", "origins: entry 1"},
		{"origins", "https://b.example/x", "origins: entry 1"},
		{"origins", "https://b.example?x", "origins: entry 1"},
		{"origins", "https://u@b.example", "origins: entry 1"},
		{"origins", "null", "origins: entry 1"},
		{"origins", "*", "origins: entry 1"},
		{"origins", "https://*.example", "origins: entry 1"},
		{"after_login", "/a b", "after_login: must be a path"},
		{"after_login", `/\\evil.test`, "after_login: must be a path"},
		{"after_login", "/" + strings.Repeat("a", 1024), "after_login: must be a path"},
		{"after_logout", "https://evil.test", "after_logout: must be a path"},
		{"after_logout", "//evil.test", "after_logout: must be a path"},
		{"cookie_name", "a b", "cookie_name: expected"},
		{"cookie_name", "a=b", "cookie_name: expected"},
		{"cookie_name", "a;b", "cookie_name: expected"},
		{"cookie_name", "ä", "cookie_name: expected"},
		{"cookie_name", "__Host-", "cookie_name: expected"},
		{"cookie_name", strings.Repeat("a", 65), "cookie_name: expected"},
		{"cookie_name", "__Host-login", "cookie_name: "},
		{"response_mode", "fragment", "response_mode: query or form_post"},
	} {
		text := good + fmt.Sprintf("\n%s: \"%s\"\n", c.field, c.value)
		if c.field == "listen" {
			text = strings.Replace(good, `listen: "127.0.0.1:1"`, fmt.Sprintf("listen: \"%s\"", c.value), 1)
		}
		if _, err := parse(t, text); err == nil || !strings.Contains(err.Error(), c.want) || !placed.MatchString(err.Error()) {
			t.Errorf("%s: %q: expected the fault %q with its place; found %v", c.field, c.value, c.want, err)
		}
	}
	c, err := parse(t, good+`origins: ["https://B.Example:443", "http://localhost:3000"]`)
	if err != nil || !slices.Equal(c.Origins, []string{"https://b.example", "http://localhost:3000"}) {
		t.Errorf("the origins are %v, want them as browsers send them; error %v", c.Origins, err)
	}
}

// However many logins a browser begins, their cookies are small, and each login can be finished.
func TestBegunLoginsAreOneCookie(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	b := newBrowser(t, s)
	var callbacks []string
	for i := range 25 {
		callbacks = append(callbacks, b.begin(fmt.Sprintf("/login?to=/%s/%d", strings.Repeat("a", 900), i)))
	}
	u, _ := url.Parse(s.base)
	size := 0
	for _, c := range b.Jar.Cookies(u) {
		size += len(c.Name) + len(c.Value) + len("=; ")
	}
	if size == 0 || size > 100 {
		t.Errorf("the browser sends %d bytes of cookies", size)
	}
	for i, callback := range callbacks {
		if status, _, header := b.ask("GET", callback, ""); status != http.StatusSeeOther || !strings.HasSuffix(header.Get("Location"), fmt.Sprintf("/%d", i)) {
			t.Errorf("begun login %d cannot be ended: status %d", i, status)
		}
		if len(callback) > 4<<10 {
			t.Errorf("the callback is of %d bytes", len(callback))
		}
	}
	if status, _, _ := b.ask("GET", "/login?to=/"+strings.Repeat("a", 1024), ""); status != http.StatusBadRequest {
		t.Errorf("a path of 1025 bytes has status %d, want 400", status)
	}
}

// A callback that is loaded again leads to the same page as before, and the provider sees the code once.
func TestCallbackAgain(t *testing.T) {
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), "")
	b := newBrowser(t, s)
	callback := b.begin("/login?to=/inbox")
	for range 3 {
		if status, _, header := b.ask("GET", callback, ""); status != http.StatusSeeOther || header.Get("Location") != "/inbox" {
			t.Fatalf("expected the callback to lead to /inbox again; found status %d, to %s", status, header.Get("Location"))
		}
	}
	if p.codes != 1 {
		t.Errorf("the provider saw %d codes, want 1", p.codes)
	}
	session := b.cookie()
	u, _ := url.Parse(s.base)
	if cookies := b.Jar.Cookies(u); len(cookies) != 1 {
		t.Errorf("the browser has %d cookies after the login, want 1", len(cookies))
	}

	// The cookie of the login has gone; the session has not.
	later := newBrowser(t, s)
	later.Jar.SetCookies(u, []*http.Cookie{{Name: s.cfg.CookieName, Value: session, Path: "/"}})
	if status, _, header := later.ask("GET", callback, ""); status != http.StatusSeeOther || header.Get("Location") != "/inbox" || later.cookie() != session || p.codes != 1 {
		t.Errorf("the callback without the login's cookie: status %d, to %s; want 303 to /inbox, with the session kept", status, header.Get("Location"))
	}

	// Both have gone: a new login, to the same page.
	anew := newBrowser(t, s)
	if status, _, header := anew.ask("GET", callback, ""); status != http.StatusSeeOther || header.Get("Location") != "/inbox" || anew.cookie() == "" {
		t.Errorf("the callback without any cookie: status %d, to %s; want 303 to /inbox, with a new session", status, header.Get("Location"))
	}

	// A code that the provider does not accept any more: a new login, too.
	used := newBrowser(t, s)
	callback = used.begin("/login?to=/inbox")
	p.set(func() { clear(p.grants) })
	if status, _, header := used.ask("GET", callback, ""); status != http.StatusSeeOther || header.Get("Location") != "/inbox" || used.cookie() == "" {
		t.Errorf("the callback with a code that is over: status %d, to %s", status, header.Get("Location"))
	}

	// A browser that keeps no cookies does not go in circles.
	blind := newBrowser(t, s)
	blind.Jar = nil
	before := p.begun
	if status, body, _ := blind.ask("GET", "/login", ""); status != http.StatusBadRequest || !strings.Contains(body, "<a href=login>") {
		t.Errorf("expected status 400 and a link to log in without cookies; found %d %s", status, body)
	}
	if n := p.begun - before; n != 2 {
		t.Errorf("a browser without cookies was sent to the provider %d times, want 2", n)
	}
}

// The log has the error that the provider sent, and nothing that a stranger made up.
func TestProviderErrorIsLogged(t *testing.T) {
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), "")
	for _, code := range []string{"access_denied", "invalid_scope", "login_required", "temporarily_unavailable"} {
		p.set(func() { p.denied = code })
		b := newBrowser(t, s)
		if status, body, _ := b.ask("GET", "/login", ""); status != http.StatusBadRequest || strings.Contains(body, code) || b.cookie() != "" {
			t.Errorf("the provider's error %s: expected status 400, without the error in the page; found %d %s", code, status, body)
		}
		if !strings.Contains(s.text(), "the provider answers "+code) {
			t.Errorf("the log does not say %s", code)
		}
	}
	p.set(func() { p.denied = "" })
	for _, forged := range []string{"forged\nlevel=ERROR", "forged", strings.Repeat("forged", 1000), "forged\x1b[31m"} {
		b := newBrowser(t, s)
		callback := b.begin("/login")
		u, _ := url.Parse(callback)
		q := u.Query()
		q.Del("code")
		q.Set("error", forged)
		if status, body, _ := b.ask("GET", "/callback?"+q.Encode(), ""); status != http.StatusBadRequest || strings.Contains(body, "forged") {
			t.Errorf("a made-up error that begins with %q: expected status 400, without it in the page; found %d", forged[:6], status)
		}
	}
	if strings.Contains(s.text(), "forged") {
		t.Error("the log has what a stranger made up")
	}
}

// A visitor whose session has ended can still end the provider's session.
func TestLogoutWithoutASession(t *testing.T) {
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	st, err := s.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := st.end(t.Context(), hashed(b.cookie())); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if status, body, _ := b.ask("POST", "/logout", b.origin()); status != http.StatusOK || !strings.Contains(body, p.URL+"/end?") || b.cookie() != "" {
			t.Errorf("expected /logout to end the provider's session too; found %d %s", status, body)
		}
	}
}

// An address that is taken is an error, at start and at a reload.
func TestAddressIsTaken(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	c, err := parse(t, config(p, other.Addr().String(), newKey(), ""))
	if err != nil {
		t.Fatal(err)
	}
	s := startSite(t, p, nc, newKey(), "")
	opened, err := c.Open(t.Context(), s.env)
	if err == nil {
		_ = opened.Close()
		t.Fatal("the pages opened on an address that is taken")
	}
	if !strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), other.Addr().String()) {
		t.Errorf("the error does not name the address that is in use: %v", err)
	}
}

// If a reload fails after the new source was opened, the old source gets the address back.
func TestAddressComesBack(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	key := newKey()
	s := startSite(t, p, nc, key, "")
	c, err := parse(t, config(p, strings.TrimSuffix(strings.TrimPrefix(s.base, "http://"), "/auth"), key, ""))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		next, err := c.Open(t.Context(), s.env)
		if err != nil {
			t.Fatal(err)
		}
		b := newBrowser(t, s)
		http.DefaultClient.CloseIdleConnections() // a connection stays with whom it has come to
		b.logIn()
		if next.(*source).metrics.logins.Get() == 0 {
			t.Error("the new source does not get the visitors")
		}
		if err := next.Close(); err != nil {
			t.Fatal(err)
		}
		before := s.metrics.logins.Get()
		if b.logIn(); s.metrics.logins.Get() != before+1 {
			t.Error("the old source does not get them back")
		}
	}
}

// Clients that connect and say nothing, or send half of a request, do not keep others away. The number of connections is
// bounded.
func TestConnectionsAreBounded(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	address := strings.TrimSuffix(strings.TrimPrefix(s.base, "http://"), "/auth")
	const most = 512
	var conns []net.Conn
	for i := range most + 100 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if i%2 == 0 {
			_, _ = io.WriteString(conn, "GET /auth/session HTTP/1.1\r\nHost: x\r\n")
		}
		conns = append(conns, conn)
	}
	if status, _, _ := newBrowser(t, s).ask("GET", "/session", ""); status != http.StatusOK {
		t.Errorf("a visitor gets status %d, want 200", status)
	}
	for i, conn := range conns[:90] {
		_ = conn.SetReadDeadline(time.Now().Add(webserver.ReadTimeout / 2)) // before that of the half of a request
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Fatalf("silent connection %d of %d was not closed", i, len(conns))
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// A connection that has sent half of a header, or of a body, is closed after a time.
func TestHalfSentRequests(t *testing.T) {
	t.Parallel()
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	address := strings.TrimSuffix(strings.TrimPrefix(s.base, "http://"), "/auth")
	for _, half := range []string{
		"G", "GET /auth/session HTTP/1.1\r\nHost: x\r\n", "POST /auth/backchannel HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nlogout_token=",
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, half); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(webserver.ReadTimeout + timeout))
		if _, err := io.Copy(io.Discard, conn); err != nil && isTimeout(err) {
			t.Errorf("the connection is open still, after half a request that begins with %.40q", half)
		}
	}
}

// indexed is how many messages the bucket beside the sessions has.
func (s *site) indexed(t *testing.T) uint64 {
	t.Helper()
	js, err := jetstream.New(s.nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_sessions-index")
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

// What tickets leave in the bucket is bounded for each session, and ends with the session.
func TestTicketsLeaveLittle(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "ticket: 10s")
	b := newBrowser(t, s)
	b.logIn()
	before := s.indexed(t)
	var last string
	for range 50 {
		status, body, _ := b.ask("POST", "/ticket", b.origin())
		if status != http.StatusOK {
			t.Fatalf("/ticket has status %d, want 200", status)
		}
		var told struct{ Ticket string }
		if json.Unmarshal([]byte(body), &told) != nil || !isTicket(told.Ticket) {
			t.Fatal("/ticket gave no ticket")
		}
		last = told.Ticket
	}
	if n := s.indexed(t) - before; n != 0 {
		t.Errorf("%d entries for tickets that nobody used", n)
	}
	if err := s.connect(t, session.Credential{Kind: session.Token, Value: last}, 1); err != nil {
		t.Fatal(err)
	}
	if n := s.indexed(t) - before; n != 1 {
		t.Errorf("%d entries for one that was used", n)
	}
	st, err := s.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := "used." + hashed(b.cookie())
	if _, revision, err := st.uses(t.Context(), name); revision == 0 || err != nil {
		t.Errorf("the entry for the used ticket: revision %d, error %v", revision, err)
	}
	b.ask("POST", "/logout", b.origin())
	if _, revision, err := st.uses(t.Context(), name); revision != 0 || err != nil {
		t.Errorf("the entry stays after the session: revision %d, %v", revision, err)
	}
}

// No method and no odd request makes a page fail, puts text of the request into the answer, or removes the headers that keep an
// answer out of caches and frames.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	s := startSite(t, newProvider(t), startServer(t), newKey(), workers(t, "")+"\nresponse_mode: form_post")
	address := strings.TrimSuffix(strings.TrimPrefix(s.base, "http://"), "/auth")
	cookie := s.cfg.CookieName
	huge := strings.Repeat("x", webserver.MaxHeader)
	headers := map[string]string{
		"nothing":              "",
		"two cookies":          "Cookie: " + cookie + "=evil-a; " + cookie + "=evil-b\r\n",
		"quoted cookie":        "Cookie: " + cookie + "=\"evil\"\r\n",
		"cookie lines":         "Cookie: " + cookie + "=evil\r\nCookie: login=evil\r\n",
		"many cookies":         "Cookie: " + strings.Repeat("a=evil; ", 1000) + "\r\n",
		"huge cookie":          "Cookie: " + cookie + "=" + huge + "\r\n",
		"huge header":          "X-Evil: " + huge + huge + "\r\n",
		"another host":         "X-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: http\r\nForwarded: host=evil.test\r\n",
		"another origin":       "Origin: https://evil.test\r\n",
		"two origins":          "Origin: " + s.cfg.origin() + "\r\nOrigin: https://evil.test\r\n",
		"null origin":          "Origin: null\r\n",
		"cross-site":           "Sec-Fetch-Site: cross-site\r\n",
		"same-site":            "Sec-Fetch-Site: same-site\r\n",
		"odd content type":     "Content-Type: multipart/form-data\r\n",
		"two lengths":          "Content-Length: 1\r\nContent-Length: 2\r\n",
		"length and chunks":    "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
		"method in a header":   "X-HTTP-Method-Override: DELETE\r\n",
		"folded":               "X-Evil: a\r\n evil\r\n",
		"bare line feed":       "X-Evil: a\nX-Evil: evil\r\n",
		"a name with a space":  "X Evil: a\r\n",
		"an upgrade":           "Connection: Upgrade\r\nUpgrade: websocket\r\n",
		"expects to be asked":  "Expect: 100-continue\r\n",
		"compressed, it says":  "Content-Encoding: gzip\r\n",
		"ranges":               "Range: bytes=0-0\r\nIf-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
		"everything is wanted": "Accept: */*\r\nAccept-Encoding: gzip, br, evil\r\n",
	}
	paths := []string{
		"/login", "/login?to=//evil.test", "/login?to=/%5Cevil.test", "/login?to=javascript:alert(1)", "/login?to=%0d%0aSet-Cookie:evil=1",
		"/callback", "/callback?state=evil&code=evil", "/callback?posted=evil", "/session", "/logout", "/ticket", "/worker.js", "/backchannel",
		"/frontchannel?iss=evil&sid=evil", "/../session", "//session", "/%2e%2e/session", "/session/", "/SESSION", "",
	}
	for name, header := range headers {
		for _, path := range paths {
			for _, method := range []string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "EVIL"} {
				text := method + " /auth" + path + " HTTP/1.1\r\nHost: evil.test\r\n" + header + "Connection: close\r\n\r\n"
				answer := rawAnswer(t, address, text)
				where := fmt.Sprintf("%s %s, %s", method, path, name)
				if answer == nil {
					continue // the server has hung up
				}
				checkHostile(t, s, where, path, answer)
			}
		}
	}
}

type plainAnswer struct {
	status int
	header http.Header
	body   string
}

func rawAnswer(t *testing.T, address, text string) *plainAnswer {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	go func() { _, _ = io.WriteString(conn, text) }()
	method, _, _ := strings.Cut(text, " ")
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		if isTimeout(err) {
			t.Errorf("the server did not answer %.60q", text)
		}
		return nil
	}
	body, _ := io.ReadAll(answer.Body)
	return &plainAnswer{answer.StatusCode, answer.Header, string(body)}
}

func checkHostile(t *testing.T, s *site, where, path string, a *plainAnswer) {
	t.Helper()
	location := a.header.Get("Location")
	switch {
	case a.status >= 500 && a.status != http.StatusNotImplemented:
		t.Errorf("%s: status %d, which is a fault of ours", where, a.status)
	case strings.Contains(a.body, "evil"):
		t.Errorf("%s: the answer repeats the request", where)
	case a.header.Get("Access-Control-Allow-Origin") != "":
		t.Errorf("%s: another origin may read it", where)
	case location != "" && !strings.HasPrefix(location, s.provider.URL+"/authorize?") && !isLocalPath(location):
		t.Errorf("%s: leads out of the site: %s", where, location)
	}
	for _, set := range a.header.Values("Set-Cookie") {
		if strings.Contains(set, "evil") || !strings.Contains(set, "; HttpOnly") || !strings.Contains(set, "; SameSite=Lax") {
			t.Errorf("%s: the answer sets a cookie without HttpOnly or SameSite, or one with the request's text", where)
		}
	}
	// An answer that net/http gives by itself has not passed through a page.
	ours := a.header.Get("Content-Security-Policy") != ""
	if !ours && a.status != http.StatusBadRequest && a.status != http.StatusRequestHeaderFieldsTooLarge && a.status != http.StatusNotImplemented && a.status != http.StatusExpectationFailed {
		t.Errorf("%s: status %d without a Content-Security-Policy", where, a.status)
	}
	if ours && (a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Referrer-Policy") != "no-referrer") {
		t.Errorf("%s: the answer lacks no-store, nosniff or no-referrer", where)
	}
}

// With form_post, the provider has the browser post a form. It comes without cookies, since it comes from another site.
func TestFormPost(t *testing.T) {
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), "response_mode: form_post")
	b := newBrowser(t, s)
	posted := func() (*http.Response, string) {
		t.Helper()
		_, form, _ := b.ask("GET", "/login?to=/inbox", "")
		foreign := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		answer, err := foreign.Post(s.base+"/callback", "application/x-www-form-urlencoded", strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		values, _ := url.ParseQuery(form)
		return answer, values.Get("code")
	}
	answer, code := posted()
	to := answer.Header.Get("Location")
	if answer.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/auth/callback?posted=") || code == "" || strings.Contains(to, code) {
		t.Fatalf("expected the posted answer to lead to the callback, without the code and cookies; found status %d", answer.StatusCode)
	}
	if len(answer.Cookies()) > 0 {
		t.Error("whoever posts gets a cookie")
	}
	if status, _, header := b.ask("GET", strings.TrimPrefix(to, "/auth"), ""); status != http.StatusSeeOther || header.Get("Location") != "/inbox" || b.cookie() == "" {
		t.Errorf("expected the callback to lead to /inbox, logged in; found status %d, to %s", status, header.Get("Location"))
	}
	if status, _, header := b.ask("GET", strings.TrimPrefix(to, "/auth"), ""); status != http.StatusSeeOther || header.Get("Location") != "/inbox" || p.codes != 1 {
		t.Errorf("the callback again: status %d, %d codes at the provider; want 303 to /inbox and 1", status, p.codes)
	}
	p.set(func() { p.denied = "access_denied" })
	answer, _ = posted()
	other := newBrowser(t, s)
	if other.ask("GET", strings.TrimPrefix(answer.Header.Get("Location"), "/auth"), ""); other.cookie() != "" || p.codes != 1 {
		t.Error("another browser gets a session by a posted answer, or the code was sent")
	}
	if status, _, _ := b.ask("GET", strings.TrimPrefix(answer.Header.Get("Location"), "/auth"), ""); status != http.StatusBadRequest || !strings.Contains(s.text(), "the provider answers access_denied") {
		t.Errorf("expected status 400 for a posted error, and a line in the log; found %d", status)
	}
	for name, form := range map[string]string{"nothing": "", "too long": "code=" + strings.Repeat("x", webserver.MaxBody), "long": "code=" + strings.Repeat("x", maxAnswer+1), "no form": "%", "another state": "code=x&state=x"} {
		r, err := http.Post(s.base+"/callback", "application/x-www-form-urlencoded", strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusBadRequest && (name != "too long" || r.StatusCode != http.StatusRequestEntityTooLarge) {
			t.Errorf("%s: status %d, want 400", name, r.StatusCode)
		}
	}
}

// Without form_post, the callback accepts no POST.
func TestNoFormPost(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	if status, _, _ := newBrowser(t, s).ask("POST", "/callback", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("POST of the callback has status %d, want 405", status)
	}
}

// Front-channel logout ends a session only if the cookie, the issuer and the sid agree.
func TestFrontChannelLogout(t *testing.T) {
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	load := func(b *browser, query url.Values) (int, http.Header) {
		t.Helper()
		status, _, header := b.ask("GET", "/frontchannel?"+query.Encode(), "")
		return status, header
	}
	good := url.Values{"iss": {p.URL}, "sid": {"provider-session"}}
	for name, query := range map[string]url.Values{
		"nothing":        {},
		"no issuer":      {"sid": {"provider-session"}},
		"no sid":         {"iss": {p.URL}},
		"another issuer": {"iss": {"https://evil.test"}, "sid": {"provider-session"}},
		"another sid":    {"iss": {p.URL}, "sid": {"x"}},
		"empty sid":      {"iss": {p.URL}, "sid": {""}},
		"two sids":       {"iss": {p.URL}, "sid": {"provider-session", "x"}},
	} {
		if status, header := load(b, query); status != http.StatusNoContent || header.Get("Set-Cookie") != "" {
			t.Errorf("front-channel logout with %s: status %d, want 204 and the cookie kept", name, status)
		}
	}
	load(newBrowser(t, s), good) // a browser without the cookie: anybody
	b.mustFind()
	cookie := b.cookie()
	status, header := load(b, good)
	if status != http.StatusNoContent || b.cookie() != "" || header.Get("Cache-Control") != "no-store" || strings.Contains(header.Get("Content-Security-Policy"), "frame-ancestors") {
		t.Errorf("front-channel logout with the right values: status %d, or the cookie is kept", status)
	}
	if _, err := s.find(t, session.Cookie, cookie); err == nil {
		t.Error("the session lives on after the front-channel logout")
	}
	if s.metrics.frontchannel.Get() != 1 {
		t.Errorf("front-channel logouts are counted as %d, want 1", s.metrics.frontchannel.Get())
	}

	// If the provider gives no sids, front-channel logout ends no session.
	p.set(func() { p.exchange = func(c map[string]any) { delete(c, "sid") } })
	other := newBrowser(t, s)
	other.logIn()
	load(other, url.Values{"iss": {p.URL}, "sid": {""}})
	other.mustFind()
}

// If a page panics, the log has the place and not the text of the panic, and only that request fails.
func TestPanicInAPage(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	// No known request makes a page panic, so the test removes what a page needs.
	broken := &source{cfg: s.cfg, env: s.env, logged: s.logged}
	w := httptest.NewRecorder()
	broken.pages().ServeHTTP(w, httptest.NewRequest(http.MethodGet, s.cfg.path("/callback")+"?state=x", nil))
	if w.Code != http.StatusInternalServerError || !strings.Contains(s.text(), "fault in the session source") || !strings.Contains(s.text(), "flow.go:") {
		t.Errorf("expected status 500, and the place of the fault in the log; found %d", w.Code)
	}
}

// A source that is opened for look-ups alone serves no pages, and does not take the address from the handler that does.
func TestLookupsOnly(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	env := s.env
	env.LookupsOnly = true
	opened, err := s.cfg.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := opened.Find(t.Context(), &session.Request{Credential: session.Credential{Kind: session.Cookie, Value: b.cookie()}}); err != nil || found.Data["sub"] != "alice" {
		t.Errorf("the session cannot be looked up: %v", err)
	}
	if opened.(*source).web != nil {
		t.Error("a source for look-ups alone serves pages")
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
}

// If the configuration accepts no cookies, the value of a cookie is not accepted as a token either.
func TestCookieAsToken(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "ticket: 10s")
	b := newBrowser(t, s)
	b.logIn()
	c := session.Credential{Kind: session.Token, Value: b.cookie()}
	if err := s.connect(t, c, 1); err != nil {
		t.Errorf("a stock server does not tell a cookie from a token: %v", err)
	}
	s.env.Cookies = false
	if err := s.connect(t, c, 1); err == nil {
		t.Error("a cookie's value opens a connection as a token")
	}
	_, body, _ := b.ask("POST", "/ticket", b.origin())
	var told struct{ Ticket string }
	if json.Unmarshal([]byte(body), &told) != nil {
		t.Fatal("/ticket gave no JSON")
	}
	if err := s.connect(t, session.Credential{Kind: session.Token, Value: told.Ticket}, 1); err != nil {
		t.Errorf("the ticket does not open a connection: %v", err)
	}
}
