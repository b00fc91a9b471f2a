package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/stored"
)

type source struct {
	cfg  *Config
	keys *keySet
}

// maxToken is how long a token may be, in bytes.
const maxToken = 16 << 10

// Open returns the source. It asks for the provider's keys in the background: a
// provider that is down does not keep the handler from starting.
func (c *Config) Open(ctx context.Context, env session.Env) (session.Source, error) {
	s := source{c, &keySet{cfg: c}}
	go func() {
		if err := s.keys.refresh(context.WithoutCancel(ctx)); err != nil {
			env.Log.Warn("OpenID provider is not there yet", "source", c.Name, "error", err)
		}
	}()
	return s, nil
}

// Close closes the connections to the provider.
func (s source) Close() error {
	s.cfg.client.Close()
	return nil
}

// Accepts takes what looks like a signed token: three parts of base64url.
func (s source) Accepts(r *session.Request) (string, bool) {
	token := r.Credential.Value
	if k := r.Credential.Kind; k != session.Cookie && k != session.Token || len(token) > maxToken {
		return "", false
	}
	return token, strings.Count(token, ".") == 2 && strings.HasPrefix(token, "ey")
}

// Find checks the token.
func (s source) Find(ctx context.Context, r *session.Request) (*session.Session, error) {
	token, ok := s.Accepts(r)
	if !ok {
		return nil, session.ErrUnknown
	}
	// Nothing but the algorithms that are configured: never "none", and never one
	// whose key would be the provider's public key.
	signed, err := jose.ParseSignedCompact(token, s.cfg.algorithms)
	if err != nil || len(signed.Signatures) != 1 || !isToken(signed.Signatures[0].Protected) {
		return nil, session.ErrUnknown
	}
	keys, err := s.keys.find(ctx, signed.Signatures[0].Protected.KeyID)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if key.Algorithm != "" && key.Algorithm != signed.Signatures[0].Protected.Algorithm {
			continue
		}
		if payload, err := signed.Verify(key); err == nil {
			return s.read(payload)
		}
	}
	return nil, session.ErrUnknown
}

// isToken tells whether the type is that of an ID or access token. The provider
// signs others with the same keys, such as logout tokens (RFC 8725, 3.11).
func isToken(h jose.Header) bool {
	typ, ok := h.ExtraHeaders[jose.HeaderType]
	text, isText := typ.(string)
	text = strings.TrimPrefix(strings.ToLower(text), "application/")
	return !ok || isText && slices.Contains([]string{"", "jwt", "at+jwt"}, text)
}

var errClaims = errors.New("token of the provider has claims that are not understood")

// read makes a session of the claims of a token whose signature is the
// provider's.
func (s source) read(payload []byte) (*session.Session, error) {
	var claims jwt.Claims
	data, err := stored.Object(payload)
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return nil, errClaims
	}
	expected := jwt.Expected{Issuer: s.cfg.Issuer, AnyAudience: s.cfg.Audience, Time: time.Now()}
	if claims.Expiry == nil || claims.ValidateWithLeeway(expected, s.cfg.ClockSkew) != nil || claims.Subject == "" {
		return nil, session.ErrUnknown
	}
	if !hasScopes(data, s.cfg.Scopes) {
		return nil, session.ErrUnknown
	}
	return &session.Session{
		Data: data,
		// As the check reads it, so that a token is not found and over at once.
		Expires: claims.Expiry.Time().Add(s.cfg.ClockSkew),
		// Of the person, not of the token: who logs out does so with all tokens.
		Key: stored.SessionKey(claims.Issuer + "\n" + claims.Subject),
	}, nil
}

// hasScopes tells whether the claim scope, or scp, has all of them.
func hasScopes(data map[string]any, wanted []string) bool {
	var have []string
	for _, name := range []string{"scope", "scp"} {
		switch v := data[name].(type) {
		case string:
			have = append(have, strings.Fields(v)...)
		case []any:
			for _, e := range v {
				if text, ok := e.(string); ok {
					have = append(have, text)
				}
			}
		}
	}
	return !slices.ContainsFunc(wanted, func(scope string) bool { return !slices.Contains(have, scope) })
}
