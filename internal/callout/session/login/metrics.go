package login

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

// counters are the metrics of a login source.
type counters struct {
	logins, failures, logouts, backchannel, frontchannel, refreshes, refreshFailures, tickets, replays, wrongKeys, notEnrolled *metrics.Counter
}

func newCounters(set *metrics.Set, source string) *counters {
	if set == nil {
		set = metrics.NewSet()
	}
	counter := func(name string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf("stamp_login_%s_total{source=%q}", name, source))
	}
	return &counters{
		logins: counter("logins"), failures: counter("login_failures"), logouts: counter("logouts"),
		backchannel: counter("backchannel_logouts"), frontchannel: counter("frontchannel_logouts"), refreshes: counter("refreshes"), refreshFailures: counter("refresh_failures"),
		tickets: counter("tickets"), replays: counter("ticket_replays"),
		wrongKeys: counter("ticket_wrong_keys"), notEnrolled: counter("ticket_refusals"),
	}
}
