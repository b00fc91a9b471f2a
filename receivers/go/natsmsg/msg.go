// Package natsmsg makes messages of nats.go into those of package stamp: plain ones, those of JetStream, and requests of micro
// services.
//
//	id, err := stamp.Identify(natsmsg.Msg(m), trust)
package natsmsg

import (
	"strings"

	"github.com/nats-io/nats.go"

	stamp "stamp.example/receivers/go"
)

// Msg returns a message of a subscription as one of stamp. Its subject counts, unless JetStream delivers it: see arrivedOn.
func Msg(m *nats.Msg) stamp.Message {
	return stamp.Message{Header: m.Header, Payload: m.Data, Subject: arrivedOn(m.Subject, m.Reply)}
}

// nowhere is no subject, so no message was published on it.
const nowhere = "."

// arrivedOn returns the subject on which a message arrived. A message that JetStream delivers has the subject on which it was stored, and not
// that of the subscription: whoever may ask for messages of a stream can have one delivered to any handler. So it arrived
// nowhere, and only a handler with a trust of Trust.ForSubjects takes it.
func arrivedOn(subject, reply string) string {
	if subject == "" || isOfJetStream(reply) {
		return nowhere
	}
	return subject
}

// isOfJetStream reports whether a reply subject is that of a message which JetStream delivers.
func isOfJetStream(reply string) bool { return strings.HasPrefix(reply, "$JS.ACK.") }

// Forward puts the proof of a message that was received into a request that is made on behalf of its sender (see
// stamp.Forward). If that message is nobody's, it is an error, and the request stays without.
func Forward(request *nats.Msg, received stamp.Message, t *stamp.Trust) error {
	for name := range request.Header {
		if stamp.IsForwardedProof(name) {
			delete(request.Header, name)
		}
	}
	value, err := stamp.Forward(received, t)
	if err != nil {
		return err
	}
	if request.Header == nil {
		request.Header = nats.Header{}
	}
	request.Header.Set(stamp.ForwardedProof, value)
	return nil
}
