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

// request is a callout that was decrypted and decoded.
type request struct {
	session.Request
	userNkey string        // subject of the user JWT in the answer
	xkey     string        // the server's public key, to which the answer is encrypted; empty: it is not encrypted
	sealer   nkeys.KeyPair // the handler's key to which the request is encrypted, and with which the answer is
	patience time.Duration // how long the server waits for the answer, from when it sent the request; 0: not known
	tooLong  []string      // headers and cookies that the server did not forward because they are too long
	notText  []string      // those that it did not forward because they are not UTF-8
	// expects is the account key whose answers the server accepts: auth_callout.issuer or, in operator mode, the
	// account that has the callout.
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

// maxSkew is how much the clocks of a server and a handler may differ. A request that expired longer ago than this is
// refused.
const maxSkew = 5 * time.Minute

// reasons are those for which a request gets no answer.
var reasons = []error{
	errNotEncrypted, errNoXKey, errNotBox, errDecrypt, errNotCurveKey, errNotServer, errUserNkey, errTooLarge, errStale, errNotJWT,
}

// reasonOf returns the text of the reason that err is, without what is special to this request. It is the key by which
// log lines are limited.
func reasonOf(err error) string {
	for _, reason := range reasons {
		if errors.Is(err, reason) {
			return reason.Error()
		}
	}
	return "other"
}

// read decrypts and decodes a callout. The signature of a request proves only that it was not changed. That only servers
// send requests is for the permissions in the callout account to ensure.
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
		return nil, errNotJWT // not err, whose text may repeat a part of the request
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
	fromServer, ours := forwarded.FromTags(claims.Tags)
	r.Request = understand(claims, fromServer, ours)
	r.tooLong, r.notText = fromServer.TooLong, fromServer.NotText
	return r, nil
}

// complete returns an error if the server could not forward a header or a cookie that it should. Without a header that a
// proxy sets, or without the cookie of a source, the connection could be taken for another kind of connection.
func (r *request) complete() error {
	switch {
	case len(r.tooLong) > 0:
		return fmt.Errorf("upgrade request: %w: %q; at most %d bytes each, %d together", errTooLong, r.tooLong, forwarded.MaxField, forwarded.MaxAll)
	case len(r.notText) > 0:
		return fmt.Errorf("upgrade request: %w: %q", errNotText, r.notText)
	}
	return nil
}

// patience returns how long the server waits for the answer. It is computed from two times of the server's clock, in whole
// seconds, so it does not depend on ours.
func patience(claims *jwt.AuthorizationRequestClaims) time.Duration {
	if claims.Expires == 0 {
		return 0
	}
	return max(time.Duration(claims.Expires-claims.IssuedAt)*time.Second, time.Second)
}

// understand returns the request as sources and grants see it. fromServer is what Stamp's server added to the request; ours
// is false if another server sent it, which added nothing.
func understand(claims *jwt.AuthorizationRequestClaims, fromServer forwarded.Request, ours bool) session.Request {
	client, server := &claims.ClientInformation, &claims.Server
	transport := session.UnknownTransport
	switch {
	case ours && fromServer.Websocket:
		transport = session.Websocket
	case ours:
		transport = session.TCP
	}
	return session.Request{
		Credential: credential(claims, fromServer),
		ServerID:   server.ID, ServerName: server.Name, Cluster: server.Cluster,
		ClientID: client.ID, Host: client.Host, Name: claims.ConnectOptions.Name, Lang: claims.ConnectOptions.Lang,
		Kind: client.Kind, Type: client.Type, MQTT: client.MQTT, Transport: transport,
		Headers: fromServer.Headers, Cookies: fromServer.Cookies, Renewal: fromServer.Renewal,
	}
}

// mqttType is the server's name for connections of MQTT, over TCP or a websocket.
const mqttType = "mqtt"

// credential returns the credential of CONNECT. A token or a password has precedence: in operator mode a connection has a
// user JWT or an nkey beside it, which only selects the account that has the callout.
func credential(claims *jwt.AuthorizationRequestClaims, fromServer forwarded.Request) session.Credential {
	o := &claims.ConnectOptions
	if claims.ClientInformation.Type == mqttType {
		return mqttCredential(o, fromServer)
	}
	c := session.Credential{
		Nonce: claims.ClientInformation.Nonce, Signature: o.SignedNonce, Username: o.Username, Nkey: o.Nkey,
	}
	switch {
	case o.Token != "":
		c.Kind, c.Value = session.Token, o.Token
		if fromServer.FromCookie {
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

// mqttCredential returns the credential of an MQTT CONNECT, which has one field for a password, a token and a user JWT. The
// server copies this field into Token always, and into JWT if it is a user JWT. So Token is no evidence of anything, and a
// user JWT that differs from the password is the server's default_sentinel, which only selects the account that has the
// callout. The cookie is the credential if CONNECT has no password.
func mqttCredential(o *jwt.ConnectOptions, fromServer forwarded.Request) session.Credential {
	c := session.Credential{Kind: session.None, Username: o.Username}
	switch {
	case o.Password != "" && o.Password == o.JWT:
		c.Kind, c.Value = session.JWT, o.JWT
	case o.Password != "":
		c.Kind, c.Password, c.MayBeToken = session.Password, o.Password, true
	case fromServer.TokenCookie != "":
		c.Kind, c.Value = session.Cookie, fromServer.TokenCookie
	case o.Username != "":
		c.Kind = session.Password
	case o.JWT != "":
		c.Kind, c.Value = session.JWT, o.JWT
	}
	return c
}
