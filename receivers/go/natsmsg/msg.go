// Package natsmsg makes messages of nats.go into those of package stamp: plain ones, those of JetStream, and requests of micro
// services.
//
//	id, err := stamp.Identify(natsmsg.Msg(m), trust)
package natsmsg

import (
	"github.com/nats-io/nats.go"

	stamp "stamp.example/receivers/go"
)

// Msg returns a message of nats.go as one of stamp.
func Msg(m *nats.Msg) stamp.Message { return stamp.Message{Header: m.Header, Payload: m.Data} }

// Forward puts the proof of a message that was received into a request that is made on behalf of its sender (see
// stamp.Forward). If that message is nobody's, it is an error, and the request stays without.
func Forward(request *nats.Msg, received stamp.Message, t *stamp.Trust) error {
	request.Header.Del(stamp.ForwardedProof)
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
