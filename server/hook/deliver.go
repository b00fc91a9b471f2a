package hook

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/redact"
	"stamp/server/stamp"
)

// reader is what connections with the same seal are delivered with.
type reader struct {
	seal  *stamp.Seal
	count *shard
}

var _ natsserver.DeliveryFilter = (*reader)(nil)

// readers has one reader for each seal, since the server compares them to cut a
// message once.
type readers struct {
	mu   sync.Mutex
	byID map[*stamp.Seal]*reader
}

// maxReaders is how many are kept. Above it, all are dropped: connections that have one
// keep it.
const maxReaders = 1024

func (r *readers) of(h *Hook, seal *stamp.Seal) *reader {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.byID[seal]; known != nil {
		return known
	}
	if r.byID == nil || len(r.byID) >= maxReaders {
		r.byID = map[*stamp.Seal]*reader{}
	}
	next := &reader{seal, h.counters.shard(uint64(len(r.byID)))}
	r.byID[seal] = next
	return next
}

// Cut implements natsserver.DeliveryFilter.
func (r *reader) Cut(dst, hdr []byte) ([]byte, int) { return r.seal.Cut(dst, hdr) }

// CutPayload implements natsserver.DeliveryFilter.
func (r *reader) CutPayload(payload []byte) ([]byte, int) {
	return redact.StoredAnswer(r.seal, payload)
}

// Withheld implements natsserver.DeliveryFilter.
func (r *reader) Withheld(lines int) { r.count.sealed.Add(uint64(lines)) }

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
