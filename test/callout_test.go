package test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
	"stamp/internal/callout/session"
	"stamp/test/harness"
)

// The users of the callout tests. The configuration's headers of these users must not be added to those of the callout's
// answer.
const calloutConf = `
	accounts {
		AUTH { users: [{user: auth, password: auth, headers: {Svc: "callout"}}] }
		APP { users: [
			{user: config, password: config, headers: {Session: "config"}}
			{user: config-none, password: config-none, headers: {Session: "config"}} ] }
		OTHER { users: [{user: other, password: other, headers: {Session: "other"}}, {user: other-sub, password: other-sub}] }
	}
	authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth], %s } }`

var calloutClaims = map[string]*claim.Claim{
	"session": header("Session", "s1", "s2"),
	"config":  header("Callout", "c1"),
}

func startCallout(t *testing.T, fields string, xkey nkeys.KeyPair) *harness.Server {
	t.Helper()
	issuer := harness.NewAccountKey(t)
	if xkey != nil {
		fields += " xkey: " + harness.Public(t, xkey)
	}
	s := harness.Start(t, fmt.Sprintf(calloutConf, harness.Public(t, issuer), fields))
	callout := harness.Callout{Issuer: issuer, XKey: xkey, Answer: answers("APP", issuer, calloutClaims)}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	return s
}

// The claim in a callout's answer is stamped, with and without an xkey.
func TestCalloutInConfiguration(t *testing.T) {
	for name, xkey := range map[string]nkeys.KeyPair{"plain": nil, "xkey": harness.NewXKey(t)} {
		t.Run(name, func(t *testing.T) {
			s := startCallout(t, "", xkey)
			sub := subscriber(t, s, password("sub"))
			expectStamp(t, harness.Client(t, s, password("session")), sub, "Session: s1", "Session: s2")
			expectStamp(t, harness.Client(t, s, password("nobody")), sub)
			expectStamp(t, harness.Client(t, s, password("config")), sub, "Callout: c1")
			expectStamp(t, harness.Client(t, s, password("config-none")), sub)
			// The same connection logs in again.
			raw := harness.Client(t, s, password("session"))
			raw.Connect(password("config-none"))
			raw.Flush()
			expectStamp(t, raw, sub)
			// The callout service itself is a user of the configuration.
			auth := subscriber(t, s, password("auth"))
			expectStamp(t, harness.Client(t, s, password("auth")), auth, "Svc: callout")
		})
	}
}

// With allowed_accounts, the callout decides only about users of the listed accounts.
func TestCalloutForDelegatedAccounts(t *testing.T) {
	s := startCallout(t, "allowed_accounts: [APP],", nil)
	sub := subscriber(t, s, password("config-none"))
	expectStamp(t, harness.Client(t, s, password("config")), sub, "Callout: c1")
	expectStamp(t, harness.Client(t, s, password("config-none")), sub)
	// OTHER is not delegated: its users are those of the configuration.
	other := subscriber(t, s, password("other-sub"))
	expectStamp(t, harness.Client(t, s, password("other")), other, "Session: other")
}

// calloutOperator is an operator with a callout account AUTH and an account APP.
type calloutOperator struct {
	*harness.Operator
	auth, app *harness.Account
	service   *harness.User
}

func newCalloutOperator(t *testing.T, xkey nkeys.KeyPair) *calloutOperator {
	t.Helper()
	op := harness.NewOperator(t)
	o := &calloutOperator{Operator: op, auth: op.Account(t, "AUTH"), app: op.Account(t, "APP")}
	o.service = o.auth.User(t, "service", header("Svc", "callout"))
	ext := &o.auth.Claims.Authorization
	ext.AuthUsers.Add(harness.Public(t, o.service.Key))
	ext.AllowedAccounts.Add(o.app.ID())
	if xkey != nil {
		ext.XKey = harness.Public(t, xkey)
	}
	return o
}

// sentinel is a user of AUTH who may do nothing, for connections that the callout
// decides about, with a user name for the service.
func (o *calloutOperator) sentinel(t *testing.T, c *claim.Claim, name string) harness.Credential {
	t.Helper()
	u := o.auth.User(t, "sentinel", c, harness.Bearer, func(uc *jwt.UserClaims) {
		uc.Pub.Deny.Add(">")
		uc.Sub.Deny.Add(">")
	})
	return func(string) map[string]any { return map[string]any{"jwt": u.JWT, "user": name, "pass": name} }
}

