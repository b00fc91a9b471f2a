package oidc

import (
	"context"
	"errors"
	"slices"
	"strings"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/openid"
	"stamp/server/callout/session/internal/stored"
)

type source struct {
	cfg      *Config
	provider *openid.Provider
}

// maxToken is how long a token may be, in bytes.
const maxToken = 16 << 10

// Open returns the source. It asks for the provider's keys in the background,
// until Close: a provider that is down does not keep the handler from starting.
func (c *Config) Open(ctx context.Context, env session.Env) (session.Source, error) {
	return source{c, c.Config.Open(ctx, env.Log.With("source", c.Name))}, nil
}

// Close ends the asking, and closes the connections to the provider.
func (s source) Close() error {
	s.provider.Close()
	return nil
}

// Accepts takes what looks like a signed token: three parts, of which the first
// is a JSON object in base64url.
func (s source) Accepts(r *session.Request) (string, bool) {
	token := r.Credential.Value
	if k := r.Credential.Kind; k != session.Cookie && k != session.Token || len(token) > maxToken {
		return "", false
	}
	return token, strings.Count(token, ".") == 2 && strings.HasPrefix(token, "ey")
}

// Find checks the token.
func (s source) Find(ctx context.Context, r *session.Request) (*session.Session, error) {
	text, ok := s.Accepts(r)
	if !ok {
		return nil, session.ErrUnknown
	}
	found, err := s.find(ctx, text)
	var invalid openid.Invalid
	if errors.As(err, &invalid) {
		return nil, session.Unknown(string(invalid))
	}
	return found, err
}

func (s source) find(ctx context.Context, text string) (*session.Session, error) {
	token, err := s.cfg.ParseToken(text)
	if err != nil {
		return nil, err
	}
	// What it says of itself is enough to refuse it: one of another provider, or one
	// that is over, is no reason to ask for keys, and does not depend on whether they can be had.
	found, err := s.cfg.read(token)
	if err != nil {
		return nil, err
	}
	if err := s.provider.Verify(ctx, token); err != nil {
		return nil, err
	}
	return found, nil
}

// Reasons why a token is not taken.
const (
	errType     = openid.Invalid("typ is neither that of an ID token nor that of an access token")
	errAudience = openid.Invalid("aud has none of the configured audience")
	errClient   = openid.Invalid("client_id is not one of the configured client_id")
	errScope    = openid.Invalid("scope, or scp, lacks one of the configured scopes")
)

// read makes a session of a token's claims. The error is openid.Invalid: the token
// is not one for us, or not now.
func (c *Config) read(t *openid.Token) (*session.Session, error) {
	// The provider signs others with the same keys, such as logout tokens (RFC 8725, 3.11).
	if !slices.Contains([]string{"", "jwt", "at+jwt"}, t.Type) {
		return nil, errType
	}
	if err := c.CheckIssuer(t.Claims); err != nil {
		return nil, err
	}
	if err := openid.CheckPerson(t.Claims); err != nil {
		return nil, err
	}
	if err := c.checkFor(t.Claims); err != nil {
		return nil, err
	}
	ends, err := c.CheckTimes(t.Claims, false)
	if err != nil {
		return nil, err
	}
	issuer, _ := t.Claims["iss"].(string)
	subject, _ := t.Claims["sub"].(string)
	return &session.Session{
		Data: t.Claims,
		// As the check reads it, so that a token is not found and over at once.
		Expires: ends.Add(c.ClockSkew),
		// Of the person, not of the token: who logs out does so with all tokens.
		Key: stored.SessionKey(issuer + "\n" + subject),
	}, nil
}

// checkFor tells whether the token is for us.
func (c *Config) checkFor(claims map[string]any) error {
	client, _ := claims["client_id"].(string)
	switch {
	case openid.IsFor(claims, c.Audience...), client != "" && slices.Contains(c.ClientID, client):
	case len(c.Audience) > 0:
		return errAudience
	default:
		return errClient
	}
	if !openid.HasScopes(claims, c.Scopes) {
		return errScope
	}
	return nil
}
