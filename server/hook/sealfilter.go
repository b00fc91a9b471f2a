package hook

import (
	"sync"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/redact"
	"stamp/internal/stamp"
)

// sealFilter removes sealed headers from messages that are delivered to connections without
// permission to read them.
type sealFilter struct {
	seal  *stamp.Seal
	count *shard
}

var _ natsserver.DeliveryFilter = (*sealFilter)(nil)

// sealFilters holds one filter for each seal. The server compares filters, so that it cuts a
// message only once for all connections with the same seal.
type sealFilters struct {
	mu     sync.Mutex
	bySeal map[*stamp.Seal]*sealFilter
}

// maxSealFilters is how many filters are kept. If there are more seals, all filters are
// dropped here; connections keep the ones that they have.
const maxSealFilters = 1024

// get returns the filter for a seal. The first call for a seal creates it.
func (f *sealFilters) get(seal *stamp.Seal, c *counters) *sealFilter {
	f.mu.Lock()
	defer f.mu.Unlock()
	if filter := f.bySeal[seal]; filter != nil {
		return filter
	}
	if f.bySeal == nil || len(f.bySeal) >= maxSealFilters {
		f.bySeal = map[*stamp.Seal]*sealFilter{}
	}
	filter := &sealFilter{seal, c.shard(uint64(len(f.bySeal)))}
	f.bySeal[seal] = filter
	return filter
}

// Cut implements natsserver.DeliveryFilter.
func (f *sealFilter) Cut(dst, hdr []byte, from natsserver.CutMark, same int) ([]byte, int, natsserver.CutMark) {
	out, lines, last := f.seal.CutFrom(dst, hdr, stamp.Mark(from), same)
	return out, lines, natsserver.CutMark(last)
}

// CutPayload implements natsserver.DeliveryFilter. If it looked into an answer and removed
// nothing, it returns the payload itself: looking took much longer than for other payloads, so it
// is worth while to remember the result for the other readers of the message.
func (f *sealFilter) CutPayload(payload []byte) ([]byte, int) {
	if !redact.IsStoredAnswer(payload) {
		return nil, 0
	}
	if out, lines := redact.StoredAnswer(f.seal, payload); lines > 0 {
		return out, lines
	}
	return payload, 0
}

// Withheld implements natsserver.DeliveryFilter.
func (f *sealFilter) Withheld(lines int) { f.count.sealed.Add(uint64(lines)) }
