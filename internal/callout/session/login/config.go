// Package login logs browsers in at an OpenID provider. It is the relying party, and the session
// source for the sessions that result. Tokens stay on the server, encrypted, in a JetStream
// key-value bucket. The browser gets an opaque cookie. The source refreshes access tokens before
// they expire. It ends a session when the provider ends it, by a back-channel logout or by refusing
// a refresh.
//
// Any number of handlers can share one bucket. The pages have these paths below public_url:
//
//	GET  /login?to=PATH   sends the browser to the provider, and after the login to PATH
//	GET  /callback        where the provider sends the browser after a login
//	GET  /session         JSON: who is logged in, with the claims that the page may see
//	POST /logout          ends the session
//	POST /ticket          JSON: a ticket, with which one connection can be made
//	GET  /worker.js       the script of a worker that owns the page's connection
//	GET  /frontchannel    for the provider (OpenID Connect Front-Channel Logout 1.0)
//	POST /backchannel     for the provider (OpenID Connect Back-Channel Logout 1.0)
//
// # Many sessions
//
// A bucket may have a million sessions, so nothing grows with their number but the dueIndex.
//
// Content. The source keeps no session in memory. Look-ups and pages get the one entry that they need from
// the bucket, at any time after the start. Answers are cached in session.Lookup, within its bounds.
//
// When a session is due. The header hintHeader of an entry says it. Each source reads the headers of
// all entries in the background, and then follows their changes; it neither gets nor decrypts their content. The
// dueIndex holds about 65 bytes for a session: its key, the end of its access token and when it is due, in a heap.
// A source that is opened by a reload takes over the index of the one before, and continues to read
// where that is. The header is not trusted: a session is refreshed if its entry, decrypted, says so.
//
// Refreshes. A session that is due waits in the index until the pace permits its refresh. Only then it has a
// goroutine. While the provider or the index bucket is away, all of them wait there.
//
// Handlers share the work without talking. Each adds a random time to when a session is due, so they
// take different sessions, and see by the changes of the bucket what the others have done. If two take
// the same session nevertheless, the lease decides: it is written by compare-and-set, and
// has the revision that its last holder has written. So a refresh token is sent once. The leases of a handler that has
// died expire, and its sessions are due at the others anyway.
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

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/openid"
	"stamp/internal/callout/session/internal/sealed"
	"stamp/internal/callout/session/kv"
	"stamp/internal/conf"
)

// Config is the configuration block of a login source.
type Config struct {
	session.Settings
	Listen    string        `conf:"listen,required"` // host:port
	ListenTLS *conf.KeyPair `conf:"listen_tls"`      // default: no TLS
	PublicURL string        `conf:"public_url,required"`

	openid.Config
	openid.Client
	Scopes         []string             `conf:"scopes"`          // in addition to openid; default: none
	Authorization  map[string]conf.Node `conf:"authorization"`   // further parameters of the authorization request; default: none
	UserInfo       bool                 `conf:"userinfo"`        // whether to read claims from the userinfo endpoint too
	IDTokenHint    bool                 `conf:"id_token_hint"`   // whether the page's logout URL contains the ID token
	AccessLifetime time.Duration        `conf:"access_lifetime"` // life of access tokens if the provider does not tell; default: 5m
	ResponseMode   string               `conf:"response_mode"`   // query or form_post; default: the provider's own, which is query

	Bucket  string `conf:"bucket,required"`
	Account string `conf:"account"` // account of the bucket; default: the handler's
	kv.Place
	Key conf.Secret `conf:"key"` // 32 bytes in base64 per line; the first key encrypts

	CookieName    string        `conf:"cookie_name"`
	SameSite      string        `conf:"same_site"`
	Lifetime      time.Duration `conf:"lifetime"`
	RefreshBefore time.Duration `conf:"refresh_before"`
	Refreshes     int           `conf:"refreshes"` // most refreshes that run at once
	Claims        []string      `conf:"claims"`    // claims of the ID token that /session shows; default: sub, name
	AfterLogin    string        `conf:"after_login"`
	AfterLogout   string        `conf:"after_logout"`
	Origins       []string      `conf:"origins"` // origins of pages, in addition to that of public_url
	Ticket        time.Duration `conf:"ticket"`  // how long a ticket is valid; 0: no tickets
	Worker        *Worker       `conf:"worker"`  // if set, only tickets of the worker open connections

	keys       sealed.Keyring // for entries of the buckets
	own        sourceKeys     // for states, tickets and passes
	listenTLS  *tls.Config
	public     *url.URL
	bucket     *kv.Config
	parameters map[string]string // of authorization, as texts
	refreshSet bool              // the configuration contains refresh_before

	ages              bool          // parameters contains max_age
	maxAge            time.Duration // greatest time since the person authenticated
	authenticatesAnew bool          // parameters contains the prompt "login"
}

