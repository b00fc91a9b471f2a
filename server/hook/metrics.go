package hook

import (
	"io"
	"sync"

	"github.com/VictoriaMetrics/metrics"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout/ops"
)

// serverBuildInfo is the metric whose label is the version of the server.
const serverBuildInfo = "stamp_server_build_info"

// metricsEndpoint shows the server's metrics on the address headers.metrics. It has no /readyz:
// nats-server's own monitoring port says whether the server is healthy.
type metricsEndpoint struct {
	mu sync.Mutex
	endpoint
	stopped bool // the server shuts down, so the endpoint stays closed
}

// moveMetrics opens, moves or closes the endpoint of the server's metrics as the headers block says.
func (h *Hook) moveMetrics(s *natsserver.Server) {
	m := &h.metricsEndpoint
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return
	}
	m.move(s, rulesOf(s.HeadersBlock()).MetricsAddress(), ops.Options{Metrics: h.callout.metrics, BuildInfo: serverBuildInfo})
}

// stop closes the endpoint for good.
func (m *metricsEndpoint) stop() {
	m.mu.Lock()
	m.stopped = true
	running := m.detach()
	m.mu.Unlock()
	closeEndpoint(running, endpointTimeout)
}

// writeMetrics writes the counters of Varz in Prometheus' text format. They have no labels, since
// names of users, accounts and headers are chosen by others and have no bound.
func (h *Hook) writeMetrics(w io.Writer) {
	v := h.varz()
	for _, c := range []struct {
		name  string
		count uint64
	}{
		{"stamped_connections", v.StampedConnections},
		{"stamped_messages", v.StampedMessages},
		{"stamped_bytes", v.StampedBytes},
		{"proven_messages", v.ProvenMessages},
		{"signed_messages", v.SignedMessages},
		{"stripped_lines", v.StrippedLines},
		{"sealed_lines", v.SealedLines},
		{"refused_connections", v.RefusedConnections},
		{"refused_messages", v.RefusedMessages},
		{"renewals", v.Renewals},
		{"refused_renewals", v.RefusedRenewals},
		{"unanswered_renewals", v.UnansweredRenewals},
	} {
		metrics.WriteCounterUint64(w, "stamp_server_"+c.name+"_total", c.count)
	}
}
