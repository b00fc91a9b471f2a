package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"stamp/server/callout/session/internal/web"
)

// Limits of the pages.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	maxHeader    = 32 << 10 // bytes
	maxForm      = 64 << 10 // bytes
	loginTime    = 10 * time.Minute
)

// serve begins to answer. While an old handler, at a reload, still has the address, it waits.
func (s *source) serve(ctx context.Context) error {
	server := &http.Server{
		Handler: s.pages(), TLSConfig: s.cfg.listenTLS,
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.env.Log.Handler(), slog.LevelDebug),
	}
	listener, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	s.mu.Lock()
	s.web = server
	s.mu.Unlock()
	s.work.Go(func() {
		for listener == nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			if listener, err = net.Listen("tcp", s.cfg.Listen); err != nil {
				listener = nil
			}
		}
		s.run(server, listener)
	})
	return nil
}

func (s *source) run(server *http.Server, listener net.Listener) {
	s.mu.Lock()
	s.address = listener.Addr().String()
	s.mu.Unlock()
	s.env.Log.Info("login pages", "source", s.cfg.Name, "address", listener.Addr().String(), "public_url", s.cfg.PublicURL)
	var err error
	if s.cfg.listenTLS != nil {
		err = server.ServeTLS(listener, "", "")
	} else {
		err = server.Serve(listener)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		s.env.Log.Error("login pages", "source", s.cfg.Name, "error", err)
	}
}

func (s *source) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+s.cfg.path("/login"), s.login)
	mux.HandleFunc("GET "+s.cfg.path("/callback"), s.callback)
	mux.HandleFunc("GET "+s.cfg.path("/session"), s.fromPage(s.session))
	mux.HandleFunc("POST "+s.cfg.path("/logout"), s.fromPage(s.logout))
	mux.HandleFunc("POST "+s.cfg.path("/backchannel"), s.backchannel)
	if s.cfg.Ticket > 0 {
		mux.HandleFunc("POST "+s.cfg.path("/ticket"), s.fromPage(s.issue))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		mux.ServeHTTP(w, r)
	})
}

// fromPage lets only pages of the origins in. Browsers say where a request comes from, in Origin
// or Sec-Fetch-Site; who says nothing is no page, and cannot be made to send the cookie.
func (s *source) fromPage(do http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
		listed := origin == s.cfg.origin() || slices.Contains(s.cfg.Origins, origin)
		w.Header().Add("Vary", "Origin")
		switch {
		case origin != "" && !listed, origin == "" && site != "" && site != "same-origin" && site != "none",
			origin == "" && r.Method != http.MethodGet && site != "same-origin":
			fail(w, http.StatusForbidden, "not from this origin")
			return
		case origin != "" && origin != s.cfg.origin():
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
		do(w, r)
	}
}

// fail answers with a fixed text: nothing of a request is repeated.
func fail(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the browser is gone
}

// pending is a login that is under way. It is kept in a cookie, sealed, so that any handler can
// end it.
type pending struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // PKCE, RFC 7636
	To       string `json:"to"`
	Expires  int64  `json:"expires"`
}

// pendingCookie is a name for each login, so that tabs do not disturb one another.
func (s *source) pendingCookie(state string) string {
	name := "login-" + hashed(state)[:16]
	if s.cfg.secure() {
		name = hostPrefix + name
	}
	return name
}

func (s *source) cookie(name, value string, life time.Duration, site http.SameSite) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(life / time.Second), HttpOnly: true, Secure: s.cfg.secure(), SameSite: site,
	}
}

func (s *source) sessionCookie(value string, life time.Duration) *http.Cookie {
	site := http.SameSiteLaxMode
	if s.cfg.SameSite == "strict" {
		site = http.SameSiteStrictMode
	}
	return s.cookie(s.cfg.CookieName, value, life, site)
}

// forget has the browser drop a cookie.
func forget(c *http.Cookie) *http.Cookie {
	c.MaxAge = -1
	return c
}

// current is the key of the session of a request's cookie.
func (s *source) current(r *http.Request) (key string, ok bool) {
	// Two are none: a page of a sibling domain may have set the other.
	cookies := r.CookiesNamed(s.cfg.CookieName)
	if len(cookies) != 1 || cookies[0].Value == "" {
		return "", false
	}
	return hashed(cookies[0].Value), true
}

