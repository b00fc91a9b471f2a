// Package hook connects Stamp's packages to the patched nats-server. It implements the
// interfaces that the patches add to package server: Extension for one server, and
// ConfigParser for the configuration blocks. For each connection the server asks a Hook
// which headers to stamp and which to withhold, and which callout handler to use.
//
// No other package uses the symbols that the patches add, so only this one does not
// compile against a stock nats-server.
package hook

import (
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/policy"
	"stamp/internal/release"
)

// Hook implements natsserver.Extension. Each server has a Hook of its own.
type Hook struct {
	counters    counters
	sealFilters sealFilters
	forgeries   forgeryLimit
	// Warnings about the claims of connections.
	leftOut, lookalikes, accountLookalikes warningLimit

	warnedAbout  atomic.Pointer[policy.Rules] // the headers block whose warnings were logged last
	peers        peers
	lostReported lastReported // the last account update that was reported for losing headers
	callout      calloutHook

	metricsEndpoint metricsEndpoint

	renewerOnce sync.Once
	theRenewer  *renewer
	userKeys    userKeys

	telling telling
}

var _ natsserver.Extension = (*Hook)(nil)

// New returns a hook for one server.
func New() *Hook {
	h := &Hook{callout: calloutHook{metrics: metrics.NewSet(), ops: endpoint{name: "Callout handler"}}}
	h.metricsEndpoint.name = "Server"
	h.callout.metrics.RegisterMetricsWriter(h.writeMetrics)
	h.callout.renew, h.callout.follow = h.renewAll, h.startFollowing
	return h
}

// Install makes this process parse the blocks headers and callout. Call it before a
// configuration is read.
func Install() { natsserver.SetConfigParser(parser{}) }

// Extend adds a new Hook to the options of a server that will be created.
func Extend(o *natsserver.Options) { o.CustomInterceptor = natsserver.NewExtension(New()) }

// ScopeChanged implements natsserver.Extension.
func (h *Hook) ScopeChanged(before, after, signingKey string) bool {
	return policy.ScopeChanged(before, after, signingKey)
}

// Release implements natsserver.Extension.
func (h *Hook) Release() string { return release.Version }

// renewer returns the renewer of the hook's server. The first call creates it.
func (h *Hook) renewer(s *natsserver.Server) *renewer {
	h.renewerOnce.Do(func() {
		h.theRenewer = newRenewer(&h.counters)
		h.theRenewer.renew, h.theRenewer.sessions = s.RenewConnection, newSessions(s.HasConnection)
		h.theRenewer.sessions.isPending = h.theRenewer.isPending
	})
	return h.theRenewer
}
