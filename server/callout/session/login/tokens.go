package login

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"stamp/server/callout/session/internal/openid"
	"stamp/server/callout/session/internal/stored"
)

// Faults of a provider's answer. They hold nothing of it.
var (
	errNoIDToken     = errors.New("the answer has no ID token")
	errNoAccessToken = errors.New("the answer has no access token")
	errNonce         = errors.New("the ID token was made for another login")
	errPerson        = errors.New("the ID token is another person's")
)

// maxClaims bounds the claims of a session, as JSON in bytes. The access token, which comes with an ID token in one
// answer, needs the rest of what a session may have.
const maxClaims = stored.MaxContent / 2

// Reasons why a token of the provider is not taken, beside those of package openid.
const (
	errAudience = openid.Invalid("aud does not have client_id")
	errParty    = openid.Invalid("azp is another client")
)

// newEntry makes the session of what the provider answered at a login, of which that is the nonce.
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

// verify returns the claims of an ID token (OpenID Connect Core 1.0, section 3.1.3.7).
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

// partyClaim is the client that an ID token was issued to, where aud has several.
const partyClaim = "azp"

// checkParty tells whether a token is this provider's, and for this client.
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

// tenant is that of a person, where the issuer has many: subjects are those of one tenant.
func (c *Config) tenant(claims map[string]any) string {
	if len(c.Tenants) == 0 {
		return ""
	}
	tenant, _ := claims["tid"].(string)
	return tenant
}

// protocolClaims are those of an ID token that are about one answer of the provider, and not about the
// person.
var protocolClaims = []string{"nonce", "at_hash", "c_hash"}

// personal returns the claims of an ID token without those.
func personal(claims map[string]any) map[string]any {
	claims = maps.Clone(claims)
	for _, name := range protocolClaims {
		delete(claims, name)
	}
	return claims
}

// take puts the claims of an ID token into the session. Claims that are missing at a refresh are kept:
// the provider may leave them out then (OpenID Connect Core 1.0, section 12.2). Where that would be too many, those of
// before are dropped.
func (e *entry) take(claims map[string]any) (dropped bool) {
	e.Claims, dropped = joined(e.Claims, personal(claims))
	e.FromUserInfo = slices.DeleteFunc(slices.Clone(e.FromUserInfo), func(name string) bool { _, signed := claims[name]; return signed })
	e.Subject, _ = claims["sub"].(string)
	if sid, _ := claims["sid"].(string); e.SID == "" {
		e.SID = sid // the index keeps the one of the login
	}
	return dropped
}

// joined adds claims to those of before, which are dropped where all are too large.
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

// fits tells whether the session is small enough for those who read it.
func (e *entry) fits() error {
	text, err := json.Marshal(e.visible())
	if err != nil || len(text) > stored.MaxContent {
		return errTooLarge
	}
	return nil
}

// takeUserInfo puts the claims of the userinfo endpoint into the session, in place of those that it gave before: what it
// does not say any more is withdrawn. Claims of the ID token stay as they are: they are signed. Whose the session is, ID
// tokens alone tell.
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

// renew puts the tokens of an answer into the session. Where the provider does not tell when the access
// token ends, it is refreshed as if it lived for assumed. Without a refresh token the session ends with
// the access token.
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

// accessEnds is when the access token ends, as far as is known; 0: never. Sessions of older releases may
// lack that: their tokens are refreshed at once.
func (e *entry) accessEnds() int64 {
	switch {
	case e.AccessExpires > 0:
		return e.AccessExpires
	case e.AssumedExpires == 0 && e.RefreshToken != "":
		return e.Login
	}
	return e.AssumedExpires
}
