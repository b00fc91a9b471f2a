package hook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/jwt/v2"

	"stamp/internal/callout/forwarded"
)

func newTestSessions(open map[uint64]bool) *sessions {
	return newSessions(func(cid uint64) bool { return open[cid] })
}

// ask requests a renewal or, with kick, a close of a session's connections, without a revision.
func ask(s *sessions, session, account string, kick bool, ago time.Duration) selected {
	return s.request(forwarded.Renew{Session: session, Account: account, Kick: kick, Ago: ago})
}

// selectedBy returns the connections that a request selects.
func selectedBy(s *sessions, session, account string, kick bool, ago time.Duration) []uint64 {
	return ask(s, session, account, kick, ago).cids
}

// If a server hears of the end of a session late, it closes the connections that were authenticated before the end. It renews
// those that were authenticated after it: they may belong to a new session, or a handler may not have known of the end.
func TestSessionsLateEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSessions(map[uint64]bool{1: true, 2: true, 3: true})
		s.add("kv/a", 1, sessionConn{asked: time.Now()})
		time.Sleep(time.Second) // here it ends
		ended := time.Now()
		time.Sleep(time.Second)
		s.add("kv/a", 2, sessionConn{asked: time.Now()})
		asked := time.Now()
		time.Sleep(time.Second)
		if got := ask(s, "kv/a", "", true, time.Since(ended)); !slices.Equal(got.cids, []uint64{1}) || !slices.Equal(got.unsure, []uint64{2}) {
			t.Errorf("%v are closed, want 1, and %v renewed, want 2", got.cids, got.unsure)
		}
		for at, kick := range map[time.Time]bool{asked: false, ended.Add(-time.Millisecond): true} {
			if missed, ok := s.add("kv/a", 3, sessionConn{asked: at}); !ok || missed.kick != kick {
				t.Errorf("a callout that was running: stale %t, ended %t, want ended %t", ok, missed.kick, kick)
			}
		}
		if _, ok := s.add("kv/a", 3, sessionConn{asked: time.Now().Add(time.Nanosecond)}); ok {
			t.Error("a callout that was asked after the request is reported as stale")
		}
	})
}

// A request about a session in one account does not apply to a session of the same name in another account.
func TestSessionsInAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSessions(map[uint64]bool{1: true, 2: true, 3: true})
		began := time.Now()
		s.add("kv/a", 1, sessionConn{account: "ONE", asked: began})
		s.add("kv/a", 2, sessionConn{account: "TWO", asked: began})
		time.Sleep(time.Second)
		if got := selectedBy(s, "kv/a", "ONE", true, 0); !slices.Equal(got, []uint64{1}) {
			t.Errorf("in account ONE the request selects %v, want connection 1", got)
		}
		// Callouts that were asked before that, in both accounts.
		if missed, ok := s.add("kv/a", 3, sessionConn{account: "ONE", asked: began}); !ok || !missed.kick {
			t.Error("the session has ended in its account since, but add does not report it")
		}
		if _, ok := s.add("kv/a", 3, sessionConn{account: "TWO", asked: began}); ok {
			t.Error("the end of a session in another account is reported")
		}
		if got := slices.Sorted(slices.Values(selectedBy(s, "KV/A", "", true, 0))); !slices.Equal(got, []uint64{1, 2, 3}) {
			t.Errorf("in all accounts the request selects %v, want connections 1, 2 and 3", got)
		}
	})
}

// If requests in the account and in all accounts came after the callout was asked, the one that says the most is returned: an
// end before a change, and else the later one.
func TestSessionsWithTwoRequests(t *testing.T) {
	const all, one = "", "ONE"
	type request struct {
		account string
		kick    bool
		ago     time.Duration
	}
	for name, tt := range map[string]struct {
		requests []request
		kick     bool
		ago      time.Duration // when the missed change was
	}{
		"in all accounts":        {[]request{{all, false, 2}}, false, 2},
		"in its account":         {[]request{{one, false, 2}}, false, 2},
		"later in its account":   {[]request{{all, false, 3}, {one, false, 2}}, false, 2},
		"later in all":           {[]request{{all, false, 2}, {one, false, 3}}, false, 2},
		"end, then a change":     {[]request{{all, true, 3}, {one, false, 2}}, true, 3},
		"change, then an end":    {[]request{{all, false, 3}, {one, true, 2}}, true, 2},
		"change in all, end":     {[]request{{all, false, 2}, {one, true, 3}}, true, 3},
		"end before the callout": {[]request{{all, true, 9}, {one, false, 2}}, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestSessions(map[uint64]bool{1: true})
				asked := time.Now()
				time.Sleep(5 * time.Second)
				now := time.Now()
				for _, r := range tt.requests {
					ask(s, "kv/a", r.account, r.kick, r.ago*time.Second)
				}
				missed, ok := s.add("kv/a", 1, sessionConn{account: one, asked: asked})
				if ago := now.Sub(missed.changedAt); !ok || missed.kick != tt.kick || ago != tt.ago*time.Second {
					t.Errorf("the answer is stale: %t, ended: %t, changed %v ago; want the request that says the most", ok, missed.kick, ago)
				}
			})
		})
	}
}

