package login

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"stamp/internal/callout/session/internal/openid"
	"stamp/internal/conf"
)

// Parameters of the authorization request that make a person authenticate again (OpenID Connect
// Core 1.0, section 3.1.2.1).
const (
	parameterMaxAge = "max_age"
	parameterPrompt = "prompt"
	promptLogin     = "login"
)

// limitAge is the greatest value of max_age.
const limitAge = 10 * 365 * 24 * time.Hour

// Reasons to refuse an ID token if one of these parameters is configured.
const (
	errNoAuthTime  = openid.Invalid("auth_time is missing, or not a time in seconds: with max_age or prompt: login the provider has to tell when the person has authenticated")
	errOldAuthTime = openid.Invalid("auth_time is too long ago for max_age or prompt: login, or in the future")
)

// parseMaxAge derives from the parameters what is required of auth_time.
func (c *Config) parseMaxAge(faults *conf.Faults) {
	if slices.Contains(strings.Fields(c.parameters[parameterPrompt]), promptLogin) {
		c.authenticatesAnew = true
	}
	text, ok := c.parameters[parameterMaxAge]
	if !ok {
		return
	}
	seconds, err := strconv.ParseUint(text, 10, 32)
	c.maxAge = time.Duration(seconds) * time.Second
	if err != nil || c.maxAge > limitAge {
		faults.Add(c.Authorization[parameterMaxAge], "authorization: max_age: expected a number of seconds, from 0 to %d", int(limitAge.Seconds()))
	}
	c.ages = true
}

// checkAuthTime returns an error unless the person has authenticated as recently as the
// authorization request, which was made at the time asked, demanded (OpenID Connect Core 1.0,
// section 3.1.3.7). Without this check, whoever uses the browser could remove the parameter from
// the URL.
func (c *Config) checkAuthTime(claims map[string]any, asked time.Time) error {
	if !c.ages && !c.authenticatesAnew {
		return nil
	}
	oldest := asked.Add(-c.ClockSkew)
	if !c.authenticatesAnew {
		oldest = oldest.Add(-c.maxAge)
	}
	at, ok := openid.Date(claims, "auth_time")
	switch {
	case !ok || at.IsZero():
		return errNoAuthTime
	case at.Before(oldest), at.After(time.Now().Add(c.ClockSkew)):
		return errOldAuthTime
	}
	return nil
}
