// Package login logs browsers in at an OpenID provider: it is the relying party, and the session
// source for the sessions that come of it. The tokens stay on the server, encrypted, in a JetStream
// key-value bucket; the browser has an opaque cookie. Access tokens are refreshed before they end,
// and what the provider ends, by back-channel logout or by refusing a refresh, ends here.
//
// Any number of handlers may serve one bucket. Pages use these paths below public_url:
//
//	GET  /login?to=PATH   sends the browser to the provider, and back to PATH
//	GET  /callback        where the provider sends it
//	GET  /session         JSON: who is logged in, as far as the page may know
//	POST /logout          ends the session
//	POST /ticket          JSON: a ticket that one connection can be made with
//	GET  /worker.js       the script of a worker that owns the page's connection
//	GET  /frontchannel    for the provider (OpenID Connect Front-Channel Logout 1.0)
//	POST /backchannel     for the provider (OpenID Connect Back-Channel Logout 1.0)
package login

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/openid"
	"stamp/server/callout/session/internal/sealed"
	"stamp/server/callout/session/kv"
	"stamp/server/conf"
)

// Config is the block of a login source.
type Config struct {
	session.Settings
	Listen    string        `conf:"listen,required"` // host:port
	ListenTLS *conf.KeyPair `conf:"listen_tls"`      // cert and key
	PublicURL string        `conf:"public_url,required"`

	openid.Config
	openid.Client
	Scopes         []string             `conf:"scopes"`          // beside openid
	Authorization  map[string]conf.Node `conf:"authorization"`   // more parameters of the request for authorization
	UserInfo       bool                 `conf:"userinfo"`        // ask the userinfo endpoint for claims, too
	IDTokenHint    bool                 `conf:"id_token_hint"`   // the page gets the ID token at a logout
	AccessLifetime time.Duration        `conf:"access_lifetime"` // of access tokens, where the provider does not tell
	ResponseMode   string               `conf:"response_mode"`   // empty: the provider's default, which is query

	Bucket  string `conf:"bucket,required"`
	Account string `conf:"account"` // whose bucket it is
	kv.Place
	Key conf.Secret `conf:"key"` // lines of 32 bytes in base64; the first one encrypts

	CookieName    string        `conf:"cookie_name"`
	SameSite      string        `conf:"same_site"`
	Lifetime      time.Duration `conf:"lifetime"`
	RefreshBefore time.Duration `conf:"refresh_before"`
	Claims        []string      `conf:"claims"` // of the ID token, that /session shows
	AfterLogin    string        `conf:"after_login"`
	AfterLogout   string        `conf:"after_logout"`
	Origins       []string      `conf:"origins"` // of pages, beside that of public_url
	Ticket        time.Duration `conf:"ticket"`  // how long one is good; 0: there are none
	Worker        *Worker       `conf:"worker"`  // with one, its tickets open connections, and nothing else

	keys       sealed.Keyring // of entries
	own        sourceKeys     // of the rest
	listenTLS  *tls.Config
	public     *url.URL
	bucket     *kv.Config
	parameters map[string]string // of authorization
	refreshSet bool              // refresh_before is in the configuration

	ages              bool          // parameters has max_age
	maxAge            time.Duration // since the person has authenticated
	authenticatesAnew bool          // parameters has prompt with login
}

// CookieOfConnections is the cookie that connections bring; empty: they bring tickets.
func (c *Config) CookieOfConnections() string {
	if c.Ticket > 0 {
		return ""
	}
	return c.CookieName
}

// Names of cookies. A cookie whose name begins so was set by this host over TLS, for all paths
// (RFC 6265bis, section 4.1.3.2).
const hostPrefix = "__Host-"

// Values of same_site.
const (
	sameSiteLax    = "lax"
	sameSiteStrict = "strict"
)

const (
	scopeOpenID     = "openid"
	defaultLifetime = 12 * time.Hour
	minRefresh      = 5 * time.Second
	minTicket       = time.Second // pages are told whole seconds
	maxTicket       = 5 * time.Minute
	workerTicket    = 10 * time.Second // when the configuration says nothing
)

