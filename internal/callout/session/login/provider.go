package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"stamp/internal/callout/session/internal/openid"
	"stamp/internal/conf"
)

var (
	errNoProvider = errors.New("the OpenID provider is not available")
	errBusy       = fmt.Errorf("%w: too many logins are under way", errNoProvider)
)

// exchange gets the tokens for the code of a login.
func (s *source) exchange(ctx context.Context, browser, code, verifier string) (*openid.Tokens, error) {
	release, err := s.asking.take(ctx, browser)
	if err != nil {
		return nil, err
	}
	defer release()
	// While the token endpoint cannot be reached, one request at a time tries it. The answer is
	// about this code, which anybody may have made up, so it says nothing of others.
	asking, _ := s.codes.Enter()
	if asking == nil {
		return nil, errNoProvider
	}
	defer asking.GiveUp() // does nothing after Finish
	tokens, err := s.provider.Exchange(ctx, &s.cfg.Client, code, verifier, s.cfg.redirectURI())
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err() // the browser has disconnected, which says nothing of the provider
	}
	asking.Finish("", err)
	return tokens, err
}

func (c *Config) redirectURI() string { return c.origin() + c.path("/callback") }

// authorizationURL returns the URL to which a browser is sent to log in.
func (s *source) authorizationURL(ctx context.Context, browser string, l pending) (string, error) {
	if !s.provider.Known() {
		release, err := s.asking.take(ctx, browser)
		if err != nil {
			return "", err
		}
		defer release()
	}
	d, err := s.provider.Document(ctx)
	if err != nil {
		return "", err
	}
	return s.cfg.URL(d, openid.Login{
		State: l.State, Nonce: l.Nonce, Verifier: l.Verifier, RedirectURI: s.cfg.redirectURI(), Scopes: s.cfg.Scopes, More: s.cfg.parameters,
	})
}

// parseParameters reads the block of further parameters of the authorization request.
func (c *Config) parseParameters(n conf.Node, faults *conf.Faults) {
	c.parameters = map[string]string{}
	if c.ResponseMode != "" {
		c.parameters["response_mode"] = c.ResponseMode
	}
	for name, value := range c.Authorization {
		switch v := value.Plain().(type) {
		case string, int64, bool:
			c.parameters[name] = fmt.Sprint(v)
		default:
			faults.Add(value, "authorization: %s: expected a string, a number, or true or false", name)
		}
		if slices.Contains(openid.Own, name) {
			faults.Add(value, "authorization: %s: the handler sets this parameter itself", name)
		}
	}
	c.parseMaxAge(faults)
}

// endSessionTime is how long a logout waits for the address at which the provider's session can be
// ended.
const endSessionTime = 2 * time.Second

// endSession returns the URL with which the browser ends the provider's session (OpenID Connect
// RP-Initiated Logout 1.0, section 2). It is empty if the provider has none.
func (s *source) endSession(ctx context.Context, e *entry) string {
	if !s.provider.Known() {
		release, ok := s.asking.takeNow()
		if !ok {
			return ""
		}
		defer release()
	}
	ctx, cancel := context.WithTimeout(ctx, endSessionTime)
	defer cancel()
	d, err := s.provider.Document(ctx)
	if err != nil {
		return ""
	}
	u, err := url.Parse(d.EndSession)
	if err != nil || u.Host == "" {
		return ""
	}
	q := u.Query()
	// Not by default, because the page would get the ID token.
	if s.cfg.IDTokenHint && e != nil && e.IDToken != "" {
		q.Set("id_token_hint", e.IDToken)
	}
	q.Set("client_id", s.cfg.ClientID)
	q.Set("post_logout_redirect_uri", s.cfg.origin()+s.cfg.AfterLogout)
	u.RawQuery = q.Encode()
	return u.String()
}

// away answers a request for which the provider is needed and not available.
func (s *source) away(w http.ResponseWriter, err error) {
	s.logged.Warn("provider", "login: the provider is not available", "source", s.cfg.Name, "reason", err.Error())
	failLogin(w, http.StatusBadGateway, "The login service cannot be reached.")
}
