package login

import (
	"context"
	"errors"
	"net/http"
	"time"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/openid"
	"stamp/internal/callout/session/internal/webserver"
)

// logoutEvent marks a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

const (
	// logoutAge is the greatest age of a logout token.
	logoutAge = 5 * time.Minute
	// logoutTime is how long the handler tries to end the sessions, even if the provider no longer
	// waits.
	logoutTime = time.Minute
)

// logoutToken is what a logout token says.
type logoutToken struct {
	tenant, subject, sid, id string
	issued                   time.Time
}

// Reasons to refuse a logout token.
const (
	errNotLogout = openid.Invalid("it is no logout token")
	errHasNonce  = openid.Invalid("it has a nonce, as ID tokens have")
	errNobody    = openid.Invalid("it has no jti, or neither sub nor sid")
	errAge       = openid.Invalid("iat is missing, or too long ago")
)

// logoutOf verifies a logout token (section 2.6). exp may be missing: many providers leave it out,
// and iat says how old the token is. The signature is checked last, so that a stranger's token is
// no reason to ask the provider for keys.
func (s *source) logoutOf(ctx context.Context, raw string) (t logoutToken, err error) {
	token, err := s.cfg.ParseToken(raw)
	if err != nil {
		return t, err
	}
	claims := token.Claims
	events, _ := claims["events"].(map[string]any)
	if _, isEvent := events[logoutEvent].(map[string]any); !isEvent || token.Type == "at+jwt" {
		return t, errNotLogout
	}
	if _, has := claims["nonce"]; has {
		return t, errHasNonce
	}
	if err := s.cfg.checkParty(claims); err != nil {
		return t, err
	}
	if _, err := s.cfg.CheckTimes(claims, true); err != nil {
		return t, err
	}
	if t.issued, _ = openid.Date(claims, "iat"); time.Since(t.issued) > logoutAge {
		return t, errAge
	}
	t.tenant = s.cfg.tenant(claims)
	t.subject, _ = claims["sub"].(string)
	t.sid, _ = claims["sid"].(string)
	t.id, _ = claims["jti"].(string)
	if t.id == "" || t.subject == "" && t.sid == "" {
		return t, errNobody
	}
	return t, s.provider.Verify(ctx, token)
}

// backchannel serves /backchannel: it ends the sessions that the provider ends.
func (s *source) backchannel(w http.ResponseWriter, r *http.Request) {
	t, err := s.logoutOf(r.Context(), r.PostFormValue("logout_token"))
	var invalid openid.Invalid
	switch {
	case errors.As(err, &invalid):
		s.logged.Warn("logout refused", "logout token refused", "source", s.cfg.Name, "reason", err.Error())
		webserver.Fail(w, http.StatusBadRequest, "logout token refused")
		return
	case err != nil:
		s.logged.Error("logout unchecked", "logout token cannot be checked", "source", s.cfg.Name, "reason", err.Error())
		webserver.Fail(w, http.StatusServiceUnavailable, "the provider's keys cannot be read; please try again")
		return
	}
	// The work continues if the provider stops waiting. If the provider sends the token again
	// meanwhile, that request waits for the same work.
	done := make(chan error, 1)
	s.work.Go(func() {
		_, err, _ := s.loggingOut.Do(t.tenant+"\n"+t.id, func() (any, error) {
			ctx, cancel := context.WithTimeout(s.finishing, logoutTime)
			defer cancel()
			return nil, s.endByProvider(ctx, t)
		})
		done <- err
	})
	select {
	case err := <-done:
		if err != nil {
			s.broken(w, "backchannel", err)
			return
		}
		w.WriteHeader(http.StatusOK)
	case <-r.Context().Done():
	}
}

// endByProvider ends the sessions that a logout token names. A token that was carried out does
// nothing any more: somebody may send it again after the person has logged in anew. A token counts
// as carried out when all is done, so after a failure it can be sent again.
func (s *source) endByProvider(ctx context.Context, t logoutToken) (err error) {
	defer func() {
		if recover() != nil {
			err = session.Fault(session.ErrFault)
		}
	}()
	store, err := s.opened(ctx)
	if err != nil {
		return err
	}
	if err := store.awaitIndex(ctx); err != nil {
		return err
	}
	done, err := store.carriedOut(ctx, t)
	if err != nil {
		return err
	}
	if done {
		s.logged.Info("logout again", "logout token was carried out before", "source", s.cfg.Name)
		return nil
	}
	noted, err := store.noteEnd(ctx, t) // before the search for sessions: see ended.go
	if err != nil {
		return err
	}
	n, err := store.endNamed(ctx, t, noted)
	if err != nil {
		return err
	}
	if err := s.checkIndex(ctx, store); err != nil {
		return err // the search may have missed sessions
	}
	if err := store.markCarriedOut(ctx, t); err != nil {
		return err
	}
	s.metrics.backchannel.Inc()
	s.env.Log.Info("sessions ended by the provider", "source", s.cfg.Name, "sessions", n)
	return nil
}
