package openid

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"stamp/internal/callout/session/internal/web"
	"stamp/internal/conf"
)

func clientOf(t *testing.T, c Client) (*Client, error) {
	t.Helper()
	var faults conf.Faults
	c.Check(conf.Node{}, &faults)
	return &c, faults.Err()
}

func TestClientAuthentication(t *testing.T) {
	pemOf := func(key any) conf.Secret {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return conf.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	jwk, err := json.Marshal(jose.JSONWebKey{Key: ec, KeyID: "own"})
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(jose.JSONWebKey{Key: ec.Public(), KeyID: "own"})
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]struct {
		text   conf.Secret
		verify any
	}{"P-256": {pemOf(ec), ec.Public()}, "RSA": {pemOf(rs), rs.Public()}, "Ed25519": {pemOf(ed), ed.Public()}, "JWK": {conf.Secret(jwk), ec.Public()}} {
		c, err := clientOf(t, Client{ClientID: "app", ClientKey: key.text, ClientKeyID: "k7"})
		if err != nil {
			t.Errorf("%s: the client key was refused: %v", name, err)
			continue
		}
		text, err := c.assertion("https://login.test/token")
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jose.ParseSignedCompact(text, algorithms)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := signed.Verify(key.verify)
		if err != nil || signed.Signatures[0].Protected.KeyID != "k7" {
			t.Errorf("%s: the assertion is not signed by the client key: error %v, key id %s", name, err, signed.Signatures[0].Protected.KeyID)
		}
		claims := map[string]any{}
		if err := json.Unmarshal(payload, &claims); err != nil || claims["iss"] != "app" || claims["sub"] != "app" ||
			claims["aud"] != "https://login.test/token" || claims["jti"] == "" || claims["exp"].(float64) > float64(time.Now().Add(2*time.Minute).Unix()) {
			t.Errorf("%s: the assertion has the claims %v, error %v", name, claims, err)
		}
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("der")})
	c, err := clientOf(t, Client{ClientKey: conf.Secret(certificate) + pemOf(ec)})
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.assertion("x")
	if err != nil {
		t.Fatal(err)
	}
	if header, _ := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[0]); !strings.Contains(string(header), `"x5t#S256":"`) {
		t.Errorf("the assertion's header has no x5t#S256: %s", header)
	}
	for name, c := range map[string]Client{
		"a certificate alone": {ClientKey: conf.Secret(certificate)},
		"no key":              {ClientKey: "secret-4711"},
		"public":              {ClientKey: conf.Secret(public)},
		"secret and key":      {ClientKey: pemOf(ec), ClientSecret: "s"},
		"no secret":           {ClientAuth: authPost},
		"no key file":         {ClientAuth: authKey},
		"unknown":             {ClientAuth: "basic"},
		"key unused":          {ClientAuth: authBasic, ClientSecret: "s", ClientKey: pemOf(ec)},
	} {
		if _, err := clientOf(t, c); err == nil || strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: expected an error without the secret; found %v", name, err)
		}
	}
	for want, c := range map[string]struct {
		client  Client
		methods []string
	}{
		authBasic: {Client{ClientSecret: "s"}, nil},
		authPost:  {Client{ClientSecret: "s"}, []string{authPost}},
		authNone:  {Client{}, []string{authPost}},
	} {
		if got := c.client.auth(&Document{AuthMethods: c.methods}); got != want {
			t.Errorf("authentication by %s, want %s", got, want)
		}
	}
	if got := (&Client{ClientSecret: "s", ClientAuth: authPost}).auth(&Document{AuthMethods: []string{authBasic}}); got != authPost {
		t.Errorf("expected the configured authentication; found %s", got)
	}
}

