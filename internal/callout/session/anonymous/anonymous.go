// Package anonymous is a session source that gives one fixed session to all
// connections that present no credential:
//
//	{kind: anonymous, data: {role: guest}}
//
// List it last, with a grant that allows little.
package anonymous

import (
	"context"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/conf"
)

// Config is the block of an anonymous source.
type Config struct {
	session.Settings
	Data conf.Node `conf:"data"` // content of the session: a block; default: empty

	session *session.Session
}

// Parse reads and checks the block of a source.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{Settings: session.Defaults()}
	n.Decode(&cfg, faults)
	cfg.Check(n, faults)
	if !cfg.Data.IsZero() && cfg.Data.Fields() == nil {
		faults.Add(cfg.Data, "data: expected a block of fields, such as {role: guest}")
	}
	cfg.session = &session.Session{Data: stored.FromConf(cfg.Data, nil), Key: "anonymous"}
	return &cfg
}

// Open returns the source.
func (c *Config) Open(context.Context, session.Env) (session.Source, error) {
	return source{c.session}, nil
}

type source struct{ session *session.Session }

// Accepts accepts connections without a credential. The key is empty, because there is
// nothing to cache.
func (source) Accepts(r *session.Request) (string, bool) {
	return "", r.Credential.Kind == session.None
}

// Find returns the session, which all these connections share.
func (s source) Find(_ context.Context, r *session.Request) (*session.Session, error) {
	if _, ok := s.Accepts(r); !ok {
		return nil, session.ErrUnknown
	}
	return s.session, nil
}

// Close does nothing.
func (source) Close() error { return nil }
