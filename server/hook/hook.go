// Package hook puts the headers claim into the patched server. It is the only
// importer of the symbols that the patches add, so it does not compile against a
// stock nats-server.
package hook

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"stamp/server/claim"
	"stamp/server/conf"
	"stamp/server/policy"
	"stamp/server/release"
	"stamp/server/stamp"
)

// Hook implements the server's extension points.
type Hook struct {
	refusedConnections atomic.Uint64
	refusedMessages    atomic.Uint64
	callout            calloutHook
}

var (
	_ natsserver.InboundHook        = (*Hook)(nil)
	_ natsserver.InboundConfigHook  = (*Hook)(nil)
	_ natsserver.InboundMonitorHook = (*Hook)(nil)
	_ natsserver.InboundScopeHook   = (*Hook)(nil)
	_ natsserver.InboundCalloutHook = (*Hook)(nil)
	_ natsserver.InboundStartHook   = (*Hook)(nil)
)

// New returns a hook that is not installed.
func New() *Hook {
	return &Hook{callout: calloutHook{metrics: metrics.NewSet(), users: map[string]nkeys.KeyPair{}}}
}

// Install makes every server of this process stamp. It must be called before a
// configuration is read or a server is created.
func Install() *Hook {
	h := New()
	natsserver.SetInboundHook(h)
	return h
}

// conn is the stamp of one connection.
type conn struct {
	stamp *stamp.Stamp
	hook  *Hook
}

// Attach implements natsserver.InboundHook.
func (h *Hook) Attach(info natsserver.InboundInfo) (natsserver.InboundConn, error) {
	c := policy.Conn{
		System:     info.System,
		UserJWT:    info.UserJWT,
		Scoped:     info.Scoped,
		AccountJWT: info.AccountJWT,
	}
	c.User, _ = info.UserHeaders.(*claim.Claim)
	if uc := info.UserClaims; uc != nil {
		c.SigningKey = uc.Issuer
		c.Vars = policy.Vars{
			Name: uc.Name, Subject: uc.Subject, Tags: uc.Tags,
			AccountName: info.AccountName, AccountSubject: info.Account, AccountTags: info.AccountTags,
		}
	}
	s, err := rules(info.Options).Stamp(c)
	if err != nil {
		h.refusedConnections.Add(1)
		return nil, err
	}
	if s == nil {
		return nil, nil
	}
	return &conn{s, h}, nil
}

// Rewrite implements natsserver.InboundConn.
func (c *conn) Rewrite(dst, subject, hdr []byte) ([]byte, error) {
	out, err := c.stamp.Append(dst, subject, hdr)
	if err != nil {
		c.hook.refusedMessages.Add(1)
	}
	return out, err
}

// Growth implements natsserver.InboundConn.
func (c *conn) Growth() int { return c.stamp.MaxLen() }

// ScopeChanged implements natsserver.InboundScopeHook.
func (h *Hook) ScopeChanged(before, after, signingKey string) bool {
	return policy.ScopeChanged(before, after, signingKey)
}

// Release implements natsserver.InboundMonitorHook.
func (h *Hook) Release() string { return release.Version }

// RedactJWT implements natsserver.InboundMonitorHook.
func (h *Hook) RedactJWT(token string) string { return claim.Redact(token) }

// Varz is the object `headers` in varz.
type Varz struct {
	Release            string `json:"release"`
	Stamping           bool   `json:"stamping"`
	RefusedConnections uint64 `json:"refused_connections"` // for their headers claim
	RefusedMessages    uint64 `json:"refused_messages"`    // for their header block
}

// Varz implements natsserver.InboundMonitorHook.
func (h *Hook) Varz() any {
	return &Varz{
		Release:            release.Version,
		Stamping:           true,
		RefusedConnections: h.refusedConnections.Load(),
		RefusedMessages:    h.refusedMessages.Load(),
	}
}

// rules returns the rules of a server, from what ParseBlock returned.
func rules(options any) policy.Rules {
	if r, ok := options.(*policy.Rules); ok {
		return *r
	}
	return policy.Rules{}
}

// ParseUserHeaders implements natsserver.InboundConfigHook. The limits of the
// server may stand below the user in the file: they are checked in Attach.
func (h *Hook) ParseUserHeaders(headers, permissions any) (any, error) {
	cl, err := claim.FromConfig(headers, permissions, claim.MaxLimits)
	if err != nil || cl == nil {
		return nil, err
	}
	return cl, nil
}

// ParseBlock implements natsserver.InboundConfigHook.
func (h *Hook) ParseBlock(name string, block any) (any, error) {
	if name == "callout" {
		return parseCallout(block)
	}
	return parseHeaders(block)
}

func parseHeaders(block any) (any, error) {
	m, ok := conf.From(block).Plain().(map[string]any)
	if !ok {
		return nil, errors.New("expected a block")
	}
	r := &policy.Rules{}
	for k, v := range m {
		switch k {
		case "max_headers":
			if err := limit(k, v, claim.MaxBlock, &r.Limits.MaxHeaders); err != nil {
				return nil, err
			}
		case "max_bytes":
			if err := limit(k, v, claim.MaxBlock, &r.Limits.MaxBytes); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("unknown field %q", k)
		}
	}
	return r, nil
}

func limit(name string, v any, most int64, dst *int) error {
	n, ok := v.(int64)
	if !ok || n < 1 || n > most {
		return fmt.Errorf("%s must be a number from 1 to %d", name, most)
	}
	*dst = int(n)
	return nil
}
