package oidc

import (
	"context"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"stamp/server/callout/session"
)

type source struct {
	cfg  *Config
	keys *keySet
	stop context.CancelFunc
}

// maxToken is how long a token may be, in bytes.
const maxToken = 16 << 10

// Open returns the source. It asks for the provider's keys in the background,
// until Close: a provider that is down does not keep the handler from starting.
func (c *Config) Open(ctx context.Context, env session.Env) (session.Source, error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := source{c, &keySet{cfg: c}, stop}
	go s.keys.keep(ctx, env.Log)
	return s, nil
}

// Close ends the asking, and closes the connections to the provider.
func (s source) Close() error {
	s.stop()
	s.cfg.client.Close()
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
	// What it says of itself is enough to refuse it: one of another provider, or one
	// that is over, is no reason to ask for keys, and does not depend on whether they can be had.
	if _, err := s.cfg.read(signed.UnsafePayloadWithoutVerification()); err != nil {
		return nil, err
	}
	payload, err := s.verify(ctx, signed)
	if err != nil {
		return nil, err
	}
	return s.cfg.read(payload)
}

// verify returns the payload when its signature is the provider's.
func (s source) verify(ctx context.Context, signed *jose.JSONWebSignature) ([]byte, error) {
	header := signed.Signatures[0].Protected
	keys, err := s.keys.find(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := signed.Verify(key); err == nil {
			return payload, nil
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
