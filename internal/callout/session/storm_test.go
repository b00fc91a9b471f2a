package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// storm is a source that takes 50 ms, and callers that come at once or for a while, each with its own credential.
type storm struct {
	lookup *Lookup
	fake   *fake
	gone   atomic.Int64 // look-ups that began after their caller had gone
	known  sync.Map     // when each caller goes, by credential

	callers  sync.WaitGroup
	answered atomic.Int64
}

func newStorm() *storm {
	s := &storm{}
	s.fake = &fake{find: func(ctx context.Context, r *Request) (*Session, error) {
		if until, ok := s.known.Load(r.Credential.Value); ok && !time.Now().Before(until.(time.Time)) {
			s.gone.Add(1)
		}
		time.Sleep(50 * time.Millisecond)
		return findAlice(ctx, r)
	}}
	s.lookup = NewLookup(s.fake, settings(func(s *Settings) { s.Timeout = 10 * time.Second }))
	return s
}

// come adds a caller that waits for as long as its server does.
func (s *storm) come(t *testing.T, credential string, patience time.Duration) {
	s.known.Store(credential, time.Now().Add(patience))
	s.callers.Go(func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		switch _, err := s.lookup.Find(ctx, request(credential)); {
		case err == nil:
			s.answered.Add(1)
		case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrBusy):
			t.Error(err)
		}
	})
}

// All clients that come at once are let in if their servers wait as long as the source needs. No credential is looked up twice.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStorm()
		for i := range 2000 {
			s.come(t, fmt.Sprint("c", i), 5*time.Second)
		}
		s.callers.Wait()
		if s.answered.Load() != 2000 || s.fake.asked.Load() != 2000 {
			t.Errorf("%d of 2000 callers got an answer, after %d look-ups", s.answered.Load(), s.fake.asked.Load())
		}
	})
}

// If more clients come than the source can serve, no look-up begins for a client that has gone, and nearly all answers come in
// time.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStorm()
		const seconds = 20
		for i := range seconds * 1000 {
			for range 2 { // twice as many as the source can serve
				s.come(t, fmt.Sprint("c", i), 2*time.Second)
				i += seconds * 1000
			}
			time.Sleep(time.Millisecond)
		}
		s.callers.Wait()
		time.Sleep(s.lookup.settings.Timeout) // the look-ups that nobody waits for
		if n := s.gone.Load(); n != 0 {
			t.Errorf("%d look-ups were made for callers that had gone", n)
		}
		asked, answered := int64(s.fake.asked.Load()), s.answered.Load()
		if most := int64(seconds * 1000 * s.lookup.settings.connects() / 50); asked < most*9/10 || answered < asked*9/10 {
			t.Errorf("%d answers in time, of %d look-ups; the source can answer %d", answered, asked, most)
		}
	})
}

// While the source keeps up, callers are served in the order in which they came. If it does not, the newest are served first:
// those that have waited long would be answered too late.
func TestOrderOfTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(1, 100)
		var order []int
		var callers sync.WaitGroup
		come := func(n int) {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				f := &flight{}
				f.join(ctx)
				if l.enter(ctx, f) == nil {
					order = append(order, n)
					time.Sleep(400 * time.Millisecond)
					l.leave()
				}
			})
			synctest.Wait()
		}
		for n := range 7 {
			come(n)
		}
		callers.Wait()
		if got := fmt.Sprint(order); got != "[0 1 2 6 5]" {
			t.Errorf("the callers were served in the order %s, want [0 1 2 6 5]", got)
		}
	})
}

// If a caller joins a look-up that waits for its turn, the look-up is made, even if the caller who began it has gone.
func TestJoinedCallerIsServed(t *testing.T) {
	for _, joins := range []time.Duration{0, 50 * time.Millisecond, 500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			s := newStorm()
			work := s.lookup.settings.connects() * 20 // a second
			for i := range work {
				s.come(t, fmt.Sprint("other", i), 5*time.Second)
			}
			synctest.Wait()
			s.come(t, "shared", 100*time.Millisecond)
			time.Sleep(joins)
			s.come(t, "shared", 5*time.Second)
			s.callers.Wait()
			if want := int64(work + 1); s.answered.Load() != want || int64(s.fake.asked.Load()) != want {
				t.Errorf("joined after %s: %d answers, %d look-ups, want %d", joins, s.answered.Load(), s.fake.asked.Load(), want)
			}
			if n := len(s.lookup.flying); n != 0 {
				t.Errorf("the lookup keeps %d look-ups that have ended, want none", n)
			}
		})
	}
}
