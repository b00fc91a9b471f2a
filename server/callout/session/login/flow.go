package login

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"time"
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

func (s *source) login(w http.ResponseWriter, r *http.Request) {
	to := r.URL.Query().Get("to")
	if to == "" {
		to = s.cfg.AfterLogin
	}
	if !isLocalPath(to) {
		fail(w, http.StatusBadRequest, "to: must be a path of this site")
		return
	}
	l := pending{
		State: newSecret(), Nonce: newSecret(), Verifier: newSecret(), To: to, Expires: time.Now().Add(loginTime).Unix(),
	}
	at, err := s.authorizationURL(r.Context(), l)
	if err != nil {
		s.away(w, err)
		return
	}
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
	http.Redirect(w, r, at, http.StatusSeeOther)
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
	ctx := r.Context()
	tokens, err := s.exchange(ctx, r.URL.Query().Get("code"), l.Verifier)
	switch {
	case errors.Is(err, errNoProvider):
		s.away(w, err)
		return
	case err != nil:
		s.refuse(w, "code: "+err.Error())
		return
	}
	e, err := s.newEntry(ctx, tokens, l.Nonce)
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
