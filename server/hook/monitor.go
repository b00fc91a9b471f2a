package hook

import (
	"errors"
	"sync/atomic"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/claim"
	"stamp/server/field"
	"stamp/server/redact"
	"stamp/server/release"
)

// Varz is the object `headers` in varz. Counts are since the start of the server.
type Varz struct {
	Release            string `json:"release"`
	Stamping           bool   `json:"stamping"`
	StampedConnections uint64 `json:"stamped_connections"` // that had headers when they were authenticated
	StampedMessages    uint64 `json:"stamped_messages"`
	StampedBytes       uint64 `json:"stamped_bytes"`       // of header blocks, as they left
	StrippedLines      uint64 `json:"stripped_lines"`      // of stamped or protected names
	SealedLines        uint64 `json:"sealed_lines"`        // withheld, counted for each receiver
	RefusedConnections uint64 `json:"refused_connections"` // for their headers claim
	RefusedMessages    uint64 `json:"refused_messages"`    // for their header block
	Renewals           uint64 `json:"renewals"`            // of connections, by an auth callout
	RefusedRenewals    uint64 `json:"refused_renewals"`    // whose connections were closed
	UnansweredRenewals uint64 `json:"unanswered_renewals"` // that are tried again until the user JWT ends
}

// counters are those of Varz. What the read loops of many connections count is spread
// over shards, so that they do not wait for one cache line.
type counters struct {
	stampedConnections, refusedConnections        atomic.Uint64
	renewals, refusedRenewals, unansweredRenewals atomic.Uint64
	givenUpRenewals                               atomic.Uint64 // that somebody asked for

	shards [counterShards]shard
}

const counterShards = 32

type shard struct {
	stamped, bytes, stripped, refused, sealed atomic.Uint64

	_ [24]byte // to 64 bytes, a cache line
}

func (c *counters) shard(cid uint64) *shard { return &c.shards[cid%counterShards] }

// Varz implements natsserver.Extension.
func (h *Hook) Varz() any {
	v := &Varz{
		Release:            release.Version,
		Stamping:           true,
		StampedConnections: h.counters.stampedConnections.Load(),
		RefusedConnections: h.counters.refusedConnections.Load(),
		Renewals:           h.counters.renewals.Load(),
		RefusedRenewals:    h.counters.refusedRenewals.Load(),
		UnansweredRenewals: h.counters.unansweredRenewals.Load(),
	}
	for i := range h.counters.shards {
		s := &h.counters.shards[i]
		v.StampedMessages += s.stamped.Load()
		v.StampedBytes += s.bytes.Load()
		v.StrippedLines += s.stripped.Load()
		v.SealedLines += s.sealed.Load()
		v.RefusedMessages += s.refused.Load()
	}
	return v
}

// HideMessage implements natsserver.Extension.
func (h *Hook) HideMessage(hdr, payload []byte) (shownHdr, shownPayload []byte) {
	if len(hdr) > 0 {
		shownHdr = redact.TraceBlock(nil, hdr)
	}
	return shownHdr, claim.RedactText(redact.TracePayload(payload))
}

// HideValue implements natsserver.Extension. A sealed name is shown nowhere. What a client sent itself holds
// no stamped value; elsewhere, a name that nobody can have stamped holds no secret.
func (h *Hook) HideValue(block natsserver.ConfigValue, name string, sent bool) bool {
	return rulesOf(block).Seals(name) || !sent && !errors.Is(field.CheckName(name), field.ErrNameReserved)
}
