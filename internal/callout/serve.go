package callout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/nats-io/nats.go"

	"stamp/internal/callout/grant"
	"stamp/internal/callout/session"
)

// subscription is the handler on one connection. Callouts wait in queue. Workers, two for each CPU, take them from there,
// and answer at once what needs no look-up. A callout whose session must be looked up gets a goroutine of its own; Lookup
// limits how many of these there are.
type subscription struct {
	h       *Handler
	nc      *nats.Conn
	queue   chan *arrival
	busy    chan *arrival // callouts that came while the queue was full, and will be refused
	waiting atomic.Int64  // bytes in both channels
	working atomic.Int64  // callouts that were taken from the channels and have no answer yet
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup

	mu     sync.Mutex
	stays  bool               // in the queue group although it cannot judge, because no other handler can
	sub    *nats.Subscription // in the queue group; nil: it has left
	able   *nats.Subscription // answers handlers that ask who can judge; nil: this one cannot, or is ending
	ear    *nats.Subscription // reads callouts that others answer, see listen; nil: it does not
	holds  bool               // it waits for the others and holds the callouts of its server, see hold
	held   []*arrival
	ending bool
	subs   sync.WaitGroup // subscriptions of which a received message may not have reached arrive yet, and callouts that are held
}

// arrival is the content of a callout's message. It does not keep the message itself, which refers to all later messages of
// the subscription, and whose header block may be large.
type arrival struct {
	nc    *nats.Conn
	data  []byte
	from  string // xkey of the server; empty: the request is not encrypted
	reply string
	at    time.Time
}

func newArrival(nc *nats.Conn, m *nats.Msg) *arrival {
	return &arrival{nc, bytes.Clone(m.Data), strings.Clone(m.Header.Get(xkeyHeader)), strings.Clone(m.Reply), time.Now()}
}

// size returns about how many bytes of memory an arrival occupies.
func (a *arrival) size() int64 {
	return int64(len(a.data)+len(a.from)+len(a.reply)) + int64(unsafe.Sizeof(*a))
}

func (a *arrival) respond(answer []byte) error {
	if a.reply == "" {
		return nats.ErrMsgNoReply
	}
	return a.nc.Publish(a.reply, answer)
}

// Anybody who may publish in the callout account chooses how large a request is, up to the server's max_payload. The
// requests of a server have a CONNECT and what the server forwards of an upgrade request: some kilobytes.
const (
	maxRequest = 1 << 20   // bytes of one request
	maxWaiting = 128 << 20 // bytes of all waiting requests together
)

// busyQueue is how many callouts may wait to be refused because the queue is full. Further ones get no answer: the server
// refuses their connections when it has waited for authorization.timeout.
const busyQueue = 1024

// Serve answers callouts on nc until Drain is called or nc is closed. It returns when the server has the subscription, or
// when ctx ends.
func (h *Handler) Serve(ctx context.Context, nc *nats.Conn) error {
	s := &subscription{h: h, nc: nc, queue: make(chan *arrival, h.cfg.Queue), busy: make(chan *arrival, busyQueue)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for range 2 * runtime.GOMAXPROCS(0) {
		s.work.Go(func() { s.each(s.queue, s.answer) })
	}
	s.work.Go(func() { s.each(s.busy, s.refuseBusy) })
	h.mu.Lock()
	h.served = append(h.served, s)
	h.mu.Unlock()
	m := &member{subscription: s}
	if err := m.begin(ctx); err != nil {
		return fmt.Errorf("subscribe to %s: %w", Subject, err)
	}
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	if err := nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("subscribe to %s: %w", Subject, err)
	}
	// If the server does not permit the subscription, its error comes before its answer to the flush.
	if err := nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `Subscription to "`+Subject) {
		return fmt.Errorf("subscribe to %s: the user of connect may not: %w", Subject, nats.ErrPermissionViolation)
	}
	go m.watch()
	return nil
}

// arrive receives a callout, and never blocks: the connection has other messages too.
func (s *subscription) arrive(m *nats.Msg) {
	s.h.metrics.requests.Inc()
	if len(m.Data)+len(m.Header.Get(xkeyHeader)) > maxRequest {
		s.h.malformed(errTooLarge)
		return
	}
	a := newArrival(s.nc, m)
	if s.put(s.queue, a) {
		return
	}
	s.h.metrics.overloaded.Inc()
	if !s.put(s.busy, a) {
		s.h.logged.Warn("overload", "callouts are dropped, because too many wait")
	}
}

// put adds an arrival to a channel. It returns false if there is no room for it.
func (s *subscription) put(to chan<- *arrival, a *arrival) bool {
	if s.waiting.Add(a.size()) <= maxWaiting {
		select {
		case to <- a:
			return true
		default:
		}
	}
	s.waiting.Add(-a.size())
	return false
}

// each calls do for each arrival of a channel, until it is closed.
func (s *subscription) each(from <-chan *arrival, do func(*arrival)) {
	for a := range from {
		s.working.Add(1) // before the next line, so that at any time one of the two counts it
		s.waiting.Add(-a.size())
		s.h.guard(func() { do(a) })
		s.working.Add(-1)
	}
}

// guard runs do, which handles input. A panic in it must not end the process.
func (h *Handler) guard(do func()) {
	defer func() {
		if recover() != nil {
			h.fault(session.Fault(errFault))
		}
	}()
	do()
}

