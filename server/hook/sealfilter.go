package hook

import (
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
