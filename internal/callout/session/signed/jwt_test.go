package signed

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/internal/callout/session"
)

// issue signs the JWT of a user, which change may alter before.
func issue(t testing.TB, signer nkeys.KeyPair, user string, change func(*jwt.UserClaims)) string {
	t.Helper()
	u := jwt.NewUserClaims(user)
	u.Name = "backend"
	if change != nil {
		change(u)
	}
	token, err := u.Encode(signer)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestJWT(t *testing.T) {
	account, accountPublic := pair(t, nkeys.CreateAccount)
	signing, signingPublic := pair(t, nkeys.CreateAccount)
	stranger, strangerPublic := pair(t, nkeys.CreateAccount)
	user, public := pair(t, nkeys.CreateUser)
	const nonce = "aNonce"
	proof := base64.RawURLEncoding.EncodeToString(sign(t, user, nonce))
	s := open(t, fmt.Sprintf(`kind: jwt, issuers: [{account: %s, signing_keys: [%s]}]`, accountPublic, signingPublic))
	now := time.Now()
	of := func(u *jwt.UserClaims) { u.IssuerAccount = accountPublic }
	for _, c := range []struct {
		name   string
		signer nkeys.KeyPair
		change func(*jwt.UserClaims)
		proof  string
		ok     bool
	}{
		{"by the account", account, nil, proof, true},
		{"by the account, which it names", account, of, proof, true},
		{"by a signing key", signing, of, proof, true},
		{"by a signing key that does not name the account", signing, nil, proof, false},
		{"by a signing key for another account", signing, func(u *jwt.UserClaims) { u.IssuerAccount = strangerPublic }, proof, false},
		{"by the account for another account", account, func(u *jwt.UserClaims) { u.IssuerAccount = strangerPublic }, proof, false},
		{"by a stranger", stranger, nil, proof, false},
		{"by a stranger for the account", stranger, of, proof, false},
		{"without a signature of the nonce", account, nil, "", false},
		{"with a wrong signature", account, nil, base64.RawURLEncoding.EncodeToString(sign(t, user, "other")), false},
		{"bearer", account, func(u *jwt.UserClaims) { u.BearerToken = true }, "", true},
		{"ended", account, func(u *jwt.UserClaims) { u.Expires = now.Add(-time.Minute).Unix() }, proof, false},
		{"ends later", account, func(u *jwt.UserClaims) { u.Expires = now.Add(time.Minute).Unix() }, proof, true},
		{"not yet", account, func(u *jwt.UserClaims) { u.NotBefore = now.Add(time.Minute).Unix() }, proof, false},
		{"since", account, func(u *jwt.UserClaims) { u.NotBefore = now.Add(-time.Minute).Unix() }, proof, true},
		{"from here", account, func(u *jwt.UserClaims) { u.Src = jwt.CIDRList{"10.0.0.0/8", "192.0.2.0/24"} }, proof, true},
		{"from elsewhere", account, func(u *jwt.UserClaims) { u.Src = jwt.CIDRList{"10.0.0.0/8"} }, proof, false},
		{"of this type", account, func(u *jwt.UserClaims) { u.AllowedConnectionTypes = jwt.StringList{"standard"} }, proof, true},
		{"of another type", account, func(u *jwt.UserClaims) { u.AllowedConnectionTypes = jwt.StringList{"WEBSOCKET"} }, proof, false},
		{"through a proxy", account, func(u *jwt.UserClaims) { u.ProxyRequired = true }, proof, false},
		{"never", account, func(u *jwt.UserClaims) { u.Times = []jwt.TimeRange{{Start: "00:00:00", End: "00:00:00"}} }, proof, false},
		{"bad network", account, func(u *jwt.UserClaims) { u.Src = jwt.CIDRList{"192.0.2.0/99"} }, proof, false},
	} {
		token := issue(t, c.signer, public, c.change)
		found, err := s.Find(t.Context(), request(token, nonce, c.proof))
		if c.ok != (err == nil) || err != nil && !errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s: found %+v, error %v; want it accepted: %v", c.name, found, err, c.ok)
		}
		if err == nil && (found.Key != public || found.Data["sub"] != public || found.Data["account"] != accountPublic || found.Data["name"] != "backend") {
			t.Errorf("%s: expected key, account and name of the user JWT; found %+v", c.name, found)
		}
	}
}

func request(token, nonce, proof string) *session.Request {
	return &session.Request{
		Credential: session.Credential{Kind: session.JWT, Value: token, Nonce: nonce, Signature: proof},
		Host:       "192.0.2.7", Kind: "Client", Type: "nats",
	}
}

func TestJWTForms(t *testing.T) {
	account, accountPublic := pair(t, nkeys.CreateAccount)
	user, public := pair(t, nkeys.CreateUser)
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	token := issue(t, account, public, func(u *jwt.UserClaims) {
		u.BearerToken, u.Expires, u.Tags = true, expires.Unix(), jwt.TagList{"b", "a"}
	})
	s := open(t, `kind: jwt, issuers: `+accountPublic)
	found, err := s.Find(t.Context(), request(token, "", ""))
	if err != nil || !found.Expires.Equal(expires) || found.Data["exp"] != float64(expires.Unix()) || fmt.Sprint(found.Data["tags"]) != "[a b]" {
		t.Fatalf("expected end and tags of the bearer JWT; found %+v, error %v", found, err)
	}
	if _, err := open(t, `kind: jwt, bearer: false, issuers: `+accountPublic).Find(t.Context(), request(token, "", "")); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("bearer, which is not accepted: %v", err)
	}
	activation := jwt.NewActivationClaims(accountPublic)
	activation.ImportSubject, activation.ImportType = "x", jwt.Stream
	other, err := activation.Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	forged := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(decode(t, parts[1]), "backend", "admin", 1)))
	for name, token := range map[string]string{
		"activation": other, "forged": parts[0] + "." + forged + "." + parts[2], "no signature": parts[0] + "." + parts[1] + ".",
		"alg none": base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"none"}`)) + "." + parts[1] + ".",
		"empty":    "", "text": "a.b.c", "huge": strings.Repeat("a", maxJWT+1), "trailing": token + ".x",
	} {
		if found, err := s.Find(t.Context(), request(token, "", "")); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s: %+v, %v; want it unknown", name, found, err)
		}
	}
	if err := connect(t, open(t, `kind: jwt, bearer: false, issuers: `+accountPublic), nats.UserJWT(
		func() (string, error) { return issue(t, account, public, nil), nil }, user.Sign)); err != nil {
		t.Errorf("nats.go with a real server: %v", err)
	}
}

func decode(t testing.TB, text string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
