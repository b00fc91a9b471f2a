package callout

import (
	"fmt"
	"slices"

	"stamp/internal/conf"
)

// Two places say which cookie a source gets: the websocket block of the server, and the block of
// the source. This file compares them.

// CheckForwarded returns an error if sources use a cookie that the server does not forward. Such a
// source would find no session, and a later source would decide about the connection.
func (c *Config) CheckForwarded() error {
	var faults conf.Faults
	for _, source := range c.sources {
		if cookie := source.Common().Cookie; cookie != "" && !slices.Contains(c.Request.Cookies, cookie) {
			faults.Add(source.block.Get("cookie"), "cookie: %q is not in request { cookies }, so the server does not forward it; add it there", cookie)
		}
	}
	return faults.Err()
}

// namesCookie is a source with a name for the cookie that connections bring. The name is empty if
// they bring something else.
type namesCookie interface{ CookieOfConnections() string }

// CookieWarnings warns of sources whose cookie has another name than token_cookie in the websocket
// block of the server. Such a source would find no session.
func (c *Config) CookieWarnings(tokenCookie string) (warnings []string) {
	for _, s := range c.sources {
		n, ok := s.Opener.(namesCookie)
		if !ok || s.Common().Cookie != "" {
			continue
		}
		name := n.CookieOfConnections()
		if name == "" || name == tokenCookie || s.Common().Kind == "http" && (tokenCookie == "" || c.takeCookies() > 1) {
			continue // the application may be asked about tokens only
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

// takeCookies returns how many sources use the cookie that the server forwards as a token.
func (c *Config) takeCookies() (n int) {
	for _, s := range c.sources {
		if common := s.Common(); common.Cookie == "" && !slices.Contains([]string{"users", "nkey", "jwt", "anonymous"}, common.Kind) {
			n++
		}
	}
	return n
}
