package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

const cookieName = "session"

// userName is what may log in. The name becomes a token of a NATS subject.
var userName = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

var (
	//go:embed page.html
	pageHTML []byte
	//go:embed page.js
	pageJS []byte
	//go:embed client.js
	clientJS []byte
)

// web is the application's web server. It logs visitors in and owns their
// sessions.
type web struct {
	sessions      *sessions
	browser       string // folder of the browser package's files; empty: the page has to do without
	websocketPort int    // where the page finds NATS, on its own host
	say           sayer
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
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		rw.Header().Set("Content-Security-Policy",
			"default-src 'self'; connect-src 'self' ws:; style-src 'unsafe-inline'; img-src data:")
		_, _ = rw.Write(pageHTML)
	})
	for path, script := range map[string][]byte{"/page.js": pageJS, "/client.js": clientJS} {
		mux.HandleFunc("GET "+path, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			_, _ = rw.Write(script)
		})
	}
	mux.HandleFunc("GET /stamp.js", w.library)
	mux.HandleFunc("GET /worker.js", w.worker)
	mux.HandleFunc("POST /login", w.login)
	mux.HandleFunc("POST /logout", w.logout)
	mux.HandleFunc("POST /refresh", w.refresh)
	mux.HandleFunc("GET /session", w.session)
	return http.NewCrossOriginProtection().Handler(mux)
}

// library is the browser package's part for pages.
func (w *web) library(rw http.ResponseWriter, r *http.Request) {
	if w.browser == "" {
		http.NotFound(rw, r)
		return
	}
	http.ServeFile(rw, r, filepath.Join(w.browser, "stamp.js"))
}

// worker is the browser package's worker, behind the line that tells it where to connect. There are
// no tickets here: the cookie opens the connection.
func (w *web) worker(rw http.ResponseWriter, r *http.Request) {
	if w.browser == "" {
		http.NotFound(rw, r)
		return
	}
	script, err := os.ReadFile(filepath.Join(w.browser, "stamp.worker.js"))
	if err != nil {
		http.Error(rw, "the worker is not there", http.StatusInternalServerError)
		return
	}
	host, _, err := net.SplitHostPort(r.Host) // 127.0.0.1 and localhost have cookies of their own
	if err != nil {
		host = r.Host
	}
	site, err := json.Marshal(map[string]string{
		"websocket": fmt.Sprintf("ws://%s", net.JoinHostPort(host, strconv.Itoa(w.websocketPort))), "session": "/session", "logout": "/logout",
	})
	if err != nil {
		http.Error(rw, "the worker cannot be told where to connect", http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	_, _ = fmt.Fprintf(rw, "self.stampSite=%s;\n%s", site, script)
}

// login believes whoever says a name: how a visitor proves who he is does not
// matter here.
func (w *web) login(rw http.ResponseWriter, r *http.Request) {
	user := r.FormValue("user")
	if !userName.MatchString(user) {
		http.Error(rw, "user is not 1 to 32 of a-z and 0-9", http.StatusBadRequest)
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

// broken tells that the store does not work.
func (w *web) broken(rw http.ResponseWriter, err error) {
	w.say("web", "cannot reach its sessions: %v", err)
	http.Error(rw, "sessions are not available", http.StatusServiceUnavailable)
}

// visitor is what GET /session tells, in the form of the browser package. It holds no id: a script
// may ask too.
type visitor struct {
	Authenticated bool              `json:"authenticated"`
	Claims        map[string]string `json:"claims"`
	Inbox         string            `json:"inbox"`
	WebsocketPort int               `json:"websocket_port"` // for a page without the package
}

// session tells the holder of a cookie whose session it is.
func (w *web) session(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Cache-Control", "no-store")
	// Of two cookies with one name none is believed: one may have been planted.
	cookies := r.CookiesNamed(cookieName)
	if len(cookies) != 1 {
		http.Error(rw, fmt.Sprintf("%d session cookies, want one", len(cookies)), http.StatusUnauthorized)
		return
	}
	user, err := w.sessions.user(r.Context(), cookies[0].Value)
	if err != nil {
		w.broken(rw, err)
		return
	}
	if user == "" {
		http.Error(rw, "no such session", http.StatusUnauthorized)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(visitor{true, map[string]string{"user": user}, inboxPrefix(user), w.websocketPort})
}
