package hook

import (
	"encoding/json"
	"errors"
	"strings"
)

var errRequest = errors.New("a request for a consumer or a snapshot that cannot be read")

// AnswerSubjects implements natsserver.Extension: a push consumer has the subject in its configuration, and a
// snapshot of a stream goes to one (upstream, jetstream_api.go, CreateConsumerRequest and
// JSApiStreamSnapshotRequest). The payload is read as the server reads it; one that it would read in part
// only is refused.
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
