package test

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nkeys"

	"stamp/test/harness"
)

// browserSite is an application as a browser sees it: one origin, with a page, the package's files,
// the handler's pages below /auth and NATS below /nats, and a real OpenID provider beside it.
// Requests below /control are the tests' own.
type browserSite struct {
	t      *testing.T
	server *harness.Server
	origin string
	dist   string // folder of the package's files

	listener *tracked
	nats     *httputil.ReverseProxy
	auth     *httputil.ReverseProxy

	mu      sync.Mutex
	tickets []string // that were given
	nkey    string   // that the last one was asked for
	spoil   bool     // whether tickets are changed on their way
	prelude string   // comes before the worker's script
	down    bool     // whether no websocket is opened
	silent  bool     // whether a logout is not answered
}

// siteKind is how a site is served.
type siteKind struct {
	scheme     string // "http" or "https"
	key        string // "required" or "optional"
	standalone bool   // nats-callout serves the pages, not the server
	dist       string // folder of the package's files; "": that of the package built here
}

// The configuration is docs/examples' browser.conf for a test: its websocket, the handler's fields,
// and what is the server's own with the handler inside and without.
const (
	browserWebsocket = `
	headers { sealed: [Authorization] }
	websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: %q, allowed_origins: [%q] }`
	browserHandler = `
		sessions: [{
			kind: login, listen: %q, public_url: %q, issuer: %q, client_id: web, client_secret: secret
			scopes: [profile, email, offline_access], bucket: sessions, key_file: %q
			claims: [sub, name]
			worker { file: %q, websocket: %q, inbox: "_INBOX.{{ session.sub }}", key: %s }
			%s
		}]
		grants: [{account: APP, expires: "10s", user: "{{ session.sub }}"
			publish: ["api.>", "shared.>", "app.>"], subscribe: ["_INBOX.{{ session.sub }}.>", "shared.>"]
			headers: {X-User: "{{ session.sub }}", Authorization: "Bearer {{ session.access_token }}"}}]`
	browserBackend = `{user: backend, password: backend, header_permissions: {subscribe: {allow: [Authorization]}}}`
	browserInside  = `
	jetstream { store_dir: %q }
	accounts { APP { jetstream: enabled, users: [` + browserBackend + `] } }`
	browserBeside = `
	jetstream { store_dir: %[1]q }
	accounts {
		AUTH { jetstream: enabled, users: [{nkey: %[2]s}] }
		APP { users: [` + browserBackend + `] }
		SYS { users: [{user: sys, password: sys}] }
	}
	system_account: SYS
	authorization { auth_callout { issuer: %[3]s, xkey: %[4]s, account: AUTH, auth_users: [%[2]s, backend, sys] } }`
)

