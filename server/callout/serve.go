package callout

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/server/callout/forwarded"
	"stamp/server/callout/grant"
	"stamp/server/callout/session"
)

// queueGroup is that of all handlers, so that each callout has one answer.
const queueGroup = "stamp-callout"

// subscription is the handler on one connection. Callouts wait in queue; workers,
// two for each CPU, take them out, and answer at once what needs no look-up. A callout whose
// session must be looked up goes on in a goroutine: Lookup bounds those.
type subscription struct {
	h      *Handler
	sub    *nats.Subscription
	queue  chan arrival
	busy   chan arrival // those that found the queue full
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
}

type arrival struct {
	msg *nats.Msg
	at  time.Time
}

// busyQueue is how many callouts wait to be told that there are too many. Above
// that they get no answer, which the server takes for a refusal when its patience ends.
const busyQueue = 1024

// Serve answers callouts on nc until Drain, or until nc is closed.
func (h *Handler) Serve(nc *nats.Conn) error {
	s := &subscription{h: h, queue: make(chan arrival, h.cfg.Queue), busy: make(chan arrival, busyQueue)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	sub, err := nc.QueueSubscribe(Subject, queueGroup, s.arrive)
	if err != nil {
		s.cancel()
		return fmt.Errorf("subscribe to %s: %w", Subject, err)
	}
	s.sub = sub
	// Called when everything that came has been through arrive, also when nc is closed.
	sub.SetClosedHandler(func(string) {
		close(s.queue)
		close(s.busy)
	})
	for range 2 * runtime.GOMAXPROCS(0) {
		s.work.Go(func() { s.each(s.queue, s.answer) })
	}
	s.work.Go(func() { s.each(s.busy, s.refuseBusy) })
	h.mu.Lock()
	h.served = append(h.served, s)
	h.mu.Unlock()
	// So that the server knows of it when Serve returns.
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		return fmt.Errorf("subscribe to %s: %w", Subject, err)
	}
	return nil
}

func (s *subscription) arrive(m *nats.Msg) {
	s.h.metrics.requests.Inc()
	a := arrival{m, time.Now()}
	select {
	case s.queue <- a:
		return
	default:
	}
	s.h.metrics.overloaded.Inc()
	select {
	case s.busy <- a:
	default:
	}
}

func (s *subscription) each(from <-chan arrival, do func(arrival)) {
	for a := range from {
		func() {
			defer func() {
				if recover() != nil {
					s.h.malformed(session.Fault(errFault))
				}
			}()
			do(a)
		}()
	}
}

var errOverloaded = errors.New("overloaded: too many callouts wait")

func (s *subscription) refuseBusy(a arrival) {
	r, err := s.h.cfg.keys.read(a.msg)
	if err != nil {
		s.h.malformed(err)
		return
	}
	if !r.Renewal {
		s.h.respond(a, r, "", errOverloaded)
	}
}

// answer answers a callout, or leaves that to a goroutine.
func (s *subscription) answer(a arrival) {
	h := s.h
	r, err := h.cfg.keys.read(a.msg)
	if err != nil {
		h.malformed(err)
		return
	}
	if r.patience > 0 && time.Since(a.at) > r.patience {
		h.metrics.late.Inc()
		return
	}
	if h.probed(a, r) {
		return
	}
	if h.ready(&r.Request) {
		h.decide(s.ctx, a, r)
		return
	}
	s.work.Go(func() { h.decide(s.ctx, a, r) })
}

// decide judges, and answers.
func (h *Handler) decide(ctx context.Context, a arrival, r *request) {
	if r.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, a.at.Add(r.patience))
		defer cancel()
	}
	verdict, token, err := h.grant(ctx, r)
	if !r.Renewal || certain(err) {
		h.respond(a, r, token, err)
	}
	h.report(a, r, verdict, err)
}

// certain tells whether an answer is one. A connection that lives is not closed because its
// session cannot be looked up now: the server asks again when it gets no answer.
func certain(err error) bool {
	var refusal *grant.Refusal
	return err == nil || errors.Is(err, ErrUnknown) || errors.Is(err, session.ErrUnknown) || errors.Is(err, ErrKind) || errors.Is(err, errTooLong) || errors.As(err, &refusal)
}

