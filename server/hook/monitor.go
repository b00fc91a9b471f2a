package hook

import (
	"errors"
	"sync/atomic"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp.example/claim"
	"stamp.example/claim/field"
	"stamp/internal/proof"
	"stamp/internal/redact"
	"stamp/internal/release"
)

// Varz is the object headers of the monitoring endpoint /varz. All numbers count since the
// start of the server.
type Varz struct {
	Release            string `json:"release"`
	Stamping           bool   `json:"stamping"`
	StampedConnections uint64 `json:"stamped_connections"` // connections that were authenticated with headers
	StampedMessages    uint64 `json:"stamped_messages"`
	StampedBytes       uint64 `json:"stamped_bytes"`       // header blocks of stamped messages
	ProvenMessages     uint64 `json:"proven_messages"`     // messages with a proof
	SignedMessages     uint64 `json:"signed_messages"`     // of these, messages whose proof has a signature
	StrippedLines      uint64 `json:"stripped_lines"`      // header lines that clients sent with stamped or protected names
	SealedLines        uint64 `json:"sealed_lines"`        // header lines that were withheld, counted for each receiver
	RefusedConnections uint64 `json:"refused_connections"` // connections that were refused for their headers claim, a revoked user key or an ended session
	RefusedMessages    uint64 `json:"refused_messages"`    // messages that were refused for their header block
	Renewals           uint64 `json:"renewals"`            // of connections, that an auth callout granted
	RefusedRenewals    uint64 `json:"refused_renewals"`    // that an auth callout refused, so that the connection was closed
	UnansweredRenewals uint64 `json:"unanswered_renewals"` // that got no answer; they are tried again until the user JWT expires
}

// counters are the counters behind Varz. The read loops of many connections count messages at
// the same time, so these counters are spread over shards: otherwise all cores would contend
// for one cache line.
type counters struct {
	stampedConnections, refusedConnections        atomic.Uint64
	renewals, refusedRenewals, unansweredRenewals atomic.Uint64
	givenUpRenewals                               atomic.Uint64 // requested renewals that got no answer until the server gave up

	shards [counterShards]shard
}

const counterShards = 32

type shard struct {
	stamped, bytes, stripped, refused, sealed, proven, signed atomic.Uint64

	_ [8]byte // pads the shard to 64 bytes, a cache line
}

// addProof counts a proof.
func (s *shard) addProof(kind proof.Kind) {
	switch kind {
	case proof.None:
		return
	case proof.Signed, proof.SignedForReceiver:
		s.signed.Add(1)
	}
	s.proven.Add(1)
}

// shard returns the shard of a connection.
func (c *counters) shard(cid uint64) *shard { return &c.shards[cid%counterShards] }

// Varz implements natsserver.Extension.
func (h *Hook) Varz() any { return h.varz() }

func (h *Hook) varz() *Varz {
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
		v.ProvenMessages += s.proven.Load()
		v.SignedMessages += s.signed.Load()
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

// HideValue implements natsserver.Extension. The values of sealed headers are always hidden. In
// what a client sent (sent is set) no value was stamped, so other headers are shown. Elsewhere
// a value may be stamped, so it is shown only if the name is reserved and cannot be stamped.
func (h *Hook) HideValue(block natsserver.ConfigValue, name string, sent bool) bool {
	return rulesOf(block).Seals(name) || !sent && !errors.Is(field.CheckName(name), field.ErrNameReserved)
}
