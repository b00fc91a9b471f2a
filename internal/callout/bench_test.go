package callout

import (
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
	"stamp/internal/callout/grant"
)

// calloutOf makes an encrypted callout, and returns the server's key to decrypt the answer.
func calloutOf(tb testing.TB, k *keys, edit ...func(*jwt.AuthorizationRequestClaims)) (*nats.Msg, nkeys.KeyPair) {
	tb.Helper()
	server, serverXKey, user := newKey(tb, nkeys.CreateServer), newKey(tb, nkeys.CreateCurveKeys), newKey(tb, nkeys.CreateUser)
	c := jwt.NewAuthorizationRequestClaims(public(k.issuer))
	c.Audience, c.UserNkey = audience, public(user)
	c.Server = jwt.ServerID{Name: "s", Host: "127.0.0.1", ID: public(server), Version: "2.15.2", XKey: public(serverXKey)}
	c.ClientInformation = jwt.ClientInformation{Host: "192.0.2.1", ID: 7, Kind: "Client", Type: "websocket"}
	c.ConnectOptions = jwt.ConnectOptions{Token: "credential", Lang: "nats.js", Version: "3.4.0", Protocol: 1}
	c.Expires = time.Now().Add(2 * time.Second).Unix()
	for _, e := range edit {
		e(c)
	}
	token, err := c.Encode(server)
	if err != nil {
		tb.Fatal(err)
	}
	if k.xkey == nil {
		return &nats.Msg{Subject: Subject, Data: []byte(token)}, serverXKey
	}
	data, err := serverXKey.Seal([]byte(token), public(k.xkey))
	if err != nil {
		tb.Fatal(err)
	}
	return &nats.Msg{Subject: Subject, Data: data, Header: nats.Header{xkeyHeader: {public(serverXKey)}}}, serverXKey
}

func newKey(tb testing.TB, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	tb.Helper()
	kp, err := create()
	if err != nil {
		tb.Fatal(err)
	}
	return kp
}

// newKeys are the keys of a handler, as a configuration gives them.
func newKeys(tb testing.TB) *keys {
	tb.Helper()
	k := &keys{}
	var err error
	if k.issuer, err = fastKeyPair(newKey(tb, nkeys.CreateAccount)); err != nil {
		tb.Fatal(err)
	}
	if k.xkey, err = fastKeyPair(newKey(tb, nkeys.CreateCurveKeys)); err != nil {
		tb.Fatal(err)
	}
	return k
}

// BenchmarkKeys measures what signing and encryption cost for a callout.
func BenchmarkKeys(b *testing.B) {
	k := newKeys(b)
	m, _ := calloutOf(b, k)
	result := &grant.Result{Grant: "g", Account: "APP", User: jwt.NewUserClaims("x"), Claim: &claim.Claim{
		Headers: []claim.Header{{Name: "Session", Values: []string{"credential"}}},
	}}
	for b.Loop() {
		r, err := k.read(newArrival(nil, m))
		if err != nil {
			b.Fatal(err)
		}
		token, err := k.sign(result, r.userNkey)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := k.respond(r, token, ""); err != nil {
			b.Fatal(err)
		}
	}
}
