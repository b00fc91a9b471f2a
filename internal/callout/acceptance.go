package callout

import (
	"cmp"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Servers accept the answers of a handler only if it has the keys that they expect: the issuer and
// the xkey. A handler with other keys cannot serve, whatever its sources know. It learns that from
// the requests that it gets, and from its own probes.

// settled is for how long no request must have suited the handler's keys before unsuitable requests
// count. While an xkey or an issuer is replaced, servers differ, and the handler serves some of
// them. The time is doubled, up to maxSettled, each time that the handler comes back, so that one
// server with other keys than the rest does not make it come and go.
const (
	settled    = 10 * time.Second
	maxSettled = 10 * time.Minute
)

// timesInTurn is how many unsuitable requests, or refused probes, in a row count. A single one may
// be an accident.
const timesInTurn = 2

// acceptance records whether servers accept the handler's answers. The zero value knows no reason why
// not.
type acceptance struct {
	mu       sync.Mutex
	suited   time.Time     // when a request last suited the keys
	settles  time.Duration // settled or a multiple; zero: settled
	unsuited int           // number of unsuitable requests in a row
	why      error         // reason of the last of them
	refusals int           // number of refused probes in a row
	refused  error         // what the server said to the last of them
}

// fault returns why servers do not accept the handler's answers, or nil.
func (k *acceptance) fault() error {
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

// doubted reports whether another probe may confirm or refute a doubt.
func (k *acceptance) doubted() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.unsuited+k.refusals > 0
}

// request records a request. err is nil if it suits the handler's keys.
func (k *acceptance) request(err error, now time.Time) {
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

// probe records a probe that this handler has answered. err is nil if the server accepted the
// answer.
func (k *acceptance) probe(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.refusals, k.refused = 0, nil
		return
	}
	k.refusals, k.refused = k.refusals+1, err
}

// errKeys are the errors of requests that other keys would not have.
var errKeys = []error{errNotEncrypted, errNoXKey, errDecrypt}

// understand reads a callout, and records whether the server expects this handler's xkey.
func (h *Handler) understand(a *arrival) (*request, error) {
	r, err := h.cfg.keys.read(a)
	if err == nil {
		return r, nil // checkIssuer records the rest
	}
	// With only_from, it is not known from whom an unreadable request is: it may be for other
	// handlers.
	for _, fault := range errKeys {
		if errors.Is(err, fault) && len(h.cfg.OnlyFrom) == 0 {
			h.accepted.request(err, a.at)
		}
	}
	return nil, err
}

// errKeysDiffer is a part of what CheckReady returns.
var errKeysDiffer = errors.New("servers do not take the answers of this handler")

// listen reads callouts without answering them. A handler whose answers are not accepted leaves
// callouts to the others, and learns from theirs when its keys are right again. It still answers
// its own probe.
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

// listenEvery is the least time between two callouts that are read, because each must be decrypted.
const listenEvery = time.Millisecond

// overhear reads a callout that another handler answers.
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

// stopListening undoes listen.
func (s *subscription) stopListening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	unsubscribe(&s.ear)
}

// probeAgain starts a probe if the last one was some seconds ago. If there are no clients, the
// probe is a request from which the handler learns.
func (h *Handler) probeAgain() {
	if p := h.prober.Load(); p != nil {
		p.begin(h)
	}
}
