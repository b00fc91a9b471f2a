package callout

import (
	"fmt"
	"strings"

	"github.com/VictoriaMetrics/metrics"

	"stamp/internal/callout/session"
)

// handlerMetrics are the metrics of a handler. Labels contain only names of the configuration.
type handlerMetrics struct {
	requests, renewals, panics                                                 *metrics.Counter
	granted, refused, overloaded, late, malformed, failed, unanswered, ignored *metrics.Counter

	seconds *metrics.PrometheusHistogram
}

// secondsBuckets are the upper bounds of the histogram, in seconds. An answer from a cache takes less
// than a millisecond; a server waits two seconds for an answer if authorization.timeout is not set.
var secondsBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 2.5, 5, 10}

// BuildInfo is the metric whose label is the version of the handler.
const BuildInfo = "stamp_callout_build_info"

// ReadyMetric returns the metric that is 1 while the process is ready, as far as it has looked; nil if
// there are no metrics.
func (o Options) ReadyMetric() *metrics.Gauge {
	if o.Metrics == nil {
		return nil
	}
	return o.Metrics.GetOrCreateGauge("stamp_callout_ready", nil)
}

func newMetrics(set *metrics.Set, h *Handler) *handlerMetrics {
	result := func(r string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf(`stamp_callout_answers_total{result=%q}`, r))
	}
	m := &handlerMetrics{
		requests: set.GetOrCreateCounter(`stamp_callout_requests_total`),
		renewals: set.GetOrCreateCounter(`stamp_callout_renewals_total`),
		panics:   set.GetOrCreateCounter(`stamp_callout_panics_total`),
		granted:  result("granted"), refused: result("refused"), overloaded: result("overloaded"),
		late: result("late"), malformed: result("malformed"), failed: result("failed"), unanswered: result("unanswered"), ignored: result("ignored"),
		seconds: set.GetOrCreatePrometheusHistogramExt(`stamp_callout_seconds`, secondsBuckets),
	}
	// A reload may have removed sources.
	for _, name := range set.ListMetricNames() {
		if strings.HasPrefix(name, "stamp_callout_lookup") {
			set.UnregisterMetric(name)
		}
	}
	for _, l := range h.sources {
		sourceMetrics(set, l)
	}
	return m
}

func sourceMetrics(set *metrics.Set, l *session.Lookup) {
	gauge := func(name, labels string, f func() float64) {
		full := fmt.Sprintf(`%s{source=%q%s}`, name, l.Name(), labels)
		set.NewGauge(full, f)
	}
	lookups := func(result string, n interface{ Load() uint64 }) {
		gauge("stamp_callout_lookups_total", fmt.Sprintf(",result=%q", result), func() float64 { return float64(n.Load()) })
	}
	lookups("cached", &l.Stats.Hits)
	lookups("asked", &l.Stats.Asked)
	lookups("unknown", &l.Stats.Unknown)
	lookups("failed", &l.Stats.Failed)
	lookups("overloaded", &l.Stats.Busy)
	gauge("stamp_callout_lookup_seconds_total", "", func() float64 { return float64(l.Stats.Nanoseconds.Load()) / 1e9 })
}
