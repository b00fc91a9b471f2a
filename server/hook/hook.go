// Package hook puts the headers claim into the patched server. It is the only
// importer of the symbols that the patches add, so it does not compile against a
// stock nats-server.
package hook

import (
	"github.com/VictoriaMetrics/metrics"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"stamp/server/claim"
	"stamp/server/conf"
	"stamp/server/policy"
	"stamp/server/release"
)

// Hook implements the server's extension points.
type Hook struct {
	counters counters
	readers  readers
	forgery  forgery
	peers    peers
	renewals renewals
	callout  calloutHook
}

var (
	_ natsserver.InboundHook        = (*Hook)(nil)
	_ natsserver.InboundConfigHook  = (*Hook)(nil)
	_ natsserver.InboundMonitorHook = (*Hook)(nil)
	_ natsserver.InboundScopeHook   = (*Hook)(nil)
	_ natsserver.InboundCalloutHook = (*Hook)(nil)
	_ natsserver.InboundStartHook   = (*Hook)(nil)
	_ natsserver.InboundTraceHook   = (*Hook)(nil)
	_ natsserver.InboundPeerHook    = (*Hook)(nil)
	_ natsserver.InboundRenewHook   = (*Hook)(nil)
)

// New returns a hook that is not installed.
func New() *Hook {
	h := &Hook{callout: calloutHook{metrics: metrics.NewSet(), users: map[string]nkeys.KeyPair{}, own: map[string]bool{}}}
	h.callout.renew = h.renewAll
	return h
}

// Install makes every server of this process stamp. It must be called before a
// configuration is read or a server is created.
func Install() *Hook {
	h := New()
	natsserver.SetInboundHook(h)
	return h
}

// ScopeChanged implements natsserver.InboundScopeHook.
func (h *Hook) ScopeChanged(before, after, signingKey string) bool {
	return policy.ScopeChanged(before, after, signingKey)
}

// Release implements natsserver.InboundMonitorHook.
func (h *Hook) Release() string { return release.Version }

// rules returns the rules of a server, from what ParseBlock returned.
func rules(options any) *policy.Rules {
	r, _ := options.(*policy.Rules)
	return r
}

// ParseUserHeaders implements natsserver.InboundConfigHook. The limits of the
// server may stand below the user in the file: they are checked in Attach.
func (h *Hook) ParseUserHeaders(headers, permissions any) (any, error) {
	cl, err := claim.FromConfig(headers, permissions, claim.MaxLimits)
	if err != nil || cl == nil {
		return nil, err
	}
	if err := policy.CheckTemplates(cl); err != nil {
		return nil, err
	}
	return cl, nil
}

// ParseBlock implements natsserver.InboundConfigHook.
func (h *Hook) ParseBlock(name string, block any) (any, error) {
	if name == "callout" {
		return parseCallout(block)
	}
	var faults conf.Faults
	r := policy.ParseRules(conf.From(block), &faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return r, nil
}
