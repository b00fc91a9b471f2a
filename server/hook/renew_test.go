package hook

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout/forwarded"
)

// recordedRenewer is a renewer whose callouts a function answers, with a record of the callouts.
type recordedRenewer struct {
	*renewer
	mu          sync.Mutex
	at          []time.Duration // since the start, when each callout began
	runningNow  int
	mostRunning int
}

func testRenewer(answer func(r *recordedRenewer, cid uint64) error) *recordedRenewer {
	started := time.Now()
	r := &recordedRenewer{renewer: newRenewer(&counters{})}
	r.renew = func(cid uint64) error {
		r.mu.Lock()
		r.at = append(r.at, time.Since(started))
		r.runningNow++
		r.mostRunning = max(r.mostRunning, r.runningNow)
		r.mu.Unlock()
		err := answer(r, cid)
		r.mu.Lock()
		r.runningNow--
		r.mu.Unlock()
		return err
	}
	return r
}

// callouts returns the number of callouts so far.
func (r *recordedRenewer) callouts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.at)
}

// Connections that connected in the same second are not renewed in the same second. At most maxFast callouts run at a time,
// and each connection is renewed after 80 to 90 per cent of the life of its user JWT.
func TestRenewalsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const connections, life = 10_000, 15 * time.Minute
		r := testRenewer(func(*recordedRenewer, uint64) error { time.Sleep(20 * time.Millisecond); return nil })
		now := time.Now()
		for cid := range uint64(connections) {
			r.schedule(cid, now.Add(life), now, false)
		}
		time.Sleep(life)
		synctest.Wait()
		perSecond := map[int]int{}
		for _, at := range r.at {
			perSecond[int(at/time.Second)]++
			if at < life*8/10 || at > life*9/10+time.Second {
				t.Fatalf("a renewal came %s after the start, want 80 to 90 per cent of the life", at)
			}
		}
		worst := 0
		for _, n := range perSecond {
			worst = max(worst, n)
		}
		t.Logf("%d renewals within %d seconds; at most %d in one, %d at once", len(r.at), len(perSecond), worst, r.mostRunning)
		if len(r.at) != connections || worst > 3*connections/90 || r.mostRunning > maxFast {
			t.Errorf("%d renewals, at most %d in a second, %d at once", len(r.at), worst, r.mostRunning)
		}
	})
}

// If the life of user JWTs is too short to spread the renewals, the limit holds nevertheless.
func TestRenewalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRenewer(func(*recordedRenewer, uint64) error { time.Sleep(10 * time.Millisecond); return nil })
		now := time.Now()
		for cid := range uint64(5000) {
			r.schedule(cid, now.Add(10*time.Second), now, false)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(r.at) != 5000 || r.mostRunning != maxFast {
			t.Errorf("%d renewals, %d of them at once, want 5000 and %d", len(r.at), r.mostRunning, maxFast)
		}
	})
}

// Renewals that get no answer do not delay others. Their number is limited too.
func TestRenewalsWithoutAnAnswerGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silent, answered, life, patience = 2000, 1000, time.Minute, 2 * time.Second
		inTime := map[uint64]bool{}
		var began time.Time
		r := testRenewer(func(r *recordedRenewer, cid uint64) error {
			if cid < silent {
				time.Sleep(patience)
				return natsserver.ErrRenewNoAnswer
			}
			r.mu.Lock()
			inTime[cid] = time.Since(began) < life
			r.mu.Unlock()
			return nil
		})
		began = time.Now()
		for cid := range uint64(silent + answered) {
			r.schedule(cid, began.Add(life), began, false)
		}
		time.Sleep(2 * life)
		synctest.Wait()
		if len(inTime) != answered || r.mostRunning > maxFast+maxSlow || r.slow != 0 {
			t.Errorf("%d of %d were renewed, %d at once, %d still slow", len(inTime), answered, r.mostRunning, r.slow)
		}
		for cid, ok := range inTime {
			if !ok {
				t.Fatalf("connection %d was renewed too late", cid)
			}
		}
	})
}

// A renewal without an answer is tried again until the user JWT expires, less and less often.
func TestRenewalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		r := testRenewer(func(*recordedRenewer, uint64) error {
			if down {
				return fmt.Errorf("%w: nobody is there", natsserver.ErrRenewNoAnswer)
			}
			return nil
		})
		now := time.Now()
		r.schedule(1, now.Add(10*time.Minute), now, false)
		time.Sleep(10*time.Minute - time.Second)
		synctest.Wait()
		n := r.callouts()
		if n < 5 || n > 30 {
			t.Errorf("the callout was asked %d times in 10 minutes, want 5 to 30", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if more := r.callouts() - n; more > 5 {
			t.Errorf("%d more callouts after the user JWT ended", more)
		}
		down, n = false, r.callouts()
		now = time.Now()
		r.schedule(1, now.Add(time.Minute), now, false)
		time.Sleep(time.Hour)
		synctest.Wait()
		if r.callouts() != n+1 {
			t.Errorf("%d callouts after a handler answers, want 1", r.callouts()-n)
		}
	})
}

