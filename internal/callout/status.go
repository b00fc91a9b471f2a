package callout

import (
	"context"
	"strings"
	"sync"
	"time"

	"stamp/internal/callout/session"
	"stamp/internal/release"
)

// Status is what operators are shown of a handler, without authentication: names of the
// configuration, counts, and reasons, which hold no secret.
type Status struct {
	Version    string            `json:"version"`
	NotReady   string            `json:"not_ready,omitempty"` // the reason; empty: it is ready
	QueueGroup string            `json:"queue_group"`
	Sources    []SourceStatus    `json:"sources"`
	Answers    map[string]uint64 `json:"answers"` // by result, as in stamp_callout_answers_total
	Renewals   uint64            `json:"renewals"`
	Refusals   []Refusal         `json:"refusals"` // the last ones, the newest first
}

// SourceStatus is what is shown of a session source. The numbers count since its start.
type SourceStatus struct {
	Name       string `json:"name"`
	Kind       string `json:"kind"`
	Fault      string `json:"fault,omitempty"` // why it cannot look up, misses changes, or has failed last; empty: it works as far as is known
	Sessions   int    `json:"sessions"`        // that are cached now
	FromCache  uint64 `json:"from_cache"`
	Asked      uint64 `json:"asked"` // look-ups in the source, of which
	Unknown    uint64 `json:"unknown"`
	Failed     uint64 `json:"failed"`
	Overloaded uint64 `json:"overloaded"` // look-ups that got no turn
}

// Refusal is a callout that was refused, or a renewal that was put off.
type Refusal struct {
	At         time.Time `json:"at"`
	Server     string    `json:"server"`
	Client     uint64    `json:"client"`
	Type       string    `json:"type"`
	Credential string    `json:"credential"` // its kind
	PutOff     bool      `json:"put_off,omitempty"`
	Reason     string    `json:"reason"`
}

// Bounds of what is kept of refusals, which strangers cause.
const (
	keptRefusals = 20
	maxReason    = 400 // bytes
)

// refusals are the last refusals of a handler and of those whose place it took.
type refusals struct {
	mu   sync.Mutex
	last []Refusal // the oldest first
}

func (r *refusals) add(q *request, err error) {
	one := Refusal{
		At: time.Now().UTC().Truncate(time.Second), Server: q.ServerName, Client: q.ClientID,
		Type: q.Type, Credential: string(q.Credential.Kind), PutOff: q.Renewal && !certain(err), Reason: shortened(err.Error()),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.last) == keptRefusals {
		copy(r.last, r.last[1:])
		r.last = r.last[:keptRefusals-1]
	}
	r.last = append(r.last, one)
}

func shortened(reason string) string {
	if len(reason) > maxReason {
		return strings.ToValidUTF8(reason[:maxReason], "") + "..."
	}
	return reason
}

// newest returns the refusals, the newest first.
func (r *refusals) newest() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Refusal, 0, len(r.last))
	for i := len(r.last) - 1; i >= 0; i-- {
		list = append(list, r.last[i])
	}
	return list
}

// Status returns the handler's status. ready is what says whether it is ready.
func (h *Handler) Status(ctx context.Context, ready func(context.Context) error) *Status {
	m := h.metrics
	s := &Status{
		Version: release.Version, QueueGroup: h.cfg.QueueGroup, Sources: []SourceStatus{}, Renewals: m.renewals.Get(), Refusals: h.refusals.newest(),
		Answers: map[string]uint64{
			"granted": m.granted.Get(), "refused": m.refused.Get(), "overloaded": m.overloaded.Get(), "unanswered": m.unanswered.Get(),
			"late": m.late.Get(), "malformed": m.malformed.Get(), "failed": m.failed.Get(), "ignored": m.ignored.Get(),
		},
	}
	if err := ready(ctx); err != nil {
		s.NotReady = err.Error()
	}
	for _, l := range h.lookups() {
		s.Sources = append(s.Sources, statusOf(l))
	}
	return s
}

func statusOf(l *session.Lookup) SourceStatus {
	s := SourceStatus{
		Name: l.Name(), Kind: l.Kind(), Sessions: l.CachedSessions(), FromCache: l.Stats.Hits.Load(), Asked: l.Stats.Asked.Load(),
		Unknown: l.Stats.Unknown.Load(), Failed: l.Stats.Failed.Load(), Overloaded: l.Stats.Busy.Load(),
	}
	for _, look := range []func() error{l.LookupError, l.WatchError, l.Failing} {
		if err := look(); err != nil {
			s.Fault = shortened(err.Error())
			break
		}
	}
	return s
}
