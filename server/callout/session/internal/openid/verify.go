package openid

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"stamp/server/callout/session/internal/stored"
	"stamp/server/callout/session/internal/web"
)

// maxParsed is how long a token of the provider may be, in bytes: as long as its answers.
const maxParsed = web.MaxBody

// Invalid is the error of a token that is not one for us, or not now. Its text says why, and holds
// nothing of the token.
type Invalid string

func (e Invalid) Error() string { return string(e) }

// Reasons why a token is not taken.
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

// Token is a token whose signature was not checked yet.
type Token struct {
	signed *jose.JSONWebSignature
	Type   string // the header typ, in lower case, without "application/"
	Claims map[string]any
}

// ParseToken reads a token. Nothing but the algorithms that are configured is taken: never "none", and never
// one whose key would be the provider's public key.
//
// Claims are found by their exact names. encoding/json would take Aud for aud, and at many providers
// people may add claims of their own choice to their tokens.
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

// Verify tells whether the signature is the provider's. The error is Invalid when that is certain.
func (p *Provider) Verify(ctx context.Context, t *Token) error {
	header := t.signed.Signatures[0].Protected
	keys, err := p.find(ctx, header.KeyID)
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

// VerifyOwn is Verify for a token that the provider itself has just given: as it cannot be had again, it waits until
// the keys may be asked for again.
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

// maxTries bounds VerifyOwn, where others have the keys asked for again and again before it does.
const maxTries = 3

// signsFor tells whether a key may sign tokens with the issuer of these claims. Entra's key sets have
// keys for all tenants, and keys for one.
func (k Key) signsFor(claims map[string]any) bool {
	if k.Issuer == "" {
		return true
	}
	tenant, _ := claims["tid"].(string)
	return claims["iss"] == strings.ReplaceAll(k.Issuer, tenantID, tenant)
}

const googleIssuer = "https://accounts.google.com"

// CheckIssuer tells whether the token says that it is this provider's, of a tenant that is listed.
func (c *Config) CheckIssuer(claims map[string]any) error {
	issuer := c.Issuer
	if len(c.Tenants) > 0 {
		tenant, _ := claims["tid"].(string)
		if !isTenant(tenant) || !slices.Contains(c.Tenants, anyTenant) && !slices.Contains(c.Tenants, tenant) {
			return errTenant
		}
		issuer = strings.ReplaceAll(issuer, tenantID, tenant)
	}
	// Google's ID tokens may have its name without the scheme.
	if claims["iss"] == issuer || issuer == googleIssuer && claims["iss"] == strings.TrimPrefix(googleIssuer, "https://") {
		return nil
	}
	return errIssuer
}

// CheckTimes tells whether a token is good now, and returns when it ends by the provider's clock; zero
// when it says nothing, which is an error unless the end may be missing.
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

// CheckPerson tells whether the token is about a person: it has a subject, and is no logout token, which
// providers sign with the same keys (RFC 8725, section 3.11).
func CheckPerson(claims map[string]any) error {
	if subject, _ := claims["sub"].(string); subject == "" {
		return errSubject
	}
	if claims["events"] != nil {
		return errEvent
	}
	return nil
}

// IsFor tells whether the claim aud has one of the names.
func IsFor(claims map[string]any, names ...string) bool {
	audience := texts(claims["aud"])
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(audience, name) })
}

// maxDate is in the year 5138, in Unix seconds; a number above it counts milliseconds.
const maxDate = 1e11

// Date returns a claim that is a time (RFC 7519, NumericDate): zero when it is absent or null, not ok
// when it is something else.
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

// texts returns a string, or an array of them, as a list; nil when it is anything else.
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

// HasScopes tells whether a token has all of these scopes, in scope (RFC 9068: a text) or scp.
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
