package callout

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/session"
)

// Subject and header of upstream's auth callout (auth_callout.go, ADR-26).
const (
	Subject    = "$SYS.REQ.USER.AUTH"
	xkeyHeader = "Nats-Server-Xkey"
	audience   = "nats-authorization-request"
)

// request is a callout that was understood.
type request struct {
	session.Request
	userNkey string        // the key that the answer must be for
	xkey     string        // public key that the answer is encrypted to; empty: it is not
	sealer   nkeys.KeyPair // the handler's key that the request is encrypted to, and the answer by
	patience time.Duration // of the server, from when it sent the request
	tooLong  []string      // headers and cookies that were too long to be forwarded
	notText  []string      // those that are not UTF-8
	// expects is the account key that the server takes answers of: auth_callout.issuer, or the account that has
	// the callout in operator mode.
	expects string
}

var (
	errNotEncrypted = errors.New("request is not encrypted; is the xkey missing in the server's auth_callout block, or in the account's JWT?")
	errNoXKey       = errors.New("request is encrypted, but the handler has no xkey")
	errTooLong      = errors.New("too long to be forwarded")
	errNotText      = errors.New("not UTF-8, so that they cannot be forwarded")
	errNotServer    = errors.New("request is not signed by the server that it names")
	errUserNkey     = errors.New("request names no user key that the answer could be for")
	errTooLarge     = fmt.Errorf("request has more than %d bytes", maxRequest)
	errStale        = fmt.Errorf("request ended more than %s ago: it was sent again by somebody, or a clock is wrong", maxSkew)
	errNotJWT       = errors.New("request is not a JWT of an authorization request")
)

// maxSkew is how far the clocks of a server and a handler may differ. Later than that after its end, a request is
// refused.
const maxSkew = 5 * time.Minute

// reasons are why a request gets no answer.
var reasons = []error{
	errNotEncrypted, errNoXKey, errNotBox, errDecrypt, errNotCurveKey, errNotServer, errUserNkey, errTooLarge, errStale, errNotJWT,
}

// reasonOf is the one of them that err is.
func reasonOf(err error) string {
	for _, reason := range reasons {
		if errors.Is(err, reason) {
			return reason.Error()
		}
	}
	return "other"
}

// read understands a callout. The request's own signature proves only that it
// was not changed: who may publish to the subject is for the account to limit.
func (k *keys) read(a *arrival) (*request, error) {
	data, from := a.data, a.from
	var sealer nkeys.KeyPair
	switch {
	case k.xkey == nil && from != "":
		return nil, errNoXKey
	case k.xkey != nil && from == "":
		return nil, errNotEncrypted
	case from != "":
		var err error
		if data, sealer, err = k.open(data, from); err != nil {
			return nil, fmt.Errorf("decrypt request: %w", err)
		}
	}
	claims, err := jwt.DecodeAuthorizationRequestClaims(string(data))
	if err != nil {
		return nil, errNotJWT // what the error says may repeat a part of the request
	}
	switch {
	case claims.Issuer != claims.Server.ID || claims.Audience != audience:
		return nil, errNotServer
	case !nkeys.IsValidPublicUserKey(claims.UserNkey):
		return nil, errUserNkey
	case claims.Expires != 0 && time.Since(time.Unix(claims.Expires, 0)) > maxSkew:
		return nil, errStale
	}
	r := &request{userNkey: claims.UserNkey, xkey: from, sealer: sealer, patience: patience(claims)}
	if nkeys.IsValidPublicAccountKey(claims.Subject) {
		r.expects = claims.Subject
	}
	told, ours := forwarded.FromTags(claims.Tags)
	r.Request = understand(claims, told, ours)
	r.tooLong, r.notText = told.TooLong, told.NotText
	return r, nil
}

// complete tells what of the upgrade request is missing. Without a header that a proxy sets, or the cookie of another
// source, a connection could pass for one that it is not.
func (r *request) complete() error {
	switch {
	case len(r.tooLong) > 0:
		return fmt.Errorf("upgrade request: %w: %q; at most %d bytes each, %d together", errTooLong, r.tooLong, forwarded.MaxField, forwarded.MaxAll)
	case len(r.notText) > 0:
		return fmt.Errorf("upgrade request: %w: %q", errNotText, r.notText)
	}
	return nil
}

// patience is how long the server waits. Both times are the server's, in whole
// seconds, so its clock may differ from ours.
func patience(claims *jwt.AuthorizationRequestClaims) time.Duration {
	if claims.Expires == 0 {
		return 0
	}
	return max(time.Duration(claims.Expires-claims.IssuedAt)*time.Second, time.Second)
}

func understand(claims *jwt.AuthorizationRequestClaims, told forwarded.Request, ours bool) session.Request {
	client, server := &claims.ClientInformation, &claims.Server
	transport := session.UnknownTransport
	switch {
	case ours && told.Websocket:
		transport = session.Websocket
	case ours:
		transport = session.TCP
	}
	return session.Request{
		Credential: credential(claims, told),
		ServerID:   server.ID, ServerName: server.Name, Cluster: server.Cluster,
		ClientID: client.ID, Host: client.Host, Name: claims.ConnectOptions.Name, Lang: claims.ConnectOptions.Lang,
		Kind: client.Kind, Type: client.Type, MQTT: client.MQTT, Transport: transport,
		Headers: told.Headers, Cookies: told.Cookies, Renewal: told.Renewal,
	}
}

// mqttType is the server's name for connections of MQTT, over TCP or a websocket.
const mqttType = "mqtt"

// credential chooses among what CONNECT holds. A token and a password go first:
// in operator mode a connection has a user JWT or nkey beside them, which only leads it to
// the account of the callout.
func credential(claims *jwt.AuthorizationRequestClaims, told forwarded.Request) session.Credential {
	o := &claims.ConnectOptions
	if claims.ClientInformation.Type == mqttType {
		return mqttCredential(o, told)
	}
	c := session.Credential{
		Nonce: claims.ClientInformation.Nonce, Signature: o.SignedNonce, Username: o.Username, Nkey: o.Nkey,
	}
	switch {
	case o.Token != "":
		c.Kind, c.Value = session.Token, o.Token
		if told.FromCookie {
			c.Kind = session.Cookie
		}
	case o.Username != "" || o.Password != "":
		c.Kind, c.Password = session.Password, o.Password
	case o.Nkey != "":
		c.Kind = session.Nkey
	case o.JWT != "":
		c.Kind, c.Value = session.JWT, o.JWT
	default:
		c.Kind = session.None
	}
	return c
}

// mqttCredential chooses among what a CONNECT of MQTT holds. That has one field for a password, a token and a user JWT,
// and the server copies it: always into the token, and into the user JWT if it is one. So the token says nothing, and a user
// JWT that differs from the password is the server's default_sentinel, which only leads to the account of
// the callout. The cookie counts where CONNECT has no password.
func mqttCredential(o *jwt.ConnectOptions, told forwarded.Request) session.Credential {
	c := session.Credential{Kind: session.None, Username: o.Username}
	switch {
	case o.Password != "" && o.Password == o.JWT:
		c.Kind, c.Value = session.JWT, o.JWT
	case o.Password != "":
		c.Kind, c.Password, c.MayBeToken = session.Password, o.Password, true
	case told.TokenCookie != "":
		c.Kind, c.Value = session.Cookie, told.TokenCookie
	case o.Username != "":
		c.Kind = session.Password
	case o.JWT != "":
		c.Kind, c.Value = session.JWT, o.JWT
	}
	return c
}