// Parse reads and checks the block of a source; nothing is contacted.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{
		Settings: session.Defaults(), Config: openid.Defaults(), AccessLifetime: 5 * time.Minute, CookieName: hostPrefix + "session", SameSite: sameSiteLax, Lifetime: defaultLifetime,
		RefreshBefore: time.Minute, Claims: []string{"sub", "name"}, AfterLogin: "/", AfterLogout: "/",
	}
	cfg.ClockSkew = time.Minute // of the provider's clock, which makes a login fail as soon as it is ahead
	n.Decode(&cfg, faults)
	cfg.refreshSet = !n.Get("refresh_before").IsZero()
	cfg.Settings.Check(n, faults)
	cfg.CheckPlace(n, faults)
	cfg.LogsIn = true
	cfg.Config.Check(n, faults)
	cfg.Client.Check(n, faults)
	cfg.parseParameters(n, faults)
	if cfg.UserInfo && !cfg.Discovers() && cfg.Endpoints.UserInfo == "" {
		faults.Add(n.Get("userinfo"), "userinfo: endpoints has no userinfo, and with authorization, token and jwks there the discovery document is not asked for it")
	}
	if cfg.Cookie != "" {
		faults.Add(n.Get("cookie"), "cookie: a login source has the cookie of its own, cookie_name")
	}
	cfg.checkWeb(n, faults)
	cfg.checkRefreshBefore(n, faults)
	if cfg.Listen != "" && !conf.IsListenAddress(cfg.Listen) {
		faults.Add(n.Get("listen"), `listen: expected an address such as "127.0.0.1:8090"`)
	}
	if cfg.ListenTLS != nil && cfg.ListenTLS.Cert == "" {
		faults.Add(n.Get("listen_tls"), "listen_tls: cert and key are missing")
	}
	cfg.listenTLS = cfg.ListenTLS.Config(n.Get("listen_tls"), faults)
	cfg.keys = sealed.ParseKeys(n, cfg.Key, faults)
	cfg.own = newSourceKeys(cfg.keys, cfg.Name, cfg.Issuer, cfg.ClientID)
	if !n.Has("key") {
		faults.Add(n, "field %q is missing: 32 bytes in base64, in a file", "key_file")
	}
	if cfg.Bucket != "" {
		cfg.bucket = kv.Derived(n.Get("bucket"), cfg.Settings, cfg.Bucket, cfg.Account, cfg.Place, cfg.openVisible, faults)
	}
	if cfg.Worker != nil {
		cfg.Worker.check(n.Get("worker"), faults)
		if cfg.Ticket == 0 {
			cfg.Ticket = workerTicket
		}
	}
	if !slices.Contains(cfg.Scopes, scopeOpenID) {
		cfg.Scopes = append([]string{scopeOpenID}, cfg.Scopes...)
	}
	return &cfg
}

// checkWeb checks what is about the browser.
func (c *Config) checkWeb(n conf.Node, faults *conf.Faults) {
	c.checkPublicURL(n.Get("public_url"), faults)
	c.checkCookieName(n.Get("cookie_name"), faults)
	if c.ResponseMode != "" && c.ResponseMode != "query" && c.ResponseMode != formPost {
		faults.Add(n.Get("response_mode"), "response_mode: query or %s", formPost)
	}
	if c.SameSite != sameSiteLax && c.SameSite != sameSiteStrict {
		faults.Add(n.Get("same_site"), "same_site: %s or %s", sameSiteLax, sameSiteStrict)
	}
	for _, path := range []struct{ name, value string }{{"after_login", c.AfterLogin}, {"after_logout", c.AfterLogout}} {
		if !isLocalPath(path.value) {
			faults.Add(n.Get(path.name), "%s: must be a path of at most %d bytes, in ASCII, without spaces and backslashes, that does not begin with //", path.name, maxTo)
		}
	}
	for i, text := range c.Origins {
		u, err := parseAddress(text)
		if err == nil && (u.Path != "" || strings.HasSuffix(text, "/")) {
			err = errors.New("an origin has no path and no slash at the end")
		}
		if err != nil {
			faults.Add(n.Get("origins"), "origins: entry %d is not an origin such as https://app.example: %v", i+1, err)
			continue
		}
		c.Origins[i] = u.String()
	}
	for _, d := range []struct {
		name            string
		value, min, max time.Duration
	}{
		{"lifetime", c.Lifetime, time.Minute, 400 * 24 * time.Hour},
		{"refresh_before", c.RefreshBefore, minRefresh, time.Hour},
		{"access_lifetime", c.AccessLifetime, 2 * minRefresh, 24 * time.Hour},
		{"ticket", c.Ticket, minTicket, maxTicket},
	} {
		if d.name == "ticket" && d.value == 0 {
			continue // there are none
		}
		if d.value < d.min || d.value > d.max {
			faults.Add(n.Get(d.name), "%s: between %s and %s", d.name, inWords(d.min), inWords(d.max))
		}
	}
}

