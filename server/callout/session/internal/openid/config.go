// Package openid is what the session sources that trust an OpenID provider share: where the provider
// is, its keys, the checks of its tokens, and the requests to its token endpoint. Nothing here holds a
// lock while it waits for the provider, every request has a time-out and a bound on what is read, and a
// provider that does not answer is asked less and less often.
package openid

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"stamp/server/callout/session/internal/web"
	"stamp/server/conf"
)

// Config are the fields of a source's block that are about the provider.
type Config struct {
	Issuer       string        `conf:"issuer,required"` // as the tokens have it
	Tenants      []string      `conf:"tenants"`         // that {tenantid} in issuer may stand for; "*": any
	DiscoveryURL string        `conf:"discovery_url"`   // of the discovery document; default: below issuer
	Endpoints    Endpoints     `conf:"endpoints"`       // instead of those of the discovery document
	Algorithms   []string      `conf:"algorithms"`
	ClockSkew    time.Duration `conf:"clock_skew"`
	RequestTime  time.Duration `conf:"provider_timeout"` // of one request to the provider
	TLS          *web.TLS      `conf:"tls"`

	// Set by the source:
	KeysRefresh time.Duration // how old keys may be
	LogsIn      bool          // the endpoints authorization and token are needed
	Waiting     int           // how many tokens may wait for a key that is not known yet

	algorithms []jose.SignatureAlgorithm
	client     *web.Client
}

// Endpoints are URLs of the provider.
type Endpoints struct {
	Authorization string `conf:"authorization"`
	Token         string `conf:"token"`
	JWKS          string `conf:"jwks"`
	UserInfo      string `conf:"userinfo"`
	EndSession    string `conf:"end_session"`
}

// each returns the endpoints by their names in the configuration and in a discovery document.
func (e *Endpoints) each() []endpoint {
	return []endpoint{
		{"authorization", "authorization_endpoint", &e.Authorization}, {"token", "token_endpoint", &e.Token},
		{"jwks", "jwks_uri", &e.JWKS}, {"userinfo", "userinfo_endpoint", &e.UserInfo}, {"end_session", "end_session_endpoint", &e.EndSession},
	}
}

type endpoint struct {
	name, member string
	url          *string
}

// tenantID is the part of a multi-tenant issuer that differs between tenants, as Microsoft Entra ID
// writes it; the claim tid of a token tells what it stands for.
const tenantID = "{tenantid}"

// anyTenant is the tenant for all.
const anyTenant = "*"

// algorithms that may be configured: those whose key is public. Whoever can check a token of the others
// can make one.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

const (
	maxSkew        = 5 * time.Minute
	minRequestTime = time.Second
	maxRequestTime = 30 * time.Second
	// connections to the provider at once.
	connections = 64
)

// Defaults are the fields that the configuration does not have.
func Defaults() Config {
	return Config{ClockSkew: 30 * time.Second, RequestTime: 8 * time.Second, KeysRefresh: time.Hour, Waiting: 32}
}

// Check adds what is wrong with the fields of the block n.
func (c *Config) Check(n conf.Node, faults *conf.Faults) {
	web.CheckURL(n, "issuer", c.Issuer, faults)
	web.CheckURL(n, "discovery_url", c.DiscoveryURL, faults)
	for _, e := range c.Endpoints.each() {
		web.CheckURL(n.Get("endpoints"), e.name, *e.url, faults)
	}
	multi := strings.Contains(c.Issuer, tenantID)
	switch {
	case multi && len(c.Tenants) == 0:
		faults.Add(n.Get("issuer"), "issuer: %s needs tenants: the list of the tenants whose users may come, or [\"*\"] for every tenant there is", tenantID)
	case !multi && len(c.Tenants) > 0:
		faults.Add(n.Get("tenants"), "tenants: issuer has no %s", tenantID)
	case slices.ContainsFunc(c.Tenants, func(t string) bool { return t != anyTenant && !isTenant(t) }):
		faults.Add(n.Get("tenants"), "tenants: expected ids of letters, digits and -, as the claim tid has them")
	}
	if c.ClockSkew < 0 || c.ClockSkew > maxSkew {
		faults.Add(n.Get("clock_skew"), "clock_skew: at most %s", maxSkew)
	}
	if c.RequestTime < minRequestTime || c.RequestTime > maxRequestTime {
		faults.Add(n.Get("provider_timeout"), "provider_timeout: between %s and %s", minRequestTime, maxRequestTime)
	}
	c.algorithms = algorithms
	if len(c.Algorithms) > 0 {
		c.algorithms = nil
	}
	for _, name := range c.Algorithms {
		if !slices.Contains(algorithms, jose.SignatureAlgorithm(name)) {
			faults.Add(n.Get("algorithms"), "algorithms: %q is not one of %s", name, known())
		}
		c.algorithms = append(c.algorithms, jose.SignatureAlgorithm(name))
	}
	c.client = web.NewClient(n.Get("tls"), c.TLS, connections, faults)
}

func known() string {
	var names []string
	for _, a := range algorithms {
		names = append(names, string(a))
	}
	return strings.Join(names, ", ")
}

// documentURL is where the discovery document is (OpenID Connect Discovery 1.0, section 4). That of a
// multi-tenant issuer is the one for all tenants.
func (c *Config) documentURL() string {
	if c.DiscoveryURL != "" {
		return c.DiscoveryURL
	}
	issuer := strings.ReplaceAll(c.Issuer, tenantID, "common")
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
}

// HTTP is the client of all requests, for tests.
func (c *Config) HTTP() *web.Client { return c.client }

// isTenant tells whether a text can stand for {tenantid}: nothing that would lead to another path or host.
func isTenant(text string) bool {
	if text == "" || len(text) > 64 {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
		default:
			return false
		}
	}
	return true
}

// isHTTPS tells whether a URL is https.
func isHTTPS(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https"
}
