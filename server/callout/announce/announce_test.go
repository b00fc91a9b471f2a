package announce

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stamp/server/callout/forwarded"
)

// heard is what a server is told.
type heard struct {
	mu   sync.Mutex
	list []forwarded.Renew // each message by itself
	fail bool
}

func (h *heard) send(q forwarded.Renew) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail {
		return errors.New("away")
	}
	h.list = append(h.list, q)
	return nil
}

// of are the sessions of the messages so far, which are forgotten.
func (h *heard) of() (sessions []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range h.list {
		if q.Session != "" {
			sessions = append(sessions, q.Session)
		}
		for _, one := range q.Again {
			sessions = append(sessions, one.Session)
		}
	}
	h.list = nil
	return sessions
}

// sizes is how much an Announcer keeps.
func sizes(a *Announcer) (ended, changed, sessions, rounds int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.ended.kept), len(a.changed.kept), len(a.ended.last), len(a.returned)
}

// A change is said again a few times, with its age, and then no more.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heard{}
		a := New(h.send)
		defer a.Close()
		if err := a.Tell(forwarded.Renew{Session: "kv/a", Kick: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(keepFor / 2)
		synctest.Wait()
		if len(h.list) != 1+len(again) {
			t.Fatalf("said %d times, want %d", len(h.list), 1+len(again))
		}
		for i, q := range h.list[1:] {
			one := q.Again[0]
			if len(q.Again) != 1 || one.Session != "kv/a" || !one.Kick || one.Ago < again[i] || one.Ago > again[i]+time.Second {
				t.Errorf("repetition %d: %+v", i, q)
			}
		}
	})
}

// The end of a session that is heard of late bears its age from the first message on.
func TestAnEndThatIsHeardOfLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heard{}
		a := New(h.send)
		defer a.Close()
		if err := a.Tell(forwarded.Renew{Session: "kv/a", Kick: true, Ago: 2 * keepFor}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(keepFor / 2)
		synctest.Wait()
		if len(h.list) != 1+len(again) || h.list[0].Ago != 2*keepFor {
			t.Fatalf("said %d times, want %d: %+v", len(h.list), 1+len(again), h.list)
		}
		for i, q := range h.list[1:] {
			if one := q.Again[0]; one.Ago < 2*keepFor+again[i] {
				t.Errorf("repetition %d: %s ago", i, one.Ago)
			}
		}
	})
}

// A server that comes back after most of an hour is told what it has missed. Of several changes of a session it is
// told the newest of each kind.
func TestReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heard{}
		a := New(h.send)
		defer a.Close()
		heartbeats := func(ids ...string) {
			for range 3 {
				for _, id := range ids {
					a.Heard(id)
				}
				time.Sleep(away / 3)
			}
		}
		heartbeats("here", "cut")
		_ = a.Tell(forwarded.Renew{Session: "kv/a", Kick: true})
		_ = a.Tell(forwarded.Renew{Session: "kv/b"})
		_ = a.Tell(forwarded.Renew{Session: "kv/b"})
		_ = a.Tell(forwarded.Renew{User: "u", Kick: true})
		for range 80 {
			heartbeats("here")
		}
		synctest.Wait()
		h.of()
		heartbeats("here")
		if got := h.of(); got != nil {
			t.Errorf("nobody came back, and it is said again: %q", got)
		}
		a.Heard("cut")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := h.of(); !slices.Equal(got, []string{"kv/a", "kv/b"}) {
			t.Errorf("told %q", got)
		}
	})
}

// A session that is written all the time does not crowd out the end of another one.
func TestAHotSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heard{}
		a := New(h.send)
		defer a.Close()
		_ = a.Tell(forwarded.Renew{Session: "kv/ended", Kick: true})
		for range 2 * maxKept {
			_ = a.Tell(forwarded.Renew{Session: "kv/hot"})
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		h.of()
		a.Returned()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := h.of(); !slices.Equal(got, []string{"kv/ended", "kv/hot"}) {
			t.Errorf("told %q", got)
		}
	})
}

// What cannot be said is said again.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heard{fail: true}
		a := New(h.send)
		defer a.Close()
		if err := a.Tell(forwarded.Renew{Session: "kv/a", Kick: true}); err == nil {
			t.Error("no error")
		}
		h.mu.Lock()
		h.fail = false
		h.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := h.of(); len(got) == 0 {
			t.Error("it is never said")
		}
	})
}

// What is kept is bounded, and a change costs the same however many are kept.
func TestCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heard{}
		a := New(h.send)
		defer a.Close()
		for i := range 3 * maxKept {
			_ = a.Tell(forwarded.Renew{Session: fmt.Sprint("kv/", i), Kick: true})
		}
		synctest.Wait()
		if ended, _, sessions, _ := sizes(a); ended != maxKept || sessions != maxKept {
			t.Errorf("%d are kept, of %d sessions", ended, sessions)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got, most := len(h.of()), 3*maxKept+len(again)*maxKept; got > most {
			t.Errorf("said %d times, at most %d", got, most)
		}
		for range 1000 { // servers that are started again and again
			a.Returned()
		}
		synctest.Wait()
		if _, _, _, rounds := sizes(a); rounds > 11 {
			t.Errorf("%d rounds are to come", rounds)
		}
		time.Sleep(2 * keepFor)
		synctest.Wait()
		h.of()
		_ = a.Tell(forwarded.Renew{Session: "kv/last"})
		_ = a.Tell(forwarded.Renew{Session: "kv/last", Kick: true})
		synctest.Wait()
		if ended, changed, _, _ := sizes(a); ended != 1 || changed != 1 {
			t.Errorf("%d and %d are kept after hours", ended, changed)
		}
	})
}
