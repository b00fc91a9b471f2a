package openid

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func newKey(t testing.TB, id string) jose.JSONWebKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, KeyID: id, Algorithm: "ES256", Use: "sig"}
}

// A provider may have keys of other kinds in its set (RFC 7517, section 5).
func TestParseKeys(t *testing.T) {
	key, enc := newKey(t, "k1"), newKey(t, "e1")
	enc.Use = "enc"
	private, err := json.Marshal(newKey(t, "p1"))
	if err != nil {
		t.Fatal(err)
	}
	skipped := []json.RawMessage{
		[]byte(`{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA","kid":"a"}`), []byte(`{"kty":"OKP","crv":"X25519","x":"AA"}`),
		[]byte(`{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}`), []byte(`{"kty":"oct","k":"c2VjcmV0"}`), []byte(`{}`), []byte(`1`), []byte(`null`), private,
	}
	encryption, err := json.Marshal(enc.Public())
	if err != nil {
		t.Fatal(err)
	}
	skipped = append(skipped, encryption)
	good, err := json.Marshal(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range [][]json.RawMessage{append(slices.Clone(skipped), good), append([]json.RawMessage{good}, skipped...)} {
		body, err := json.Marshal(map[string]any{"keys": set})
		if err != nil {
			t.Fatal(err)
		}
		keys, _, err := parseKeys(body)
		if err != nil || len(keys) != 1 || keys[0].KeyID != "k1" {
			t.Errorf("expected the one key k1; found %d keys, error %v", len(keys), err)
		}
	}
	for body, want := range map[string]bool{`{"keys":[]}`: true, `{"keys":[{"kty":"AKP"}]}`: true, `{}`: false, `[]`: false, `{"keys":null}`: false, `<html>`: false, ``: false} {
		if _, _, err := parseKeys([]byte(body)); err == nil || errors.Is(err, errNoKeys) != want {
			t.Errorf("%s: expected an error, and errNoKeys only if a set has no keys for us; found %v", body, err)
		}
	}
}

// RSA keys have a largest size, up to which a check is cheap: neither a provider nor whoever can tamper with its answers may
// make the handler compute for seconds.
func TestGiantKeys(t *testing.T) {
	number := func(bits uint, low int64) string {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return base64.RawURLEncoding.EncodeToString(n.Add(n, big.NewInt(low)).Bytes())
	}
	for name, c := range map[string]struct {
		n, e string
		want int
	}{
		"2048": {number(2048, 1), "AQAB", 1}, "8192": {number(8192, 1), "AQAB", 1}, "8193": {number(8193, 1), "AQAB", 0},
		"250000": {number(250000, 1), "AQAB", 0}, "exponent 3": {number(2048, 1), "Aw", 1}, "exponent 1": {number(2048, 1), "AQ", 0},
		"even": {number(2048, 1), "AQAA", 0}, "largest exponent": {number(2048, 1), "f____w", 1}, "larger": {number(2048, 1), "gAAAAQ", 0},
	} {
		set := fmt.Sprintf(`{"keys": [{"kty": "RSA", "kid": "k", "use": "sig", "n": %q, "e": %q}]}`, c.n, c.e)
		keys, skipped, _ := parseKeys([]byte(set))
		if len(keys) != c.want || skipped != 1-c.want {
			t.Errorf("%s: %d keys and %d skipped, want %d and %d", name, len(keys), skipped, c.want, 1-c.want)
		}
	}
}
