// Package oidc takes ID tokens and access tokens (RFC 9068) of an OpenID provider
// for credentials: their claims are the session. The provider's keys are found by
// discovery; nothing else is asked, so a token counts until it expires.
package oidc

import (
	"slices"
	"time"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/openid"
	"stamp/server/callout/session/internal/web"
	"stamp/server/conf"
)

// Config is the block of an oidc source.
type Config struct {
	session.Settings
	openid.Config
	Audience []string      `conf:"audience"`  // one of them must be the token's
	ClientID []string      `conf:"client_id"` // or one of these its claim client_id, where the provider gives no aud
	JWKSURL  string        `conf:"jwks_url"`  // instead of discovery
	Scopes   []string      `conf:"scopes"`    // that the token must have, in its claim scope
	Refresh  time.Duration `conf:"refresh"`   // of the keys, so that one that was withdrawn is not trusted for longer
}

// minRefresh is how often the keys are asked for at most.
const minRefresh = 10 * time.Second

// Parse reads and checks the block of a source; nothing is contacted.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{Settings: session.Defaults(), Config: openid.Defaults(), Refresh: time.Hour}
	n.Decode(&cfg, faults)
	cfg.Settings.Check(n, faults)
	cfg.Config.Check(n, faults)
	web.CheckURL(n, "jwks_url", cfg.JWKSURL, faults)
	if len(cfg.Audience) == 0 && len(cfg.ClientID) == 0 {
		faults.Add(n, `field "audience" is missing: a token for anybody would be taken; or client_id, where the provider's access tokens have no aud`)
	}
	for _, list := range []struct {
		name   string
		values []string
	}{{"audience", cfg.Audience}, {"client_id", cfg.ClientID}} {
		if slices.Contains(list.values, "") {
			faults.Add(n.Get(list.name), "%s: must not be empty: a token for anybody would be taken", list.name)
		}
	}
	if cfg.JWKSURL != "" && cfg.Endpoints.JWKS != "" {
		faults.Add(n.Get("jwks_url"), "jwks_url: endpoints has jwks already")
	}
	if cfg.Endpoints.JWKS == "" {
		cfg.Endpoints.JWKS = cfg.JWKSURL
	}
	if cfg.Refresh < minRefresh {
		faults.Add(n.Get("refresh"), "refresh: at least %s", minRefresh)
	}
	cfg.KeysRefresh, cfg.Waiting = cfg.Refresh, max(cfg.Concurrency/2, 1)
	return &cfg
}
