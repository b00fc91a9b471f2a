package login

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"stamp/server/callout/session/internal/web"
)

// oauth is the client of the token endpoint. How it shows its secret is what the provider says
// (OpenID Connect Discovery 1.0, section 3): to try both ways would hide why one is refused.
func (s *source) oauth(p *oidc.Provider) *oauth2.Config {
	endpoint := p.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	var meta struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if s.cfg.ClientSecret == "" || p.Claims(&meta) == nil && len(meta.Methods) > 0 && !slices.Contains(meta.Methods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: s.cfg.ClientID, ClientSecret: s.cfg.ClientSecret.Reveal(), Endpoint: endpoint,
		RedirectURL: s.cfg.origin() + s.cfg.path("/callback"), Scopes: s.cfg.Scopes,
	}
}

func (s *source) client(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, s.cfg.client.HTTP())
}

// authorizationURL is where the browser is sent to log in.
func (s *source) authorizationURL(ctx context.Context, l pending) (string, error) {
	p, err := s.discovered(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(l.Nonce), oauth2.S256ChallengeOption(l.Verifier)}
	if s.cfg.ResponseMode != "" {
		options = append(options, oauth2.SetAuthURLParam("response_mode", s.cfg.ResponseMode))
	}
	return s.oauth(p).AuthCodeURL(l.State, options...), nil
}

// exchange gets the tokens of a login.
func (s *source) exchange(ctx context.Context, code, verifier string) (*oauth2.Token, error) {
	p, err := s.discovered(ctx)
	if err != nil {
		return nil, err
	}
	return s.oauth(p).Exchange(s.client(ctx), code, oauth2.VerifierOption(verifier))
}

func (s *source) away(w http.ResponseWriter, err error) {
	s.env.Log.Warn("login: the provider is not available", "source", s.cfg.Name, "reason", err.Error())
	failLogin(w, http.StatusBadGateway, "The login service cannot be reached.")
}

// endSession is the URL of OpenID Connect RP-Initiated Logout 1.0, section 2; empty when the
// provider has none.
func (s *source) endSession(ctx context.Context, e *entry) string {
	p, err := s.discovered(ctx)
	if err != nil {
		return ""
	}
	var meta struct {
		URL string `json:"end_session_endpoint"`
	}
	u := &url.URL{}
	if p.Claims(&meta) == nil && meta.URL != "" {
		u, err = url.Parse(meta.URL)
	}
	if err != nil || u.Host == "" {
		return ""
	}
	q := u.Query()
	// Not id_token_hint: the page would get the ID token.
	q.Set("client_id", s.cfg.ClientID)
	q.Set("post_logout_redirect_uri", s.cfg.origin()+s.cfg.AfterLogout)
	u.RawQuery = q.Encode()
	return u.String()
}

// reason is what may be logged of an error of the token endpoint: its code, of the ones that
// RFC 6749, section 5.2, has; what is not in there may repeat the request.
func reason(err error) string {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		if slices.Contains([]string{
			"invalid_request", "invalid_client", errInvalidGrant, "unauthorized_client", "unsupported_grant_type", "invalid_scope",
		}, refused.ErrorCode) {
			return "the provider answers " + refused.ErrorCode
		}
		return "the provider answers with an error"
	}
	return web.Clean(err).Error()
}

const errInvalidGrant = "invalid_grant"

func isInvalidGrant(err error) bool {
	var refused *oauth2.RetrieveError
	return errors.As(err, &refused) && refused.ErrorCode == errInvalidGrant
}
