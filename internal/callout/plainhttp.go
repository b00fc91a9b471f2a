package callout

import (
	"fmt"
	"net/url"

	"stamp/internal/conf"
)

// warnPlainHTTP warns of URLs by which a source learns who a connection is, if they are not
// encrypted and lead to another host. Inside a private network this may be intended. The warning does
// not show the URL, which may hold a password.
func (c *Config) warnPlainHTTP() {
	for _, source := range c.sources {
		for field, at := range identityURLs(source) {
			text, _ := at.Plain().(string)
			if u, err := url.Parse(text); err == nil && u.Scheme == "http" && !conf.IsLoopback(u.Hostname()) {
				c.warnings = append(c.warnings, fmt.Sprintf("%s: session source %s: %s: expected https; found http on a host that is not this one: whoever can change the answers on the way can sign in as anybody",
					at.Place(), source.Common().Name, field))
			}
		}
	}
}

// identityURLs yields the fields of a source's block with URLs that the source asks.
func identityURLs(s source) func(yield func(string, conf.Node) bool) {
	fields := []string{"url"}
	if kind := s.Common().Kind; kind == "oidc" || kind == "login" {
		fields = []string{"issuer", "discovery_url", "jwks_url"}
	}
	return func(yield func(string, conf.Node) bool) {
		for _, field := range fields {
			if !yield(field, s.block.Get(field)) {
				return
			}
		}
		for _, field := range []string{"authorization", "token", "jwks", "userinfo", "end_session"} {
			if !yield(field, s.block.Get("endpoints").Get(field)) {
				return
			}
		}
	}
}