// In operator mode the claim is stamped, whether the account's key, a signing key or a scoped key signs the answer.
func TestCalloutInOperatorMode(t *testing.T) {
	for name, xkey := range map[string]nkeys.KeyPair{"plain": nil, "xkey": harness.NewXKey(t)} {
		t.Run(name, func(t *testing.T) {
			o := newCalloutOperator(t, xkey)
			authKey, appKey := o.auth.SigningKey(t), o.app.SigningKey(t)
			scoped := o.app.ScopedKey(t, map[string]any{"Role": "{{tag(role)}}"})
			s := harness.Start(t, o.Conf(t))
			byAccount := answers("", o.app.Key, calloutClaims)
			byKey := answers("", appKey, calloutClaims, func(uc *jwt.UserClaims) { uc.IssuerAccount = o.app.ID() })
			byScope := answers("", scoped, nil, harness.Scoped, func(uc *jwt.UserClaims) {
				uc.IssuerAccount = o.app.ID()
				uc.Tags.Add("role:admin")
			})
			callout := harness.Callout{Issuer: authKey, IssuerAccount: o.auth.ID(), XKey: xkey}
			callout.Answer = func(req *jwt.AuthorizationRequestClaims) (string, error) {
				switch req.ConnectOptions.Username {
				case "session":
					return byKey(req)
				case "scoped":
					return byScope(req)
				}
				return byAccount(req)
			}
			callout.Serve(t, s.Connect(t, o.service.Options()...))

			sub := subscriber(t, s, o.app.User(t, "sub", nil).Credential)
			own := header("Sentinel", "1")
			for _, c := range []*claim.Claim{nil, own} {
				expectStamp(t, harness.Client(t, s, o.sentinel(t, c, "session")), sub, "Session: s1", "Session: s2")
				expectStamp(t, harness.Client(t, s, o.sentinel(t, c, "config")), sub, "Callout: c1")
				expectStamp(t, harness.Client(t, s, o.sentinel(t, c, "scoped")), sub, "Role: admin")
				expectStamp(t, harness.Client(t, s, o.sentinel(t, c, "nobody")), sub)
			}
			auth := subscriber(t, s, o.service.Credential)
			expectStamp(t, harness.Client(t, s, o.service.Credential), auth, "Svc: callout")
		})
	}
}

// A connection without a credential gets the stamp of the default sentinel.
func TestDefaultSentinel(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	sentinel := acc.User(t, "sentinel", header("Session", "sentinel"), harness.Bearer)
	s := harness.Start(t, op.Conf(t)+"default_sentinel: "+sentinel.JWT)
	sub := subscriber(t, s, acc.User(t, "sub", nil).Credential)
	expectStamp(t, harness.Client(t, s, harness.Nobody), sub, "Session: sentinel")
	expectStamp(t, harness.Client(t, s, acc.User(t, "u", nil).Credential), sub)
}

// The callout's answer replaces the stamp of a default sentinel.
func TestDefaultSentinelWithCallout(t *testing.T) {
	o := newCalloutOperator(t, nil)
	sentinel := o.auth.User(t, "sentinel", header("Sentinel", "1"), harness.Bearer)
	s := harness.Start(t, o.Conf(t)+"default_sentinel: "+sentinel.JWT)
	callout := harness.Callout{Issuer: o.auth.Key, Answer: answers("", o.app.Key, calloutClaims)}
	callout.Serve(t, s.Connect(t, o.service.Options()...))
	sub := subscriber(t, s, o.app.User(t, "sub", nil).Credential)
	expectStamp(t, harness.Client(t, s, password("session")), sub, "Session: s1", "Session: s2")
	expectStamp(t, harness.Client(t, s, password("nobody")), sub)

	nc := s.Connect(t, nats.UserInfo("config", "config"))
	if err := nc.Publish("t.go", []byte("payload")); err != nil {
		t.Fatal(err)
	}
	expectMsg(t, sub, "a message of nats.go", block("Callout: c1"))
}

// A page's worker has a ticket and a key of its own: with a default sentinel both come to the
// handler, with the signature of the server's nonce.
func TestDefaultSentinelWithAKey(t *testing.T) {
	o := newCalloutOperator(t, nil)
	sentinel := o.auth.User(t, "sentinel", nil, harness.Bearer)
	s := harness.Start(t, o.Conf(t)+"default_sentinel: "+sentinel.JWT)
	let := answers("", o.app.Key, calloutClaims)
	callout := harness.Callout{Issuer: o.auth.Key}
	callout.Answer = func(req *jwt.AuthorizationRequestClaims) (string, error) {
		if c := (session.Credential{
			Nkey: req.ConnectOptions.Nkey, Nonce: req.ClientInformation.Nonce, Signature: req.ConnectOptions.SignedNonce,
		}); !c.Signed() {
			return "", errors.New("the nonce is not signed")
		}
		return let(req)
	}
	callout.Serve(t, s.Connect(t, o.service.Options()...))
	key := must(nkeys.CreateUser())
	worker := func(nonce string) map[string]any {
		signature := base64.RawURLEncoding.EncodeToString(must(key.Sign([]byte(nonce))))
		return map[string]any{"auth_token": "session", "nkey": harness.Public(t, key), "sig": signature}
	}
	sub := subscriber(t, s, o.app.User(t, "sub", nil).Credential)
	expectStamp(t, harness.Client(t, s, worker), sub, "Session: s1", "Session: s2")
	expectRefused(t, s, token("session"))
}
