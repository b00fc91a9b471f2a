package openid

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/callout/session/internal/web"
)

// Tokens are the tokens in an answer of the token endpoint. Any of them may be missing.
type Tokens struct {
	Access, Refresh, ID string
	Expires             time.Time // of the access token; zero: not known
}

// Refusal is an error response of the token endpoint (RFC 6749, section 5.2). Code is ""
// if the error code is unknown, because its text might quote the request, or if the
// answer has none, as one of a proxy in front of the provider.
type Refusal struct {
	Code   string
	Status int
}

func (e *Refusal) Error() string {
	if e.Code == "" {
		return "the provider answers with an error, status " + strconv.Itoa(e.Status)
	}
	return "the provider answers " + e.Code
}

// GrantIsOver reports whether the error means that the refresh token will never be valid
// again.
func GrantIsOver(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && slices.Contains(grantCodes, r.Code)
}

// concernsRequest reports whether the error means that the provider works, and has refused
// only this grant or request.
func concernsRequest(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Code != "" && !slices.Contains(clientCodes, r.Code)
}

// Exchange exchanges the code of a login for tokens (RFC 6749, section 4.1.3).
func (p *Provider) Exchange(ctx context.Context, c *Client, code, verifier, redirectURI string) (*Tokens, error) {
	return p.token(ctx, c, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {redirectURI},
	})
}

// Refresh exchanges a refresh token for new tokens (RFC 6749, section 6). The request may
// invalidate the refresh token, so ctx should not end before the answer arrives.
func (p *Provider) Refresh(ctx context.Context, c *Client, refreshToken string) (*Tokens, error) {
	return p.token(ctx, c, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}})
}

func (p *Provider) token(ctx context.Context, c *Client, form url.Values) (*Tokens, error) {
	answer, err := p.askEndpoint(ctx, func(d *Document) string { return d.Token }, func(ctx context.Context, d *Document) (*web.Answer, error) {
		return p.postToken(ctx, d, c, form)
	})
	if err != nil {
		return nil, err
	}
	return readTokens(answer)
}

// postToken sends a form to the token endpoint with the authentication of the client.
func (p *Provider) postToken(ctx context.Context, d *Document, c *Client, form url.Values) (*web.Answer, error) {
	if d.Token == "" {
		return nil, unavailable("the provider's document has no token_endpoint")
	}
	form = maps.Clone(form)
	auth := c.auth(d)
	if auth != authBasic {
		form.Set("client_id", c.ClientID)
	}
	switch auth {
	case authPost:
		form.Set("client_secret", c.ClientSecret.Reveal())
	case authKey:
		assertion, err := c.assertion(d.TokenName)
		if err != nil {
			return nil, err
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	answer, err := p.send(ctx, http.MethodPost, d.Token, form, func(r *http.Request) {
		if auth == authBasic {
			// Both are form-encoded before they are encoded in base64 (RFC 6749, section 2.3.1).
			r.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret.Reveal()))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("ask the token endpoint: %w", err)
	}
	return answer, nil
}

// readTokens reads an answer of the token endpoint.
func readTokens(answer *web.Answer) (*Tokens, error) {
	data, err := stored.Object(answer.Body)
	code, isRefusal := data["error"].(string)
	switch {
	case answer.Status >= 500 || answer.Status == http.StatusTooManyRequests || isRefusal && slices.Contains(passingCodes, code):
		return nil, fmt.Errorf("ask the token endpoint: %w", failed(answer))
	case isRefusal:
		if !slices.Contains(slices.Concat(grantCodes, clientCodes, otherCodes), code) {
			code = ""
		}
		return nil, &Refusal{code, answer.Status}
	case answer.Status/100 == 4:
		return nil, &Refusal{Status: answer.Status}
	case answer.Status/100 != 2:
		return nil, fmt.Errorf("ask the token endpoint: %w", failed(answer))
	case err != nil:
		return nil, unavailable("ask the token endpoint: the answer is not a JSON object")
	}
	var t Tokens
	t.Access, _ = data["access_token"].(string)
	t.Refresh, _ = data["refresh_token"].(string)
	t.ID, _ = data["id_token"].(string)
	t.Expires = expiry(data["expires_in"], t.Access, time.Now())
	return &t, nil
}

// maxLife bounds expires_in, so that no sum overflows.
const maxLife = 10 * 365 * 24 * time.Hour

// expiry returns when an access token expires: by expires_in, a number or a text, or else
// by the token itself if it is a JWT (RFC 9068). The signature need not be verified,
// because the time is only used to decide when to refresh.
func expiry(expiresIn any, accessToken string, now time.Time) time.Time {
	seconds, ok := expiresIn.(float64)
	if text, isText := expiresIn.(string); isText {
		var err error
		seconds, err = strconv.ParseFloat(text, 64)
		ok = err == nil
	}
	if ok && seconds > 0 && !math.IsNaN(seconds) {
		return now.Add(time.Duration(min(seconds, maxLife.Seconds())) * time.Second)
	}
	parts := strings.Split(accessToken, ".")
	if len(parts) != 3 || len(accessToken) > maxParsed {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	claims, err := stored.Object(payload)
	if err != nil {
		return time.Time{}
	}
	ends, _ := Date(claims, "exp")
	return ends
}
