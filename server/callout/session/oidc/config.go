// Package oidc takes ID tokens and access tokens (RFC 9068) of an OpenID provider
// for credentials: their claims are the session. The provider's keys are found by
// discovery; nothing else is asked, so a token counts until it expires.
package oidc

import (
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/web"
	"stamp/server/conf"
)

// Config is the block of an oidc source.
type Config struct {
	session.Settings
	Issuer     string        `conf:"issuer,required"`   // as the tokens have it
	Audience   []string      `conf:"audience,required"` // one of them must be the token's
	JWKSURL    string        `conf:"jwks_url"`          // instead of discovery
	Algorithms []string      `conf:"algorithms"`
	Scopes     []string      `conf:"scopes"` // that the token must have, in its claim scope
	ClockSkew  time.Duration `conf:"clock_skew"`
	Refresh    time.Duration `conf:"refresh"` // of the keys, so that one that was withdrawn is not trusted for longer
	TLS        *web.TLS      `conf:"tls"`

	algorithms []jose.SignatureAlgorithm
	client     *web.Client
}

// Algorithms that may be configured: those whose key is public. With the others who can
// check a token can make one.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

const maxSkew = 5 * time.Minute

// Parse reads and checks the block of a source; nothing is contacted.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{Settings: session.Defaults(), ClockSkew: 30 * time.Second, Refresh: time.Hour}
	n.Decode(&cfg, faults)
	cfg.Check(n, faults)
	web.CheckURL(n, "issuer", cfg.Issuer, faults)
	web.CheckURL(n, "jwks_url", cfg.JWKSURL, faults)
	if slices.Contains(cfg.Audience, "") {
		faults.Add(n.Get("audience"), "audience: must not be empty: a token for anybody would be taken")
	}
	if cfg.ClockSkew > maxSkew {
		faults.Add(n.Get("clock_skew"), "clock_skew: at most %s", maxSkew)
	}
	if cfg.Refresh < retryKeys {
		faults.Add(n.Get("refresh"), "refresh: at least %s", retryKeys)
	}
	cfg.algorithms = algorithms
	if len(cfg.Algorithms) > 0 {
		cfg.algorithms = nil
	}
	for _, name := range cfg.Algorithms {
		if !slices.Contains(algorithms, jose.SignatureAlgorithm(name)) {
			faults.Add(n.Get("algorithms"), "algorithms: %q is not one of %s", name, known())
		}
		cfg.algorithms = append(cfg.algorithms, jose.SignatureAlgorithm(name))
	}
	cfg.client = web.NewClient(n.Get("tls"), cfg.TLS, cfg.Concurrency, faults)
	return &cfg
}

func known() string {
	var names []string
	for _, a := range algorithms {
		names = append(names, string(a))
	}
	return strings.Join(names, ", ")
}