// errFault is for faults of ours. They must not end the server that the handler may
// be in, and what they say may hold a credential.
var errFault = errors.New("fault in the callout handler; please report it")

// grant judges, and signs the user JWT.
func (h *Handler) grant(ctx context.Context, r *request) (v *Verdict, token string, err error) {
	defer func() {
		if recover() != nil {
			v, token, err = nil, "", session.Fault(errFault)
		}
	}()
	if err = r.complete(); err != nil {
		return nil, "", err
	}
	if v, err = h.Judge(ctx, &r.Request); err != nil {
		return nil, "", err
	}
	tag := forwarded.SessionTag(forwarded.SessionName(v.Session.Source, v.Session.Key))
	if token, err = h.cfg.keys.sign(v.Grant, r.userNkey, tag); err != nil {
		return nil, "", err
	}
	return v, token, nil
}

// respond sends the answer: a user JWT, or the refusal's reason.
func (h *Handler) respond(a arrival, r *request, token string, refusal error) {
	reason := ""
	if refusal != nil {
		reason = refusal.Error()
		h.turnAway(r, refusal)
	}
	answer, err := h.cfg.keys.respond(r, token, reason)
	if err == nil {
		err = a.msg.Respond(answer)
	}
	if err != nil {
		h.metrics.failed.Inc()
		h.log.Error("cannot answer a callout", "error", err)
	}
}

// disconnectTime is how long the close of a connection is waited for.
const disconnectTime = time.Second

// turnAway closes a connection that cannot be judged now, before its callout is answered with the refusal. To a
// refusal the server adds "Authorization Violation", and after two of these in a row clients give up for good unless
// they are told otherwise. Those whose connection is just closed come again. Where it cannot be closed, the refusal
// does that.
func (h *Handler) turnAway(r *request, refusal error) {
	if h.away == nil || r.Renewal || certain(refusal) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), disconnectTime)
	defer cancel()
	if err := h.away(ctx, r.ServerID, r.ClientID); err != nil {
		h.log.Debug("a connection that cannot be judged now is told so", "server", r.ServerName, "client", r.ClientID, "error", err)
	}
}

func (h *Handler) malformed(err error) {
	h.metrics.malformed.Inc()
	h.log.Warn("callout refused without an answer", "error", err)
}

func (h *Handler) report(a arrival, r *request, v *Verdict, err error) {
	h.metrics.seconds.UpdateDuration(a.at)
	attributes := []any{
		"server", r.ServerName, "client", r.ClientID, "host", r.Host, "type", r.Type, "credential", string(r.Credential.Kind),
	}
	if r.Renewal {
		attributes = append(attributes, "renewal", true)
		h.metrics.renewals.Inc()
	}
	switch {
	case r.Renewal && !certain(err):
		h.metrics.unanswered.Inc()
		h.log.Warn("renewal put off", append(attributes, "reason", err.Error())...)
	case err == nil:
		h.metrics.granted.Inc()
		h.log.Debug("granted", append(attributes, "source", v.Session.Source, "grant", v.Grant.Grant, "account", v.Grant.Account)...)
	case errors.Is(err, session.ErrBusy):
		h.metrics.overloaded.Inc()
		h.log.Warn("refused", append(attributes, "reason", err.Error())...)
	default:
		h.metrics.refused.Inc()
		h.log.Info("refused", append(attributes, "reason", err.Error())...)
	}
}

// Leave stops taking callouts, without waiting for those that were taken. Drain is still to be called.
func (h *Handler) Leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.served {
		_ = s.sub.Drain() // Drain, the method, says what is wrong
	}
}

// Drain stops taking callouts, and returns when those that were taken are
// answered, or ctx ends.
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
	if err := s.sub.Drain(); err != nil && !errors.Is(err, nats.ErrBadSubscription) && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("drain: %w", err)
	}
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
