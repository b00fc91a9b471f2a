// Package signed has the session sources for clients that sign the server's nonce with
// their nkey. A source of kind nkey accepts listed public keys. A source of kind jwt
// accepts user JWTs that listed accounts issued.
//
// The server sends a nonce only in operator mode, and if its configuration has users
// with nkeys.
package signed

import (
	"context"
	"strings"

	"github.com/nats-io/nkeys"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/conf"
)

// Kinds of sources.
const (
	Nkey = "nkey"
	JWT  = "jwt"
)

// Parse reads and checks the block of a source of either kind.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	if kind, _ := n.Get("kind").Plain().(string); kind == JWT {
		return parseJWT(n, faults)
	}
	return parseNkeys(n, faults)
}

// NkeyConfig is the block of an nkey source.
type NkeyConfig struct {
	session.Settings
	Users []conf.Node `conf:"users,required"` // blocks of nkey and fields of the session

	users map[string]*session.Session // by public key
}

func parseNkeys(n conf.Node, faults *conf.Faults) *NkeyConfig {
	cfg := NkeyConfig{Settings: session.Defaults(), users: map[string]*session.Session{}}
	n.Decode(&cfg, faults)
	cfg.Check(n, faults)
	for _, item := range cfg.Users {
		at := item.Get("nkey")
		if at.IsZero() {
			at = item
		}
		key, _ := item.Get("nkey").Plain().(string)
		switch _, twice := cfg.users[key]; {
		case !nkeys.IsValidPublicUserKey(key):
			faults.Add(at, "nkey: expected the public key of a user (U...); found %s", conf.KindOfKey(key))
		case twice:
			faults.Add(at, "nkey: duplicate key %s", key)
		default:
			data := stored.FromConf(item, func(field string) bool { return strings.EqualFold(field, "nkey") })
			data["nkey"] = key
			cfg.users[key] = &session.Session{Data: data, Key: key}
		}
	}
	cfg.Users = nil
	return &cfg
}

// Open returns the source.
func (c *NkeyConfig) Open(context.Context, session.Env) (session.Source, error) {
	return nkeySource{c}, nil
}

type nkeySource struct{ cfg *NkeyConfig }

// Accepts accepts nkeys. The key is empty, because each connection signs another
// nonce.
func (nkeySource) Accepts(r *session.Request) (string, bool) {
	return "", r.Credential.Kind == session.Nkey
}

// Find verifies the signature.
func (s nkeySource) Find(_ context.Context, r *session.Request) (*session.Session, error) {
	c := &r.Credential
	found := s.cfg.users[c.Nkey]
	if c.Kind != session.Nkey || found == nil || !c.Signed() {
		return nil, session.ErrUnknown
	}
	return found, nil
}

// Close does nothing.
func (nkeySource) Close() error { return nil }
