package login

import (
	"context"
	"errors"
	"net/http"
	"time"

	"stamp/internal/callout/session/internal/sealed"

	"stamp/internal/callout/session/internal/webserver"
)

// visitor is what a page may know of who is logged in.
type visitor struct {
	Authenticated bool           `json:"authenticated"`
	Expires       int64          `json:"expires,omitempty"` // Unix seconds
	Claims        map[string]any `json:"claims,omitempty"`
	Inbox         string         `json:"inbox,omitempty"`
}

// visitor returns what a page may know of a session. e is nil if there is none.
func (s *source) visitor(e *entry, key string) (out visitor, err error) {
	if e == nil {
		return out, nil
	}
	out.Authenticated, out.Expires, out.Claims = true, e.Expires, map[string]any{}
	for _, name := range s.cfg.Claims {
		if v, ok := e.Claims[name]; ok {
			out.Claims[name] = v
		}
	}
	out.Inbox, err = s.cfg.inboxOf(e, key)
	return out, err
}

// session serves /session.
func (s *source) session(w http.ResponseWriter, r *http.Request) {
	e, key, ok := s.found(w, r)
	if !ok {
		return
	}
	out, err := s.visitor(e, key)
	if err != nil {
		s.broken(w, "session", err)
		return
	}
	answer(w, out)
}

// found returns the session of a request, or nil if there is none. If ok is not set, it has
// answered the request with an error.
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
	if errors.Is(err, sealed.ErrNotOpened) { // none of the keys opens it, now or later
		s.logged.Warn("sealed", "login: a session cannot be decrypted, as its key is not in the configuration any more, or it was changed; its visitor has to log in again", "source", s.cfg.Name)
		return nil, key, true
	}
	if err != nil && !errors.Is(err, errGone) && !errors.Is(err, errForeign) {
		s.broken(w, "session", err)
		return nil, "", false
	}
	return e, key, true
}

// endOf ends the session of a logout. e is nil if get found no session under the key. A replica of
// the bucket that does not have the entry yet may have said so, so the leader is asked. For a
// cookie that somebody made up, nothing is written.
func (s *source) endOf(ctx context.Context, e *entry, key string) error {
	if key == "" {
		return nil
	}
	if e == nil {
		if has, err := s.kv.Has(ctx, key); err != nil || !has {
			return err
		}
	}
	store, err := s.opened(ctx)
	if err != nil {
		return err
	}
	if err := store.end(ctx, key); err != nil {
		return err
	}
	if e != nil {
		s.metrics.logouts.Inc()
	}
	return nil
}

// logout serves /logout. It ends the session, and says where the browser can end the provider's
// session.
func (s *source) logout(w http.ResponseWriter, r *http.Request) {
	e, key, ok := s.found(w, r)
	if !ok {
		return
	}
	out := struct {
		LoggedOut  bool   `json:"logged_out"`
		EndSession string `json:"end_session_url,omitempty"`
	}{LoggedOut: true}
	if err := s.endOf(r.Context(), e, key); err != nil {
		s.broken(w, "logout", err)
		return
	}
	// Also if the session had already ended, because the provider's may go on.
	out.EndSession = s.endSession(r.Context(), e)
	// Last, because without the cookie nobody could try again.
	http.SetCookie(w, forget(s.sessionCookie("", 0)))
	answer(w, out)
}

func (s *source) issue(w http.ResponseWriter, r *http.Request) {
	e, key, ok := s.found(w, r)
	switch {
	case !ok:
		return
	case e == nil:
		webserver.Fail(w, http.StatusUnauthorized, "not logged in")
		return
	}
	var nkey, secret string
	var err error
	if s.cfg.Worker != nil {
		nkey, err = s.enrolled(r, key)
	}
	if err == nil {
		secret, err = s.cfg.own.newTicket(key, nkey, s.cfg.Ticket)
	}
	switch {
	case notEnrolled(err):
		s.metrics.notEnrolled.Inc()
		s.logged.Warn("ticket refused", "a ticket is refused", "source", s.cfg.Name, "reason", err)
		webserver.Fail(w, http.StatusForbidden, "tickets are for the worker of this page")
		return
	case err != nil:
		s.broken(w, "ticket", err)
		return
	}
	s.metrics.tickets.Inc()
	answer(w, map[string]any{"ticket": secret, "expires_in": int(s.cfg.Ticket / time.Second)})
}
