package callout

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// All handlers of a queue group share the callouts, and each callout gets one answer.
//
// A handler that cannot decide leaves the group, so that the others get the callouts that it would
// refuse. It cannot decide if a bucket of its sources is missing, for example, or if servers do not
// accept its answers. If no other handler can decide either, it stays: a refusal with a reason is
// better than a server that waits in vain.
//
// A handler that cannot decide asks whether another one can, in the callout account, on a subject
// to which those subscribe that can.

// DefaultQueueGroup is the queue group if the configuration names none.
const DefaultQueueGroup = "stamp-callout"

// askAble is the subject of that question, without the name of the group.
const askAble = "_STAMP.CALLOUT."

const (
	// lookAtSelf is how often a handler checks whether it can decide. The check asks nobody else.
	lookAtSelf = 500 * time.Millisecond
	// gather is how often a handler that has just started checks itself and asks the others.
	gather = 50 * time.Millisecond
	// askOthers is how long a handler waits for an answer of the others. If none can decide, the
	// server says so at once.
	askOthers = time.Second
	// takeOver is how long a handler that replaces another one waits for its sources. The other one
	// answers meanwhile.
	takeOver = time.Second
)

// cannotServe returns why the handler cannot serve, or nil: its sources cannot decide, or servers
// do not accept its answers.
func (h *Handler) cannotServe() error {
	if err := h.cannotJudge(); err != nil {
		return err
	}
	return h.accepted.fault()
}

// cannotJudge returns why a source of the handler cannot decide, or nil.
func (h *Handler) cannotJudge() error {
	for _, source := range h.lookups() {
		if err := source.LookupError(); err != nil {
			return err
		}
	}
	return nil
}

