package natsmsg

import (
	"github.com/nats-io/nats.go/jetstream"

	stamp "stamp.example/receivers/go"
)

// JetStream returns a message of a consumer as one of stamp. Its subject is that on which the message was stored.
func JetStream(m jetstream.Msg) stamp.Message {
	return stamp.Message{Header: m.Headers(), Payload: m.Data(), Subject: m.Subject()}
}
