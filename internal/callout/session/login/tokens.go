package login

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"stamp/internal/callout/session/internal/openid"
	"stamp/internal/callout/session/internal/stored"
)

// Errors of a provider's answer. They contain nothing of it.
var (
	errNoIDToken     = errors.New("the answer has no ID token")
	errNoAccessToken = errors.New("the answer has no access token")
	errNonce         = errors.New("the ID token was made for another login")
	errPerson        = errors.New("the ID token is another person's")
)

// maxClaims is the greatest size of a session's claims as JSON, in bytes. The rest of what a
// session may have is for the access token, which comes with an ID token in one answer.
const maxClaims = stored.MaxContent / 2

// Reasons to refuse a token, in addition to those of package openid.
const (
	errAudience = openid.Invalid("aud does not have client_id")
	errParty    = openid.Invalid("azp is another client")
)

// newEntry returns the session for the provider's answer at a login, whose nonce is given.
func (s *source) newEntry(ctx context.Context, tokens *openid.Tokens, l began, nonce string) (*entry, error) {
	now := time.Now()
	e := &entry{Client: s.cfg.ClientID, Login: now.Unix(), Expires: now.Add(s.cfg.Lifetime).Unix()}
	if tokens.ID == "" {
		return nil, errNoIDToken
	}
	if tokens.Access == "" {
		return nil, errNoAccessToken
	}
	claims, err := s.verify(ctx, tokens.ID)
	if err != nil {
		return nil, err
	}
	given, _ := claims["nonce"].(string)
	if subtle.ConstantTimeCompare([]byte(given), []byte(nonce)) != 1 {
		return nil, errNonce
	}
	if err := s.cfg.checkAuthTime(claims, l.asked()); err != nil {
		return nil, err
	}
	e.IDToken = tokens.ID
	e.take(claims)
	e.Tenant = s.cfg.tenant(claims)
	e.renew(tokens, s.cfg.AccessLifetime)
	if !s.cfg.UserInfo {
		return e, e.fits()
	}
	release, err := s.asking.take(ctx, l.Browser)
	if err != nil {
		return nil, err
	}
	defer release()
	more, err := s.provider.UserInfo(ctx, e.AccessToken, e.Subject)
	if err != nil {
		return nil, err
	}
	e.takeUserInfo(claims, more)
	return e, e.fits()
}

// verify verifies an ID token and returns its claims (OpenID Connect Core 1.0, section 3.1.3.7).
func (s *source) verify(ctx context.Context, raw string) (map[string]any, error) {
	t, err := s.cfg.ParseToken(raw)
	if err != nil {
		return nil, err
	}
	if err := openid.CheckPerson(t.Claims); err != nil {
		return nil, err
	}
	if err := s.cfg.checkParty(t.Claims); err != nil {
		return nil, err
	}
	if _, err := s.cfg.CheckTimes(t.Claims, false); err != nil {
		return nil, err
	}
	return t.Claims, s.provider.VerifyOwn(ctx, t)
}

// partyClaim names the client to which an ID token was issued, if aud has several values.
const partyClaim = "azp"

// checkParty returns an error unless a token is from our provider and for our client.
func (c *Config) checkParty(claims map[string]any) error {
	if err := c.CheckIssuer(claims); err != nil {
		return err
	}
	if !openid.IsFor(claims, c.ClientID) {
		return errAudience
	}
	if party := claims[partyClaim]; party != nil && party != c.ClientID {
		return errParty
	}
	return nil
}

// tenant returns the tenant of a person if the issuer has many: then subjects are unique within a
// tenant only.
func (c *Config) tenant(claims map[string]any) string {
	if len(c.Tenants) == 0 {
		return ""
	}
	tenant, _ := claims["tid"].(string)
	return tenant
}

// protocolClaims are the claims of an ID token that concern one answer, and not the person.
var protocolClaims = []string{"nonce", "at_hash", "c_hash"}

// personal returns the claims of an ID token without protocolClaims.
func personal(claims map[string]any) map[string]any {
	claims = maps.Clone(claims)
	for _, name := range protocolClaims {
		delete(claims, name)
	}
	return claims
}

// take sets the claims of an ID token. Claims that are missing in a refreshed token are kept,
// because the provider may leave them out (OpenID Connect Core 1.0, section 12.2). If that would be
// too many claims, the old ones are dropped.
func (e *entry) take(claims map[string]any) (dropped bool) {
	e.Claims, dropped = joined(e.Claims, personal(claims))
	e.FromUserInfo = slices.DeleteFunc(slices.Clone(e.FromUserInfo), func(name string) bool { _, signed := claims[name]; return signed })
	e.Subject, _ = claims["sub"].(string)
	if sid, _ := claims["sid"].(string); e.SID == "" {
		e.SID = sid // stays the one of the login, as in the index
	}
	return dropped
}

// joined returns the old claims with the new ones on top. If that is too much, it returns the new
// ones only.
func joined(before, claims map[string]any) (all map[string]any, dropped bool) {
	if len(before) == 0 {
		return claims, false
	}
	all = maps.Clone(before)
	maps.Copy(all, claims)
	if text, err := json.Marshal(all); err != nil || len(text) > maxClaims {
		return claims, true
	}
	return all, false
}

// fits returns an error if the session is too large for its readers.
func (e *entry) fits() error {
	text, err := json.Marshal(e.visible())
	if err != nil || len(text) > stored.MaxContent {
		return errTooLarge
	}
	return nil
}

// takeUserInfo sets the claims of the userinfo endpoint. They replace those that it returned
// before, so that claims which it does not return any more disappear. Claims of the ID token stay
// as they are, because they are signed. Only ID tokens decide whose session it is.
func (e *entry) takeUserInfo(idToken, more map[string]any) (dropped bool) {
	before := maps.Clone(e.Claims)
	for _, name := range e.FromUserInfo {
		delete(before, name)
	}
	e.FromUserInfo = nil
	all := personal(idToken)
	for name, value := range more {
		if _, signed := idToken[name]; !signed && name != partyClaim {
			all[name] = value
			e.FromUserInfo = append(e.FromUserInfo, name)
		}
	}
	slices.Sort(e.FromUserInfo)
	e.Claims, dropped = joined(before, all)
	return dropped
}

// renew sets the tokens of an answer. If the provider does not say when the access token expires,
// it is refreshed as if it lived for the time assumed. Without a refresh token, the session ends
// with the access token.
func (e *entry) renew(tokens *openid.Tokens, assumed time.Duration) {
	e.AccessToken, e.AccessExpires, e.AssumedExpires = tokens.Access, 0, 0
	if tokens.Refresh != "" {
		e.RefreshToken = tokens.Refresh
	}
	switch {
	case !tokens.Expires.IsZero():
		e.AccessExpires = tokens.Expires.Unix()
		if e.RefreshToken == "" {
			e.Expires = min(e.Expires, e.AccessExpires)
		}
	case e.RefreshToken != "":
		e.AssumedExpires = time.Now().Add(assumed).Unix()
	}
	e.NotBefore, e.Failures = time.Now().Add(refreshPause).Unix(), 0
}

// accessEnds returns when the access token expires as far as is known, in Unix seconds. 0 is never.
// Sessions of older releases may lack the time; their tokens are refreshed at once.
func (e *entry) accessEnds() int64 {
	switch {
	case e.AccessExpires > 0:
		return e.AccessExpires
	case e.AssumedExpires == 0 && e.RefreshToken != "":
		return e.Login
	}
	return e.AssumedExpires
}
