package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const cookieName = "session"

// userName says which names may log in. The name becomes a token of a NATS subject.
var userName = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

const userFault = "user: expected 1 to 32 of a-z and 0-9"

//go:embed page.html page.css page.js client.js attacks.js board.js foreign.html foreign.js
var files embed.FS

var pageHTML = template.Must(template.ParseFS(files, "page.html"))

// The page's own policy. It has no inline script and no inline style, and talks to its own origin
// alone. foreign.html is in a frame of an origin of its own.
const (
	pagePolicy = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; " +
		"connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	foreignPolicy = "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'self'"
	signInPolicy  = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

// web is the application's web server: one origin with the page, the login and, behind it, the
// NATS server's websocket.
type web struct {
	sessions  *sessions
	websocket string // URL of the NATS server's
	say       sayer
	browser   string       // folder of the browser package's files; empty: the page does without
	worker    *workerPages // nil: the cookie of the application's own login opens connections
}

// workerPages is what the web server has if a worker owns the connection of each page.
type workerPages struct {
	origin   string // of the page
	pages    string // address of the handler's pages
	provider *provider
	leak     leak
}

// serve serves on l until ctx ends.
func (w *web) serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: w.handler(), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the page on %s: %w", l.Addr(), err)
	}
	return nil
}

func (w *web) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.page)
	for _, name := range []string{"page.css", "page.js", "client.js", "attacks.js", "board.js", "foreign.js"} {
		mux.HandleFunc("GET /"+name, w.file)
	}
	mux.HandleFunc("GET /foreign.html", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Security-Policy", foreignPolicy)
		w.file(rw, r)
	})
	mux.HandleFunc("GET /icon.svg", icon)
	mux.Handle("GET /nats", proxy(w.websocket))
	mux.HandleFunc("POST /login", w.login)
	mux.HandleFunc("POST /logout", w.logout)
	mux.HandleFunc("POST /refresh", w.refresh)
	mux.HandleFunc("GET /session", w.session)
	mux.HandleFunc("POST /attack/search", w.search)
	mux.HandleFunc("POST /attack/malformed", w.malformed)
	if w.browser != "" {
		mux.HandleFunc("GET /stamp.js", func(rw http.ResponseWriter, r *http.Request) {
			http.ServeFile(rw, r, filepath.Join(w.browser, "stamp.js"))
		})
		mux.HandleFunc("GET /worker.js", w.workerScript)
	}
	if w.worker != nil {
		w.worker.register(mux)
	}
	return http.NewCrossOriginProtection().Handler(mux)
}

func (p *workerPages) register(mux *http.ServeMux) {
	p.provider.register(mux)
	pages := proxy("http://" + p.pages)
	pages.ModifyResponse = p.leak.overhear
	mux.Handle("/auth/", pages)
	mux.HandleFunc("GET /attack/ticket", p.leak.serve)
}

// proxy passes requests on as they are: what is behind it looks at Host and Origin.
func proxy(to string) *httputil.ReverseProxy {
	target, err := url.Parse(to)
	if err != nil {
		panic(fmt.Sprintf("demo: address behind the web server: %v", err)) // it comes from our own flags
	}
	return &httputil.ReverseProxy{
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // browsers break off what they do not need any more
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			if strings.HasPrefix(r.In.URL.Path, "/nats") {
				r.Out.URL.Path = "/"
			}
			r.Out.Host = r.In.Host
			r.Out.Header.Set("Accept-Encoding", "identity") // a leak is looked for in answers
		},
	}
}

// How a page connects, as page.html and the scripts know it.
const (
	modeTicket  = "ticket"  // the package's worker, with one-time tickets
	modePackage = "package" // the package's worker, with the cookie
	modeCookie  = "cookie"  // a few lines of the page's own, with the cookie
)

func (w *web) mode() string {
	switch {
	case w.worker != nil:
		return modeTicket
	case w.browser != "":
		return modePackage
	}
	return modeCookie
}

func (w *web) page(rw http.ResponseWriter, r *http.Request) {
	if w.worker != nil && "http://"+r.Host != w.worker.origin { // localhost has cookies of its own
		http.Redirect(rw, r, w.worker.origin, http.StatusFound)
		return
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.Header().Set("Content-Security-Policy", pagePolicy)
	_ = pageHTML.Execute(rw, map[string]string{"Mode": w.mode(), "User": visitorName})
}

func (w *web) file(rw http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(rw, r, files, r.URL.Path[1:])
}

func icon(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "image/svg+xml")
	_, _ = io.WriteString(rw, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#1d4ed8"/>`+
		`<path d="M16 6a5 5 0 0 1 3 9v3h6v4H7v-4h6v-3a5 5 0 0 1 3-9zM7 24h18v2H7z" fill="#fff"/></svg>`)
}

