// Package introspection is a session source that asks an authorization server about a
// token (RFC 7662). The answer is the session. Unlike package oidc, it notices that a
// token was revoked, and accepts tokens that only the authorization server can read.
package introspection

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/callout/session/internal/web"
	"stamp/internal/conf"
)

// Config is the block of an introspection source.
type Config struct {
	session.Settings
	URL          string      `conf:"url,required"`
	ClientID     string      `conf:"client_id"`
	ClientSecret conf.Secret `conf:"client_secret"` // not needed if tls.cert authenticates the handler (RFC 8705)
	// Auth is how the handler authenticates to the authorization server: basic or post (RFC 6749,
	// section 2.3.1), bearer with Token, or none. The default is basic.
	Auth     string      `conf:"auth"`
	Token    conf.Secret `conf:"token"`
	Hint     string      `conf:"token_type_hint"` // such as access_token; default: none is sent
	Audience []string    `conf:"audience"`        // the token must have one of these; default: any
	Issuer   string      `conf:"issuer"`          // of the token; default: any
	Scopes   []string    `conf:"scopes"`          // the token must have all of these; default: none
	TLS      *conf.TLS   `conf:"tls"`

	client *web.Client
}

// Parse reads and checks the block of a source.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{Settings: session.Defaults(), Auth: "basic"}
	n.Decode(&cfg, faults)
	cfg.Check(n, faults)
	web.CheckURL(n, "url", cfg.URL, faults)
	cfg.checkAuth(n, faults)
	cfg.client = web.NewClient(n.Get("tls"), cfg.TLS, cfg.Calls(), faults)
	return &cfg
}

// checkAuth adds the faults of the fields with which the handler authenticates. Auth
// must be none explicitly for a server that answers without authentication, which RFC
// 7662 forbids, and which Ory Hydra does on its port for administrators.
func (c *Config) checkAuth(n conf.Node, faults *conf.Faults) {
	hasCert := c.TLS != nil && c.TLS.Cert != ""
	hasSecret := n.Has("client_secret") // also true if its file cannot be read, which has been reported
	id := n.Get("client_id").Plain()
	hasID := id != nil && id != "" // also true if it is no string, which has been reported
	client := hasID || hasSecret
	if c.Token != "" && c.Auth != "bearer" {
		faults.Add(n, "token: expected auth: bearer, which sends the token; found auth: %s", c.Auth)
	}
	switch c.Auth {
	case "basic", "post":
		switch {
		case !hasID && hasSecret:
			faults.Add(n, "field %q is missing: it goes together with %s", "client_id", "client_secret")
		case hasID && !hasSecret && !hasCert:
			faults.Add(n, "field %q is missing: it goes together with %s", "client_secret", "client_id")
		case !hasID && !hasCert:
			faults.Add(n, `field "client_id" is missing: an authorization server answers registered clients only. If yours answers anybody, write auth: none`)
		}
	case "bearer":
		if !n.Has("token") {
			faults.Add(n, `field "token" is missing: auth: bearer sends it`)
		} else if c.Token != "" && !isToken(c.Token.Reveal()) {
			faults.Add(n, "token: expected visible ASCII characters without spaces, as a Bearer token has")
		}
		fallthrough
	case "none":
		if client {
			faults.Add(n, "client_id and client_secret: expected auth: basic or post, which send them; found auth: %s", c.Auth)
		}
	default:
		faults.Add(n.Get("auth"), "auth: expected basic, post, bearer or none; found %q", c.Auth)
	}
}

type source struct{ cfg *Config }

// Open returns the source.
func (c *Config) Open(context.Context, session.Env) (session.Source, error) { return source{c}, nil }

// Close closes the connections to the authorization server.
func (s source) Close() error {
	s.cfg.client.Close()
	return nil
}

// maxToken is the maximum length of a token in bytes.
const maxToken = 16 << 10

// Accepts accepts cookies and tokens that can be an access token (RFC 6749, appendix
// A.12, without the space).
func (s source) Accepts(r *session.Request) (string, bool) {
	token := r.Credential.Value
	if k := r.Credential.Kind; k != session.Cookie && k != session.Token || token == "" || len(token) > maxToken {
		return "", false
	}
	return token, isToken(token)
}

