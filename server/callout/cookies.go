package callout

import (
	"fmt"
	"slices"

	"stamp/server/conf"
)

// Which cookie comes to which source is said in two places: in the websocket block of the server, and in the block of the
// source.

// CheckForwarded tells which sources take a cookie that the server does not forward: they would know nobody, and who
// comes with the cookie would be whatever a later source makes of him.
func (c *Config) CheckForwarded() error {
	var faults conf.Faults
	for _, source := range c.sources {
		if cookie := source.Common().Cookie; cookie != "" && !slices.Contains(c.Request.Cookies, cookie) {
			faults.Add(source.block.Get("cookie"), "cookie: %q is not in request { cookies }, so that the server does not forward it", cookie)
		}
	}
	return faults.Err()
}

// namesCookie is a source that has a name for the cookie that connections bring; empty: they bring something else.
type namesCookie interface{ CookieOfConnections() string }

// CookieWarnings tells of sources that have another name for their cookie than the server, which takes the one of
// token_cookie in its websocket block: they would know nobody.
func (c *Config) CookieWarnings(tokenCookie string) (warnings []string) {
	for _, s := range c.sources {
		n, ok := s.Opener.(namesCookie)
		if !ok || s.Common().Cookie != "" {
			continue
		}
		name := n.CookieOfConnections()
		if name == "" || name == tokenCookie || s.Common().Kind == "http" && (tokenCookie == "" || c.takeCookies() > 1) {
			continue // an application may be asked about tokens alone
		}
		takes := "it takes none (websocket.token_cookie is missing)"
		if tokenCookie != "" {
			takes = fmt.Sprintf("it takes %q (websocket.token_cookie)", tokenCookie)
		}
		warnings = append(warnings, fmt.Sprintf("%s: session source %s: no connection brings the cookie %q (cookie_name) to it, since the server does not take that: %s",
			placeOf(s.block, "cookie_name").Place(), s.Common().Name, name, takes))
	}
	return warnings
}

// takeCookies is how many sources take the cookie of the server.
func (c *Config) takeCookies() (n int) {
	for _, s := range c.sources {
		if common := s.Common(); common.Cookie == "" && !slices.Contains([]string{"users", "nkey", "jwt", "anonymous"}, common.Kind) {
			n++
		}
	}
	return n
}
