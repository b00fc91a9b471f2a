package signed

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"stamp/internal/callout/session"
)

// isInNetworks reports whether the IP address host is in one of the networks. An empty
// list allows every address.
func isInNetworks(networks []string, host string) bool {
	if len(networks) == 0 {
		return true
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	address = address.Unmap() // an address with a zone is in no network
	return slices.ContainsFunc(networks, func(text string) bool {
		network, err := netip.ParsePrefix(text)
		return err == nil && network.Contains(address)
	})
}

// isAllowedType reports whether the type of the connection is allowed. An empty list
// allows all types. If the request leaves open which of two types it is, both must be
// allowed.
func isAllowedType(allowed []string, r *session.Request) bool {
	if len(allowed) == 0 {
		return true
	}
	var possible []string
	switch {
	case r.Kind == "Leafnode":
		possible = typesByTransport(r.Transport, jwt.ConnectionTypeLeafnode, jwt.ConnectionTypeLeafnodeWS)
	case r.Type == "websocket":
		possible = []string{jwt.ConnectionTypeWebsocket}
	case r.Type == "mqtt":
		possible = typesByTransport(r.Transport, jwt.ConnectionTypeMqtt, jwt.ConnectionTypeMqttWS)
	case r.Type == "nats" && r.Host == "":
		possible = []string{jwt.ConnectionTypeInProcess}
	case r.Type == "nats":
		possible = []string{jwt.ConnectionTypeStandard}
	}
	for _, t := range possible {
		if !slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, t) }) {
			return false
		}
	}
	return len(possible) > 0
}

// typesByTransport returns the connection type for the transport t, or both types if
// t is not known.
func typesByTransport(t session.Transport, tcp, websocket string) []string {
	switch t {
	case session.TCP:
		return []string{tcp}
	case session.Websocket:
		return []string{websocket}
	}
	return []string{tcp, websocket}
}

// isInTimes reports whether now is in one of the ranges of the day, and returns the
// latest end of the ranges that now is in. An empty list allows every time, and ends
// is zero. A range that ends before it starts includes midnight.
func isInTimes(times []jwt.TimeRange, locale string, now time.Time) (ends time.Time, ok bool) {
	if len(times) == 0 {
		return time.Time{}, true
	}
	location := time.Local
	if locale != "" {
		var err error
		if location, err = time.LoadLocation(locale); err != nil {
			return time.Time{}, false
		}
	}
	now = now.In(location)
	for _, r := range times {
		start, err := time.Parse(time.TimeOnly, r.Start)
		end, errEnd := time.Parse(time.TimeOnly, r.End)
		if err != nil || errEnd != nil {
			return time.Time{}, false
		}
		// A range that began yesterday may include midnight.
		for day := -1; day <= 0; day++ {
			from, to := onDay(start, now, day), onDay(end, now, day)
			if to.Before(from) {
				to = onDay(end, now, day+1)
			}
			if from.Before(now) && now.Before(to) {
				ok = true
				if to.After(ends) {
					ends = to
				}
			}
		}
	}
	return ends, ok
}

// onDay returns the time of day of clock on the day that is days after that of now.
func onDay(clock, now time.Time, days int) time.Time {
	y, m, d := now.Date()
	return time.Date(y, m, d+days, clock.Hour(), clock.Minute(), clock.Second(), 0, now.Location())
}