// CookieOfConnections returns the name of the cookie that connections bring. It is empty if they
// bring tickets.
func (c *Config) CookieOfConnections() string {
	if c.Ticket > 0 {
		return ""
	}
	return c.CookieName
}

// hostPrefix is the prefix of cookie names that only this host can set, over TLS and for all paths
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
	minTicket       = time.Second // the page is told whole seconds
	maxTicket       = 5 * time.Minute
	workerTicket    = 10 * time.Second // default with a worker
)

// Parse reads and checks the block of a login source. It contacts nothing.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{
		Settings: session.Defaults(), Config: openid.Defaults(), AccessLifetime: 5 * time.Minute, CookieName: hostPrefix + "session", SameSite: sameSiteLax, Lifetime: defaultLifetime,
		RefreshBefore: time.Minute, Refreshes: defaultRefreshes, Claims: []string{"sub", "name"}, AfterLogin: "/", AfterLogout: "/",
	}
	cfg.ClockSkew = time.Minute // for the provider's clock: without this, a login fails as soon as that clock is fast
	n.Decode(&cfg, faults)
	cfg.refreshSet = !n.Get("refresh_before").IsZero()
	cfg.Settings.Check(n, faults)
	cfg.CheckPlace(n, faults)
	cfg.LogsIn = true
	if cfg.Refreshes < 1 || cfg.Refreshes > maxRefreshes {
		faults.Add(n.Get("refreshes"), "refreshes: expected 1 to %d; found %d", maxRefreshes, cfg.Refreshes)
	}
	cfg.Connections = cfg.Refreshes + exchanges
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
		faults.Add(n.Get("listen"), `listen: expected an address such as "127.0.0.1:8090"; found %q`, cfg.Listen)
	}
	if cfg.ListenTLS != nil && cfg.ListenTLS.Cert == "" {
		faults.Add(n.Get("listen_tls"), "listen_tls: cert and key are missing")
	}
	cfg.listenTLS = cfg.ListenTLS.Config(n.Get("listen_tls"), faults)
	cfg.keys = sealed.ParseKeys(n, cfg.Key, faults)
	cfg.own = newSourceKeys(cfg.keys, cfg.Name, cfg.Issuer, cfg.ClientID)
	if !n.Has("key") {
		faults.Add(n, "field %q is missing: the path of a file with 32 bytes in base64\nhint: openssl rand -base64 32 > FILE", "key_file")
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

// checkWeb checks the fields that concern browsers.
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

// checkRefreshBefore checks that refresh_before is less than access_lifetime, if both are set.
func (c *Config) checkRefreshBefore(n conf.Node, faults *conf.Faults) {
	if c.refreshSet && n.Has("access_lifetime") && c.RefreshBefore >= c.AccessLifetime {
		faults.Add(n.Get("refresh_before"), "refresh_before: must be less than access_lifetime")
	}
}

// inWords formats a duration in its largest unit, for example "400 days".
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

// checkPublicURL parses public_url. Its path becomes a part of patterns, its origin is compared
// with that of requests, and it is the start of the redirect URI.
func (c *Config) checkPublicURL(at conf.Node, faults *conf.Faults) {
	c.public = &url.URL{}
	if c.PublicURL == "" {
		return // Decode has already reported it
	}
	u, err := parseAddress(c.PublicURL)
	switch {
	case err != nil:
		faults.Add(at, "public_url: %v", err)
		return
	case u.Scheme == "http" && !conf.IsLoopback(u.Hostname()):
		faults.Add(at, "public_url: must be https, or browsers send the cookie where others can read it")
	}
	c.public, c.PublicURL = u, u.String()
}

// maxCookieName is the greatest length of a cookie's name in bytes.
const maxCookieName = 64

func (c *Config) checkCookieName(at conf.Node, faults *conf.Faults) {
	if !c.secure() {
		c.CookieName = strings.TrimPrefix(c.CookieName, hostPrefix) // the prefix needs TLS
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

// loginCookie returns the name of the cookie for logins that have begun. A browser has one such
// cookie for all its logins, so that their number does not matter.
func (c *Config) loginCookie() string {
	if c.secure() {
		return hostPrefix + "login"
	}
	return "login"
}

func (c *Config) secure() bool { return c.public.Scheme == "https" }

// origin returns the origin of public_url.
func (c *Config) origin() string { return c.public.Scheme + "://" + c.public.Host }

func (c *Config) path(name string) string { return c.public.Path + name }

// ListensAt returns the address of the pages.
func (c *Config) ListensAt() string { return c.Listen }

// InAccount returns the account of the bucket. It is empty for the account of the handler's
// connection.
func (c *Config) InAccount() string { return c.Account }