// WaitUntilUsable waits until the handler can serve, or ctx ends.
func (h *Handler) WaitUntilUsable(ctx context.Context) {
	tick := time.NewTicker(gather)
	defer tick.Stop()
	for h.cannotServe() != nil {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// member is a subscription as a member of the queue group.
type member struct {
	*subscription
	unable  int       // number of checks in a row in which the handler could not serve
	gathers time.Time // until when it waits for other handlers before it joins; zero: it does not wait
	said    string    // what was logged last
}

// certainly is how many checks in a row must find that the handler cannot serve. While a server
// reloads its accounts, streams are missing for a moment.
const certainly = 2

// begin joins the group. It does not if another handler can decide and this one cannot yet, or if
// the other handlers are not known yet. A handler that replaces another one first waits a moment
// for its sources, because the other one still answers.
func (m *member) begin(ctx context.Context) error {
	if m.h.replaces != "" {
		waiting, cancel := context.WithTimeout(ctx, takeOver)
		defer cancel()
		m.h.WaitUntilUsable(waiting)
	}
	switch {
	case m.h.cannotServe() == nil:
		return m.join()
	case m.h.gathering > 0 && m.h.replaces == "":
		m.gathers = time.Now().Add(m.h.gathering)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.holds = !m.ending
		return nil
	case m.others(ctx):
		m.unable = certainly
		return nil
	}
	return m.join()
}

// gatheringOthers reports whether the handler still waits for the others. It stops when it can
// serve itself, when another one can, or when none has answered for long enough.
func (m *member) gatheringOthers() bool {
	if m.gathers.IsZero() {
		return false
	}
	able := m.h.cannotServe() == nil
	if !able && !m.others(m.ctx) && time.Now().Before(m.gathers) {
		return true
	}
	m.gathers = time.Time{}
	if !able {
		m.unable = certainly // it has lasted since the start
	}
	return false
}

// watch joins and leaves the group until the handler ends.
func (m *member) watch() {
	for {
		wait := lookAtSelf
		m.h.guard(func() {
			if m.gatheringOthers() {
				wait = gather
				return
			}
			if m.nc.IsConnected() {
				m.h.unsent.Store(0) // it was sent with the rest of the buffer
			}
			if err := m.look(); err != nil && m.nc.IsConnected() {
				m.h.logged.Error("group", "cannot join the queue group", "error", err)
			}
			if m.unable == 0 || m.unable >= certainly { // it has joined, or knows who else can judge
				m.release()
			}
		})
		select {
		case <-m.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// look joins or leaves the group according to a check.
func (m *member) look() error {
	if m.h.accepted.doubted() {
		m.h.probeAgain()
	}
	reason := m.h.cannotServe()
	if reason == nil {
		m.unable = 0
		m.stay(false)
		m.say("", "can judge again, and takes callouts")
		m.stopListening()
		return errors.Join(m.join(), m.answerOthers())
	}
	m.stopAnswering()
	if m.unable++; m.unable < certainly {
		return nil
	}
	if m.others(m.ctx) {
		m.stay(false)
		m.leave()
		_ = m.nc.FlushTimeout(askOthers) // so that the log line is true; without a connection no callouts arrive
		m.say("leaves: "+reason.Error(), "cannot judge, and leaves the callouts to the other handlers of the queue group", "reason", reason)
		return m.listen()
	}
	m.say("stays: "+reason.Error(), "cannot judge, and no other handler of the queue group can: connections are refused", "reason", reason)
	m.stopListening()
	m.stay(true)
	return m.join()
}

// stay notes whether the handler stays in the group although it cannot decide.
func (s *subscription) stay(stays bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stays = stays
}

// say logs a change.
func (m *member) say(now, text string, attributes ...any) {
	if now == m.said {
		return
	}
	m.said = now
	if now == "" {
		m.h.log.Info(text)
		return
	}
	m.h.log.Warn(text, attributes...)
}

// others reports whether another handler of the group can decide. The handler that this one
// replaces does not count: the question names it, so it does not answer.
func (m *member) others(ctx context.Context) bool {
	if !m.nc.IsConnected() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, askOthers)
	defer cancel()
	_, err := m.nc.RequestWithContext(ctx, askAble+m.h.cfg.QueueGroup, []byte(m.h.replaces))
	return err == nil
}

// answerOthers answers handlers that cannot decide, until this one ends.
func (s *subscription) answerOthers() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || s.able != nil && s.able.IsValid() {
		return nil
	}
	s.able, err = s.nc.Subscribe(askAble+s.h.cfg.QueueGroup, func(q *nats.Msg) {
		if string(q.Data) != s.h.id {
			_ = q.Respond(nil) // the other handler asks again
		}
	})
	return err
}

// stopAnswering undoes answerOthers.
func (s *subscription) stopAnswering() {
	s.mu.Lock()
	defer s.mu.Unlock()
	unsubscribe(&s.able)
}

// unsubscribe ends a subscription, if there is one, and sets it to nil. The owner's lock is held.
func unsubscribe(sub **nats.Subscription) {
	if *sub != nil {
		_ = (*sub).Unsubscribe() // an error says that the connection is closed, and the subscription with it
		*sub = nil
	}
}

// join subscribes, unless the handler is ending.
func (s *subscription) join() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || s.sub != nil && s.sub.IsValid() {
		return nil
	}
	sub, err := s.nc.QueueSubscribe(Subject, s.h.cfg.QueueGroup, s.arrive)
	if err != nil {
		return err
	}
	s.subs.Add(1)
	// It is called after arrive has had everything that came, also if nc is closed.
	sub.SetClosedHandler(func(string) { s.subs.Done() })
	s.sub = sub
	return nil
}

// leave accepts no more callouts. Those that have arrived are answered.
func (s *subscription) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsubscribe()
}

// unsubscribe is leave with the lock held.
func (s *subscription) unsubscribe() {
	if s.sub == nil {
		return
	}
	if s.nc.IsConnected() {
		_ = s.sub.Drain() // an error says that the connection is closed, and the subscription with it
	} else {
		go unsubscribeAway(s.sub)
	}
	s.sub = nil
}

// unsubscribeAway is like Drain, for a connection that is away: Drain would wait for it. Nothing
// arrives any more, and arrive gets what has arrived.
func unsubscribeAway(sub *nats.Subscription) {
	const pause = time.Millisecond
	for {
		if n, _, err := sub.Pending(); err != nil || n == 0 {
			break
		}
		time.Sleep(pause)
	}
	_ = sub.Unsubscribe() // an error says that the connection is closed, and the subscription with it
}

// end leaves the group for good. The workers stop when what has arrived is answered.
func (s *subscription) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return
	}
	s.ending = true
	unsubscribe(&s.able) // at once, because the handler that replaces this one may ask
	unsubscribe(&s.ear)
	s.unsubscribe()
	go func() {
		s.release()
		s.subs.Wait()
		close(s.queue)
		close(s.busy)
	}()
}
