package openid

import (
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
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

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
