// Package http is a session source that asks the application, like auth_request of nginx
// and ForwardAuth of Traefik. It sends the cookie or token to a URL of the application.
// The answer is the session.
package http

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"stamp.example/claim/field"
	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/callout/session/internal/web"
	"stamp/internal/conf"
)

// Config is the block of an http source.
type Config struct {
	session.Settings
	URL    conf.Secret `conf:"url,required"` // secret because it may hold a password
	Method string      `conf:"method"`       // GET, HEAD or POST; default: GET
	// Header is the name of the header field with the credential; default: Cookie. In the field
	// Cookie, CookieName is the name of the cookie; default: DefaultCookieName. In another
	// field, the authentication scheme Scheme, such as Bearer, comes before the credential.
	Header     string `conf:"header"`
	CookieName string `conf:"cookie_name"`
	Scheme     string `conf:"scheme"`
	// Forward names header fields and cookies of the websocket's upgrade request that are sent
	// to the application too. The server must be configured to send them to the handler.
	Forward struct {
		Headers []string `conf:"headers"`
		Cookies []string `conf:"cookies"`
	} `conf:"forward"`
	Headers map[string]conf.Node `conf:"headers"` // further header fields with fixed values, which may be secrets
	// Fields are header fields of the answer that become fields of the session. The keys are
	// the names of the session's fields.
	Fields  map[string]conf.Node `conf:"fields"`
	Unknown []conf.Node          `conf:"unknown"` // status codes for unknown credentials; default: 401, 403, 404
	Expires string               `conf:"expires"` // field of the session, or path, with its end; default: stored.DefaultExpiresField
	// MaxCredential is the maximum length of a credential in bytes; default: DefaultMaxCredential.
	// A longer credential is unknown, and the application is not asked about it.
	MaxCredential int       `conf:"max_credential"`
	Key           string    `conf:"key"` // field of the session that identifies it; default: the credential does
	TLS           *conf.TLS `conf:"tls"`

	fixed   http.Header
	host    string // value of a fixed header Host, which replaces that of the URL
	fields  map[string]string
	unknown []int
	client  *web.Client
}

const (
	// DefaultCookieName is the default of Config.CookieName.
	DefaultCookieName = "session"
	// DefaultMaxCredential is the default of Config.MaxCredential. It allows an access token with many
	// claims, and fits into the header that most application servers accept.
	DefaultMaxCredential = 16 << 10
	// maxMaxCredential is the upper bound of Config.MaxCredential.
	maxMaxCredential = 1 << 20
)

// Parse reads and checks the block of a source.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{
		Settings: session.Defaults(), Method: http.MethodGet, Header: "Cookie", CookieName: DefaultCookieName, Expires: stored.DefaultExpiresField,
		MaxCredential: DefaultMaxCredential,
		unknown:       []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound},
	}
	n.Decode(&cfg, faults)
	cfg.Check(n, faults)
	web.CheckURL(n, "url", cfg.URL.Reveal(), faults)
	if cfg.MaxCredential < 1 || cfg.MaxCredential > maxMaxCredential {
		faults.Add(n.Get("max_credential"), "max_credential: expected a number of bytes from 1 to %d; found %d", maxMaxCredential, cfg.MaxCredential)
	}
	cfg.checkRequest(n, faults)
	cfg.parseFixed(faults)
	cfg.checkForward(n, faults)
	cfg.parseFields(faults)
	if cfg.Method == http.MethodHead && len(cfg.fields) == 0 {
		faults.Add(n.Get("method"), "method: expected fields with HEAD, because an answer to HEAD has no body")
	}
	cfg.parseUnknown(n, faults)
	cfg.client = web.NewClient(n.Get("tls"), cfg.TLS, cfg.Calls(), faults)
	return &cfg
}

func (c *Config) checkRequest(n conf.Node, faults *conf.Faults) {
	if !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPost}, c.Method) {
		faults.Add(n.Get("method"), "method: expected GET, HEAD or POST; found %q", c.Method)
	}
	names := map[string]string{"header": c.Header, "cookie_name": c.CookieName}
	if c.Scheme != "" {
		names["scheme"] = c.Scheme
	}
	for at, name := range names {
		if !validName(name) {
			faults.Add(n.Get(at), "%s: expected a token of RFC 9110; found %q", at, name)
		}
	}
	if c.isCookie() && c.Scheme != "" {
		faults.Add(n.Get("scheme"), "scheme: expected a header field other than Cookie, because a cookie has no scheme")
	}
	if !canSend(c.Header) || strings.EqualFold(c.Header, "Host") {
		faults.Add(n.Get("header"), "header: expected a header field that can carry a credential; found %q", c.Header)
	}
}

