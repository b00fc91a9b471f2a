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

	"stamp/server/callout/session/internal/stored"
	"stamp/server/callout/session/internal/web"
	"stamp/server/conf"
)

// Client is how a relying party shows at the token endpoint who it is (OpenID Connect Core 1.0, section 9).
type Client struct {
	ClientID     string      `conf:"client_id,required"`
	ClientSecret conf.Secret `conf:"client_secret"` // none, and no key: a public client, by PKCE alone
	ClientKey    conf.Secret `conf:"client_key"`    // private, for private_key_jwt: PEM or JWK
	ClientKeyID  string      `conf:"client_key_id"` // of the key, as the provider knows it
	ClientAuth   string      `conf:"client_auth"`   // empty: what the provider's document says

	signer jose.Signer
}

// Values of client_auth, as OpenID Connect calls them.
const (
	authBasic = "client_secret_basic"
	authPost  = "client_secret_post"
	authKey   = "private_key_jwt"
	authNone  = "none"
)

// Check adds what is wrong with the fields of the block n.
func (c *Client) Check(n conf.Node, faults *conf.Faults) {
	switch c.ClientAuth {
	case "", authBasic, authPost, authKey, authNone:
	default:
		faults.Add(n.Get("client_auth"), "client_auth: expected %s, %s, %s or %s", authBasic, authPost, authKey, authNone)
	}
	if (c.ClientAuth == authBasic || c.ClientAuth == authPost) && c.ClientSecret == "" {
		faults.Add(n.Get("client_auth"), "client_auth: %s needs client_secret", c.ClientAuth)
	}
	if (c.ClientAuth == authKey) != (c.ClientKey != "") && c.ClientAuth != "" {
		faults.Add(n.Get("client_auth"), "client_auth: %s and client_key go together", authKey)
	}
	if c.ClientKey != "" && c.ClientSecret != "" {
		faults.Add(n.Get("client_secret"), "client_secret: with client_key there is none")
	}
	if c.ClientAuth == authNone && c.ClientSecret != "" {
		faults.Add(n.Get("client_secret"), "client_secret: with client_auth: %s there is none", authNone)
	}
	if c.ClientKey == "" {
		if c.ClientKeyID != "" {
			faults.Add(n.Get("client_key_id"), "client_key_id: there is no client_key that it could name")
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
			return nil, errClientKey // its text may quote the key
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
		if block.Type == "EC PARAMETERS" { // OpenSSL writes the curve before the key, which names it too
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

// auth is how the client shows who it is. A provider that says what it takes is believed; to try all ways
// would hide why one is refused.
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

// assertionLife is how long the token of private_key_jwt is good.
const assertionLife = time.Minute

// assertion is the token of private_key_jwt (RFC 7523, section 3).
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

// NewSecret is 256 bits that nobody can guess.
func NewSecret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// Login is what a request for authorization is made of.
type Login struct {
	State, Nonce, Verifier string
	RedirectURI            string
	Scopes                 []string
	More                   map[string]string // parameters of the configuration
}

// Own are the parameters of a request for authorization that Login has.
var Own = []string{
	"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
	"response_mode", "request", "request_uri",
}

// URL is where the browser is sent (OpenID Connect Core 1.0, section 3.1.2.1, and RFC 7636).
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

// Tokens are what a token endpoint answered. Any of them may be missing.
type Tokens struct {
	Access, Refresh, ID string
	Expires             time.Time // of the access token; zero: the provider does not tell
}

// Refusal is an error that the token endpoint answered (RFC 6749, section 5.2). Code is one of those that
// are known; empty for others, which may repeat the request, and where something in front of the provider
// has answered.
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

// Codes of refusals. Those of the first list are about the person's grant: it is over, and a new login is
// needed (RFC 6749, section 5.2; OpenID Connect Core 1.0, section 3.1.2.6). Those of the second are about
// the client, and so the same for everybody until somebody mends it. Those of the last pass by themselves.
var (
	overCodes = []string{
		"invalid_grant", "interaction_required", "login_required", "consent_required", "account_selection_required",
	}
	clientCodes  = []string{"invalid_client", "unauthorized_client"}
	otherCodes   = []string{"invalid_request", "unsupported_grant_type", "invalid_scope"}
	passingCodes = []string{"temporarily_unavailable", "server_error", "slow_down"}
)

// GrantIsOver tells whether the error says that a refresh token will never be good again.
func GrantIsOver(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && slices.Contains(overCodes, r.Code)
}

// judges tells whether the error says that the provider works, and has judged the grant or the request.
func judges(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Code != "" && !slices.Contains(clientCodes, r.Code)
}

// Exchange gets the tokens of a login (RFC 6749, section 4.1.3).
func (p *Provider) Exchange(ctx context.Context, c *Client, code, verifier, redirectURI string) (*Tokens, error) {
	return p.token(ctx, c, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {redirectURI},
	})
}

// Refresh gets new tokens (RFC 6749, section 6). The refresh token may be over when the request was sent:
// ctx should not end before the answer is there.
func (p *Provider) Refresh(ctx context.Context, c *Client, refreshToken string) (*Tokens, error) {
	return p.token(ctx, c, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}})
}

func (p *Provider) token(ctx context.Context, c *Client, form url.Values) (*Tokens, error) {
	answer, err := p.askEndpoint(ctx, func(d *Document) string { return d.Token }, func(ctx context.Context, d *Document) (*web.Answer, error) {
		return p.askToken(ctx, d, c, form)
	})
	if err != nil {
		return nil, err
	}
	return readTokens(answer)
}

// askToken sends a form to the token endpoint, and shows there who the client is.
func (p *Provider) askToken(ctx context.Context, d *Document, c *Client, form url.Values) (*web.Answer, error) {
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
	answer, err := p.do(ctx, http.MethodPost, d.Token, form, func(r *http.Request) {
		if auth == authBasic {
			// Both are encoded before (RFC 6749, section 2.3.1).
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
		if !slices.Contains(slices.Concat(overCodes, clientCodes, otherCodes), code) {
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

// expiry is when an access token ends: as the answer says, in a number or a text, or else as the token
// itself does when it is a JWT (RFC 9068). Nothing is trusted for that: it is when to refresh.
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
