package kv

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// entryTTL returns the TTL in the header of an entry, or 0 if there is none. It reads
// the header as the server does (parseMessageTTL in stream.go): "never", a duration, or
// seconds.
func entryTTL(h nats.Header) (time.Duration, error) {
	text := h.Get(jetstream.MsgTTLHeader)
	if text == "" || strings.EqualFold(text, "never") {
		return 0, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d.Truncate(time.Second), nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, errTTL
	}
	return time.Duration(n) * time.Second, nil
}
