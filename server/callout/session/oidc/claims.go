package oidc

import (
	"math"
	"slices"
	"strings"
	"time"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/stored"
)

// read makes a session of a token's claims. The error is ErrUnknown: the token
// is not one for us, or not now.
//
// The claims are looked up by their exact names. encoding/json would take Aud for
// aud, and at many providers people may add claims of their own choice to their tokens.
func (c *Config) read(payload []byte) (*session.Session, error) {
	data, err := stored.Object(payload)
	if err != nil {
		return nil, session.ErrUnknown
	}
	subject, _ := data["sub"].(string)
	if data["iss"] != c.Issuer || subject == "" || !hasAny(texts(data["aud"]), c.Audience) || !hasAll(scopes(data), c.Scopes) {
		return nil, session.ErrUnknown
	}
	ends, ok := date(data, "exp")
	now := time.Now()
	if !ok || ends.IsZero() || !now.Before(ends.Add(c.ClockSkew)) {
		return nil, session.ErrUnknown
	}
	for _, name := range []string{"nbf", "iat"} {
		if begins, ok := date(data, name); !ok || now.Add(c.ClockSkew).Before(begins) {
			return nil, session.ErrUnknown
		}
	}
	return &session.Session{
		Data: data,
		// As the check reads it, so that a token is not found and over at once.
		Expires: ends.Add(c.ClockSkew),
		// Of the person, not of the token: who logs out does so with all tokens.
		Key: stored.SessionKey(c.Issuer + "\n" + subject),
	}, nil
}

// maxDate is in the year 5138, in Unix seconds; a number above it counts milliseconds.
const maxDate = 1e11

// date returns a claim that is a time (RFC 7519, NumericDate): zero when it is
// absent or null, not ok when it is something else.
func date(data map[string]any, name string) (t time.Time, ok bool) {
	value := data[name]
	if value == nil {
		return time.Time{}, true
	}
	seconds, ok := value.(float64)
	if !ok || seconds < 0 || seconds > maxDate {
		return time.Time{}, false
	}
	return time.Unix(int64(math.Floor(seconds)), 0), true
}

// texts returns a string, or an array of them, as a list; nil when it is
// anything else.
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

// scopes returns those of the claims scope (RFC 9068: a text) and scp.
func scopes(data map[string]any) []string {
	var list []string
	for _, name := range []string{"scope", "scp"} {
		if text, ok := data[name].(string); ok {
			list = append(list, strings.Fields(text)...)
		} else {
			list = append(list, texts(data[name])...)
		}
	}
	return list
}

func hasAny(have, wanted []string) bool {
	return slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(have, w) })
}

func hasAll(have, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(have, w) })
}
