package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/webserver"
)

// Limits of the pages.
const (
	loginTime = 10 * time.Minute
	// callbackTime is how long a callback may wait for the provider and the buckets. An answer
	// after webserver.WriteTimeout would not reach the browser, and leave a session without a
	// cookie.
	callbackTime = webserver.WriteTimeout - 5*time.Second
)

func (s *source) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+s.cfg.path("/login"), s.login)
	mux.HandleFunc("GET "+s.cfg.path("/callback"), s.callback)
	if s.cfg.ResponseMode == formPost {
		mux.HandleFunc("POST "+s.cfg.path("/callback"), s.posted)
	}
	mux.HandleFunc("GET "+s.cfg.path("/frontchannel"), toTheEnd(s.frontchannel))
	mux.HandleFunc("GET "+s.cfg.path("/session"), s.fromPage(s.session))
	mux.HandleFunc("POST "+s.cfg.path("/logout"), s.fromPage(toTheEnd(s.logout)))
	mux.HandleFunc("POST "+s.cfg.path("/backchannel"), s.backchannel)
	if s.cfg.Worker != nil {
		mux.Handle("GET "+s.cfg.path("/worker.js"), s.workerPage())
	}
	if s.cfg.Ticket > 0 {
		mux.HandleFunc("POST "+s.cfg.path("/ticket"), s.fromPage(s.issue))
	}
	for _, page := range []string{"/login", "/callback", "/frontchannel"} {
		mux.HandleFunc("HEAD "+s.cfg.path(page), noHead)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", closedPage)
		defer s.recovered(w)
		if !webserver.ReadBody(w, r, takesBody(mux, r)) {
			return
		}
		webserver.Working(r)
		mux.ServeHTTP(w, r)
	})
}

// takesBody reports whether a page reads the body of a request.
func takesBody(mux *http.ServeMux, r *http.Request) bool {
	_, pattern := mux.Handler(r)
	return strings.HasPrefix(pattern, http.MethodPost+" ")
}

// endTime is how long a page may take that continues without its client.
const endTime = 10 * time.Second

// toTheEnd is for pages that end a session. They continue when the browser cancels the request, as
// it does when the visitor leaves the page.
func toTheEnd(do http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), endTime)
		defer cancel()
		do(w, r.WithContext(ctx))
	}
}

// noHead is for pages that change something, which HEAD must not do (RFC 9110, section 9.2.1).
func noHead(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", http.MethodGet)
	webserver.Fail(w, http.StatusMethodNotAllowed, "only GET")
}

// recovered answers a request whose page has panicked. It logs where that was, but not the text of
// the panic, which may contain a credential. net/http would log that.
func (s *source) recovered(w http.ResponseWriter) {
	if p := recover(); p != nil {
		s.logged.Error("fault", "login pages", "source", s.cfg.Name, "error", session.Fault(session.ErrFault))
		webserver.Fail(w, http.StatusInternalServerError, "fault in the login pages")
	}
}

// closedPage is a Content-Security-Policy: nothing in the answer runs, and no page frames it.
const closedPage = "default-src 'none'; frame-ancestors 'none'"

// fromPage refuses requests from pages of other origins. Browsers say in Origin or Sec-Fetch-Site
// where a request comes from. A client that sends neither is not a browser, so no other site can
// make it attach a visitor's cookie.
func (s *source) fromPage(do http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
		listed := origin == s.cfg.origin() || slices.Contains(s.cfg.Origins, origin)
		w.Header().Add("Vary", "Origin")
		switch {
		case len(r.Header.Values("Origin")) > 1, origin != "" && !listed, origin == "" && site != "" && site != "same-origin" && site != "none",
			origin == "" && r.Method != http.MethodGet && site != "same-origin":
			webserver.Fail(w, http.StatusForbidden, "not from this origin")
			return
		case origin != "" && origin != s.cfg.origin():
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
		do(w, r)
	}
}

// failLogin is like webserver.Fail, for a visitor who has been sent here by a page.
func failLogin(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<!doctype html><meta charset=utf-8><title>Login</title><p>%s <a href=login>Try again</a>\n", text)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // an error says that the browser has disconnected
}

func (s *source) cookie(name, value string, life time.Duration, site http.SameSite) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(life / time.Second), HttpOnly: true, Secure: s.cfg.secure(), SameSite: site,
	}
}

func (s *source) sessionCookie(value string, life time.Duration) *http.Cookie {
	site := http.SameSiteLaxMode
	if s.cfg.SameSite == sameSiteStrict {
		site = http.SameSiteStrictMode
	}
	return s.cookie(s.cfg.CookieName, value, life, site)
}

// forget returns the cookie with which the browser removes one.
func forget(c *http.Cookie) *http.Cookie {
	c.MaxAge = -1
	return c
}

// current returns the key of the session whose cookie a request has.
func (s *source) current(r *http.Request) (key string, ok bool) {
	// Two cookies count as none: a page of a sibling domain may have set one of them.
	cookies := r.CookiesNamed(s.cfg.CookieName)
	if len(cookies) != 1 || cookies[0].Value == "" {
		return "", false
	}
	return hashed(cookies[0].Value), true
}

// broken answers a request that failed because of us or of the store. A request that the browser
// canceled is not such a failure, and its log line must not use up the limit of real ones.
func (s *source) broken(w http.ResponseWriter, what string, err error) {
	if errors.Is(err, context.Canceled) {
		s.logged.Debug("given up", "login pages: a request was given up", "source", s.cfg.Name, "page", what)
	} else {
		s.logged.Error("broken", "login pages", "source", s.cfg.Name, "page", what, "error", err)
	}
	webserver.Fail(w, http.StatusServiceUnavailable, "sessions cannot be kept at the moment; please try again")
}

// serve starts to serve the pages. It is an error if another process listens on the address.
func (s *source) serve() error {
	listener, err := webserver.Listen(s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("login pages: %w", err)
	}
	pages := webserver.New(listener, s.cfg.listenTLS, s.logged.Lines("connection", "login pages: a connection"), s.pages())
	s.mu.Lock()
	s.web = pages
	s.mu.Unlock()
	s.env.Log.Info("login pages", "source", s.cfg.Name, "address", pages.Address(), "public_url", s.cfg.PublicURL)
	s.work.Go(func() {
		if err := pages.Run(); err != nil {
			s.env.Log.Error("login pages", "source", s.cfg.Name, "error", err)
			s.failed.Store(&err)
		}
	})
	return nil
}