// startBrowserSite starts the whole site.
func startBrowserSite(t *testing.T, kind siteKind) *browserSite {
	t.Helper()
	s := &browserSite{t: t, dist: kind.dist}
	if s.dist == "" {
		s.dist = builtPackage(t)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listener = &tracked{Listener: l, conns: map[*trackedConn]bool{}}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s.origin = kind.scheme + "://localhost:" + port
	t.Setenv("REDIRECT_URI", s.origin+"/auth/callback")
	issuer := openIDProvider(t)
	keyFile := loginKey(t)
	cookie := "session"
	if kind.scheme == "https" {
		cookie = "__Host-session"
	}
	pages := harness.FreeAddr(t)
	websocket := fmt.Sprintf(browserWebsocket, cookie, s.origin)
	handler := func(more string) string {
		return fmt.Sprintf(browserHandler, pages, s.origin+"/auth", issuer, keyFile,
			filepath.Join(s.dist, "stamp.worker.js"), strings.Replace(s.origin, "http", "ws", 1)+"/nats", kind.key, more)
	}
	if kind.standalone {
		issuer, xkey, user := harness.NewAccountKey(t), harness.NewXKey(t), must(nkeys.CreateUser())
		s.server = harness.Start(t, websocket+fmt.Sprintf(browserBeside, t.TempDir(), harness.Public(t, user), harness.Public(t, issuer), harness.Public(t, xkey)), "-DV")
		harness.StartCallout(t, handler("")+fmt.Sprintf(`
			connect { urls: ["nats://%s"], nkey: %s, system { user: sys, password: sys } }
			issuer: %s
			xkey: %s`, s.server.Addr(t), harness.Seed(t, user), harness.Seed(t, issuer), harness.Seed(t, xkey)))
	} else {
		s.server = harness.Start(t, websocket+fmt.Sprintf(browserInside, t.TempDir())+"\n\tcallout {"+strings.Replace(handler(""), "kind: login", "kind: login, account: APP", 1)+"\n\t}", "-DV")
	}
	nc := s.server.Connect(t, nats.UserInfo("backend", "backend"))
	s.serveAPI(nc)
	s.nats = proxy(s.server.Websocket(t))
	s.auth = proxy(pages)
	s.auth.ModifyResponse = s.overhear
	mux := s.mux()
	s.peer(mux, nc)
	web := &http.Server{Handler: mux, ReadHeaderTimeout: harness.Timeout, ErrorLog: log.New(io.Discard, "", 0), ConnState: s.listener.upgraded}
	served := net.Listener(s.listener)
	if kind.scheme == "https" {
		cert := must(tls.LoadX509KeyPair(harness.NewCA(t).Issue(t, "localhost")))
		served = tls.NewListener(served, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	go func() { _ = web.Serve(served) }()
	t.Cleanup(func() { _ = web.Close() })
	return s
}

// proxy passes requests on unchanged, but without compression, because overhear reads the answers.
func proxy(addr string) *httputil.ReverseProxy {
	target := must(url.Parse("http://" + addr))
	discard := log.New(io.Discard, "", 0) // browsers break off what they do not need any more
	return &httputil.ReverseProxy{ErrorLog: discard, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
		r.Out.Header.Set("Accept-Encoding", "identity")
	}}
}

// builtPackage is browser/dist, which scripts/test builds.
func builtPackage(t *testing.T) string {
	t.Helper()
	dist := must(filepath.Abs(filepath.Join("..", "browser", "dist")))
	if _, err := os.Stat(filepath.Join(dist, "stamp.worker.js")); err != nil {
		missing(t, "browser/dist is not built; `scripts/test tools` builds it")
	}
	return dist
}

// missing skips the test, unless all are to run.
func missing(t *testing.T, text string) {
	t.Helper()
	if os.Getenv("STAMP_TEST_ALL") != "" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// page may be framed by nobody. It tells who frames it nevertheless.
const page = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>page</title>
<script>if (parent !== self) parent.postMessage("framed", "*");</script>`

func (s *browserSite) mux() *http.ServeMux {
	mux := http.NewServeMux()
	html := func(text string, policies ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", strings.Join(append(policies, "frame-ancestors 'none'"), "; "))
			_, _ = io.WriteString(w, text)
		}
	}
	mux.Handle("/", html(page))
	mux.HandleFunc("GET /isolated", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
		w.Header().Set("Cross-Origin-Embedder-Policy", "require-corp")
		html(page)(w, r)
	})
	mux.Handle("GET /trusted", html(page, "require-trusted-types-for 'script'", "trusted-types site"))
	// A proxy that accepts, and stays silent.
	mux.HandleFunc("GET /silent.js", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("GET /mute.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = io.WriteString(w, "// a worker that does nothing")
	})
	mux.Handle("GET /script", html(page+`<script src="/dist/stamp.script.js"></script>`))
	mux.Handle("GET /dist/", http.StripPrefix("/dist/", http.FileServer(http.Dir(s.dist))))
	mux.Handle("GET /react/", http.StripPrefix("/react", s.reactPage()))
	mux.HandleFunc("/nats", func(w http.ResponseWriter, r *http.Request) {
		if s.hasFault(&s.down) {
			http.Error(w, "the server is away", http.StatusServiceUnavailable)
			return
		}
		s.nats.ServeHTTP(w, r)
	})
	mux.Handle("/auth/", s.auth)
	mux.HandleFunc("GET /auth/worker.js", func(w http.ResponseWriter, r *http.Request) {
		// A browser that fetches what a page preloads with the Sec-Fetch headers of a worker, as the HTML standard says.
		if r.URL.Query().Has("preloaded") {
			r.Header.Set("Sec-Fetch-Dest", "worker")
			r.Header.Set("Sec-Fetch-Mode", "same-origin")
		}
		s.auth.ServeHTTP(w, r)
	})
	mux.HandleFunc("POST /auth/logout", func(w http.ResponseWriter, r *http.Request) {
		if s.hasFault(&s.silent) {
			<-r.Context().Done()
			return
		}
		s.auth.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /own/{session}/{logout}/worker.js", s.ownWorker)
	mux.HandleFunc("/own/{how}", ownAnswer)
	mux.HandleFunc("POST /auth/ticket", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var asked struct{ Nkey string }
		if json.Unmarshal(body, &asked) == nil && asked.Nkey != "" {
			s.mu.Lock()
			s.nkey = asked.Nkey
			s.mu.Unlock()
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.auth.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /evil/{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Service-Worker-Allowed", "/")
		http.ServeFile(w, r, filepath.Join("js", "browser", "evil", r.PathValue("name")))
	})
	mux.HandleFunc("POST /control/drop", func(http.ResponseWriter, *http.Request) { s.listener.drop() })
	mux.HandleFunc("POST /control/silence", func(http.ResponseWriter, *http.Request) { s.listener.silence() })
	mux.HandleFunc("POST /control/{what}/{how}", s.control)
	mux.HandleFunc("GET /control/{what}", s.observe)
	return mux
}

// ownWorker serves the worker's script of a site with sessions of its own, behind that site's line. The path says how the site
// answers requests for the session and for its end.
func (s *browserSite) ownWorker(w http.ResponseWriter, r *http.Request) {
	script, err := os.ReadFile(filepath.Join(s.dist, "stamp.worker.js"))
	if err != nil {
		s.t.Error(err)
		return
	}
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	site, _ := json.Marshal(map[string]string{
		"websocket": strings.Replace(s.origin, "http", "ws", 1) + "/nats",
		"session":   "/own/" + r.PathValue("session"), "logout": "/own/" + r.PathValue("logout"),
	})
	_, _ = fmt.Fprintf(w, "self.stampSite = %s;\n%s", site, script)
}

// ownAnswer is what a site with sessions of its own answers.
func ownAnswer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch r.PathValue("how") {
	case "well":
		_, _ = io.WriteString(w, `{"authenticated": true}`)
		return
	case "begins": // and does not end
		_, _ = io.WriteString(w, `{"authenticated":`)
		_ = http.NewResponseController(w).Flush()
	}
	<-r.Context().Done()
}

// hasFault reports whether control has set a fault.
func (s *browserSite) hasFault(fault *bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *fault
}

// workerFaults are put in front of the worker's script, and take effect when the page says so.
var workerFaults = map[string]string{
	"well":  "",
	"dies":  `new BroadcastChannel("fault").onmessage = () => self.close();`,
	"hangs": `new BroadcastChannel("fault").onmessage = () => { for (const end = Date.now() + 4000; Date.now() < end;); };`,
}

// reactPage serves the page of browser/examples/react, and as kept.html that of browser/test/kept.tsx. They are bundled when one
// is asked for first.
func (s *browserSite) reactPage() http.Handler {
	folder := s.t.TempDir()
	bundle := sync.OnceValue(func() error {
		example := must(filepath.Abs(filepath.Join("..", "browser", "examples", "react")))
		page, err := os.ReadFile(filepath.Join(example, "index.html"))
		if err != nil {
			return err
		}
		for name, script := range map[string]string{"index.html": "app.js", "kept.html": "kept.js"} {
			if err := os.WriteFile(filepath.Join(folder, name), bytes.ReplaceAll(page, []byte("app.js"), []byte(script)), 0o600); err != nil {
				return err
			}
		}
		cmd := exec.Command(filepath.Join("..", "..", "node_modules", ".bin", "esbuild"), "app.tsx", filepath.Join("..", "..", "test", "kept.tsx"),
			"--bundle", "--format=esm", "--jsx=automatic", "--log-level=warning", "--entry-names=[name]", "--outdir="+folder)
		cmd.Dir = example
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
		return nil
	})
	files := http.FileServer(http.Dir(folder))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := bundle(); err != nil {
			s.t.Error(err)
			return
		}
		files.ServeHTTP(w, r)
	})
}

// control changes what goes wrong.
func (s *browserSite) control(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how := r.PathValue("how")
	switch r.PathValue("what") {
	case "spoil":
		s.spoil = how == "on"
	case "websocket":
		s.down = how == "down"
	case "sockets":
		s.listener.cut()
	case "logout":
		s.silent = how == "silent"
	case "worker":
		s.prelude = workerFaults[how]
	case "ed25519":
		s.prelude = ""
		if how == "off" {
			s.prelude = `crypto.subtle.generateKey = async () => { throw new DOMException("", "NotSupportedError"); };`
		}
	default:
		http.NotFound(w, r)
	}
}

// observe answers with what the test asks about the site and its server.
func (s *browserSite) observe(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.PathValue("what") {
	case "ticket": // the last one, as if it had leaked
		_ = json.NewEncoder(w).Encode(map[string]string{"ticket": s.tickets[len(s.tickets)-1], "nkey": s.nkey})
	case "renewals":
		_, _ = fmt.Fprint(w, s.renewals())
	case "news": // how many subscribe
		_, _ = fmt.Fprint(w, strings.Count(string(s.server.Get(s.t, "/subsz?subs=1&acc=APP&limit=10000")), `"shared.news"`))
	case "queues": // of those that subscribe to news
		var subs struct {
			List []struct{ Subject, QGroup string } `json:"subscriptions_list"`
		}
		if err := json.Unmarshal(s.server.Get(s.t, "/subsz?subs=1&acc=APP&limit=10000"), &subs); err != nil {
			s.t.Error(err)
		}
		for _, sub := range subs.List {
			if sub.Subject == "shared.news" {
				_, _ = fmt.Fprint(w, sub.QGroup)
			}
		}
	case "connections":
		_, _ = fmt.Fprint(w, s.server.Connz(s.t, "").NumConns)
	default:
		http.NotFound(w, r)
	}
}

func (s *browserSite) renewals() uint64 {
	var varz struct{ Headers struct{ Renewals uint64 } }
	if err := json.Unmarshal(s.server.Get(s.t, "/varz"), &varz); err != nil {
		s.t.Error(err)
	}
	return varz.Headers.Renewals
}

// overhear reads the handler's answers, as a proxy that logs them would.
func (s *browserSite) overhear(answer *http.Response) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := answer.Request.URL.Path
	ticket := path == "/auth/ticket" && answer.StatusCode == http.StatusOK
	if !ticket && (path != "/auth/worker.js" || s.prelude == "" || answer.StatusCode != http.StatusOK) {
		return nil
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if ticket {
		var answer struct{ Ticket string }
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		s.tickets = append(s.tickets, answer.Ticket)
		if s.spoil {
			body = []byte(strings.Replace(string(body), answer.Ticket, answer.Ticket+"x", 1))
		}
	} else {
		body = append([]byte(s.prelude), body...)
	}
	answer.Body = io.NopCloser(strings.NewReader(string(body)))
	answer.ContentLength = int64(len(body))
	answer.Header.Set("Content-Length", fmt.Sprint(len(body)))
	return nil
}

// tracked is a listener whose connections can be cut, or fall silent.
type tracked struct {
	net.Listener
	mu    sync.Mutex
	conns map[*trackedConn]bool // whether they are websockets
}

type trackedConn struct {
	net.Conn
	silent atomic.Bool
}

// Read drops what arrives on a silent connection. The connection ends as others do.
func (c *trackedConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.silent.Load() {
			return n, err
		}
	}
}

func (c *trackedConn) Write(b []byte) (int, error) {
	if c.silent.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (l *tracked) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	conn := &trackedConn{Conn: c}
	l.conns[conn] = false
	return conn, nil
}

// upgraded is a hook of the HTTP server. Below TLS it does not see which connection it is.
func (l *tracked) upgraded(c net.Conn, state http.ConnState) {
	if conn, ok := c.(*trackedConn); ok && state == http.StateHijacked {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns[conn] = true
	}
}

func (l *tracked) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close()
	}
	clear(l.conns)
}

// cut ends the websockets, and nothing else.
func (l *tracked) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c, websocket := range l.conns {
		if websocket {
			_ = c.Close()
			delete(l.conns, c)
		}
	}
}

// silence makes the websockets look open and carry nothing any more, as if the network was gone.
func (l *tracked) silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c, websocket := range l.conns {
		if websocket {
			c.silent.Store(true)
		}
	}
}

// serveAPI is the application's service: NATS' micro, and a plain responder or two.
func (s *browserSite) serveAPI(nc *nats.Conn) {
	service := must(micro.AddService(nc, micro.Config{Name: "api", Version: "1.0.0"}))
	group := service.AddGroup("api")
	endpoint := func(subject string, do func(micro.Request)) {
		name := strings.NewReplacer(".", "-", "*", "any", ">", "all").Replace(subject)
		// Each request in a goroutine of its own, so that some can be slow.
		if err := group.AddEndpoint(name, micro.HandlerFunc(func(r micro.Request) { go do(r) }), micro.WithEndpointSubject(subject)); err != nil {
			s.t.Fatal(err)
		}
	}
	// What came, as JSON. Only the backend knows how the access token looks.
	seen := func(r micro.Request) {
		lines := map[string][]string(r.Headers())
		if bearer := lines["Authorization"]; len(bearer) == 1 && strings.HasPrefix(bearer[0], "Bearer ") && len(bearer[0]) > 30 {
			lines["Authorization"] = []string{"Bearer token"}
		}
		_ = r.RespondJSON(map[string]any{"subject": r.Subject(), "headers": lines, "body": base64.StdEncoding.EncodeToString(r.Data())})
	}
	endpoint("seen", seen)
	endpoint("seen.>", seen)
	endpoint("echo", func(r micro.Request) {
		h := micro.Headers{"Status": {"201"}, "Authorization": {"Bearer for-the-page"}, "X-Several": {"a", "b"}, "X-Custom-Authorization": {"x"}}
		if kind := r.Headers().Get("Content-Type"); kind != "" {
			h["Content-Type"] = []string{kind}
		}
		_ = r.Respond(r.Data(), micro.WithHeaders(h))
	})
	endpoint("untyped", func(r micro.Request) { _ = r.Respond(r.Data()) })
	endpoint("broken", func(r micro.Request) {
		_ = r.Respond([]byte("{"), micro.WithHeaders(micro.Headers{"Content-Type": {"application/json"}}))
	})
	endpoint("fail", func(r micro.Request) { _ = r.Error("409", "already there", []byte(`{"field":"name"}`)) })
	endpoint("silent", func(micro.Request) {})
	endpoint("slow", func(r micro.Request) {
		var milliseconds time.Duration
		_ = json.Unmarshal(r.Data(), &milliseconds)
		time.Sleep(milliseconds * time.Millisecond)
		_ = r.RespondJSON("slow")
	})
	// What a test wants to be answered: headers, and a body.
	endpoint("say", func(r micro.Request) {
		var want struct {
			Headers micro.Headers
			Body    string
			Base64  []byte
		}
		if err := json.Unmarshal(r.Data(), &want); err != nil {
			_ = r.Error("400", err.Error(), nil)
			return
		}
		_ = r.Respond(append([]byte(want.Body), want.Base64...), micro.WithHeaders(want.Headers))
	})
	var visits atomic.Int64
	endpoint("profile", func(r micro.Request) {
		_ = r.RespondJSON(map[string]any{"name": r.Headers().Get("X-User"), "visits": visits.Add(1)})
	})
	endpoint("login", func(r micro.Request) { _ = r.RespondJSON(map[string]any{"welcome": true}) })

	var order orderly
	endpoint("order", order.serve)
	endpoint("order.result", func(r micro.Request) { _ = r.RespondJSON(order.result()) })
	s.t.Cleanup(func() { _ = service.Stop() })
	// rest-secure's endpoint has a path.
	must(nc.Subscribe("app.api.seen", func(m *nats.Msg) {
		text, _ := json.Marshal(map[string]any{"subject": m.Subject, "user": m.Header.Get("X-User"), "headers": m.Header})
		_ = m.Respond(text)
	}))
	// As many answers as are asked for, and an empty one.
	must(nc.Subscribe("shared.many", func(m *nats.Msg) {
		count, _ := strconv.Atoi(string(m.Data))
		for n := 1; n <= count; n++ {
			_ = m.Respond([]byte(strconv.Itoa(n)))
		}
		_ = m.Respond(nil)
	}))
	// The header block and the body are chosen by the client, and go to the requester or to another subject: a client library
	// sends no malformed ones.
	raw := harness.Client(s.t, s.server, harness.Password("backend", "backend"))
	must(nc.Subscribe("api.raw", func(m *nats.Msg) {
		var want struct{ Block, Body, To string }
		_ = json.Unmarshal(m.Data, &want)
		raw.Hpub(cmp.Or(want.To, m.Reply), want.Block, want.Body)
		if want.To != "" {
			_ = m.Respond(nil)
		}
	}))
	must(nc.Subscribe("shared.ask", func(m *nats.Msg) { _ = m.Respond([]byte("answer")) }))
}

// orderly records in which order requests arrive, and how many are under way at once.
type orderly struct {
	mu      sync.Mutex
	numbers []int
	most    int64
	running atomic.Int64
}

func (o *orderly) serve(r micro.Request) {
	now := o.running.Add(1)
	var n int
	_ = json.Unmarshal(r.Data(), &n)
	o.mu.Lock()
	o.numbers = append(o.numbers, n)
	o.most = max(o.most, now)
	o.mu.Unlock()
	time.Sleep(10 * time.Millisecond) // so that others can come meanwhile
	o.running.Add(-1)
	_ = r.RespondJSON(n)
}

func (o *orderly) result() map[string]any {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]any{"numbers": o.numbers, "most": o.most}
	o.numbers, o.most = nil, 0
	return out
}
