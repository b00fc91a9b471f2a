package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"stamp/server/callout/session/internal/web"
)

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