// A connection whose session ends during its callout is refused, however long the server waits for the answer, and also if the
// server hears of the end late. A reload with a shorter time does not count for callouts that are under way.
func TestSessionsEndDuringALongCallout(t *testing.T) {
	for _, late := range []time.Duration{0, 2 * forgetAfter} {
		synctest.Test(t, func(t *testing.T) {
			const timeout = 5 * time.Minute
			s := newTestSessions(map[uint64]bool{})
			s.outlive(timeout)
			asked := time.Now()
			time.Sleep(time.Second + late)
			ask(s, "kv/a", "", true, late)
			s.outlive(time.Second)
			for time.Since(asked) < timeout {
				time.Sleep(time.Second)
				ask(s, "kv/b", "", false, 0)
			}
			if missed, ok := s.add("kv/a", 1, sessionConn{asked: asked}); !ok || !missed.kick {
				t.Errorf("the server heard of the end %s late: stale: %t, ended: %t; want both", late, ok, missed.kick)
			}
			time.Sleep(timeout)
			ask(s, "kv/c", "", false, 0)
			if _, ok := s.requests[requestKey{"kv/a", ""}]; ok {
				t.Error("the request is still kept")
			}
		})
	}
}

// When a request is forgotten, a newer one about the same session is not.
func TestSessionsForgetTheOlderRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSessions(map[uint64]bool{1: true})
		ask(s, "kv/a", "", false, 0)
		time.Sleep(forgetAfter - time.Millisecond*500)
		asked := time.Now()
		time.Sleep(time.Millisecond)
		ask(s, "kv/a", "", true, 0)
		time.Sleep(time.Second)
		ask(s, "kv/b", "", false, 0)
		if missed, ok := s.add("kv/a", 1, sessionConn{asked: asked}); !ok || !missed.kick || len(s.recent) != 2 {
			t.Errorf("stale %t, ended %t, %d requests are known", ok, missed.kick, len(s.recent))
		}
	})
}

// A change that is reported at once applies to connections of the same moment, and only an end makes others unsure.
func TestSessionsOfTheSameMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSessions(map[uint64]bool{1: true})
		s.add("kv/a", 1, sessionConn{asked: time.Now()})
		if got := selectedBy(s, "kv/a", "", false, 0); !slices.Equal(got, []uint64{1}) {
			t.Errorf("the request selects connections %v, want 1", got)
		}
		time.Sleep(time.Second)
		if got := ask(s, "kv/a", "", false, 2*time.Second); len(got.cids)+len(got.unsure) > 0 {
			t.Errorf("a change before the callout was asked selects %+v", got)
		}
	})
}

// A request selects the connections of its session that are still open, and a later callout is told of it.
func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := map[uint64]bool{1: true, 2: true, 3: true, 4: true}
		s := newTestSessions(open)
		began := time.Now()
		for cid, name := range map[uint64]string{1: "kv/a", 2: "kv/a", 3: "kv/b"} {
			if _, ok := s.add(name, cid, sessionConn{asked: began}); ok {
				t.Errorf("%s: reported as stale without a request", name)
			}
		}
		time.Sleep(time.Second)
		delete(open, 2)
		if got := selectedBy(s, "other/a", "", true, 0); len(got) != 0 {
			t.Errorf("a request about another source selects connections %v", got)
		}
		if got := selectedBy(s, "kv/a", "", true, 0); !slices.Equal(got, []uint64{1}) {
			t.Errorf("connections %v, want 1: 2 is gone, 3 is another session's", got)
		}
		// A callout that was asked before the end, and one that was after.
		if missed, ok := s.add("kv/a", 4, sessionConn{asked: began}); !ok || !missed.kick {
			t.Error("the session has ended since, but add does not report it")
		}
		time.Sleep(time.Second)
		if _, ok := s.add("kv/a", 4, sessionConn{asked: time.Now()}); ok {
			t.Error("the new session is reported as ended")
		}
		// What is gone is dropped by what comes later.
		delete(open, 3)
		time.Sleep(2 * forgetAfter)
		for range 4 {
			s.add("kv/a", 4, sessionConn{asked: time.Now()})
			selectedBy(s, "kv/a", "", false, 0)
		}
		if len(s.conns) != 1 || len(s.checked) != 2 {
			t.Errorf("%d sessions with %d connections are known, want 1 with 2", len(s.conns), len(s.checked))
		}
		if got := slices.Collect(maps.Keys(s.requests)); !slices.Equal(got, []requestKey{{"kv/a", ""}}) {
			t.Errorf("requests for %q are kept; the others are old", got)
		}
	})
}

