package signed

import (
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"stamp/internal/callout/session"
)

func TestFromNetwork(t *testing.T) {
	for _, c := range []struct {
		networks []string
		host     string
		want     bool
	}{
		{nil, "", true},
		{nil, "anything", true},
		{[]string{"10.0.0.0/8"}, "10.1.2.3", true},
		{[]string{"10.9.9.9/8"}, "10.1.2.3", true},
		{[]string{"10.0.0.0/8"}, "::ffff:10.1.2.3", true},
		{[]string{"10.0.0.0/8"}, "11.1.2.3", false},
		{[]string{"10.0.0.0/8", "2001:db8::/32"}, "2001:db8::1", true},
		{[]string{"fe80::/10"}, "fe80::1%eth0", false},
		{[]string{"10.0.0.0/8"}, "", false},
		{[]string{"0.0.0.0/0"}, "pipe", false},
		{[]string{"bad"}, "10.1.2.3", false},
	} {
		if got := isInNetworks(c.networks, c.host); got != c.want {
			t.Errorf("isInNetworks(%v, %s) = %v, want %v", c.networks, c.host, got, c.want)
		}
	}
}

// If the server says whether an MQTT or leafnode connection came over a websocket, a JWT needs only one of the two types.
func TestOfTypeByTransport(t *testing.T) {
	for _, c := range []struct {
		allowed string
		r       session.Request
		want    bool
	}{
		{"MQTT", session.Request{Kind: "Client", Type: "mqtt", Transport: session.TCP}, true},
		{"MQTT_WS", session.Request{Kind: "Client", Type: "mqtt", Transport: session.TCP}, false},
		{"MQTT", session.Request{Kind: "Client", Type: "mqtt", Transport: session.Websocket}, false},
		{"MQTT_WS", session.Request{Kind: "Client", Type: "mqtt", Transport: session.Websocket}, true},
		{"LEAFNODE", session.Request{Kind: "Leafnode", Transport: session.TCP}, true},
		{"LEAFNODE_WS", session.Request{Kind: "Leafnode", Transport: session.TCP}, false},
		{"LEAFNODE_WS", session.Request{Kind: "Leafnode", Transport: session.Websocket}, true},
		{"MQTT", session.Request{Kind: "Client", Type: "nats", Transport: session.TCP}, false},
	} {
		if got := isAllowedType([]string{c.allowed}, &c.r); got != c.want {
			t.Errorf("types %s, a %s connection of type %s over %q: allowed is %v", c.allowed, c.r.Kind, c.r.Type, c.r.Transport, got)
		}
	}
}

func TestOfType(t *testing.T) {
	for _, c := range []struct {
		allowed          []string
		kind, typ, where string
		want             bool
	}{
		{nil, "", "", "", true},
		{[]string{"STANDARD"}, "Client", "nats", "h", true},
		{[]string{"standard"}, "Client", "nats", "h", true},
		{[]string{"WEBSOCKET", "MQTT"}, "Client", "nats", "h", false},
		{[]string{"WEBSOCKET"}, "Client", "websocket", "h", true},
		{[]string{"STANDARD"}, "Client", "websocket", "h", false},
		{[]string{"MQTT"}, "Client", "mqtt", "h", false},
		{[]string{"MQTT_WS"}, "Client", "mqtt", "h", false},
		{[]string{"MQTT", "MQTT_WS"}, "Client", "mqtt", "h", true},
		{[]string{"LEAFNODE"}, "Leafnode", "", "h", false},
		{[]string{"LEAFNODE", "LEAFNODE_WS"}, "Leafnode", "", "h", true},
		{[]string{"STANDARD"}, "Leafnode", "nats", "h", false},
		{[]string{"STANDARD"}, "Client", "nats", "", false},
		{[]string{"IN_PROCESS"}, "Client", "nats", "", true},
		{[]string{"STANDARD"}, "Client", "", "h", false},
		{[]string{"STANDARD"}, "Client", "new", "h", false},
	} {
		if got := isAllowedType(c.allowed, &session.Request{Kind: c.kind, Type: c.typ, Host: c.where}); got != c.want {
			t.Errorf("types %v, a %s connection of type %s: allowed is %v, want %v", c.allowed, c.kind, c.typ, got, c.want)
		}
	}
}

func TestInTimes(t *testing.T) {
	at := func(clock string) time.Time {
		when, err := time.Parse(time.DateTime, "2024-06-15 "+clock)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	day, night := jwt.TimeRange{Start: "08:00:00", End: "17:00:00"}, jwt.TimeRange{Start: "22:00:00", End: "06:00:00"}
	for _, c := range []struct {
		times  []jwt.TimeRange
		locale string
		now    time.Time
		ends   string // empty: not now
	}{
		{[]jwt.TimeRange{day}, "UTC", at("12:00:00"), "2024-06-15 17:00:00"},
		{[]jwt.TimeRange{day}, "UTC", at("07:59:59"), ""},
		{[]jwt.TimeRange{day}, "UTC", at("17:00:00"), ""},
		{[]jwt.TimeRange{night}, "UTC", at("23:00:00"), "2024-06-16 06:00:00"},
		{[]jwt.TimeRange{night}, "UTC", at("05:00:00"), "2024-06-15 06:00:00"},
		{[]jwt.TimeRange{night}, "UTC", at("12:00:00"), ""},
		{[]jwt.TimeRange{day, {Start: "11:00:00", End: "18:00:00"}}, "UTC", at("12:00:00"), "2024-06-15 18:00:00"},
		{[]jwt.TimeRange{day}, "Asia/Tokyo", at("23:30:00"), "2024-06-16 08:00:00"}, // 08:30 there
		{[]jwt.TimeRange{day}, "Nowhere/Land", at("12:00:00"), ""},
		{[]jwt.TimeRange{{Start: "x", End: "17:00:00"}}, "UTC", at("12:00:00"), ""},
		{[]jwt.TimeRange{{Start: "12:00:00", End: "12:00:00"}}, "UTC", at("12:00:00"), ""},
	} {
		ends, ok := isInTimes(c.times, c.locale, c.now)
		got := ""
		if ok {
			got = ends.UTC().Format(time.DateTime)
		}
		if got != c.ends {
			t.Errorf("%v %s at %v: ends %q; want %q", c.times, c.locale, c.now, got, c.ends)
		}
	}
	if ends, ok := isInTimes(nil, "", at("12:00:00")); !ok || !ends.IsZero() {
		t.Errorf("without times: ends %v, allowed %v; want no end, and true", ends, ok)
	}
}
