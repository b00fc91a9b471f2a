package login

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Faults of a provider's answer. They hold nothing of it.
var (
	errNoIDToken = errors.New("the answer has no ID token")
	errIDToken   = errors.New("the ID token is not valid")
	errNonce     = errors.New("the ID token was made for another login")
	errSubject   = errors.New("the ID token is another person's")
)

// newEntry makes the session of what the provider answered at a login.
func (s *source) newEntry(ctx context.Context, token *oauth2.Token, nonce string) (*entry, error) {
	p, err := s.discovered(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	e := &entry{Login: now.Unix(), Expires: now.Add(s.cfg.Lifetime).Unix()}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, errNoIDToken
	}
	id, err := s.verify(ctx, p, raw)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return nil, errNonce
	}
	e.IDToken = raw
	if err := e.take(id); err != nil {
		return nil, err
	}
	e.renew(token)
	return e, nil
}

func (s *source) verify(ctx context.Context, p *oidc.Provider, raw string) (*oidc.IDToken, error) {
	id, err := p.VerifierContext(s.client(context.WithoutCancel(ctx)), &oidc.Config{ClientID: s.cfg.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, errIDToken // its text quotes claims
	}
	return id, nil
}

// take puts what an ID token says into the session.
func (e *entry) take(id *oidc.IDToken) error {
	var claims map[string]any
	var known struct {
		SID string `json:"sid"`
	}
	if id.Claims(&claims) != nil || id.Claims(&known) != nil || id.Subject == "" {
		return errIDToken
	}
	for _, name := range []string{"nonce", "at_hash", "c_hash"} { // of the protocol
		delete(claims, name)
	}
	e.Claims, e.Subject = claims, id.Subject
	if known.SID != "" {
		e.SID = known.SID
	}
	return nil
}

// renew puts the tokens of an answer into the session. Without a refresh token it ends with the
// access token.
func (e *entry) renew(token *oauth2.Token) {
	e.AccessToken, e.AccessExpires = token.AccessToken, 0
	if token.RefreshToken != "" {
		e.RefreshToken = token.RefreshToken
	}
	if token.Expiry.IsZero() {
		return
	}
	e.AccessExpires = token.Expiry.Unix()
	if e.RefreshToken == "" {
		e.Expires = min(e.Expires, e.AccessExpires)
	}
}

// logoutEvent is OpenID Connect Back-Channel Logout 1.0, section 2.4.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// logoutAge is how old a logout token may be.
const logoutAge = 5 * time.Minute

// logoutToken is what counts of one.
type logoutToken struct {
	Subject string         `json:"sub"`
	SID     string         `json:"sid"`
	ID      string         `json:"jti"`
	Issued  float64        `json:"iat"`
	Events  map[string]any `json:"events"`
	Nonce   any            `json:"nonce"`
}

// logoutOf verifies a logout token (section 2.6).
func (s *source) logoutOf(ctx context.Context, p *oidc.Provider, raw string) (*logoutToken, error) {
	verified, err := s.verify(ctx, p, raw)
	if err != nil {
		return nil, errors.New("it is not valid")
	}
	var t logoutToken
	if verified.Claims(&t) != nil {
		return nil, errors.New("it is not valid")
	}
	event, isEvent := t.Events[logoutEvent]
	_, isObject := event.(map[string]any)
	age := time.Since(time.Unix(int64(t.Issued), 0))
	switch {
	case !isEvent || !isObject:
		return nil, errors.New("it is no logout token")
	case t.Nonce != nil:
		return nil, errors.New("it has a nonce, as ID tokens have")
	case t.ID == "" || t.Subject == "" && t.SID == "":
		return nil, errors.New("it names nobody")
	case age > logoutAge || age < -logoutAge:
		return nil, errors.New("it was issued too long ago, or is not yet valid")
	}
	return &t, nil
}

// backchannel ends the sessions that the provider ends.
func (s *source) backchannel(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	p, err := s.discovered(ctx)
	if err != nil {
		fail(w, http.StatusBadGateway, "the provider's keys cannot be read")
		return
	}
	store, err := s.opened(ctx)
	if err != nil {
		s.broken(w, "backchannel", err)
		return
	}
	t, err := s.logoutOf(ctx, p, r.PostFormValue("logout_token"))
	if err != nil {
		s.env.Log.Warn("logout token refused", "source", s.cfg.Name, "reason", err.Error())
		fail(w, http.StatusBadRequest, "logout token refused")
		return
	}
	switch first, err := store.once(ctx, t.ID); {
	case err != nil:
		s.broken(w, "backchannel", err)
		return
	case !first:
		s.env.Log.Warn("logout token refused", "source", s.cfg.Name, "reason", "it came before")
		fail(w, http.StatusBadRequest, "logout token refused")
		return
	}
	name := "sid." + hashed(t.SID)
	if t.SID == "" {
		name = "sub." + hashed(t.Subject)
	}
	n, err := store.endAll(ctx, name)
	if err != nil {
		s.broken(w, "backchannel", err)
		return
	}
	s.metrics.backchannel.Inc()
	s.env.Log.Info("sessions ended by the provider", "source", s.cfg.Name, "sessions", n)
	w.WriteHeader(http.StatusOK)
}