// oauth is the client of the token endpoint. How it shows its secret is what the provider says
// (OpenID Connect Discovery 1.0, section 3): to try both ways would hide why one is refused.
func (s *source) oauth(p *oidc.Provider) *oauth2.Config {
	endpoint := p.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	var meta struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if s.cfg.ClientSecret == "" || p.Claims(&meta) == nil && len(meta.Methods) > 0 && !slices.Contains(meta.Methods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: s.cfg.ClientID, ClientSecret: s.cfg.ClientSecret.Reveal(), Endpoint: endpoint,
		RedirectURL: s.cfg.origin() + s.cfg.path("/callback"), Scopes: s.cfg.Scopes,
	}
}

func (s *source) client(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, s.cfg.client.HTTP())
}

func (s *source) login(w http.ResponseWriter, r *http.Request) {
	to := r.URL.Query().Get("to")
	if to == "" {
		to = s.cfg.AfterLogin
	}
	if !isLocalPath(to) {
		fail(w, http.StatusBadRequest, "to: must be a path of this site")
		return
	}
	p, err := s.discovered(r.Context())
	if err != nil {
		fail(w, http.StatusBadGateway, "the login service cannot be reached; please try again")
		return
	}
	l := pending{State: newSecret(), Nonce: newSecret(), Verifier: oauth2.GenerateVerifier(), To: to, Expires: time.Now().Add(loginTime).Unix()}
	text, err := json.Marshal(l)
	name := s.pendingCookie(l.State)
	var sealed []byte
	if err == nil {
		sealed, err = s.cfg.keys.seal(name, text)
	}
	if err != nil {
		s.broken(w, "login", err)
		return
	}
	http.SetCookie(w, s.cookie(name, base64.RawURLEncoding.EncodeToString(sealed), loginTime, http.SameSiteLaxMode))
	http.Redirect(w, r, s.oauth(p).AuthCodeURL(l.State, oidc.Nonce(l.Nonce), oauth2.S256ChallengeOption(l.Verifier)), http.StatusSeeOther)
}

// broken is for faults of ours, or of the store.
func (s *source) broken(w http.ResponseWriter, what string, err error) {
	s.env.Log.Error("login pages", "source", s.cfg.Name, "page", what, "error", err)
	fail(w, http.StatusServiceUnavailable, "sessions cannot be kept at the moment; please try again")
}

// refuse is for logins that go wrong. The reason is logged, and not shown.
func (s *source) refuse(w http.ResponseWriter, reason string) {
	s.metrics.failures.Inc()
	s.env.Log.Warn("login refused", "source", s.cfg.Name, "reason", reason)
	fail(w, http.StatusBadRequest, "the login did not succeed; please try again")
}

// began returns the login that a callback belongs to.
func (s *source) began(r *http.Request) (l pending, ok bool) {
	state := r.URL.Query().Get("state")
	if state == "" {
		return l, false
	}
	name := s.pendingCookie(state)
	cookies := r.CookiesNamed(name)
	if len(cookies) != 1 {
		return l, false
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cookies[0].Value)
	if err != nil {
		return l, false
	}
	text, err := s.cfg.keys.open(name, sealed)
	if err != nil || json.Unmarshal(text, &l) != nil {
		return l, false
	}
	return l, l.State == state && time.Now().Unix() < l.Expires && isLocalPath(l.To)
}

func (s *source) callback(w http.ResponseWriter, r *http.Request) {
	l, ok := s.began(r)
	if !ok {
		s.refuse(w, "no login was begun in this browser, or it was too long ago")
		return
	}
	http.SetCookie(w, forget(s.cookie(s.pendingCookie(l.State), "", 0, http.SameSiteLaxMode)))
	if r.URL.Query().Get("error") != "" {
		s.refuse(w, "the provider refused it")
		return
	}
	p, err := s.discovered(r.Context())
	if err != nil {
		fail(w, http.StatusBadGateway, "the login service cannot be reached; please try again")
		return
	}
	ctx := s.client(r.Context())
	token, err := s.oauth(p).Exchange(ctx, r.URL.Query().Get("code"), oauth2.VerifierOption(l.Verifier))
	if err != nil {
		s.refuse(w, "code: "+reason(err))
		return
	}
	e, err := s.newEntry(ctx, p, token, l.Nonce)
	if err != nil {
		s.refuse(w, err.Error())
		return
	}
	store, err := s.opened(ctx)
	if err != nil {
		s.broken(w, "callback", err)
		return
	}
	// A session that the browser has from before ends: its cookie may not be the visitor's own
	// (session fixation).
	if old, ok := s.current(r); ok {
		if err := store.end(ctx, old); err != nil {
			s.broken(w, "callback", err)
			return
		}
	}
	cookie, err := store.create(ctx, e)
	if err != nil {
		s.broken(w, "callback", err)
		return
	}
	s.metrics.logins.Inc()
	http.SetCookie(w, s.sessionCookie(cookie, s.cfg.Lifetime))
	http.Redirect(w, r, l.To, http.StatusSeeOther)
}

