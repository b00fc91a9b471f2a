package callout

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// All handlers of a queue group share the callouts: each one has one answer. A handler that cannot judge, since its
// bucket is not there for example, or whose answers servers do not take, leaves the group, so that the others get what it would refuse. It stays when no
// other handler can judge either: a refusal with its reason is better than a server that waits in vain.
//
// Whether another one can is asked in the account of callouts, on a subject where those listen that can. It is asked
// by handlers that cannot, and by nobody else.

// DefaultQueueGroup is the queue group where the configuration names none.
const DefaultQueueGroup = "stamp-callout"

// askAble is the subject, with the name of the group.
const askAble = "_STAMP.CALLOUT."

const (
	// lookAtSelf is how often a handler looks whether it can judge. That asks nobody.
	lookAtSelf = 500 * time.Millisecond
	// gather is how often one that has just started looks at itself and asks for others.
	gather = 50 * time.Millisecond
	// askOthers is how long it waits for another handler. Where nobody listens, the server says so at once.
	askOthers = time.Second
	// takeOver is how long one that takes another's place waits for its sources. The other one answers meanwhile.
	takeOver = time.Second
)

// cannotServe returns why the handler cannot serve, or nil: its sources cannot judge, or servers do not take its answers.
func (h *Handler) cannotServe() error {
	if err := h.cannotJudge(); err != nil {
		return err
	}
	return h.taken.fault()
}

// cannotJudge returns why a source of the handler cannot judge, or nil.
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

// member is a subscription as a member of its group.
type member struct {
	*subscription
	unable  int       // at so many looks in turn
	gathers time.Time // until when it waits for others before it joins; zero: it does not
	said    string    // that was logged last
}

// certainly is how many looks in turn must find that the handler cannot judge. Streams are not there for a moment
// while a server reloads its accounts.
const certainly = 2

// begin joins the group, unless another handler can judge and this one cannot yet, or the others are not known yet. One
// that takes another's place waits for its sources first, for a moment: the other one still answers.
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
		return nil
	case m.others(ctx):
		m.unable = certainly
		return nil
	}
	return m.join()
}

// gatheringOthers tells whether the handler waits for others still. It ends when this one can judge, when another one
// can, and when nobody has said so for long enough.
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
		m.unable = certainly // what has lasted since the start is certain
	}
	return false
}

// watch joins and leaves until the handler ends.
func (m *member) watch() {
	for {
		wait := lookAtSelf
		m.h.guard(func() {
			if m.gatheringOthers() {
				wait = gather
				return
			}
			if m.nc.IsConnected() {
				m.h.unsent.Store(0) // it was sent with what else was in the buffer
			}
			if err := m.look(); err != nil && m.nc.IsConnected() {
				m.h.logged.Error("group", "cannot join the queue group", "error", err)
			}
		})
		select {
		case <-m.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// look joins the group or leaves it.
func (m *member) look() error {
	if m.h.taken.doubted() {
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
		_ = m.nc.FlushTimeout(askOthers) // so that what is logged is so; without a connection no callout comes either
		m.say("leaves: "+reason.Error(), "cannot judge, and leaves the callouts to the other handlers of the queue group", "reason", reason)
		return m.listen()
	}
	m.say("stays: "+reason.Error(), "cannot judge, and nor can another handler of the queue group: connections are refused", "reason", reason)
	m.stopListening()
	m.stay(true)
	return m.join()
}

// stay notes whether the handler stays in the group though it cannot judge.
func (s *subscription) stay(stays bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stays = stays
}

// say logs what has changed.
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

// others tells whether another handler of the group can judge. The one whose place this one takes is none: it is named in
// the question, and does not answer.
func (m *member) others(ctx context.Context) bool {
	if !m.nc.IsConnected() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, askOthers)
	defer cancel()
	_, err := m.nc.RequestWithContext(ctx, askAble+m.h.cfg.QueueGroup, []byte(m.h.replaces))
	return err == nil
}

// answerOthers answers the handlers that cannot judge, unless this one ends.
func (s *subscription) answerOthers() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || s.able != nil && s.able.IsValid() {
		return nil
	}
	s.able, err = s.nc.Subscribe(askAble+s.h.cfg.QueueGroup, func(q *nats.Msg) {
		if string(q.Data) != s.h.id {
			_ = q.Respond(nil) // whoever asked asks again
		}
	})
	return err
}

// stopAnswering ends that.
func (s *subscription) stopAnswering() {
	s.mu.Lock()
	defer s.mu.Unlock()
	unsubscribe(&s.able)
}

// unsubscribe ends a subscription, if there is one, and forgets it. The lock of whose it is must be held.
func unsubscribe(sub **nats.Subscription) {
	if *sub != nil {
		_ = (*sub).Unsubscribe() // it is gone already where the connection is
		*sub = nil
	}
}

// join subscribes, unless the handler ends.
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
	// Called when everything that came has been through arrive, also when nc is closed.
	sub.SetClosedHandler(func(string) { s.subs.Done() })
	s.sub = sub
	return nil
}

// leave takes no callouts from now on. Those that came are answered.
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
		_ = s.sub.Drain() // it is closed already where the connection is
	} else {
		go unsubscribeAway(s.sub)
	}
	s.sub = nil
}

// unsubscribeAway is Drain without a connection, which would be waited for: nothing comes any more, and what came is on
// its way through arrive.
func unsubscribeAway(sub *nats.Subscription) {
	const pause = time.Millisecond
	for {
		if n, _, err := sub.Pending(); err != nil || n == 0 {
			break
		}
		time.Sleep(pause)
	}
	_ = sub.Unsubscribe() // it is closed already where the connection is
}

// end is leave for good: the workers end when what came is answered.
func (s *subscription) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return
	}
	s.ending = true
	unsubscribe(&s.able) // at once: the handler that takes its place may ask
	unsubscribe(&s.ear)
	s.unsubscribe()
	go func() {
		s.subs.Wait()
		close(s.queue)
		close(s.busy)
	}()
}
