package hook

import (
	"encoding/json"
	"errors"
	"strings"
)

var errRequest = errors.New("a request to create a consumer or a snapshot: expected one JSON object")

// AnswerSubjects implements natsserver.Extension. A request can name the subject of what the
// server will send: the configuration of a push consumer does, and a request for a snapshot of
// a stream (upstream, jetstream_api.go, CreateConsumerRequest and JSApiStreamSnapshotRequest).
//
// The payload is decoded as the server decodes it. A payload of which the server would decode
// only a part is refused.
func (h *Hook) AnswerSubjects(subject string, payload []byte) ([]string, error) {
	var request struct {
		DeliverSubject string `json:"deliver_subject"`
		Config         struct {
			DeliverSubject string `json:"deliver_subject"`
		} `json:"config"`
	}
	answer := &request.Config.DeliverSubject
	switch {
	case strings.HasPrefix(subject, "$JS.API.CONSUMER.CREATE."), strings.HasPrefix(subject, "$JS.API.CONSUMER.DURABLE.CREATE."):
	case strings.HasPrefix(subject, "$JS.API.STREAM.SNAPSHOT."):
		answer = &request.DeliverSubject
	default:
		return nil, nil
	}
	if err := json.Unmarshal(payload, &request); err != nil {
		return nil, errRequest
	}
	if *answer == "" {
		return nil, nil
	}
	return []string{*answer}, nil
}
