package claim

import (
	"encoding/base64"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// rawToken returns a JWT with the given payload. Its signature is not valid: the
// functions under test do not look at it.
func rawToken(payload string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"typ":"JWT","alg":"ed25519-nkey"}`)) + "." + enc([]byte(payload)) + "." + enc([]byte("none"))
}

// rawPayload returns the payload of a token.
func rawPayload(t testing.TB, token string) string {
	t.Helper()
	data, err := payload(token)
	if err != nil {
		t.Fatalf("the token has no payload that can be read: %v", err)
	}
	return string(data)
}

func newUser(t testing.TB) *jwt.UserClaims {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return jwt.NewUserClaims(pub)
}

func newAccount(t testing.TB) (pair nkeys.KeyPair, public string) {
	t.Helper()
	pair, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	public, err = pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return pair, public
}

func encode(t testing.TB, u *jwt.UserClaims, c *Claim) string {
	t.Helper()
	pair, _ := newAccount(t)
	token, err := Encode(u, c, pair)
	if err != nil {
		t.Fatalf("cannot encode the claim: %v", err)
	}
	return token
}
