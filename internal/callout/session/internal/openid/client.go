package openid

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
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

	"github.com/go-jose/go-jose/v4"

	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/callout/session/internal/web"
	"stamp/internal/conf"
)

// Client says how the handler authenticates as a client at the token endpoint (OpenID
// Connect Core 1.0, section 9). Without ClientSecret and ClientKey it is a public client,
// which only PKCE protects.
type Client struct {
	ClientID     string      `conf:"client_id,required"`
	ClientSecret conf.Secret `conf:"client_secret"`
	ClientKey    conf.Secret `conf:"client_key"`    // private key for private_key_jwt, as PEM or JWK
	ClientKeyID  string      `conf:"client_key_id"` // key id of ClientKey at the provider; default: that of the JWK
	ClientAuth   string      `conf:"client_auth"`   // authentication method; default: see Client.auth

	signer jose.Signer
}

// Values of client_auth, as in OpenID Connect.
const (
	authBasic = "client_secret_basic"
	authPost  = "client_secret_post"
	authKey   = "private_key_jwt"
	authNone  = "none"
)

// Check adds the faults of the fields in the block n.
func (c *Client) Check(n conf.Node, faults *conf.Faults) {
	switch c.ClientAuth {
	case "", authBasic, authPost, authKey, authNone:
	default:
		faults.Add(n.Get("client_auth"), "client_auth: expected %s, %s, %s or %s; found %q", authBasic, authPost, authKey, authNone, c.ClientAuth)
	}
	if (c.ClientAuth == authBasic || c.ClientAuth == authPost) && c.ClientSecret == "" {
		faults.Add(n.Get("client_auth"), "client_auth: %s needs client_secret", c.ClientAuth)
	}
	if (c.ClientAuth == authKey) != (c.ClientKey != "") && c.ClientAuth != "" {
		faults.Add(n.Get("client_auth"), "client_auth: expected %s with client_key, and client_key with %s", authKey, authKey)
	}
	if c.ClientKey != "" && c.ClientSecret != "" {
		faults.Add(n.Get("client_secret"), "client_secret: expected client_secret or client_key; found both")
	}
	if c.ClientAuth == authNone && c.ClientSecret != "" {
		faults.Add(n.Get("client_secret"), "client_secret: expected none with client_auth: %s", authNone)
	}
	if c.ClientKey == "" {
		if c.ClientKeyID != "" {
			faults.Add(n.Get("client_key_id"), "client_key_id: expected a client_key, whose id this is")
		}
		return
	}
	at := n.Get("client_key")
	if at.IsZero() {
		at = n.Get("client_key_file")
	}
	var err error
	if c.signer, err = newSigner(c.ClientKey.Reveal(), c.ClientKeyID); err != nil {
		faults.Add(at, "client_key: %v", err)
	}
}

var errClientKey = errors.New("expected a private key, RSA, P-256, P-384, P-521 or Ed25519, as PEM (PKCS 8, PKCS 1 or SEC 1, maybe with its certificate) or JWK")

func newSigner(text, id string) (jose.Signer, error) {
	key := jose.JSONWebKey{}
	options := (&jose.SignerOptions{}).WithType("JWT")
	rest := []byte(text)
	if block, _ := pem.Decode(rest); block == nil {
		if json.Unmarshal(rest, &key) != nil {
			return nil, errClientKey // not the error of encoding/json, whose text may quote the key
		}
		rest = nil
	}
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			// Microsoft Entra ID knows the key by its certificate (RFC 7515, section 4.1.8).
			sum := sha256.Sum256(block.Bytes)
			options = options.WithHeader("x5t#S256", base64.RawURLEncoding.EncodeToString(sum[:]))
			continue
		}
		if block.Type == "EC PARAMETERS" { // OpenSSL writes the curve in front of the key, which has it too
			continue
		}
		var err error
		if key.Key, err = parsePrivate(block.Bytes); err != nil {
			return nil, errClientKey
		}
	}
	if id != "" {
		key.KeyID = id
	}
	algorithm := jose.SignatureAlgorithm(key.Algorithm)
	if algorithm == "" {
		algorithm = algorithmOf(key.Key)
	}
	if key.IsPublic() || !key.Valid() || !slices.Contains(algorithms, algorithm) {
		return nil, errClientKey
	}
	key.Algorithm = string(algorithm)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		return nil, errClientKey
	}
	if _, err := signer.Sign([]byte("{}")); err != nil {
		return nil, fmt.Errorf("the key cannot sign with %s: it is too short for that, or of another curve", algorithm)
	}
	return signer, nil
}