// fault counts and logs a panic of ours. err has its place and not its text, which may contain a credential.
func (h *Handler) fault(err error) {
	h.metrics.panics.Inc()
	h.logged.Error("fault", "fault in the handler", "error", err)
}

// errOverloaded is the reason of a refusal while the queue is full.
var errOverloaded = errors.New("overloaded: too many callouts wait")

func (s *subscription) refuseBusy(a *arrival) {
	r, err := s.h.understand(a)
	if err != nil {
		s.h.malformed(err)
		return
	}
	if s.h.answers(r) {
		s.h.respond(a, r, "", errOverloaded)
	}
}

// answer answers a callout, or leaves that to a goroutine.
func (s *subscription) answer(a *arrival) {
	h := s.h
	r, err := h.understand(a)
	if err != nil {
		h.malformed(err)
		return
	}
	if r.patience > 0 && time.Since(a.at) > r.patience {
		h.metrics.late.Inc()
		return
	}
	if !h.answers(r) {
		return
	}
	if err := h.checkIssuer(r); err != nil {
		h.metrics.failed.Inc()
		if r.Renewal {
			h.metrics.renewals.Inc()
			h.metrics.unanswered.Inc()
		}
		h.logged.Error("issuer", "callout refused", "server", r.ServerName, "renewal", r.Renewal, "error", err)
		h.respond(a, r, "", err)
		return
	}
	if h.probed(a, r) {
		return
	}
	if h.isCached(&r.Request) {
		h.decideAndAnswer(s.ctx, a, r)
		return
	}
	s.working.Add(1)
	s.work.Go(func() {
		defer s.working.Add(-1)
		h.guard(func() { h.decideAndAnswer(s.ctx, a, r) })
	})
}

// answers reports whether this handler answers the callout. With only_from, another queue group may have to.
func (h *Handler) answers(r *request) bool {
	if h.isFor(r.ServerName, r.Cluster) {
		return true
	}
	h.metrics.ignored.Inc()
	return false
}

// decideAndAnswer decides about a callout, and sends the answer.
func (h *Handler) decideAndAnswer(ctx context.Context, a *arrival, r *request) {
	if r.patience > 0 {
		var cancel context.CancelFunc
		// A little less than the server waits, so that it gets the reason of a refusal in time.
		ctx, cancel = context.WithDeadline(ctx, a.at.Add(r.patience-min(r.patience/10, 500*time.Millisecond)))
		defer cancel()
	}
	verdict, token, err := h.grant(ctx, r)
	h.respond(a, r, token, err)
	h.report(a, r, verdict, err)
}

// certainErrors are reasons that lie in the connection itself: a later callout about it would be refused too.
var certainErrors = []error{ErrUnknown, session.ErrUnknown, ErrKind, errTooLong, errNotText}

// certain reports whether a result may close a live connection at its renewal: it is a grant, or a refusal for a reason
// that lies in the connection itself. If the session only cannot be looked up now, the renewal gets no answer, and the
// server asks again.
func certain(err error) bool {
	var refusal *grant.Refusal
	if err == nil || errors.As(err, &refusal) {
		return true
	}
	return slices.ContainsFunc(certainErrors, func(is error) bool { return errors.Is(err, is) })
}

// errFault stands for a panic of ours, whose text may contain a credential.
var errFault = errors.New("fault in the callout handler; please report it")

func isFault(err error) bool { return errors.Is(err, errFault) || errors.Is(err, session.ErrFault) }

// grant decides about a connection, and signs its user JWT. A panic becomes a refusal: the handler may run inside the
// server, which must not end by it.
func (h *Handler) grant(ctx context.Context, r *request) (v *Verdict, token string, err error) {
	defer func() {
		if recover() != nil {
			v, token, err = nil, "", session.Fault(errFault)
		}
	}()
	if err = r.complete(); err != nil {
		return nil, "", err
	}
	if v, err = h.Decide(ctx, &r.Request); err != nil {
		return nil, "", err
	}
	tags, err := h.cfg.tags(v)
	if err != nil {
		return nil, "", err
	}
	if token, err = h.cfg.keys.sign(v.Grant, r.userNkey, tags...); err != nil {
		return nil, "", err
	}
	return v, token, nil
}

// StopReceiving ends the subscriptions. It does not wait until received callouts are answered: Drain does.
func (h *Handler) StopReceiving() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.served {
		s.end()
	}
}

// unsentUntil returns until when a server may wait for an answer that is not sent yet, because the handler's connection is
// lost and not back; zero: there is no such answer.
func (h *Handler) unsentUntil() time.Time {
	until := time.Unix(0, h.unsent.Load())
	if time.Now().After(until) {
		return time.Time{}
	}
	return until
}

// owes reports whether received callouts have no answer yet, or one that is not sent because the connection is lost.
func (h *Handler) owes() bool {
	if !h.unsentUntil().IsZero() {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.served, func(s *subscription) bool { return s.waiting.Load() > 0 || s.working.Load() > 0 })
}

// Drain ends the subscriptions, and returns when all received callouts are answered, or when ctx ends.
func (h *Handler) Drain(ctx context.Context) error {
	h.mu.Lock()
	served := h.served
	h.served = nil
	h.mu.Unlock()
	var errs []error
	for _, s := range served {
		errs = append(errs, s.drain(ctx))
	}
	return errors.Join(errs...)
}

func (s *subscription) drain(ctx context.Context) error {
	// Ends look-ups that outlast ctx.
	defer s.cancel()
	s.end()
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain: callouts are left without an answer: %w", context.Cause(ctx))
	}
}