// workerScript is the browser package's worker, behind the line that tells it where to connect. There are no
// tickets here: the cookie opens the connection.
func (w *web) workerScript(rw http.ResponseWriter, r *http.Request) {
	script, err := os.ReadFile(filepath.Join(w.browser, "stamp.worker.js"))
	if err != nil {
		http.Error(rw, "the worker is not there", http.StatusInternalServerError)
		return
	}
	site, err := json.Marshal(map[string]string{"websocket": "ws://" + r.Host + "/nats", "session": "/session", "logout": "/logout"})
	if err != nil {
		http.Error(rw, "the worker cannot be told where to connect", http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	_, _ = fmt.Fprintf(rw, "self.stampSite=%s;\n%s", site, script)
}

// websocketTarget returns where a proxy finds the websocket of that URL.
func websocketTarget(websocket string) string { return "http" + strings.TrimPrefix(websocket, "ws") }

// login believes whoever says a name: how a visitor proves who he is does not
// matter here.
func (w *web) login(rw http.ResponseWriter, r *http.Request) {
	user := r.FormValue("user")
	if !userName.MatchString(user) {
		http.Error(rw, userFault, http.StatusBadRequest)
		return
	}
	id, err := w.sessions.create(r.Context(), user)
	if err != nil {
		w.broken(rw, err)
		return
	}
	// Behind TLS the cookie would be Secure too, and be named __Host-session, so
	// that no other host of the domain can set it (RFC 6265bis, section 4.1.3).
	http.SetCookie(rw, &http.Cookie{
		Name: cookieName, Value: id, Path: "/", MaxAge: int(lifetime.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	w.say("web", "logs %s in: cookie %s=%s; HttpOnly; SameSite=Strict", user, cookieName, mask(id))
	rw.WriteHeader(http.StatusNoContent)
}

func (w *web) logout(rw http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookieName); err == nil {
		user, err := w.sessions.user(r.Context(), c.Value)
		if err == nil && user != "" {
			w.say("web", "logs %s out: deletes the session", user)
			err = w.sessions.remove(r.Context(), c.Value)
		}
		if err != nil {
			w.broken(rw, err)
			return
		}
	}
	http.SetCookie(rw, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	rw.WriteHeader(http.StatusNoContent)
}

// refresh gives the visitor's session a new access token. An application does that by itself,
// before the old one ends.
func (w *web) refresh(rw http.ResponseWriter, r *http.Request) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		http.Error(rw, "no session cookie", http.StatusUnauthorized)
		return
	}
	token, err := w.sessions.refresh(r.Context(), c.Value)
	switch {
	case err != nil:
		w.broken(rw, err)
		return
	case token == "":
		http.Error(rw, "no such session", http.StatusUnauthorized)
		return
	}
	w.say("web", "refreshes the access token in the session: %s", mask(token))
	rw.WriteHeader(http.StatusNoContent)
}

// broken answers that the store does not work.
func (w *web) broken(rw http.ResponseWriter, err error) {
	w.say("web", "cannot reach its sessions: %v", err)
	http.Error(rw, "sessions are not available", http.StatusServiceUnavailable)
}

// visitor is what GET /session says, in the form of the browser package. It holds no id: an injected
// script may ask too.
type visitor struct {
	Authenticated bool              `json:"authenticated"`
	Claims        map[string]string `json:"claims,omitempty"`
	Inbox         string            `json:"inbox,omitempty"`
}

// session says to the holder of a cookie whose session it is.
func (w *web) session(rw http.ResponseWriter, r *http.Request) {
	user, err := w.user(r)
	switch {
	case err != nil:
		w.broken(rw, err)
	case user == "":
		writeJSON(rw, http.StatusOK, visitor{})
	default:
		writeJSON(rw, http.StatusOK, visitor{true, map[string]string{"sub": user}, inboxPrefix(user)})
	}
}

// user returns whose session cookie a request has; empty if there is none. If there are two cookies
// of that name it believes neither: one may have been planted.
func (w *web) user(r *http.Request) (string, error) {
	cookies := r.CookiesNamed(cookieName)
	if len(cookies) != 1 {
		return "", nil
	}
	return w.sessions.user(r.Context(), cookies[0].Value)
}
