package announce

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stamp/internal/callout/forwarded"
)

// testServer is a server. It may follow a bucket.
type testServer struct {
	id        string
	followers *Followers
	announcer *Announcer
	follows   bool
	gone      atomic.Bool
}

// testServers are servers that get each other's messages at once.
type testServers struct {
	all      []*testServer
	mu       sync.Mutex // of the next two
	tells    int
	notified map[string]bool // sessions
}

const testBucket = 7

func startServers(t *testing.T, followers, others int) *testServers {
	s := &testServers{notified: map[string]bool{}}
	for i := range followers + others {
		id := fmt.Sprint("N", i)
		s.start(t, &testServer{id: id, follows: i < followers, followers: NewFollowers(id, func() int { return len(s.all) - 1 })})
	}
	return s
}

// startHandlers starts handlers, as if each were a process of its own.
func startHandlers(t *testing.T, n int) *testServers {
	s := &testServers{notified: map[string]bool{}}
	for i := range n {
		id := fmt.Sprint("H", i)
		s.start(t, &testServer{id: id, follows: true, followers: NewHandlers(id)})
	}
	return s
}

func (s *testServers) start(t *testing.T, one *testServer) {
	one.announcer = NewAmong(one.followers, func(q forwarded.Renew) error {
		if one.gone.Load() {
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tells++
		s.notified[q.Session] = true
		for _, again := range q.Again {
			s.notified[again.Session] = true
		}
		return nil
	})
	t.Cleanup(one.announcer.Close)
	s.all = append(s.all, one)
}

// sent returns how many messages told of changes so far.
func (s *testServers) sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tells
}

// run lets servers say what they follow, for some seconds.
func (s *testServers) run(seconds int) {
	for range seconds {
		for _, one := range s.all {
			if one.gone.Load() {
				continue
			}
			m := forwarded.Follows{Server: one.id}
			if one.follows {
				m.Buckets = []forwarded.Followed{{Source: "kv", Bucket: testBucket}}
			}
			for _, other := range s.all {
				if other != one && !other.gone.Load() && other.followers.Heard(m) {
					other.announcer.RepeatRecent()
				}
			}
			if one.followers.Check() {
				one.announcer.RepeatRecent()
			}
		}
		time.Sleep(time.Second)
	}
	synctest.Wait()
}

// change has all followers hear of a change.
func (s *testServers) change(session string, bucket int64) (tells int) {
	before := s.sent()
	for _, one := range s.all {
		if one.follows && !one.gone.Load() {
			_ = one.announcer.Tell(forwarded.Renew{Session: session, Revision: &forwarded.Revision{Bucket: bucket, Sequence: 1, Written: 1}})
		}
	}
	return s.sent() - before
}

// If all servers follow the bucket, no server tells the others of a change. If one does not follow it, exactly one server
// tells.
func TestOneTeller(t *testing.T) {
	for _, servers := range []int{1, 2, 3, 5, 100} {
		for _, without := range []int{0, 1, 2} {
			synctest.Test(t, func(t *testing.T) {
				s := startServers(t, servers, without)
				if got := s.change("kv/first", testBucket); got != servers {
					t.Errorf("%d servers that follow the bucket and %d that do not: before anything is known, %d servers tell", servers, without, got)
				}
				s.run(3 * int(steadyAfter/time.Second))
				before, want := s.sent(), min(without, 1)
				for i := range 50 {
					if got := s.change(fmt.Sprint("kv/", i), testBucket); got != want {
						t.Fatalf("%d servers that follow the bucket and %d that do not: %d tell of a change, want %d", servers, without, got, want)
					}
				}
				if without == 0 {
					s.run(200)
					if n := s.sent() - before; n != 0 {
						t.Errorf("%d servers, which all follow the bucket: %d repetitions were sent, want none", servers, n)
					}
				}
				others := min(without+servers-1, 1) * servers // nobody is known to follow it
				for what, got := range map[string]int{
					"another bucket": s.change("kv/a", 8), "another source": s.change("other/a", testBucket), "a source with a prefix": s.change("k/a", testBucket),
				} {
					if got != others {
						t.Errorf("%d servers that follow the bucket and %d that do not: of a change of %s, %d servers tell, want %d", servers, without, what, got, others)
					}
				}
			})
		}
	}
}

// Whatever happens to a server, no change is lost for a server that needs to be told.
func TestNothingIsLost(t *testing.T) {
	steady := 3 * int(steadyAfter/time.Second)
	for what, happens := range map[string]func(s *testServers){
		// Whoever would have told is gone, and nobody has noticed.
		"the teller dies": func(s *testServers) { s.all[0].gone.Store(true) },
		// A server stops following. What it has missed in the seconds before is told too.
		"a watch ends": func(s *testServers) { s.all[3].follows = false },
		"a server comes": func(s *testServers) {
			one := &testServer{id: "new"}
			one.followers = NewFollowers(one.id, func() int { return len(s.all) - 1 })
			one.announcer = NewAmong(one.followers, func(forwarded.Renew) error { return nil })
			s.all = append(s.all, one)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			without := 0
			if what == "the teller dies" {
				without = 1
			}
			s := startServers(t, 4, without)
			s.run(steady)
			for i := range 20 {
				s.change(fmt.Sprint("kv/before", i), testBucket)
			}
			happens(s)
			for i := range 20 {
				s.change(fmt.Sprint("kv/after", i), testBucket)
			}
			s.run(4)
			for i := range 20 {
				s.mu.Lock()
				if before, after := fmt.Sprint("kv/before", i), fmt.Sprint("kv/after", i); !s.notified[before] || !s.notified[after] {
					t.Errorf("%s: the server was told of the change before: %t, and of the change after: %t", what, s.notified[before], s.notified[after])
				}
				s.mu.Unlock()
			}
		})
	}
}