// A renewal whose answer brings no later expiry is the last one: the credential itself expires.
func TestRenewalWithoutMoreTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		ends, more := started.Add(10*time.Minute), 0
		r := testRenewer(func(r *recordedRenewer, cid uint64) error {
			if more > 0 {
				ends = ends.Add(10 * time.Minute)
				more--
			}
			r.schedule(cid, ends, time.Now(), true) // what Attach does
			return nil
		})
		more = 2
		r.schedule(1, ends, started, false)
		time.Sleep(time.Hour)
		synctest.Wait()
		if r.callouts() != 3 {
			t.Errorf("the callout was asked %d times, want 3: %v", r.callouts(), r.at)
		}
	})
}

// A second CONNECT brings a shorter life while a renewal waits for it. The renewal is about what the second CONNECT brought.
func TestSecondConnectDuringARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life = 2 * time.Minute
		r := testRenewer(func(r *recordedRenewer, cid uint64) error {
			if r.callouts() == 1 {
				r.schedule(cid, time.Now().Add(life), time.Now(), false) // the second CONNECT
				time.Sleep(100 * time.Millisecond)
			}
			r.schedule(cid, time.Now().Add(life), time.Now(), true)
			return nil
		})
		r.schedule(1, time.Now().Add(time.Hour), time.Now(), false)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n := r.callouts(); n < int(time.Hour/life) {
			t.Errorf("%d renewals in two hours, with user JWTs of %v", n, life)
		}
	})
}

// A session changes again while its connection is being renewed, and then no handler answers for some minutes. The connection
// is asked about until a handler answers, and for as long as it is open.
func TestRepeatKeepsTheRoutineRenewal(t *testing.T) {
	for _, again := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const life, away, open = time.Hour, 5 * time.Minute, 3 * time.Hour
			began := time.Now()
			expires := began.Add(life)
			r := testRenewer(func(r *recordedRenewer, cid uint64) error {
				time.Sleep(50 * time.Millisecond)
				first := r.callouts() == 1
				if !first && time.Since(began) < away {
					return natsserver.ErrRenewNoAnswer
				}
				if first && again {
					r.renewNow(cid)
				}
				expires = time.Now().Add(life)
				r.schedule(cid, expires, time.Now(), true) // as add does
				return nil
			})
			r.schedule(1, expires, began, false)
			r.renewNow(1)
			time.Sleep(open)
			synctest.Wait()
			if ago := time.Since(expires); ago > 0 {
				t.Errorf("changed again %t: the user JWT ended %s ago, after %d callouts", again, ago, r.callouts())
			}
			if given := r.counters.givenUpRenewals.Load(); given != 0 {
				t.Errorf("changed again: %t: %d renewals were given up, want none", again, given)
			}
			r.timer.Stop()
		})
	}
}

// A requested renewal runs at once, and once for several requests. If one is running already, it is repeated.
func TestRenewalOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRenewer(func(*recordedRenewer, uint64) error { time.Sleep(time.Second); return nil })
		now := time.Now()
		r.schedule(1, now.Add(time.Hour), now, false)
		r.renewNow(1)
		r.renewNow(1)
		synctest.Wait()
		if r.callouts() != 1 {
			t.Errorf("the callout was asked %d times at once, want 1", r.callouts())
		}
		r.renewNow(1) // the answer to the running callout may be stale
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if r.callouts() != 2 {
			t.Errorf("the callout was asked %d times in all, want 2", r.callouts())
		}
		gone := testRenewer(func(*recordedRenewer, uint64) error { return natsserver.ErrRenewNoConnection })
		gone.renewNow(7)
		time.Sleep(time.Hour)
		synctest.Wait()
		if gone.callouts() != 1 || len(gone.queued)+len(gone.running) != 0 {
			t.Errorf("the callout was asked %d times about a connection that is gone", gone.callouts())
		}
		closed := testRenewer(func(*recordedRenewer, uint64) error { return natsserver.ErrRenewRefused })
		closed.renewNow(7)
		time.Sleep(time.Hour)
		synctest.Wait()
		if closed.callouts() != 1 || closed.counters.refusedRenewals.Load() != 1 {
			t.Errorf("the callout was asked %d times about a connection that was refused", closed.callouts())
		}
	})
}

// A renewal that is requested just after the connect brings no later expiry, because user JWTs expire at whole seconds. The
// connection is renewed again later all the same.
func TestRenewalOnDemandWithoutMoreTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := time.Now().Add(time.Hour)
		r := testRenewer(func(r *recordedRenewer, cid uint64) error {
			r.schedule(cid, ends, time.Now(), true)
			return nil
		})
		r.schedule(1, ends, time.Now(), false)
		r.renewNow(1)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if r.callouts() != 2 || r.at[1] < 40*time.Minute {
			t.Errorf("expected a second renewal after at least 40 minutes; the callout was asked after %v", r.at)
		}
	})
}

