package callout

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// All handlers of a queue group share the callouts: each one has one answer. A handler that cannot judge, since its
// bucket is not there for example, leaves the group, so that the others get what it would refuse. It stays when no
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
	// askOthers is how long it waits for another handler. Where nobody listens, the server says so at once.
	askOthers = time.Second
)

// unable returns why the handler cannot judge, or nil.
func (h *Handler) unable() error {
	for _, source := range h.lookups() {
		if err := source.Able(); err != nil {
			return err
		}
	}
	return nil
}

// begin joins the group unless another handler is to be preferred, and goes on looking.
func (s *subscription) begin(ctx context.Context) error {
	m := &member{subscription: s}
	if err := m.look(ctx); err != nil {
		return err
	}
	go m.watch()
	return nil
}

// member is a subscription as a member of its group.
type member struct {
	*subscription
	able *nats.Subscription // answers those that cannot judge; nil: it cannot itself
	said string             // that was logged last
}

func (m *member) watch() {
	defer m.silent()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-time.After(lookAtSelf):
		}
		m.h.guard(func() {
			if err := m.look(m.ctx); err != nil && m.nc.IsConnected() {
				m.h.logged.error("group", "cannot join the queue group", "error", err)
			}
		})
	}
}

// look joins the group or leaves it.
func (m *member) look(ctx context.Context) error {
	reason := m.h.unable()
	switch {
	case m.ended():
		m.silent() // the handler that takes its place may ask
		return nil
	case reason == nil:
		m.say("", "can judge again, and takes callouts")
		if err := m.answering(); err != nil {
			return err
		}
		return m.join()
	case m.others(ctx):
		m.silent()
		m.say("leaves: "+reason.Error(), "cannot judge, and leaves the callouts to the other handlers of the queue group", "reason", reason)
		m.leave()
		return nil
	default:
		m.silent()
		m.say("stays: "+reason.Error(), "cannot judge, and nor can another handler of the queue group: connections are refused", "reason", reason)
		return m.join()
	}
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

// answering answers the handlers that cannot judge.
func (m *member) answering() (err error) {
	if m.able == nil {
		m.able, err = m.nc.Subscribe(askAble+m.h.cfg.QueueGroup, func(q *nats.Msg) {
			_ = q.Respond(nil) // whoever asked asks again
		})
	}
	return err
}

func (m *member) silent() {
	if m.able != nil {
		_ = m.able.Unsubscribe() // the connection is closed then
		m.able = nil
	}
}

// others tells whether another handler of the group can judge.
func (m *member) others(ctx context.Context) bool {
	m.silent()
	ctx, cancel := context.WithTimeout(ctx, askOthers)
	defer cancel()
	_, err := m.nc.RequestWithContext(ctx, askAble+m.h.cfg.QueueGroup, nil)
	return err == nil
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
	if s.sub != nil {
		_ = s.sub.Drain() // it is closed already where the connection is
		s.sub = nil
	}
}

func (s *subscription) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending
}

// end is leave for good: the workers end when what came is answered.
func (s *subscription) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return
	}
	s.ending = true
	s.unsubscribe()
	go func() {
		s.subs.Wait()
		close(s.queue)
		close(s.busy)
	}()
}