// checkForward checks Forward. It is called after parseFixed, because a client must not
// be able to add values to a fixed header.
func (c *Config) checkForward(n conf.Node, faults *conf.Faults) {
	if !c.isCookie() && len(c.Forward.Cookies) > 0 && slices.ContainsFunc(c.Forward.Headers, isCookieName) {
		faults.Add(n.Get("forward"), "forward: expected the header Cookie or single cookies; found both")
	}
	for _, name := range c.Forward.Headers {
		if !validName(name) || !canSend(name) || strings.EqualFold(name, c.Header) ||
			slices.ContainsFunc([]string{"Accept", "Accept-Encoding", "Host", "Range"}, func(s string) bool { return strings.EqualFold(s, name) }) {
			faults.Add(n.Get("forward"), "forward: %q cannot be forwarded, because the handler sets it itself; remove it", name)
		}
		if c.fixed.Values(name) != nil {
			faults.Add(n.Get("forward"), "forward: %q cannot be forwarded, because headers has a fixed value for it", name)
		}
	}
	for _, name := range c.Forward.Cookies {
		if !validName(name) || c.isCookie() && name == c.CookieName {
			faults.Add(n.Get("forward"), "forward: cookie %q cannot be forwarded", name)
		}
	}
}

// connectionFields are the header fields that concern the connection (RFC 9110, section
// 7.6.1) or that net/http writes. With such a field a client could have a proxy remove
// other fields of the request, or change where the request ends.
var connectionFields = []string{
	"Connection", "Content-Length", "Expect", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

// canSend reports whether a request may have a header field that the configuration
// names.
func canSend(name string) bool {
	return !slices.ContainsFunc(connectionFields, func(s string) bool { return strings.EqualFold(s, name) })
}

func isCookieName(name string) bool { return strings.EqualFold(name, "Cookie") }

func (c *Config) isCookie() bool { return isCookieName(c.Header) }

// CookieOfConnections returns the name of the cookie that clients present. It is "" if
// the credential is sent in another header field.
func (c *Config) CookieOfConnections() string {
	if c.isCookie() {
		return c.CookieName
	}
	return ""
}

// validName reports whether name is a name of a header field (RFC 9110).
func validName(name string) bool { return field.IsToken(name) }

// validValue reports whether value is a value of a header field (RFC 9110) in ASCII.
// Servers differ in how they read other bytes, so no credential and no fixed header may
// have them.
func validValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// canForward reports whether the value of a forwarded header can be sent unchanged. Bytes
// above ASCII are allowed, because the application would get the same ones from the
// client directly.
func canForward(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return !strings.ContainsRune(value, utf8.RuneError)
}

// canForwardCookie reports whether the value of a forwarded cookie can be sent unchanged,
// and does not begin another cookie.
func canForwardCookie(value string) bool { return canForward(value) && !strings.Contains(value, ";") }

func (c *Config) parseFixed(faults *conf.Faults) {
	c.fixed = http.Header{}
	for name, n := range c.Headers {
		value, ok := n.Plain().(string)
		switch {
		case !ok || !validName(name) || !validValue(value):
			faults.Add(n, "headers: %q: expected a name of a header field, and a text in ASCII as its value", name)
		case strings.EqualFold(name, c.Header):
			faults.Add(n, "headers: %q cannot have a fixed value, because it carries the credential", name)
		case isCookieName(name) && len(c.Forward.Cookies) > 0:
			faults.Add(n, "headers: Cookie cannot have a fixed value, because it carries the forwarded cookies")
		case !canSend(name):
			faults.Add(n, "headers: %q cannot have a fixed value, because the HTTP client sets it", name)
		case strings.EqualFold(name, "Host"):
			c.host = value
		default:
			c.fixed.Set(name, value)
		}
	}
	c.Headers = nil
}

func (c *Config) parseFields(faults *conf.Faults) {
	c.fields = map[string]string{}
	for field, n := range c.Fields {
		name, ok := n.Plain().(string)
		if !ok || !validName(name) {
			faults.Add(n, "fields: %s: expected the name of a header field", field)
			continue
		}
		c.fields[field] = name
	}
	c.Fields = nil
}

func (c *Config) parseUnknown(n conf.Node, faults *conf.Faults) {
	if n.Get("unknown").IsZero() {
		return
	}
	c.unknown = nil
	for _, item := range c.Unknown {
		code, ok := item.Plain().(int64)
		if !ok || code < 400 || code > 499 {
			faults.Add(item, "unknown: expected a status code from 400 to 499, because others do not mean that a session is unknown; found %s", item.NumberOrKind())
			continue
		}
		c.unknown = append(c.unknown, int(code))
	}
	c.Unknown = nil
}

// String returns the name of the source, without the URL, which is secret.
func (c *Config) String() string { return fmt.Sprintf("http source %s", c.Name) }
