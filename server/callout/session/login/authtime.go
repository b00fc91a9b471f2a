package login

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"stamp/server/callout/session/internal/openid"
	"stamp/server/conf"
)

// Parameters of the request for authorization that have a person authenticate anew (OpenID Connect Core 1.0, section
// 3.1.2.1).
const (
	parameterMaxAge = "max_age"
	parameterPrompt = "prompt"
	promptLogin     = "login"
)

// limitAge is what max_age may be at most.
const limitAge = 10 * 365 * 24 * time.Hour

// Reasons why an ID token does not do where the configuration has one of these parameters.
const (
	errNoAuthTime  = openid.Invalid("auth_time is missing, or not a time in seconds: with max_age or prompt: login the provider has to tell when the person has authenticated")
	errOldAuthTime = openid.Invalid("auth_time is too long ago for max_age or prompt: login, or in the future")
)

// parseMaxAge reads what the parameters demand of auth_time.
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

// checkAuthTime tells whether the person has authenticated as lately as the request for authorization asked for, when
// it was made (OpenID Connect Core 1.0, section 3.1.3.7). Without that, whoever sits at a browser could take the
// parameter out of the URL.
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