// checkRefreshBefore adds that the two times of the configuration cannot be.
func (c *Config) checkRefreshBefore(n conf.Node, faults *conf.Faults) {
	if c.refreshSet && n.Has("access_lifetime") && c.RefreshBefore >= c.AccessLifetime {
		faults.Add(n.Get("refresh_before"), "refresh_before: must be less than access_lifetime")
	}
}

// inWords writes a duration in its largest unit: 400 days.
func inWords(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		switch {
		case d == 0:
			return "0"
		case d == unit.length:
			return "1 " + unit.name
		case d%unit.length == 0:
			return fmt.Sprintf("%d %ss", d/unit.length, unit.name)
		}
	}
	return d.String()
}

// checkPublicURL reads public_url. What it says becomes patterns of paths, an origin to compare with, and a
// redirect URI.
func (c *Config) checkPublicURL(at conf.Node, faults *conf.Faults) {
	c.public = &url.URL{}
	if c.PublicURL == "" {
		return // it is required, and Decode has said so
	}
	u, err := parseAddress(c.PublicURL)
	switch {
	case err != nil:
		faults.Add(at, "public_url: %v", err)
		return
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		faults.Add(at, "public_url: must be https, or browsers send the cookie where others can read it")
	}
	c.public, c.PublicURL = u, u.String()
}

// maxCookieName is the length of a cookie's name, in bytes.
const maxCookieName = 64

func (c *Config) checkCookieName(at conf.Node, faults *conf.Faults) {
	if !c.secure() {
		c.CookieName = strings.TrimPrefix(c.CookieName, hostPrefix) // which needs TLS
	}
	switch {
	case (&http.Cookie{Name: c.CookieName}).Valid() != nil || len(c.CookieName) > maxCookieName:
		faults.Add(at, "cookie_name: expected at most %d letters, digits and - . _ (RFC 6265)", maxCookieName)
	case c.secure() && !strings.HasPrefix(c.CookieName, hostPrefix):
		faults.Add(at, "cookie_name: must begin with %s, or other hosts of the domain can set it", hostPrefix)
	case c.CookieName == c.loginCookie():
		faults.Add(at, "cookie_name: %q is the cookie of logins that were begun; choose another name", c.CookieName)
	}
}

// loginCookie is the name of the cookie of logins that were begun. It is one for all of a browser's, so that it
// does not matter how many there are.
func (c *Config) loginCookie() string {
	if c.secure() {
		return hostPrefix + "login"
	}
	return "login"
}

func (c *Config) secure() bool { return c.public.Scheme == "https" }

// origin is that of the pages that are served beside us.
func (c *Config) origin() string { return c.public.Scheme + "://" + c.public.Host }

func (c *Config) path(name string) string { return c.public.Path + name }

// ListensAt is the address of the pages.
func (c *Config) ListensAt() string { return c.Listen }

// InAccount is the account whose bucket it is; empty: that of the handler's own connection.
func (c *Config) InAccount() string { return c.Account }