func TestAnswersOfTheTokenEndpoint(t *testing.T) {
	away := func(err error) bool {
		var u *Unavailable
		return errors.As(err, &u)
	}
	for name, c := range map[string]struct {
		status             int
		body               string
		over, away, judged bool
	}{
		"invalid_grant":        {400, `{"error":"invalid_grant","error_description":"secret-4711"}`, true, false, true},
		"login_required":       {400, `{"error":"login_required"}`, true, false, true},
		"invalid_client":       {401, `{"error":"invalid_client"}`, false, false, false},
		"an error with 200":    {200, `{"error":"invalid_grant"}`, true, false, true},
		"of its own":           {400, `{"error":"secret-4711"}`, false, false, false},
		"temporarily":          {400, `{"error":"temporarily_unavailable"}`, false, true, false},
		"invalid_grant in 503": {503, `{"error":"invalid_grant"}`, false, true, false},
		"429":                  {429, `{"error":"invalid_grant"}`, false, true, false},
		"404":                  {404, `<html>secret-4711`, false, false, false},
		"302":                  {302, ``, false, true, false},
		"not JSON":             {200, `<html>`, false, true, false},
		"Error":                {200, `{"Error":"invalid_grant"}`, false, false, false},
	} {
		_, err := readTokens(&web.Answer{Status: c.status, Header: http.Header{}, Body: []byte(c.body)})
		if GrantIsOver(err) != c.over || away(err) != c.away || concernsRequest(err) != c.judged || err != nil && strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: the error is of another class than expected, or quotes the answer: %v", name, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"
	}
	for _, c := range []struct {
		body, access string
		want         time.Time
	}{
		{`60`, "", now.Add(time.Minute)},
		{`"60"`, "", now.Add(time.Minute)},
		{`1e300`, "", now.Add(maxLife)},
		{`60`, jwt(`{"exp":1700000010}`), now.Add(time.Minute)},
		{`null`, jwt(`{"exp":1700000010}`), time.Unix(1_700_000_010, 0)},
		{`0`, jwt(`{"exp":1700000010}`), time.Unix(1_700_000_010, 0)},
		{`-5`, "", time.Time{}},
		{`"NaN"`, "", time.Time{}},
		{`"x"`, "opaque", time.Time{}},
		{`{}`, jwt(`{"Exp":1700000010}`), time.Time{}},
		{`null`, jwt(`{"exp":"1700000010"}`), time.Time{}},
		{`null`, "a.%.b", time.Time{}},
		{`null`, "a." + strings.Repeat("e", maxParsed) + ".b", time.Time{}},
	} {
		var v any
		if err := json.Unmarshal([]byte(c.body), &v); err != nil {
			t.Fatal(err)
		}
		if got := expiry(v, c.access, now); !got.Equal(c.want) {
			t.Errorf("answer %s with access token %.40s: it ends at %s, want %s", c.body, c.access, got, c.want)
		}
	}
}

// A certificate beside a key is not read, so one that is malformed does not spoil the key. The number of keys in a set is
// bounded.
func TestKeysAreReadFromWhatIsUsed(t *testing.T) {
	key := newKey(t, "k1")
	raw, err := json.Marshal(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{`"x5c":[""]`, `"x5c":7`, `"x5t":"%%"`, `"x5u":"::"`, `"x5t#S256":"a"`} {
		body := fmt.Sprintf(`{"keys":[{%s,%s]}`, more, raw[1:])
		if keys, skipped, err := parseKeys([]byte(body)); err != nil || len(keys) != 1 || skipped != 0 {
			t.Errorf("key with %s: %d keys and %d skipped, error %v; want the one key", more, len(keys), skipped, err)
		}
	}
	many := strings.Repeat(string(raw)+",", 2*maxKeys) + string(raw)
	if keys, skipped, err := parseKeys([]byte(`{"keys":[` + many + `]}`)); err != nil || len(keys) != maxKeys || skipped != maxKeys+1 {
		t.Errorf("of a set that is too large %d keys were read and %d skipped, error %v; want the bound", len(keys), skipped, err)
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Add([]byte(`{"keys":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, _, err := parseKeys(body)
		if (len(keys) == 0) == (err == nil) || len(keys) > maxKeys {
			t.Errorf("parseKeys returned %d keys and error %v; want up to the bound, or an error", len(keys), err)
		}
	})
}

// Keys that cannot sign are a fault of the configuration. Keys as OpenSSL writes them are accepted.
func TestClientKeys(t *testing.T) {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
	if err != nil {
		t.Fatal(err)
	}
	openssl := append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: curve}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...)
	if _, err := clientOf(t, Client{ClientID: "app", ClientKey: conf.Secret(openssl)}); err != nil {
		t.Errorf("a key with EC PARAMETERS, as OpenSSL writes it, was refused: %v", err)
	}
	other, err := json.Marshal(jose.JSONWebKey{Key: ec, Algorithm: "ES384"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GODEBUG", "rsa1024min=0")
	short, err := rsa.GenerateKey(rand.Reader, 512)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GODEBUG", "")
	for name, key := range map[string][]byte{
		"ES384 with P-256": other,
		"RSA, 512 bits":    pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(short)}),
		"EC PARAMETERS":    pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: curve}),
	} {
		if _, err := clientOf(t, Client{ClientID: "app", ClientKey: conf.Secret(key)}); err == nil {
			t.Errorf("%s: the key was accepted", name)
		}
	}
}