func parsePrivate(der []byte) (any, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	return x509.ParseECPrivateKey(der)
}

func algorithmOf(key any) jose.SignatureAlgorithm {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return jose.RS256
	case ed25519.PrivateKey:
		return jose.EdDSA
	case *ecdsa.PrivateKey:
		switch key.Curve {
		case elliptic.P256():
			return jose.ES256
		case elliptic.P384():
			return jose.ES384
		case elliptic.P521():
			return jose.ES512
		}
	}
	return ""
}

// auth returns the authentication method. The client does not try several methods,
// because that would hide why the provider refuses one.
func (c *Client) auth(d *Document) string {
	switch {
	case c.ClientAuth != "":
		return c.ClientAuth
	case c.signer != nil:
		return authKey
	case c.ClientSecret == "":
		return authNone
	case len(d.AuthMethods) > 0 && !slices.Contains(d.AuthMethods, authBasic):
		return authPost
	}
	return authBasic
}

// assertionLife is how long the token of private_key_jwt is valid.
const assertionLife = time.Minute

// assertion returns the token of private_key_jwt (RFC 7523, section 3) for an endpoint.
func (c *Client) assertion(endpoint string) (string, error) {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": c.ClientID, "sub": c.ClientID, "aud": endpoint, "jti": NewSecret(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed, err := c.signer.Sign(claims)
	if err != nil {
		return "", errors.New("the assertion cannot be signed with client_key")
	}
	return signed.CompactSerialize()
}

// NewSecret returns 256 random bits in base64url.
func NewSecret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// Login has the parameters of an authorization request.
type Login struct {
	State, Nonce, Verifier string
	RedirectURI            string
	Scopes                 []string
	More                   map[string]string // further parameters from the configuration
}

// Own are the parameters that the configuration cannot set, because Client.URL sets them
// or they would replace the others.
var Own = []string{
	"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
	"response_mode", "request", "request_uri",
}

// URL returns the URL of an authorization request, to which the browser is redirected
// (OpenID Connect Core 1.0, section 3.1.2.1, and RFC 7636).
func (c *Client) URL(d *Document, l Login) (string, error) {
	u, err := url.Parse(d.Authorization)
	if err != nil || u.Host == "" {
		return "", unavailable("the provider's document has no authorization_endpoint")
	}
	challenge := sha256.Sum256([]byte(l.Verifier))
	q := u.Query()
	for name, value := range l.More {
		q.Set(name, value)
	}
	q.Set("response_type", "code")
	q.Set("client_id", c.ClientID)
	q.Set("redirect_uri", l.RedirectURI)
	q.Set("scope", strings.Join(l.Scopes, " "))
	q.Set("state", l.State)
	q.Set("nonce", l.Nonce)
	q.Set("code_challenge", base64.RawURLEncoding.EncodeToString(challenge[:]))
	q.Set("code_challenge_method", "S256")
	u.RawQuery = q.Encode()
	return u.String(), nil
}

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

// Error codes of refusals (RFC 6749, section 5.2; OpenID Connect Core 1.0, section
// 3.1.2.6). grantCodes mean that the grant has ended and a new login is needed.
// clientCodes concern the client, so all requests fail until its configuration is
// corrected. passingCodes are temporary.
var (
	grantCodes = []string{
		"invalid_grant", "interaction_required", "login_required", "consent_required", "account_selection_required",
	}
	clientCodes  = []string{"invalid_client", "unauthorized_client"}
	otherCodes   = []string{"invalid_request", "unsupported_grant_type", "invalid_scope"}
	passingCodes = []string{"temporarily_unavailable", "server_error", "slow_down"}
)

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