// Closed connections are dropped before their renewal is due.
func TestRenewalsOfClosedConnections(t *testing.T) {
	open := map[uint64]bool{}
	r := testRenewer(func(*recordedRenewer, uint64) error { return nil })
	r.sessions = newTestSessions(open)
	now := time.Now()
	for cid := range uint64(100_000) {
		open[cid] = true
		r.schedule(cid, now.Add(24*time.Hour), now, false)
		if cid >= 100 {
			delete(open, cid-100)
		}
	}
	if n := len(r.queue); n > 2000 || n != len(r.queued) {
		t.Errorf("%d renewals are queued for 100 connections", n)
	}
	for index, next := range r.queue {
		if next.index != index {
			t.Fatal("a renewal has a wrong index")
		}
	}
	r.timer.Stop()
}

// A request about a session that comes while a callout is running applies to the answer of the callout.
func TestRequestsDuringACallout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRenewer(func(*recordedRenewer, uint64) error { return nil })
		r.sessions = newTestSessions(map[uint64]bool{1: true})
		claims := &jwt.UserClaims{}
		claims.Tags = jwt.TagList{forwarded.SessionTag("kv/a")}
		info := &natsserver.AttachInfo{CID: 1, UserClaims: claims, Asked: time.Now()}
		add := func() error { return r.add(info) }
		if err := add(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		ask(r.sessions, "kv/a", "", false, 0)
		if err := add(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r.callouts() != 1 {
			t.Errorf("the session changed since: the callout was asked %d times, want 1", r.callouts())
		}
		ask(r.sessions, "kv/a", "", true, 0)
		if err := add(); !errors.Is(err, errSessionEnded) {
			t.Errorf("expected the answer to be refused since the session has ended; found error %v", err)
		}
		time.Sleep(time.Second)
		info.Asked = time.Now()
		if err := add(); err != nil {
			t.Errorf("a callout that was asked after the end was refused: %v", err)
		}
	})
}

func TestRenewRequests(t *testing.T) {
	h, s := New(), inert(t)
	for body, want := range map[string]error{
		`{"session":"kv/a"}`:         nil,
		`{"user":"u","kick":true}`:   nil,
		`{"cid":7}`:                  natsserver.ErrRenewNoConnection,
		``:                           errRenew,
		`{}`:                         errRenew,
		`{"kick":true}`:              errRenew,
		`{"cid":1,"session":"x"}`:    errRenew,
		`{"user":"u","session":"x"}`: errRenew,
		`{"sesion":"x"}`:             errRenew,
		`{"cid":-1}`:                 errRenew,
		`{"session":"` + strings.Repeat("s", maxSession+1) + `"}`: errSession,
		`[]`:                         errRenew,
		`{"user":"u"} {"all":true}`:  errRenew,
		`{"user":"u"}}`:              errRenew,
		"{\"user\":\"u\"}\r\n":       nil,
		`{"session":"kv/a","ago":5}`: nil,
		`{"again":[{"session":"kv/a","kick":true},{"session":"b"}]}`:                      nil,
		`{"session":"kv/a","ago":-5}`:                                                     errRenew,
		`{"user":"u","ago":5}`:                                                            errRenew,
		`{"session":"kv/a","revision":{"bucket":1,"sequence":2,"written":3}}`:             nil,
		`{"user":"u","revision":{"bucket":1,"sequence":2,"written":3}}`:                   errRenew,
		`{"follows":{"server":"S","buckets":[{"source":"kv","bucket":1}]}}`:               nil,
		`{"follows":{"server":"S"},"session":"kv/a"}`:                                     errRenew,
		`{"follows":{"server":"S"},"again":[{"session":"kv/a"}]}`:                         errRenew,
		`{"again":[{"follows":{"server":"S"}}]}`:                                          errRenew,
		`{"session":"kv/a","revision":{"bucket":"1"}}`:                                    errRenew,
		`{"session":"kv/a","revision":{"bukket":1}}`:                                      errRenew,
		`{"again":[{"user":"u"}]}`:                                                        errRenew,
		`{"again":[{"session":"a"}],"session":"kv/a"}`:                                    errRenew,
		`{"again":[{"session":"a","again":[{"session":"b"}]}]}`:                           errRenew,
		`{"again":[` + strings.Repeat(`{"session":"a"},`, maxAgain) + `{"session":"a"}]}`: errRenew,
	} {
		answer, err := h.Renew(s, []byte(body))
		if !errors.Is(err, want) {
			t.Errorf("request %s: error %v, want %v", body, err, want)
		}
		if n, ok := answer.(*forwarded.Renewed); want == nil && !strings.Contains(body, "follows") && (!ok || n.Connections != 0) {
			t.Errorf("request %s: the answer is %v, expected 0 connections", body, answer)
		}
	}
}
