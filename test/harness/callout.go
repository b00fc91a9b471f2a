package harness

import (
	"errors"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Callout is an auth callout service. Its requests are answered one by one.
type Callout struct {
	Issuer nkeys.KeyPair // signs the response
	// IssuerAccount is the callout account, where Issuer is a signing key of it.
	IssuerAccount string
	XKey          nkeys.KeyPair // nil: not encrypted

	// Answer returns the user JWT for a request, whose subject must be
	// req.UserNkey, or why the connection is refused.
	Answer func(req *jwt.AuthorizationRequestClaims) (userJWT string, err error)
	// Silent is the error of Answer that leads to no answer at all.
	Silent error
}

// Serve answers on nc, which is connected as a callout user, until nc is closed.
func (c *Callout) Serve(t testing.TB, nc *nats.Conn) {
	t.Helper()
	_, err := nc.Subscribe("$SYS.REQ.USER.AUTH", func(m *nats.Msg) {
		// Fatal cannot be called from this goroutine. If no answer comes, the connection that asked is refused.
		if data, err := c.Respond(m); c.Silent != nil && errors.Is(err, c.Silent) {
			return
		} else if err != nil {
			t.Errorf("the callout service could not make an answer: %v", err)
		} else if err := m.Respond(data); err != nil && !errors.Is(err, nats.ErrConnectionClosed) { // the test is over
			t.Errorf("the callout service could not send its answer: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// Respond makes the answer to a request.
func (c *Callout) Respond(m *nats.Msg) ([]byte, error) {
	data, serverKey := m.Data, m.Header.Get("Nats-Server-Xkey")
	if c.XKey != nil {
		var err error
		if data, err = c.XKey.Open(data, serverKey); err != nil {
			return nil, err
		}
	}
	req, err := jwt.DecodeAuthorizationRequestClaims(string(data))
	if err != nil {
		return nil, err
	}
	resp := jwt.NewAuthorizationResponseClaims(req.UserNkey)
	resp.Audience = req.Server.ID
	resp.IssuerAccount = c.IssuerAccount
	if resp.Jwt, err = c.Answer(req); c.Silent != nil && errors.Is(err, c.Silent) {
		return nil, err
	} else if err != nil {
		resp.Jwt, resp.Error = "", err.Error()
	}
	token, err := resp.Encode(c.Issuer)
	if err != nil || c.XKey == nil {
		return []byte(token), err
	}
	return c.XKey.Seal([]byte(token), serverKey)
}

// NewXKey makes a curve key for a callout.
func NewXKey(t testing.TB) nkeys.KeyPair {
	t.Helper()
	return must(nkeys.CreateCurveKeys())(t)
}

// NewAccountKey makes an account key, the issuer of a callout in configuration
// mode.
func NewAccountKey(t testing.TB) nkeys.KeyPair {
	t.Helper()
	return must(nkeys.CreateAccount())(t)
}
