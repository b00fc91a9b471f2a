// Package oidc is a session source for ID tokens and access tokens (RFC 9068) of an
// OpenID provider. The claims of the token are the session. The source gets only the
// keys of the provider and does not ask about single tokens, so a token is valid until
// it expires.
package oidc

import (
	"slices"
	"time"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/openid"
	"stamp/internal/callout/session/internal/web"
	"stamp/internal/conf"
)

// Config is the block of an oidc source.
type Config struct {
	session.Settings
	openid.Config
	Audience []string      `conf:"audience"`  // the claim aud of a token must have one of these
	ClientID []string      `conf:"client_id"` // or its claim client_id must be one of these, for providers without aud
	JWKSURL  string        `conf:"jwks_url"`  // of the keys; default: that of the discovery document
	Scopes   []string      `conf:"scopes"`    // the claim scope or scp must have all of these; default: none
	Refresh  time.Duration `conf:"refresh"`   // how old keys may be, and how long a withdrawn key is accepted; DefaultRefresh
}

// DefaultRefresh is the default of Config.Refresh, minRefresh its minimum.
const (
	DefaultRefresh = time.Hour
	minRefresh     = 10 * time.Second
)

// Parse reads and checks the block of a source.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{Settings: session.Defaults(), Config: openid.Defaults(), Refresh: DefaultRefresh}
	n.Decode(&cfg, faults)
	cfg.Settings.Check(n, faults)
	cfg.Config.Check(n, faults)
	web.CheckURL(n, "jwks_url", cfg.JWKSURL, faults)
	if len(n.Get("audience").Items()) == 0 && len(n.Get("client_id").Items()) == 0 { // those that are no strings have been reported
		faults.Add(n, `field "audience" is missing, so tokens for any application would be accepted; if the provider's access tokens have no aud, set client_id instead`)
	}
	for _, list := range []struct {
		name   string
		values []string
	}{{"audience", cfg.Audience}, {"client_id", cfg.ClientID}} {
		if slices.Contains(list.values, "") {
			faults.Add(n.Get(list.name), "%s: expected a text that is not empty, because with an empty one tokens for any application would be accepted", list.name)
		}
	}
	if cfg.JWKSURL != "" && cfg.Endpoints.JWKS != "" {
		faults.Add(n.Get("jwks_url"), "jwks_url: expected jwks_url or jwks in endpoints; found both")
	}
	if cfg.Endpoints.JWKS == "" {
		cfg.Endpoints.JWKS = cfg.JWKSURL
	}
	if cfg.Refresh < minRefresh {
		faults.Add(n.Get("refresh"), "refresh: expected %s or more; found %s", minRefresh, cfg.Refresh)
	}
	cfg.KeysRefresh, cfg.Waiting = cfg.Refresh, max(cfg.Concurrency/2, 1)
	return &cfg
}