// A connection is in the session of its last authentication alone, and leaves no trace in the others, however often it changes.
func TestSessionsAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSessions(map[uint64]bool{1: true, 2: true})
		s.add("kv/a", 1, sessionConn{asked: time.Now()})
		s.add("kv/b", 1, sessionConn{asked: time.Now()})
		s.add("kv/a", 2, sessionConn{asked: time.Now()})
		time.Sleep(2 * forgetAfter)
		for range 10 {
			s.add("kv/b", 1, sessionConn{asked: time.Now()})
		}
		for session, want := range map[string][]uint64{"kv/a": {2}, "kv/b": {1}} {
			if got := selectedBy(s, session, "", false, 0); !slices.Equal(got, want) {
				t.Errorf("%s: connections %v, want %v", session, got, want)
			}
		}
		s.remove(1)
		s.remove(1)
		if got := selectedBy(s, "kv/b", "", true, 0); len(got) != 0 {
			t.Errorf("the end of a session closes %v, which has left it", got)
		}
		for i := range 1000 {
			s.add(fmt.Sprint("kv/", i), 1, sessionConn{asked: time.Now()})
			time.Sleep(forgetAfter)
		}
		// Back and forth between two sessions, and between one and none, as fast as it can.
		for i := range 100_000 {
			if s.add(fmt.Sprint("kv/", i%2), 1, sessionConn{asked: time.Now()}); i%3 == 0 {
				s.remove(1)
			}
			time.Sleep(time.Millisecond)
		}
		s.add("kv/a", 1, sessionConn{asked: time.Now()})
		time.Sleep(2 * forgetAfter)
		for range 100_000 {
			s.add("kv/a", 1, sessionConn{asked: time.Now()})
		}
		if len(s.conns) != 1 || len(s.members) != 2 || len(s.checked) > 4 {
			t.Errorf("%d sessions, %d members and %d checks are kept of two connections", len(s.conns), len(s.members), len(s.checked))
		}
	})
}

// A repeated request selects only connections whose callout was asked before the session changed, and does not replace a
// later request.
func TestSessionsRepeatedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSessions(map[uint64]bool{1: true, 2: true, 3: true})
		s.add("kv/a", 1, sessionConn{asked: time.Now()})
		s.add("kv/a", 2, sessionConn{asked: time.Now()})
		time.Sleep(time.Hour) // here the session ends
		ended := time.Now()
		ago := func() time.Duration { return time.Since(ended) }
		time.Sleep(time.Second)
		s.add("kv/a", 3, sessionConn{asked: time.Now()}) // of a new session with the same name
		s.add("kv/a", 2, sessionConn{asked: time.Now()}) // renewed: the new session was found
		if got := selectedBy(s, "kv/a", "", true, ago()); !slices.Equal(got, []uint64{1}) {
			t.Errorf("the request selects connections %v, want 1", got)
		}
		// A callout that was asked before the end is still refused.
		if missed, ok := s.add("kv/a", 3, sessionConn{asked: ended.Add(-time.Second)}); !ok || !missed.kick {
			t.Error("the session has ended since, but add does not report it")
		}
		time.Sleep(time.Second)
		selectedBy(s, "kv/a", "", false, 0)
		selectedBy(s, "kv/a", "", true, ago())
		if missed, ok := s.add("kv/a", 3, sessionConn{asked: ended.Add(-time.Second)}); !ok || missed.kick {
			t.Error("an older request has replaced a newer one")
		}
		// What no callout can have missed is not kept.
		selectedBy(s, "kv/b", "", true, 2*forgetAfter)
		if _, ok := s.requests[requestKey{"kv/b", ""}]; ok {
			t.Error("an old request is kept")
		}
	})
}

