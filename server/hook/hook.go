// Package hook puts the headers claim into the patched server. It is the only
// importer of the symbols that the patches add, so it does not compile against a
// stock nats-server.
package hook

import (
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout/announce"
	"stamp/server/policy"
	"stamp/server/release"
)

// Hook implements the server's extension point. There is one for each server.
type Hook struct {
	counters counters
	readers  readers
	forgery  forgery
	// Warnings about claims.
	leftOut, lookalikes, accountLookalikes notices

	warned   atomic.Pointer[policy.Rules]
	peers    peers
	reported lastReported // of account updates that lose headers
	callout  calloutHook

	renewing sync.Once
	renewals *renewer
	userKeys userKeys

	announcing sync.Once
	announced  atomic.Pointer[announce.Announcer] // nil: nothing was announced
}

var _ natsserver.Extension = (*Hook)(nil)

// New returns a hook for one server.
func New() *Hook {
	h := &Hook{callout: calloutHook{metrics: metrics.NewSet()}}
	h.callout.renew = h.renewAll
	return h
}

// Install has this process read our configuration blocks. It must be called before a
// configuration is read.
func Install() { natsserver.SetConfigParser(parser{}) }

// Extend makes a server that is created with these options stamp.
func Extend(o *natsserver.Options) { o.CustomInterceptor = natsserver.NewExtension(New()) }

// ScopeChanged implements natsserver.Extension.
func (h *Hook) ScopeChanged(before, after, signingKey string) bool {
	return policy.ScopeChanged(before, after, signingKey)
}

// Release implements natsserver.Extension.
func (h *Hook) Release() string { return release.Version }

// renewer returns what renews the connections of the hook's server.
func (h *Hook) renewer(s *natsserver.Server) *renewer {
	h.renewing.Do(func() {
		h.renewals = newRenewer(&h.counters)
		h.renewals.renew, h.renewals.sessions = s.RenewConnection, newSessions(s)
	})
	return h.renewals
}
