// Package http asks the application whose session a credential is, as nginx's
// auth_request and Traefik's ForwardAuth do: the cookie goes to a URL of the
// application, whose answer is the session.
package http

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/web"
	"stamp/server/conf"
	"stamp/server/field"
)

// Config is the block of an http source.
type Config struct {
	session.Settings
	URL    conf.Secret `conf:"url,required"` // it may hold a password
	Method string      `conf:"method"`       // GET
	// Header is where the credential goes. In a Cookie, Field is its name; in another field,
	// Scheme goes before it, such as Bearer.
	Header string `conf:"header"`
	Field  string `conf:"cookie_name"`
	Scheme string `conf:"scheme"`
	// Forward names header fields and cookies of the websocket's upgrade request that go
	// along; the server must be told to forward them to the handler.
	Forward struct {
		Headers []string `conf:"headers"`
		Cookies []string `conf:"cookies"`
	} `conf:"forward"`
	Headers map[string]conf.Node `conf:"headers"` // fixed ones; the values may be secrets
	// Fields are header fields of the answer that become fields of the session, by the
	// session's name for them.
	Fields  map[string]conf.Node `conf:"fields"`
	Unknown []conf.Node          `conf:"unknown"` // status codes
	Expires string               `conf:"expires"` // field of the session: Unix seconds or RFC 3339
	// MaxCredential is how long a credential may be, in bytes. The application is not asked about longer
	// ones, which are unknown.
	MaxCredential int      `conf:"max_credential"`
	Key           string   `conf:"key"` // field of the session that names it, where it is not the credential
	TLS           *web.TLS `conf:"tls"`

	fixed   http.Header
	host    string // instead of the URL's, when there is a fixed header Host
	fields  map[string]string
	unknown []int
	client  *web.Client
}

// defaultMaxCredential has room for an access token with many claims, and fits into the header that servers
// of applications read; mostMaxCredential is the most that the configuration may say.
const (
	defaultMaxCredential = 16 << 10
	mostMaxCredential    = 1 << 20
)

// Parse reads and checks the block of a source; nothing is contacted.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{
		Settings: session.Defaults(), Method: http.MethodGet, Header: "Cookie", Field: "session", Expires: "expires",
		MaxCredential: defaultMaxCredential,
		unknown:       []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound},
	}
	n.Decode(&cfg, faults)
	cfg.Check(n, faults)
	web.CheckURL(n, "url", cfg.URL.Reveal(), faults)
	if cfg.MaxCredential < 1 || cfg.MaxCredential > mostMaxCredential {
		faults.Add(n.Get("max_credential"), "max_credential: expected a number of bytes from 1 to %d", mostMaxCredential)
	}
	cfg.checkRequest(n, faults)
	cfg.parseFixed(faults)
	cfg.checkForward(n, faults)
	cfg.parseFields(faults)
	if cfg.Method == http.MethodHead && len(cfg.fields) == 0 {
		faults.Add(n.Get("method"), "method: an answer to HEAD has no body, so that fields must be given")
	}
	cfg.parseUnknown(n, faults)
	cfg.client = web.NewClient(n.Get("tls"), cfg.TLS, cfg.Calls(), faults)
	return &cfg
}

func (c *Config) checkRequest(n conf.Node, faults *conf.Faults) {
	if !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPost}, c.Method) {
		faults.Add(n.Get("method"), "method: expected GET, HEAD or POST")
	}
	names := map[string]string{"header": c.Header, "cookie_name": c.Field}
	if c.Scheme != "" {
		names["scheme"] = c.Scheme
	}
	for at, name := range names {
		if !validName(name) {
			faults.Add(n.Get(at), "%s: not a token", at)
		}
	}
	if c.isCookie() && c.Scheme != "" {
		faults.Add(n.Get("scheme"), "scheme is for a header field other than Cookie")
	}
	if !canSend(c.Header) || strings.EqualFold(c.Header, "Host") {
		faults.Add(n.Get("header"), "header: %q cannot carry a credential", c.Header)
	}
}

// checkForward comes after parseFixed: a client must not add to a fixed header.
func (c *Config) checkForward(n conf.Node, faults *conf.Faults) {
	if !c.isCookie() && len(c.Forward.Cookies) > 0 && slices.ContainsFunc(c.Forward.Headers, isCookieName) {
		faults.Add(n.Get("forward"), "forward: the header Cookie and cookies do not go together")
	}
	for _, name := range c.Forward.Headers {
		if !validName(name) || !canSend(name) || strings.EqualFold(name, c.Header) ||
			slices.ContainsFunc([]string{"Accept", "Accept-Encoding", "Host", "Range"}, func(s string) bool { return strings.EqualFold(s, name) }) {
			faults.Add(n.Get("forward"), "forward: %q cannot be forwarded", name)
		}
		if c.fixed.Values(name) != nil {
			faults.Add(n.Get("forward"), "forward: %q is a fixed header", name)
		}
	}
	for _, name := range c.Forward.Cookies {
		if !validName(name) || c.isCookie() && name == c.Field {
			faults.Add(n.Get("forward"), "forward: cookie %q cannot be forwarded", name)
		}
	}
}

// connectionFields are about a connection and not about what is asked (RFC 9110,
// 7.6.1), or written by net/http. Who sends one of his choice could take another
// header of ours off on the way, or change where the request ends.
var connectionFields = []string{
	"Connection", "Content-Length", "Expect", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

func canSend(name string) bool {
	return !slices.ContainsFunc(connectionFields, func(s string) bool { return strings.EqualFold(s, name) })
}

func isCookieName(name string) bool { return strings.EqualFold(name, "Cookie") }

func (c *Config) isCookie() bool { return isCookieName(c.Header) }

// CookieOfConnections is the cookie that connections bring, if the application is asked by a cookie.
func (c *Config) CookieOfConnections() string {
	if c.isCookie() {
		return c.Field
	}
	return ""
}

// validName and validValue are RFC 9110's rules for fields, the latter without
// bytes above ASCII, which servers read differently: no credential and no fixed header has any.
func validName(name string) bool { return field.IsToken(name) }

func validValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// canForward tells whether a value of a forwarded header can be sent as it came: bytes above ASCII too, since the application
// would have got them as they are from the client itself.
func canForward(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return !strings.ContainsRune(value, utf8.RuneError)
}

// canForwardCookie is that for a cookie's value, which must not begin another cookie.
func canForwardCookie(value string) bool { return canForward(value) && !strings.Contains(value, ";") }

func (c *Config) parseFixed(faults *conf.Faults) {
	c.fixed = http.Header{}
	for name, n := range c.Headers {
		value, ok := n.Plain().(string)
		switch {
		case !ok || !validName(name) || !validValue(value):
			faults.Add(n, "headers: %q is not a header field with a text", name)
		case strings.EqualFold(name, c.Header):
			faults.Add(n, "headers: %q is where the credential goes", name)
		case isCookieName(name) && len(c.Forward.Cookies) > 0:
			faults.Add(n, "headers: Cookie is where the forwarded cookies go")
		case !canSend(name):
			faults.Add(n, "headers: %q is not ours to send", name)
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
			faults.Add(item, "unknown: expected a status code from 400 to 499: others do not tell that a session is unknown")
			continue
		}
		c.unknown = append(c.unknown, int(code))
	}
	c.Unknown = nil
}

// String names the source without its URL.
func (c *Config) String() string { return fmt.Sprintf("http source %s", c.Name) }
