package oidc

import (
	"context"
	"errors"
	"slices"
	"strings"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/openid"
	"stamp/internal/callout/session/internal/stored"
)

type source struct {
	cfg      *Config
	provider *openid.Provider
}

// maxToken is the maximum length of a token in bytes.
const maxToken = 16 << 10

// Open returns the source. It gets the provider's keys in the background until Close, so
// the handler starts even if the provider is down.
func (c *Config) Open(ctx context.Context, env session.Env) (session.Source, error) {
	return source{c, c.Config.Open(ctx, env.Log.With("source", c.Name))}, nil
}

// Close ends the requests for keys, and closes the connections to the provider.
func (s source) Close() error {
	s.provider.Close()
	return nil
}

// Accepts accepts what looks like a signed JWT: three parts, of which the first begins
// like a JSON object in base64url.
func (s source) Accepts(r *session.Request) (string, bool) {
	token := r.Credential.Value
	if k := r.Credential.Kind; k != session.Cookie && k != session.Token || len(token) > maxToken {
		return "", false
	}
	return token, strings.Count(token, ".") == 2 && strings.HasPrefix(token, "ey")
}

// Find verifies the token.
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
	// The claims are checked before the signature. A token of another provider or an expired
	// one is refused without a request for keys, and also while there are no keys.
	found, err := s.cfg.read(token)
	if err != nil {
		return nil, err
	}
	if err := s.provider.Verify(ctx, token); err != nil {
		return nil, err
	}
	return found, nil
}

// Reasons why a token is refused.
const (
	errType     = openid.Invalid("typ is neither that of an ID token nor that of an access token")
	errAudience = openid.Invalid("aud has none of the configured audience")
	errClient   = openid.Invalid("client_id is not one of the configured client_id")
	errScope    = openid.Invalid("scope, or scp, lacks one of the configured scopes")
)

// read returns the session of a token. Its error is an openid.Invalid.
func (c *Config) read(t *openid.Token) (*session.Session, error) {
	// The provider signs other tokens, such as logout tokens, with the same keys (RFC 8725, section 3.11).
	if !slices.Contains([]string{"", "jwt", "at+jwt"}, t.Type) {
		return nil, errType
	}
	if err := c.CheckIssuer(t.Claims); err != nil {
		return nil, err
	}
	if err := openid.CheckPerson(t.Claims); err != nil {
		return nil, err
	}
	if err := c.checkRecipient(t.Claims); err != nil {
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
		// CheckTimes accepts a token until then. With an earlier end, the session of an accepted token
		// could have ended already.
		Expires: ends.Add(c.ClockSkew),
		// The key is that of the person, not of the token: a logout ends the sessions of all tokens.
		Key: stored.SessionKey(issuer + "\n" + subject),
	}, nil
}

// checkRecipient checks that the token has the configured audience or client id, and the
// configured scopes.
func (c *Config) checkRecipient(claims map[string]any) error {
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
