// Package openid is the client of an OpenID provider. Several session sources share it.
// It gets the discovery document and the keys, checks tokens, and sends requests to the
// token endpoint.
//
// No lock is held during a request. Each request has a time-out and a maximum length of
// the answer. While a provider does not answer, requests become less frequent.
package openid

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"stamp/internal/callout/session/internal/web"
	"stamp/internal/conf"
)

// Config are the fields of a source that concern the provider.
type Config struct {
	Issuer       string        `conf:"issuer,required"`  // as in the claim iss of tokens
	Tenants      []string      `conf:"tenants"`          // values of {tenantid} in Issuer, or "*" for any; default: Issuer has no {tenantid}
	DiscoveryURL string        `conf:"discovery_url"`    // of the discovery document; default: Issuer with /.well-known/openid-configuration
	Endpoints    Endpoints     `conf:"endpoints"`        // default: those of the discovery document
	Algorithms   []string      `conf:"algorithms"`       // accepted for signatures; default: all in algorithms
	ClockSkew    time.Duration `conf:"clock_skew"`       // how far clocks may differ; DefaultClockSkew
	RequestTime  time.Duration `conf:"provider_timeout"` // time-out of one request to the provider; DefaultRequestTime
	TLS          *conf.TLS     `conf:"tls"`

	// Set by the source:
	KeysRefresh time.Duration // how old keys may be; DefaultKeysRefresh
	LogsIn      bool          // the endpoints authorization and token are required
	Connections int           // most connections to the provider at once, if more than minConnections
	Waiting     int           // how many tokens may wait for a key that is not known yet; DefaultWaiting

	algorithms []jose.SignatureAlgorithm
	client     *web.Client
}

// Endpoints are URLs of the provider. An empty one is taken from the discovery document.
type Endpoints struct {
	Authorization string `conf:"authorization"`
	Token         string `conf:"token"`
	JWKS          string `conf:"jwks"`
	UserInfo      string `conf:"userinfo"`
	EndSession    string `conf:"end_session"`
}

// each returns the endpoints with their names in the configuration and in a discovery
// document.
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

// tenantID is the placeholder of the tenant in the issuer of a multi-tenant provider, in
// the notation of Microsoft Entra ID. The claim tid of a token has the tenant.
const tenantID = "{tenantid}"

// anyTenant in Tenants means all tenants.
const anyTenant = "*"

// algorithms are the accepted signature algorithms, all of which have a public key. With
// the others, whoever can verify a token can also make one.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

const (
	maxSkew        = 5 * time.Minute
	minRequestTime = time.Second
	maxRequestTime = 30 * time.Second
	minConnections = 64 // to the provider at once
)

// Defaults of Config.
const (
	DefaultClockSkew   = 30 * time.Second
	DefaultRequestTime = 8 * time.Second
	DefaultKeysRefresh = time.Hour
	DefaultWaiting     = 32
)

// Defaults returns the default configuration.
func Defaults() Config {
	return Config{ClockSkew: DefaultClockSkew, RequestTime: DefaultRequestTime, KeysRefresh: DefaultKeysRefresh, Waiting: DefaultWaiting}
}

// Check adds the faults of the fields in the block n.
func (c *Config) Check(n conf.Node, faults *conf.Faults) {
	web.CheckURL(n, "issuer", c.Issuer, faults)
	web.CheckURL(n, "discovery_url", c.DiscoveryURL, faults)
	for _, e := range c.Endpoints.each() {
		web.CheckURL(n.Get("endpoints"), e.name, *e.url, faults)
	}
	multi := strings.Contains(c.Issuer, tenantID)
	switch {
	case multi && len(c.Tenants) == 0:
		faults.Add(n.Get("issuer"), "issuer: %s needs tenants: a list of the tenants whose users are accepted, or [\"*\"] for all tenants", tenantID)
	case !multi && len(c.Tenants) > 0:
		faults.Add(n.Get("tenants"), "tenants: expected %s in issuer, which tenants lists the values of", tenantID)
	case slices.ContainsFunc(c.Tenants, func(t string) bool { return t != anyTenant && !isTenant(t) }):
		faults.Add(n.Get("tenants"), "tenants: expected ids of letters, digits and -, as in the claim tid of tokens")
	}
	if c.ClockSkew < 0 || c.ClockSkew > maxSkew {
		faults.Add(n.Get("clock_skew"), "clock_skew: expected 0 to %s; found %s", maxSkew, c.ClockSkew)
	}
	if c.RequestTime < minRequestTime || c.RequestTime > maxRequestTime {
		faults.Add(n.Get("provider_timeout"), "provider_timeout: expected %s to %s; found %s", minRequestTime, maxRequestTime, c.RequestTime)
	}
	c.algorithms = algorithms
	if len(c.Algorithms) > 0 {
		c.algorithms = nil
	}
	for _, name := range c.Algorithms {
		if !slices.Contains(algorithms, jose.SignatureAlgorithm(name)) {
			faults.Add(n.Get("algorithms"), "algorithms: expected some of %s; found %q", algorithmNames(), name)
		}
		c.algorithms = append(c.algorithms, jose.SignatureAlgorithm(name))
	}
	c.client = web.NewClient(n.Get("tls"), c.TLS, max(minConnections, c.Connections), faults)
}

// algorithmNames returns the names of the accepted algorithms, separated by commas.
func algorithmNames() string {
	var names []string
	for _, a := range algorithms {
		names = append(names, string(a))
	}
	return strings.Join(names, ", ")
}

// documentURL returns the URL of the discovery document (OpenID Connect Discovery 1.0,
// section 4). A multi-tenant issuer has one document for all tenants.
func (c *Config) documentURL() string {
	if c.DiscoveryURL != "" {
		return c.DiscoveryURL
	}
	issuer := strings.ReplaceAll(c.Issuer, tenantID, "common")
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
}

// HTTP returns the client of all requests, for tests.
func (c *Config) HTTP() *web.Client { return c.client }

// isTenant reports whether a text can replace {tenantid}. It has no characters that would
// change the path or host of the issuer.
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

// isHTTPS reports whether a URL has the scheme https.
func isHTTPS(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https"
}