// isToken reports whether text consists of visible ASCII characters.
func isToken(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

// Find asks the authorization server about the token.
func (s source) Find(ctx context.Context, r *session.Request) (*session.Session, error) {
	token, ok := s.Accepts(r)
	if !ok {
		return nil, session.ErrUnknown
	}
	request, err := s.request(ctx, token)
	if err != nil {
		return nil, err
	}
	answer, err := s.cfg.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the authorization server: %w", err)
	}
	if answer.Status != http.StatusOK {
		// Status 401 means that the server refuses the handler, not the token.
		return nil, fmt.Errorf("ask the authorization server: expected status 200; found status %d", answer.Status)
	}
	return s.read(answer.Body, token)
}

func (s source) request(ctx context.Context, token string) (*http.Request, error) {
	form := url.Values{"token": {token}}
	if s.cfg.Hint != "" {
		form.Set("token_type_hint", s.cfg.Hint)
	}
	secret := s.cfg.ClientSecret.Reveal()
	if s.cfg.ClientID != "" && (s.cfg.Auth == "post" || secret == "") {
		form.Set("client_id", s.cfg.ClientID) // also with a certificate instead of a secret (RFC 8705, section 2)
	}
	if s.cfg.Auth == "post" && secret != "" {
		form.Set("client_secret", secret)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("url is not valid") // cannot happen: Parse has checked it
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if s.cfg.Auth == "basic" && secret != "" {
		// Both are form-encoded before they are encoded in base64 (RFC 6749, section 2.3.1).
		r.SetBasicAuth(url.QueryEscape(s.cfg.ClientID), url.QueryEscape(secret))
	}
	if s.cfg.Auth == "bearer" {
		r.Header.Set("Authorization", "Bearer "+s.cfg.Token.Reveal())
	}
	return r, nil
}

// maxSkew is how far the clock of the authorization server may be ahead. A token that it
// has just issued is valid from now by that clock.
const maxSkew = 30 * time.Second

var errAnswer = errors.New("the answer of the authorization server is not an introspection response of RFC 7662")

// read returns the session in an answer.
func (s source) read(body []byte, token string) (*session.Session, error) {
	data, err := stored.Object(body)
	if err != nil {
		return nil, errAnswer
	}
	active, ok := data["active"].(bool)
	if !ok {
		return nil, errAnswer
	}
	if !active || !s.isForHandler(data) {
		return nil, session.ErrUnknown
	}
	if isRefreshToken(data) {
		return nil, session.Unknown("expected an access token; found a refresh token")
	}
	expires, err := stored.Expires(data, "exp")
	if err != nil {
		return nil, errAnswer
	}
	begins, err := stored.Expires(data, "nbf")
	if err != nil {
		return nil, errAnswer
	}
	if time.Now().Add(maxSkew).Before(begins) {
		return nil, session.ErrUnknown
	}
	return &session.Session{Data: data, Expires: expires, Key: stored.SessionKey(token)}, nil
}

// isRefreshToken reports whether an answer is about a refresh token. Such a token is
// active too, but is meant only for the authorization server and is valid for much
// longer. Ory Hydra says so in token_use, Keycloak in typ.
func isRefreshToken(data map[string]any) bool {
	return data["token_use"] == "refresh_token" || data["typ"] == "Refresh" || data["typ"] == "Offline"
}

// isForHandler reports whether the token has the configured audience, issuer and scopes.
func (s source) isForHandler(data map[string]any) bool {
	if s.cfg.Issuer != "" && data["iss"] != s.cfg.Issuer {
		return false
	}
	audience := texts(data["aud"])
	if len(s.cfg.Audience) > 0 && !slices.ContainsFunc(s.cfg.Audience, func(a string) bool { return slices.Contains(audience, a) }) {
		return false
	}
	scope, _ := data["scope"].(string)
	scopes := strings.Fields(scope)
	return !slices.ContainsFunc(s.cfg.Scopes, func(want string) bool { return !slices.Contains(scopes, want) })
}

// texts returns a string, or the strings of an array, as a list.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			if text, ok := e.(string); ok {
				out = append(out, text)
			}
		}
		return out
	}
	return nil
}
