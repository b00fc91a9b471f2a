// Package introspection asks an authorization server what a token is (RFC 7662):
// its answer is the session. Unlike package oidc it sees at once that a token was
// revoked, and takes tokens that nobody but the server can read.
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

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/stored"
	"stamp/server/callout/session/internal/web"
	"stamp/server/conf"
)

// Config is the block of an introspection source.
type Config struct {
	session.Settings
	URL          string      `conf:"url,required"`
	ClientID     string      `conf:"client_id"` // without a secret when tls.cert says who we are (RFC 8705)
	ClientSecret conf.Secret `conf:"client_secret"`
	// Auth is how the handler says who it is: basic or post (RFC 6749, 2.3.1), bearer, with Token, or none.
	Auth     string      `conf:"auth"`
	Token    conf.Secret `conf:"token"`
	Hint     string      `conf:"token_type_hint"` // such as access_token
	Audience []string    `conf:"audience"`        // one of them must be the token's
	Issuer   string      `conf:"issuer"`
	Scopes   []string    `conf:"scopes"` // that the token must have
	TLS      *web.TLS    `conf:"tls"`

	client *web.Client
}

// Parse reads and checks the block of a source; nothing is contacted.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{Settings: session.Defaults(), Auth: "basic"}
	n.Decode(&cfg, faults)
	cfg.Check(n, faults)
	web.CheckURL(n, "url", cfg.URL, faults)
	cfg.checkAuth(n, faults)
	cfg.client = web.NewClient(n.Get("tls"), cfg.TLS, cfg.Calls(), faults)
	return &cfg
}

// checkAuth adds what is wrong with how the handler says who it is. A server that answers whoever asks
// (RFC 7662 forbids that, and Ory's Hydra does so on its port for administrators) must be named as one.
func (c *Config) checkAuth(n conf.Node, faults *conf.Faults) {
	hasCert := c.TLS != nil && c.TLS.Cert != ""
	hasSecret := n.Has("client_secret") // also if its file cannot be read, which is a fault already
	client := c.ClientID != "" || hasSecret
	if c.Token != "" && c.Auth != "bearer" {
		faults.Add(n, "token is for auth: bearer")
	}
	switch c.Auth {
	case "basic", "post":
		if c.ClientID == "" && hasSecret || c.ClientID != "" && !hasSecret && !hasCert {
			faults.Add(n, "client_id and client_secret go together")
		}
		if c.ClientID == "" && !hasCert {
			faults.Add(n, `field "client_id" is missing: an authorization server answers registered clients only. If yours answers anybody, write auth: none`)
		}
	case "bearer":
		if !n.Has("token") {
			faults.Add(n, `field "token" is missing: auth: bearer sends it`)
		} else if c.Token != "" && !isToken(c.Token.Reveal()) {
			faults.Add(n, "token: has characters that a Bearer token cannot have")
		}
		fallthrough
	case "none":
		if client {
			faults.Add(n, "client_id and client_secret are for auth: basic or post; auth is %s", c.Auth)
		}
	default:
		faults.Add(n.Get("auth"), "auth: expected basic, post, bearer or none")
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

// maxToken is how long a token may be, in bytes.
const maxToken = 16 << 10

// Accepts takes what can be a token: RFC 6749, A.12, without the space.
func (s source) Accepts(r *session.Request) (string, bool) {
	token := r.Credential.Value
	if k := r.Credential.Kind; k != session.Cookie && k != session.Token || token == "" || len(token) > maxToken {
		return "", false
	}
	return token, isToken(token)
}

func isToken(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

// Find asks the authorization server.
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
		// 401 is about us, not about the token.
		return nil, fmt.Errorf("ask the authorization server: status %d", answer.Status)
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
		form.Set("client_id", s.cfg.ClientID) // without a secret too: RFC 8705, 2
	}
	if s.cfg.Auth == "post" && secret != "" {
		form.Set("client_secret", secret)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("url is not valid") // Parse has seen to that
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if s.cfg.Auth == "basic" && secret != "" {
		// RFC 6749, 2.3.1: both are encoded before.
		r.SetBasicAuth(url.QueryEscape(s.cfg.ClientID), url.QueryEscape(secret))
	}
	if s.cfg.Auth == "bearer" {
		r.Header.Set("Authorization", "Bearer "+s.cfg.Token.Reveal())
	}
	return r, nil
}

// maxSkew is how far the server's clock may be ahead of ours: it says itself that
// a token has begun, most often with one that it has just issued.
const maxSkew = 30 * time.Second

var errAnswer = errors.New("answer of the authorization server is not one of RFC 7662")

// read makes a session of an answer.
func (s source) read(body []byte, token string) (*session.Session, error) {
	data, err := stored.Object(body)
	if err != nil {
		return nil, errAnswer
	}
	active, ok := data["active"].(bool)
	if !ok {
		return nil, errAnswer
	}
	if !active || !s.meant(data) {
		return nil, session.ErrUnknown
	}
	if isRefreshToken(data) {
		return nil, session.Unknown("it is a refresh token")
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

// isRefreshToken tells what an authorization server says of a refresh token, which is active as well, for the server alone,
// and lives much longer: Ory's Hydra has token_use, Keycloak typ.
func isRefreshToken(data map[string]any) bool {
	return data["token_use"] == "refresh_token" || data["typ"] == "Refresh" || data["typ"] == "Offline"
}

// meant tells whether the token is for us: its audience, issuer and scopes.
func (s source) meant(data map[string]any) bool {
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

// texts returns a string, or an array of them, as a list.
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
