package signed

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"stamp/server/callout/session"
)

// fromNetwork tells whether a host is in one of the networks; without networks
// every host is.
func fromNetwork(networks []string, host string) bool {
	if len(networks) == 0 {
		return true
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	address = address.Unmap() // one with a zone is in no network
	return slices.ContainsFunc(networks, func(text string) bool {
		network, err := netip.ParsePrefix(text)
		return err == nil && network.Contains(address)
	})
}

// ofType tells whether a connection is of one of the types; without types every
// one is. Where the request does not tell which of two it is, both must be allowed.
func ofType(allowed []string, r *session.Request) bool {
	if len(allowed) == 0 {
		return true
	}
	var is []string
	switch {
	case r.Kind == "Leafnode":
		is = over(r.Transport, jwt.ConnectionTypeLeafnode, jwt.ConnectionTypeLeafnodeWS)
	case r.Type == "websocket":
		is = []string{jwt.ConnectionTypeWebsocket}
	case r.Type == "mqtt":
		is = over(r.Transport, jwt.ConnectionTypeMqtt, jwt.ConnectionTypeMqttWS)
	case r.Type == "nats" && r.Host == "":
		is = []string{jwt.ConnectionTypeInProcess}
	case r.Type == "nats":
		is = []string{jwt.ConnectionTypeStandard}
	}
	for _, t := range is {
		if !slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, t) }) {
			return false
		}
	}
	return len(is) > 0
}

// over is the type of a connection by its transport, or both if that is not known.
func over(t session.Transport, tcp, websocket string) []string {
	switch t {
	case session.TCP:
		return []string{tcp}
	case session.Websocket:
		return []string{websocket}
	}
	return []string{tcp, websocket}
}

// inTimes tells whether now is in one of the times of day, and when the latest of
// those ends: zero when there are none, and every time is right. A time that ends before it
// begins goes over midnight.
func inTimes(times []jwt.TimeRange, locale string, now time.Time) (ends time.Time, ok bool) {
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
		// A range of yesterday may still be under way, if it goes over midnight.
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

// onDay puts a time of day on the day of now, or one before or after it.
func onDay(clock, now time.Time, days int) time.Time {
	y, m, d := now.Date()
	return time.Date(y, m, d+days, clock.Hour(), clock.Minute(), clock.Second(), 0, now.Location())
}
