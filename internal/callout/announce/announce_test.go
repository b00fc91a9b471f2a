package announce

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stamp/internal/callout/forwarded"
)

// recorder records the messages that an Announcer sends.
type recorder struct {
	mu       sync.Mutex
	messages []forwarded.Renew
	fail     bool
}

func (r *recorder) send(q forwarded.Renew) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail {
		return errors.New("cut off")
	}
	r.messages = append(r.messages, q)
	return nil
}

// takeSessions returns the sessions of the messages so far, and forgets these messages.
func (r *recorder) takeSessions() (sessions []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.messages {
		if q.Session != "" {
			sessions = append(sessions, q.Session)
		}
		for _, one := range q.Again {
			sessions = append(sessions, one.Session)
		}
	}
	r.messages = nil
	return sessions
}

// sizes returns how many ended sessions, changed sessions, distinct ended sessions and times of repetitions an Announcer keeps.
func sizes(a *Announcer) (ended, changed, sessions, rounds int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.ended.changes), len(a.changed.changes), len(a.ended.newest), len(a.repeatAllAt)
}

// A change is repeated a few times, with its age, and then no more.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		a := New(r.send)
		defer a.Close()
		if err := a.Tell(forwarded.Renew{Session: "kv/a", Kick: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(keepFor / 2)
		synctest.Wait()
		if len(r.messages) != 1+len(repeatAfter) {
			t.Fatalf("sent %d times, want %d", len(r.messages), 1+len(repeatAfter))
		}
		for i, q := range r.messages[1:] {
			one := q.Again[0]
			if len(q.Again) != 1 || one.Session != "kv/a" || !one.Kick || one.Ago < repeatAfter[i] || one.Ago > repeatAfter[i]+time.Second {
				t.Errorf("repetition %d is not the change with its age: %+v", i, q)
			}
		}
	})
}

// If a handler learns of the end of a session late, its first message gives the age of the end, too.
func TestLateEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		a := New(r.send)
		defer a.Close()
		if err := a.Tell(forwarded.Renew{Session: "kv/a", Kick: true, Ago: 2 * keepFor}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(keepFor / 2)
		synctest.Wait()
		if len(r.messages) != 1+len(repeatAfter) || r.messages[0].Ago != 2*keepFor {
			t.Fatalf("sent %d times, want %d: %+v", len(r.messages), 1+len(repeatAfter), r.messages)
		}
		for i, q := range r.messages[1:] {
			if one := q.Again[0]; one.Ago < 2*keepFor+repeatAfter[i] {
				t.Errorf("repetition %d has the age %s, which is younger than the end of the session", i, one.Ago)
			}
		}
	})
}

// A server that returns after most of an hour gets the changes that it missed: for each session, the newest of each kind.
func TestServerReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		a := New(r.send)
		defer a.Close()
		heartbeats := func(ids ...string) {
			for range 3 {
				for _, id := range ids {
					a.Heard(id)
				}
				time.Sleep(awayAfter / 3)
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
		r.takeSessions()
		heartbeats("here")
		if got := r.takeSessions(); got != nil {
			t.Errorf("no server returned, but changes were repeated: %q", got)
		}
		a.Heard("cut")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := r.takeSessions(); !slices.Equal(got, []string{"kv/a", "kv/b"}) {
			t.Errorf("repeated are %q, want kv/a and kv/b", got)
		}
	})
}

// A session that changes all the time does not displace the end of another one.
func TestHotSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		a := New(r.send)
		defer a.Close()
		_ = a.Tell(forwarded.Renew{Session: "kv/ended", Kick: true})
		for range 2 * maxKept {
			_ = a.Tell(forwarded.Renew{Session: "kv/hot"})
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		r.takeSessions()
		a.RepeatAll()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := r.takeSessions(); !slices.Equal(got, []string{"kv/ended", "kv/hot"}) {
			t.Errorf("repeated are %q, want kv/ended and kv/hot", got)
		}
	})
}

// A change whose first message cannot be sent is repeated nevertheless.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{fail: true}
		a := New(r.send)
		defer a.Close()
		if err := a.Tell(forwarded.Renew{Session: "kv/a", Kick: true}); err == nil {
			t.Error("Tell returned no error, though nothing could be sent")
		}
		r.mu.Lock()
		r.fail = false
		r.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := r.takeSessions(); len(got) == 0 {
			t.Error("the change is never repeated")
		}
	})
}

// The number of changes that are kept is bounded, and so is the number of repetitions.
func TestCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		a := New(r.send)
		defer a.Close()
		for i := range 3 * maxKept {
			_ = a.Tell(forwarded.Renew{Session: fmt.Sprint("kv/", i), Kick: true})
		}
		synctest.Wait()
		if ended, _, sessions, _ := sizes(a); ended != maxKept || sessions != maxKept {
			t.Errorf("%d changes of %d sessions are kept", ended, sessions)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got, most := len(r.takeSessions()), 3*maxKept+len(repeatAfter)*maxKept; got > most {
			t.Errorf("sent %d changes, want at most %d", got, most)
		}
		for range 1000 { // servers that restart again and again
			a.RepeatAll()
		}
		synctest.Wait()
		if _, _, _, rounds := sizes(a); rounds > 11 {
			t.Errorf("%d repetitions are scheduled, want 11 or less", rounds)
		}
		time.Sleep(2 * keepFor)
		synctest.Wait()
		r.takeSessions()
		_ = a.Tell(forwarded.Renew{Session: "kv/last"})
		_ = a.Tell(forwarded.Renew{Session: "kv/last", Kick: true})
		synctest.Wait()
		if ended, changed, _, _ := sizes(a); ended != 1 || changed != 1 {
			t.Errorf("%d ends and %d changes of the session are kept after hours, want 1 and 1", ended, changed)
		}
	})
}