// A connection that the server does not list yet, such as a leafnode connection just after its authentication, is not
// dropped when other connections of the session are added.
func TestSessionsKeepNewConnections(t *testing.T) {
	open := map[uint64]bool{}
	s := newTestSessions(open)
	for cid := range uint64(8) {
		s.add("kv/a", cid, sessionConn{asked: time.Now()})
	}
	for cid := range uint64(8) {
		open[cid] = true
	}
	if got := selectedBy(s, "kv/a", "", true, 0); len(got) != 8 {
		t.Errorf("connections %v, want all 8", got)
	}
}

// The cost of adding a connection does not depend on how many others its session, or the server, has.
func TestSessionsCostOfAConnection(t *testing.T) {
	for _, one := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			steps, gone := 0, map[uint64]bool{}
			s := newSessions(func(cid uint64) bool { steps++; return !gone[cid] })
			cid, at := uint64(0), time.Now()
			add := func(n int) {
				for range n {
					steps = 0
					cid++
					name := "kv/a"
					if !one {
						name = fmt.Sprint("kv/", cid)
					}
					s.add(name, cid, sessionConn{asked: at})
					if steps > checksPerCall {
						t.Fatalf("one session: %t: adding a connection takes %d steps beside %d others", one, steps, cid-1)
					}
				}
			}
			for n := 1000; n <= 16_000; n *= 2 {
				add(n)
				time.Sleep(2 * forgetAfter)
			}
			// All connections close and as many are added: the closed ones do not accumulate.
			for id := range cid {
				gone[id+1] = true
			}
			add(16_000)
			if len(s.checked) > 16_000 {
				t.Errorf("one session: %t: %d connections are kept, and 16000 are open", one, len(s.checked))
			}
		})
	}
}

// Connections are found in whatever case a service writes a session's name in the tag and in the request: the Add method of
// jwt.TagList changes tags to lower case.
func TestSessionNamesAreFolded(t *testing.T) {
	for _, name := range []string{"theirs/Alice-42", "theirs/alice-42", "THEIRS/ALICE-42", " theirs/Alice-42 "} {
		for _, write := range map[string]func(*jwt.TagList, string){
			"Add":    func(l *jwt.TagList, tag string) { l.Add(tag) },
			"append": func(l *jwt.TagList, tag string) { *l = append(*l, tag) },
		} {
			var tags jwt.TagList
			tags.Add("team:red")
			write(&tags, forwarded.SessionTag(name))
			found, ok := forwarded.SessionOf(tags)
			if !ok {
				t.Fatalf("session name %q was not found in the tags %q", name, tags)
			}
			s := newTestSessions(map[uint64]bool{1: true})
			s.add(found, 1, sessionConn{asked: time.Now()})
			for _, asked := range []string{name, "theirs/Alice-42", "theirs/alice-42"} {
				if got := selectedBy(s, asked, "", true, 0); len(got) != 1 {
					t.Errorf("with tags %q, a request about %q selects %v, want the connection", tags, asked, got)
				}
			}
			if got := selectedBy(s, strings.Replace(name, "42", "43", 1), "", true, 0); len(got) != 0 {
				t.Errorf("tags %q: found by another name", tags)
			}
		}
	}
}

// If a session has many connections, as all that are anonymous, a change looks at each of them once, and so do their
// renewals: an answer does not look at the connections of others.
func TestSessionsCostOfARenewal(t *testing.T) {
	for _, n := range []int{1000, 2000, 4000} {
		synctest.Test(t, func(t *testing.T) {
			steps := 0
			s := newSessions(func(uint64) bool { steps++; return true })
			for cid := range n {
				granted(s, uint64(cid), 1, time.Now())
				s.add(fmt.Sprint("kv/", cid), uint64(n+cid), sessionConn{asked: time.Now()}) // of another session
			}
			time.Sleep(2 * forgetAfter)
			steps = 0
			if got := changed(s, 2, false, 0); len(got.cids) != n || steps != n {
				t.Errorf("a change of a session with %d connections selects %d, and looks at %d", n, len(got.cids), steps)
			}
			steps = 0
			for cid := range n {
				granted(s, uint64(cid), 2, time.Now())
			}
			if steps > n*checksPerCall {
				t.Errorf("%d answers look at %d connections, want a bounded number for each", n, steps)
			}
			steps = 0
			if got := changed(s, 2, false, 0); len(got.cids) != 0 || steps != 0 {
				t.Errorf("a second request about the change selects %d connections, and looks at %d", len(got.cids), steps)
			}
		})
	}
}
