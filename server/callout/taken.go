package callout

import (
	"cmp"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Servers take a handler's answers only where its keys are those that they expect: the issuer, and the xkey. A handler
// that finds that its keys are others cannot serve, whatever its sources know. It sees that in the requests that it gets,
// and in its own probes.

// settled is how long no server's request must have suited the handler until those count that do not. While an xkey or
// an issuer is replaced, some servers have the new one and others do not: then a handler serves some of them. It is
// doubled each time that the handler has come back, up to maxSettled, so that a server with other keys than the rest does
// not have it come and go.
const (
	settled    = 10 * time.Second
	maxSettled = 10 * time.Minute
)

// timesInTurn is how often in turn requests must not suit, or own probes be refused. One may be an accident.
const timesInTurn = 2

// taken is what a handler knows of whether servers take its answers. The zero value knows nothing against it.
type taken struct {
	mu       sync.Mutex
	suited   time.Time     // when a request did, last
	settles  time.Duration // settled, or a multiple; zero: settled
	unsuited int           // requests in turn
	why      error         // of the last of them
	refusals int           // of own probes, in turn
	refused  error         // what the server said last
}

// fault returns why servers do not take the handler's answers, or nil.
func (k *taken) fault() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.unsuited >= timesInTurn:
		return k.why
	case k.refusals >= timesInTurn:
		return k.refused
	}
	return nil
}

// doubted tells whether there is something that the next probe may refute or confirm.
func (k *taken) doubted() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.unsuited+k.refusals > 0
}

// request is told of a request: nil if it suits the handler's keys, or why it does not.
func (k *taken) request(err error, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	settles := cmp.Or(k.settles, settled)
	switch {
	case err == nil:
		if k.unsuited >= timesInTurn {
			k.settles = min(2*settles, maxSettled)
		}
		k.suited, k.unsuited, k.why = now, 0, nil
	case now.Sub(k.suited) >= settles:
		k.unsuited, k.why = k.unsuited+1, err
	}
}

// probe is told of a probe that this handler answered: nil if the server let it in, or what the server said.
func (k *taken) probe(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.refusals, k.refused = 0, nil
		return
	}
	k.refusals, k.refused = k.refusals+1, err
}

// errKeys are the faults of a request that other keys of the handler would mend.
var errKeys = []error{errNotEncrypted, errNoXKey, errDecrypt}

// understand reads a callout, and notes whether the handler's xkey is the one that the server expects.
func (h *Handler) understand(a *arrival) (*request, error) {
	r, err := h.cfg.keys.read(a)
	if err == nil {
		return r, nil // checkIssuer notes the rest
	}
	// Where only_from leaves servers to others, whose a request is that cannot be read is not known.
	for _, fault := range errKeys {
		if errors.Is(err, fault) && len(h.cfg.OnlyFrom) == 0 {
			h.taken.request(err, a.at)
		}
	}
	return nil, err
}

// errKeysDiffer is added to what readiness says.
var errKeysDiffer = errors.New("servers do not take the answers of this handler")

// listen looks at callouts without answering them, while others do: a handler whose answers are not taken, and that has
// left them to others, sees so that its keys are right again. Its own probe is answered.
func (s *subscription) listen() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || s.ear != nil && s.ear.IsValid() {
		return nil
	}
	var last time.Time
	s.ear, err = s.nc.Subscribe(Subject, func(m *nats.Msg) {
		if now := time.Now(); now.Sub(last) >= listenEvery {
			last = now
			s.h.guard(func() { s.h.overhear(newArrival(s.nc, m)) })
		}
	})
	return err
}

// listenEvery is how often one of all callouts is looked at, since each must be decrypted.
const listenEvery = time.Millisecond

// overhear looks at a callout that others answer.
func (h *Handler) overhear(a *arrival) {
	if len(a.data)+len(a.from) > maxRequest {
		return
	}
	r, err := h.understand(a)
	if err != nil || !h.isFor(r.ServerName, r.Cluster) || h.checkIssuer(r) != nil {
		return
	}
	if p := h.prober.Load(); p != nil && p.isOwn(r.Credential.Value) {
		h.probed(a, r)
	}
}

// stopListening ends that.
func (s *subscription) stopListening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	unsubscribe(&s.ear)
}

// probeAgain makes a probe, if the last one is some seconds ago: it is a request that the handler sees where there are no
// others.
func (h *Handler) probeAgain() {
	if p := h.prober.Load(); p != nil {
		p.begin(h)
	}
}
