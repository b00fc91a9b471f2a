package openid

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/callout/session/internal/web"
)

// maxParsed is the maximum length of a token in bytes. The provider's answers, which
// contain tokens, have the same maximum.
const maxParsed = web.MaxBody

// Invalid is the error of a token that is certainly not valid. Its text is the reason,
// and holds no part of the token.
type Invalid string

func (e Invalid) Error() string { return string(e) }

// Reasons why a token is refused.
const (
	errNotJWT    = Invalid("the token is not a signed JWT, or its algorithm is not among algorithms")
	errClaims    = Invalid("the claims are not a JSON object")
	errIssuer    = Invalid("iss is not the configured issuer")
	errTenant    = Invalid("tid is not one of tenants")
	errSubject   = Invalid("sub is missing, or not a string")
	errNoExpiry  = Invalid("exp is missing, or not a time in seconds")
	errExpired   = Invalid("the token has expired")
	errNotBefore = Invalid("nbf is not a time in seconds, or is in the future")
	errIssuedAt  = Invalid("iat is not a time in seconds, or is in the future")
	errKeyID     = Invalid("the provider has no key with the token's kid")
	errSignature = Invalid("the signature is not the provider's")
	errEvent     = Invalid("the token has the claim events, as logout tokens have")
)

// Token is a parsed token. Its signature is not verified: see Provider.Verify.
type Token struct {
	signed *jose.JSONWebSignature
	Type   string // the header typ in lower case, without "application/"
	Claims map[string]any
}

// ParseToken reads a token. It accepts only the configured algorithms: never "none", and
// never a symmetric one, for which a public key could be used as the secret.
//
// Claims are in a map, so that only exact names match. Decoded into a struct,
// encoding/json would also accept Aud as aud, and at many providers users can add claims
// of their own to their tokens.
func (c *Config) ParseToken(text string) (*Token, error) {
	if len(text) > maxParsed {
		return nil, errNotJWT
	}
	signed, err := jose.ParseSignedCompact(text, c.algorithms)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, errNotJWT
	}
	typ, ok := signed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]
	name, isText := typ.(string)
	if ok && !isText {
		return nil, errNotJWT
	}
	claims, err := stored.Object(signed.UnsafePayloadWithoutVerification())
	if err != nil {
		return nil, errClaims
	}
	return &Token{signed, strings.TrimPrefix(strings.ToLower(name), "application/"), claims}, nil
}

// Verify verifies the signature with the provider's keys. The error is an Invalid if the
// signature is certainly wrong; with another error, the keys are not available.
func (p *Provider) Verify(ctx context.Context, t *Token) error {
	header := t.signed.Signatures[0].Protected
	keys, err := p.findKeys(ctx, header.KeyID)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return errKeyID
	}
	for _, key := range keys {
		if key.Algorithm != "" && key.Algorithm != header.Algorithm || !key.signsFor(t.Claims) {
			continue
		}
		if _, err := t.signed.Verify(key.JSONWebKey); err == nil {
			return nil
		}
	}
	return errSignature
}

// VerifyOwn is Verify for a token that the provider has just issued to the handler. Such
// a token cannot be requested again, so VerifyOwn waits if the keys were requested too
// recently.
func (p *Provider) VerifyOwn(ctx context.Context, t *Token) error {
	for try := 1; ; try++ {
		err := p.Verify(ctx, t)
		var early *tooEarly
		if try == maxTries || !errors.As(err, &early) {
			return err
		}
		timer := time.NewTimer(time.Until(early.until))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// maxTries bounds the waiting of VerifyOwn. After each wait, another caller may have
// requested the keys first.
const maxTries = 3

// signsFor reports whether the key may sign tokens with the issuer of these claims.
// Entra's key sets have keys for all tenants and keys for one tenant.
func (k Key) signsFor(claims map[string]any) bool {
	if k.Issuer == "" {
		return true
	}
	tenant, _ := claims["tid"].(string)
	return claims["iss"] == strings.ReplaceAll(k.Issuer, tenantID, tenant)
}

const googleIssuer = "https://accounts.google.com"

// CheckIssuer checks that the token is one of this provider, and of a listed tenant.
func (c *Config) CheckIssuer(claims map[string]any) error {
	issuer := c.Issuer
	if len(c.Tenants) > 0 {
		tenant, _ := claims["tid"].(string)
		if !isTenant(tenant) || !slices.Contains(c.Tenants, anyTenant) && !slices.Contains(c.Tenants, tenant) {
			return errTenant
		}
		issuer = strings.ReplaceAll(issuer, tenantID, tenant)
	}
	// The issuer in Google's ID tokens may lack the scheme.
	if claims["iss"] == issuer || issuer == googleIssuer && claims["iss"] == strings.TrimPrefix(googleIssuer, "https://") {
		return nil
	}
	return errIssuer
}

// CheckTimes checks that a token is valid now. It returns the expiry by the provider's
// clock. If mayLackEnd is set, the claim exp may be missing, and the expiry is zero.
func (c *Config) CheckTimes(claims map[string]any, mayLackEnd bool) (ends time.Time, err error) {
	now, skew := time.Now(), c.ClockSkew
	ends, ok := Date(claims, "exp")
	switch {
	case !ok || ends.IsZero() && !mayLackEnd:
		return ends, errNoExpiry
	case !ends.IsZero() && !now.Before(ends.Add(skew)):
		return ends, errExpired
	}
	for _, begin := range []struct {
		name  string
		fault error
	}{{"nbf", errNotBefore}, {"iat", errIssuedAt}} {
		if begins, ok := Date(claims, begin.name); !ok || now.Add(skew).Before(begins) {
			return ends, begin.fault
		}
	}
	return ends, nil
}

// CheckPerson checks that the token identifies a person: it has a subject and is not a
// logout token, which providers sign with the same keys (RFC 8725, section 3.11).
func CheckPerson(claims map[string]any) error {
	if subject, _ := claims["sub"].(string); subject == "" {
		return errSubject
	}
	if claims["events"] != nil {
		return errEvent
	}
	return nil
}

// IsFor reports whether the claim aud has one of the names.
func IsFor(claims map[string]any, names ...string) bool {
	audience := texts(claims["aud"])
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(audience, name) })
}

// maxDate is the highest time that is accepted, in Unix seconds; it is in the year 5138.
// A higher number is most likely in milliseconds.
const maxDate = 1e11

// Date returns a claim that is a time (RFC 7519, NumericDate). The time is zero if the
// claim is absent or null. ok is false if it has another type or is out of range.
func Date(claims map[string]any, name string) (t time.Time, ok bool) {
	value := claims[name]
	if value == nil {
		return time.Time{}, true
	}
	seconds, ok := value.(float64)
	if !ok || seconds < 0 || seconds > maxDate {
		return time.Time{}, false
	}
	return time.Unix(int64(math.Floor(seconds)), 0), true
}

// texts returns a string, or an array of strings, as a list. It returns nil for any other
// value.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		list := make([]string, len(v))
		for i, e := range v {
			text, ok := e.(string)
			if !ok {
				return nil
			}
			list[i] = text
		}
		return list
	}
	return nil
}

// HasScopes reports whether a token has all wanted scopes. They are in the claim scope,
// which is a text (RFC 9068), or scp.
func HasScopes(claims map[string]any, wanted []string) bool {
	var have []string
	for _, name := range []string{"scope", "scp"} {
		if text, ok := claims[name].(string); ok {
			have = append(have, strings.Fields(text)...)
		} else {
			have = append(have, texts(claims[name])...)
		}
	}
	return !slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(have, w) })
}
