package callout

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"stamp/server/callout/forwarded"
	"stamp/server/callout/session"
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
	patience time.Duration // of the server, from when it sent the request
	tooLong  []string      // headers and cookies that were too long to be forwarded
}

var (
	errNotEncrypted = errors.New("request is not encrypted; is the xkey missing in the server's auth_callout block, or in the account's JWT?")
	errNoXKey       = errors.New("request is encrypted, but the handler has no xkey")
	errTooLong      = errors.New("too long to be forwarded")
	errNotServer    = errors.New("request is not signed by the server that it names")
)

// read understands a callout. The request's own signature proves only that it
// was not changed: who may publish to the subject is for the account to limit.
func (k *keys) read(m *nats.Msg) (*request, error) {
	data, from := m.Data, m.Header.Get(xkeyHeader)
	switch {
	case k.xkey == nil && from != "":
		return nil, errNoXKey
	case k.xkey != nil && from == "":
		return nil, errNotEncrypted
	case from != "":
		var err error
		if data, err = k.xkey.Open(data, from); err != nil {
			return nil, fmt.Errorf("decrypt request: %w", err)
		}
	}
	claims, err := jwt.DecodeAuthorizationRequestClaims(string(data))
	if err != nil {
		return nil, fmt.Errorf("decode request: %w", err)
	}
	if claims.Issuer != claims.Server.ID || claims.Audience != audience {
		return nil, errNotServer
	}
	r := &request{userNkey: claims.UserNkey, xkey: from, patience: patience(claims)}
	told, _ := forwarded.FromTags(claims.Tags)
	r.Request, r.tooLong = understand(claims, told), told.TooLong
	return r, nil
}

// complete tells what of the upgrade request is missing. Without a header that a proxy sets, or the cookie of another
// source, a connection could pass for one that it is not.
func (r *request) complete() error {
	if len(r.tooLong) == 0 {
		return nil
	}
	return fmt.Errorf("upgrade request: %w: %q; at most %d bytes each, %d together", errTooLong, r.tooLong, forwarded.MaxField, forwarded.MaxAll)
}

// patience is how long the server waits. Both times are the server's, in whole
// seconds, so its clock may differ from ours.
func patience(claims *jwt.AuthorizationRequestClaims) time.Duration {
	if claims.Expires == 0 {
		return 0
	}
	return max(time.Duration(claims.Expires-claims.IssuedAt)*time.Second, time.Second)
}

func understand(claims *jwt.AuthorizationRequestClaims, told forwarded.Request) session.Request {
	client, server := &claims.ClientInformation, &claims.Server
	return session.Request{
		Credential: credential(claims, told),
		ServerID:   server.ID, ServerName: server.Name, Cluster: server.Cluster,
		ClientID: client.ID, Host: client.Host, Name: claims.ConnectOptions.Name, Lang: claims.ConnectOptions.Lang,
		Kind: client.Kind, Type: client.Type, MQTT: client.MQTT,
		Headers: told.Headers, Cookies: told.Cookies, Renewal: told.Renewal,
	}
}

// credential chooses among what CONNECT holds. A token and a password go first:
// in operator mode a connection has a user JWT or nkey beside them, which only leads it to
// the account of the callout.
func credential(claims *jwt.AuthorizationRequestClaims, told forwarded.Request) session.Credential {
	o := &claims.ConnectOptions
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