// Among several handlers in processes of their own, one tells the servers of a change. If some handlers are killed, the others
// tell of each change within the four repetitions, and of all changes within lapsesAfter, when they notice that the others are
// gone.
func TestOneHandlerTells(t *testing.T) {
	steady := 3 * int(steadyAfter/time.Second)
	for _, tt := range []struct{ handlers, killed, within int }{{1, 0, 1}, {2, 1, 3}, {3, 1, 3}, {3, 2, 11}, {10, 1, 3}, {10, 9, 14}} {
		synctest.Test(t, func(t *testing.T) {
			s := startHandlers(t, tt.handlers)
			if got := s.change("kv/first", testBucket); got != tt.handlers {
				t.Errorf("before anything is known, %d of %d handlers tell, want all", got, tt.handlers)
			}
			s.run(steady)
			for i := range 50 {
				if got := s.change(fmt.Sprint("kv/", i), testBucket); got != 1 {
					t.Fatalf("%d of %d handlers tell of the change, want 1", got, tt.handlers)
				}
			}
			if got := s.change("kv/a", testBucket+1); got != tt.handlers {
				t.Errorf("a bucket that nobody is known to follow: %d of %d handlers tell, want all", got, tt.handlers)
			}
			// All repetitions together: each handler sends at most one message each time, whatever the number of changes.
			before := s.sent()
			s.run(int(repeatAfter[len(repeatAfter)-1]/time.Second) + 1)
			if got := s.sent() - before; got > (len(repeatAfter)+1)*tt.handlers {
				t.Errorf("%d messages repeat 51 changes, which is more than one of each handler and time", got)
			}
			for _, one := range s.all[:tt.killed] {
				one.gone.Store(true)
			}
			for i := range 100 {
				s.change(fmt.Sprint("kv/after", i), testBucket)
			}
			s.run(tt.within)
			for i := range 100 {
				s.mu.Lock()
				if !s.notified[fmt.Sprint("kv/after", i)] {
					t.Errorf("with %d of %d handlers gone, the servers were not told for %d s of change %d", tt.killed, tt.handlers, tt.within, i)
				}
				s.mu.Unlock()
			}
			s.run(steady)
			if got := s.change("kv/last", testBucket); got != 1 {
				t.Errorf("%d of %d handlers tell after %d have gone", got, tt.handlers, tt.killed)
			}
		})
	}
}

// The handler that tells is killed. The next handler tells of a session that changes more often than changes are repeated, as
// it does of a session that changes once: within the time of the first repetition, from the first change on. The number of
// repetitions is bounded.
func TestBusySessionWhenTheTellerDies(t *testing.T) {
	for _, every := range []time.Duration{0, 1500 * time.Millisecond, 100 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			s := startHandlers(t, 2)
			s.run(3 * int(steadyAfter/time.Second))
			session := ""
			for i := 0; session == ""; i++ {
				if name := fmt.Sprint("kv/", i); order("H0", name) < order("H1", name) {
					session = name
				}
			}
			s.all[0].gone.Store(true)
			began, before := time.Now(), s.sent()
			tell := func(number uint64) {
				_ = s.all[1].announcer.Tell(forwarded.Renew{Session: session, Revision: &forwarded.Revision{Bucket: testBucket, Sequence: number, Written: int64(number)}})
			}
			tell(1)
			for number := uint64(2); time.Since(began) < repeatAfter[0]+minWait; number++ {
				if every == 0 {
					time.Sleep(repeatAfter[0] + minWait)
					break
				}
				time.Sleep(every)
				tell(number)
			}
			synctest.Wait()
			told := s.sent() - before
			if told != 1 {
				t.Errorf("with a change every %s, %d messages told of it in the time of the first repetition, want 1", every, told)
			}
		})
	}
}

// TestBusySessionIsRepeatedSeldom: if a session changes all the time, each repetition tells of it once, with its last change.
// After its last change it is repeated as any other session.
func TestBusySessionIsRepeatedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var repeated, last atomic.Uint64
		a := New(func(q forwarded.Renew) error {
			repeated.Add(uint64(len(q.Again)))
			for _, again := range q.Again {
				last.Store(again.Revision.Sequence)
			}
			return nil
		})
		defer a.Close()
		const changes, every = 6000, 100 * time.Millisecond
		for number := range uint64(changes) {
			_ = a.Tell(forwarded.Renew{Session: "kv/busy", Revision: &forwarded.Revision{Bucket: testBucket, Sequence: number}})
			time.Sleep(every)
		}
		most := uint64(len(repeatAfter))
		for _, after := range repeatAfter {
			most += uint64(changes * every / after)
		}
		time.Sleep(repeatAfter[len(repeatAfter)-1] + time.Second)
		synctest.Wait()
		if repeated.Load() > most || last.Load() != changes-1 {
			t.Errorf("%d changes are repeated %d times, want at most %d; the last one was of change %d", changes, repeated.Load(), most, last.Load())
		}
		time.Sleep(keepFor)
		_ = a.Tell(forwarded.Renew{Session: "kv/other"})
		for i := range a.changed.early {
			if n := len(a.changed.early[i]); n != 0 {
				t.Errorf("%d sessions are remembered after hours", n)
			}
		}
	})
}
