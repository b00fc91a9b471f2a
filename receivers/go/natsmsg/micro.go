package natsmsg

import (
	"github.com/nats-io/nats.go/micro"

	stamp "stamp.example/receivers/go"
)

// Request returns a request to a micro service as a message of stamp.
func Request(r micro.Request) stamp.Message {
	return stamp.Message{Header: r.Headers(), Payload: r.Data(), Subject: arrivedOn(r.Subject(), r.Reply())}
}

// Unauthenticated is the code of the error with which Handle answers nobody's requests.
const Unauthenticated = "401"

// Handle returns a handler for requests that somebody sent, on the subject on which they arrived or one of Trust.ForSubjects. It answers all others with an error, whose text is the verdict; the
// statistics of the service have it too.
func Handle(t *stamp.Trust, handle func(stamp.Identity, micro.Request)) micro.Handler {
	return micro.HandlerFunc(func(r micro.Request) {
		id, err := stamp.Identify(Request(r), t)
		if err != nil {
			if isOfJetStream(r.Reply()) {
				return // an answer without a payload would acknowledge the message
			}
			// If the answer cannot be sent, the connection is gone, and so is the request.
			_ = r.Error(Unauthenticated, string(stamp.VerdictOf(err)), nil)
			return
		}
		handle(id, r)
	})
}