// session tells the page who is logged in.
func (s *source) session(w http.ResponseWriter, r *http.Request) {
	out := struct {
		Authenticated bool           `json:"authenticated"`
		Expires       int64          `json:"expires,omitempty"` // Unix seconds
		Claims        map[string]any `json:"claims,omitempty"`
	}{}
	e, _, ok := s.found(w, r)
	if !ok {
		return
	}
	if e != nil {
		out.Authenticated, out.Expires, out.Claims = true, e.Expires, map[string]any{}
		for _, name := range s.cfg.Claims {
			if v, ok := e.Claims[name]; ok {
				out.Claims[name] = v
			}
		}
	}
	answer(w, out)
}

// found returns the session of a request, nil when there is none; not ok when that was answered
// with an error.
func (s *source) found(w http.ResponseWriter, r *http.Request) (e *entry, key string, ok bool) {
	store, err := s.opened(r.Context())
	if err != nil {
		s.broken(w, "session", err)
		return nil, "", false
	}
	key, has := s.current(r)
	if !has {
		return nil, "", true
	}
	e, _, err = store.get(r.Context(), key)
	if err != nil && !errors.Is(err, errGone) {
		s.broken(w, "session", err)
		return nil, "", false
	}
	return e, key, true
}

// logout ends the session here, and says where the browser can end that of the provider.
func (s *source) logout(w http.ResponseWriter, r *http.Request) {
	e, key, ok := s.found(w, r)
	if !ok {
		return
	}
	http.SetCookie(w, forget(s.sessionCookie("", 0)))
	out := struct {
		LoggedOut  bool   `json:"logged_out"`
		EndSession string `json:"end_session_url,omitempty"`
	}{LoggedOut: true}
	if e != nil {
		store, err := s.opened(r.Context())
		if err == nil {
			err = store.end(r.Context(), key)
		}
		if err != nil {
			s.broken(w, "logout", err)
			return
		}
		s.metrics.logouts.Inc()
		out.EndSession = s.endSession(r.Context(), e)
	}
	answer(w, out)
}

// endSession is the URL of OpenID Connect RP-Initiated Logout 1.0, section 2; empty when the
// provider has none.
func (s *source) endSession(ctx context.Context, e *entry) string {
	p, err := s.discovered(ctx)
	if err != nil {
		return ""
	}
	var meta struct {
		URL string `json:"end_session_endpoint"`
	}
	u := &url.URL{}
	if p.Claims(&meta) == nil && meta.URL != "" {
		u, err = url.Parse(meta.URL)
	}
	if err != nil || u.Host == "" {
		return ""
	}
	q := u.Query()
	// Not id_token_hint: the page would get the ID token.
	q.Set("client_id", s.cfg.ClientID)
	q.Set("post_logout_redirect_uri", s.cfg.origin()+s.cfg.AfterLogout)
	u.RawQuery = q.Encode()
	return u.String()
}

func (s *source) issue(w http.ResponseWriter, r *http.Request) {
	e, key, ok := s.found(w, r)
	switch {
	case !ok:
		return
	case e == nil:
		fail(w, http.StatusUnauthorized, "not logged in")
		return
	}
	store, err := s.opened(r.Context())
	var secret string
	if err == nil {
		secret, err = store.issue(r.Context(), key, s.cfg.Ticket)
	}
	if err != nil {
		s.broken(w, "ticket", err)
		return
	}
	s.metrics.tickets.Inc()
	answer(w, map[string]any{"ticket": secret, "expires_in": int(s.cfg.Ticket / time.Second)})
}

// reason is what may be logged of an error of the token endpoint: its code, of the ones that
// RFC 6749, section 5.2, has; what is not in there may repeat the request.
func reason(err error) string {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		if slices.Contains([]string{
			"invalid_request", "invalid_client", errInvalidGrant, "unauthorized_client", "unsupported_grant_type", "invalid_scope",
		}, refused.ErrorCode) {
			return "the provider answers " + refused.ErrorCode
		}
		return "the provider answers with an error"
	}
	return web.Clean(err).Error()
}

const errInvalidGrant = "invalid_grant"
