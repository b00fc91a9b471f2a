package hook

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout/session"
)

// This file simulates servers with many connections in virtual time. The scheduler of renewals and the look-ups of the
// handler inside each server are the real ones. Connections, messages and the store are not: a look-up takes as long as
// the simulation says. Each connection has a session of its own.

// simulation is some servers, and what happened on them in each second.
type simulation struct {
	life     time.Duration // of a user JWT
	patience time.Duration // of the servers, for a callout
	started  time.Time
	servers  []*simulatedServer

	takes atomic.Int64 // how long a look-up takes, as a time.Duration
	away  atomic.Bool  // no handler answers

	mu      sync.Mutex
	seconds []simulatedSecond
	lookups int
	ended   int // connections whose user JWT ended
	running int // callouts under way
}

// simulatedSecond counts, over all servers.
type simulatedSecond struct {
	callouts int // that began
	renewals int // that were done
	running  int // callouts under way, at most
	overdue  int // renewals that were due and had not begun, at most
}

type simulatedServer struct {
	*simulation
	renewer *renewer
	lookup  *session.Lookup
	expires []time.Time // of the user JWT of each connection, under mu of simulation; zero: it has ended
}

// simulatedStore is the store of all servers.
type simulatedStore struct{ *simulation }

func (s simulatedStore) Accepts(r *session.Request) (string, bool) { return r.Credential.Value, true }
func (s simulatedStore) Close() error                              { return nil }

func (s simulatedStore) Find(context.Context, *session.Request) (*session.Session, error) {
	s.mu.Lock()
	s.lookups++
	s.mu.Unlock()
	time.Sleep(time.Duration(s.takes.Load()))
	return &session.Session{}, nil
}

// simulatedTimeout is the timeout of the source.
const simulatedTimeout = 10 * time.Second

func newSimulation(servers, concurrency int) *simulation {
	s := &simulation{life: time.Hour, patience: simulatedTimeout + time.Second, started: time.Now()}
	s.takes.Store(int64(50 * time.Millisecond))
	settings := session.Defaults()
	settings.Timeout, settings.Concurrency = simulatedTimeout, concurrency
	for range servers {
		one := &simulatedServer{simulation: s, renewer: newRenewer(&counters{}), lookup: session.NewLookup(simulatedStore{s}, settings)}
		one.renewer.renew = one.renew
		s.servers = append(s.servers, one)
	}
	return s
}

// second returns the current second. The lock is held.
func (s *simulation) second() *simulatedSecond {
	now := int(time.Since(s.started) / time.Second)
	for len(s.seconds) <= now {
		s.seconds = append(s.seconds, simulatedSecond{running: s.running})
	}
	return &s.seconds[now]
}

// renew is a renewal as RenewConnection does it: a callout that the handler judges or, if it cannot, does not answer.
func (s *simulatedServer) renew(cid uint64) error {
	if !s.begin(cid) {
		return natsserver.ErrRenewNoConnection
	}
	patience, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	if !s.judges(cid) {
		<-patience.Done()
		s.end(cid, false)
		return natsserver.ErrRenewNoAnswer
	}
	if s.end(cid, true) {
		now := time.Now()
		s.renewer.schedule(cid, now.Add(s.life), now, true)
	}
	return nil
}

func (s *simulatedServer) judges(cid uint64) bool {
	if s.away.Load() {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.patience-min(s.patience/10, 500*time.Millisecond))
	defer cancel()
	_, err := s.lookup.Find(ctx, &session.Request{Renewal: true, Credential: session.Credential{Kind: session.Token, Value: strconv.FormatUint(cid, 10)}})
	return err == nil
}

// begin counts a callout. It reports whether the connection is still there.
func (s *simulatedServer) begin(cid uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isOpen(cid) {
		return false
	}
	s.running++
	now := s.second()
	now.callouts++
	now.running = max(now.running, s.running)
	return true
}

// end counts the end of a callout. It reports whether the connection has a new user JWT.
func (s *simulatedServer) end(cid uint64, answered bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if !answered || !s.isOpen(cid) {
		return false
	}
	s.expires[cid] = time.Now().Add(s.life)
	s.second().renewals++
	return true
}

// isOpen reports whether a user JWT has not ended. The lock is held.
func (s *simulatedServer) isOpen(cid uint64) bool {
	if !s.expires[cid].IsZero() && time.Now().After(s.expires[cid]) {
		s.expires[cid] = time.Time{}
		s.ended++
	}
	return !s.expires[cid].IsZero()
}

// connect adds connections to each server, evenly in the given time.
func (s *simulation) connect(each int, in time.Duration) {
	const steps = 1000
	for i := range steps {
		now := time.Now()
		for _, server := range s.servers {
			for range each*(i+1)/steps - each*i/steps {
				s.mu.Lock()
				cid := uint64(len(server.expires))
				server.expires = append(server.expires, now.Add(s.life))
				s.mu.Unlock()
				server.renewer.schedule(cid, now.Add(s.life), now, false)
			}
		}
		time.Sleep(in / steps)
	}
}

// run lets time pass.
func (s *simulation) run(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		s.sample()
	}
}

// runUntilDone lets time pass until all renewals that were asked for are done.
func (s *simulation) runUntilDone() {
	for {
		s.run(time.Second)
		pending := 0
		for _, server := range s.servers {
			pending += server.renewer.countPending()
		}
		if pending == 0 {
			return
		}
	}
}

// sample counts renewals that wait.
func (s *simulation) sample() {
	overdue := 0
	for _, server := range s.servers {
		server.renewer.mu.Lock()
		overdue += countOverdue(server.renewer.queue, 0, time.Now())
		server.renewer.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.second()
	now.overdue = max(now.overdue, overdue)
}

// countOverdue counts the renewals of a heap that were due before now, from the one with that index.
func countOverdue(q renewalQueue, index int, now time.Time) int {
	if index >= len(q) || !q[index].due.Before(now) {
		return 0
	}
	return 1 + countOverdue(q, 2*index+1, now) + countOverdue(q, 2*index+2, now)
}

// peaks are the highest counts of a second, and sums, since a time.
type peaks struct {
	simulatedSecond
	sumCallouts, sumRenewals int
	lookups, ended           int
	took                     time.Duration
}

// since returns them, and counts the connections that have ended by now.
func (s *simulation) since(began time.Time) peaks {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := peaks{took: time.Since(began)}
	for _, second := range s.seconds[min(len(s.seconds), int(began.Sub(s.started)/time.Second)):] {
		p.callouts = max(p.callouts, second.callouts)
		p.renewals = max(p.renewals, second.renewals)
		p.running = max(p.running, second.running)
		p.overdue = max(p.overdue, second.overdue)
		p.sumCallouts += second.callouts
		p.sumRenewals += second.renewals
	}
	for _, server := range s.servers {
		for cid := range server.expires {
			server.isOpen(uint64(cid))
		}
	}
	p.lookups, p.ended = s.lookups, s.ended
	return p
}

// scenario is something that happens to servers with many connections.
type scenario struct {
	name string
	run  func(s *simulation, each int) peaks
	law  func(t *testing.T, p peaks, each float64) // for one server with that many connections, and testConcurrency
}

// The servers are in a steady state when connections have come evenly in the time until the first is renewed.
const steadyTime = 51 * time.Minute

var scenarios = []scenario{
	{"connections came evenly", func(s *simulation, each int) peaks {
		s.connect(each, steadyTime)
		began := time.Now()
		s.run(time.Hour)
		return s.since(began)
	}, func(t *testing.T, p peaks, each float64) {
		mean := each / steadyTime.Seconds()
		if p.ended != 0 || float64(p.callouts) > 3*mean+10 || p.sumCallouts > p.sumRenewals+10 || p.lookups < p.sumRenewals {
			t.Errorf("%+v; on average %.0f renewals in a second are due", p, mean)
		}
	}},
	{"all came in one minute", func(s *simulation, each int) peaks {
		s.connect(each, time.Minute)
		began := time.Now()
		s.run(time.Hour)
		return s.since(began)
	}, func(t *testing.T, p peaks, each float64) {
		if spread := each / (6 * 60); p.ended != 0 || p.lookups != int(each) || float64(p.callouts) > 2*spread {
			t.Errorf("%+v; %.0f renewals in a second are due for six minutes", p, spread)
		}
	}},
	{"no handler for ten minutes", func(s *simulation, each int) peaks {
		s.connect(each, steadyTime)
		began := time.Now()
		s.away.Store(true)
		s.run(10 * time.Minute)
		s.away.Store(false)
		s.run(15 * time.Minute)
		return s.since(began)
	}, func(t *testing.T, p peaks, each float64) {
		// A connection ends if its user JWT ends before the handler is back or, if that is near, before the next try. Such
		// connections were due in the first minutes of the ten: the due time is 6 to 12 minutes before the end.
		if most := each * (2.5 * 60) / steadyTime.Seconds(); float64(p.ended) > most || p.running > maxFast+maxSlow || p.ended+p.sumRenewals == 0 {
			t.Errorf("%.0f connections may end at most; found %+v", most, p)
		}
	}},
	{"a look-up takes 2 s for ten minutes", func(s *simulation, each int) peaks {
		s.connect(each, steadyTime)
		began := time.Now()
		s.takes.Store(int64(2 * time.Second))
		s.run(10 * time.Minute)
		s.takes.Store(int64(50 * time.Millisecond))
		s.run(15 * time.Minute)
		return s.since(began)
	}, func(t *testing.T, p peaks, each float64) {
		// The source can answer half of what is due. A renewal that got no answer is tried again the sooner the nearer its end
		// is, so that few end, and no look-up is made for a server that has given up.
		if float64(p.ended) > each/200 || p.running > maxFast+maxSlow || p.lookups > p.sumRenewals*11/10 {
			t.Errorf("too many connections ended, callouts ran at once or look-ups were made: %+v", p)
		}
	}},
	{"permissions of all change, 50 ms", massChange(50 * time.Millisecond), massChangeLaw(50 * time.Millisecond)},
	{"permissions of all change, 1 ms", massChange(time.Millisecond), massChangeLaw(time.Millisecond)},
}

func massChange(takes time.Duration) func(s *simulation, each int) peaks {
	return func(s *simulation, each int) peaks {
		s.takes.Store(int64(takes))
		s.connect(each, 40*time.Minute)
		began := time.Now()
		for _, server := range s.servers {
			for cid := range server.expires {
				server.renewer.renewNow(uint64(cid))
			}
		}
		s.runUntilDone()
		return s.since(began)
	}
}

// massChangeLaw: the source is kept busy by renewals that count until all are done, and each connection is looked up once.
func massChangeLaw(takes time.Duration) func(t *testing.T, p peaks, each float64) {
	return func(t *testing.T, p peaks, each float64) {
		const lane = testConcurrency / 4 // of renewals
		least := time.Duration(each / lane * float64(takes))
		if p.ended != 0 || p.sumRenewals != int(each) || p.lookups > int(each)*11/10 || p.took > 2*least+time.Minute {
			t.Errorf("expected one look-up for each connection, and none to end, in about %s; found %+v", least, p)
		}
	}
}

// A fifth of the default settings of a source, for a fifth of the connections that each of twenty servers has of a million.
const (
	testConnections = 10_000
	testConcurrency = 12
)

// The laws of renewals at scale. The test has one server, since servers do not disturb each other. `scripts/bench scale` runs it
// with 20 servers of 50,000 connections, and prints the table of docs/scale.md.
func TestRenewalsAtScale(t *testing.T) {
	if raceEnabled {
		t.Skip("so many goroutines in virtual time are too much for the race detector")
	}
	servers, each, concurrency := 1, testConnections, testConcurrency
	table := os.Getenv("STAMP_SIMULATE")
	if table != "" {
		servers, each, concurrency = 20, 50_000, session.DefaultConcurrency
	}
	var rows []string
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSimulation(servers, concurrency)
				p := sc.run(s, each)
				s.stop()
				rows = append(rows, fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d |",
					sc.name, p.renewals, p.callouts, p.running, p.overdue, p.ended, int(p.took.Seconds())))
				t.Logf("%+v", p)
				if table == "" {
					sc.law(t, p, float64(each))
				}
			})
		})
	}
	if table != "" {
		fmt.Printf("%d connections on %d servers, user JWTs of one hour\n\n", servers*each, servers)
		fmt.Println("| what happens | most renewals in a second | most callouts in a second | most callouts at once | most renewals that wait | connections that end | after seconds |")
		fmt.Println("|---|---|---|---|---|---|---|")
		fmt.Println(strings.Join(rows, "\n"))
	}
}

// stop closes all connections, and waits until nothing is scheduled.
func (s *simulation) stop() {
	s.mu.Lock()
	for _, server := range s.servers {
		clear(server.expires)
	}
	s.mu.Unlock()
	for _, server := range s.servers {
		server.renewer.mu.Lock()
		server.renewer.queue, server.renewer.queued = nil, map[uint64]*renewal{}
		server.renewer.mu.Unlock()
	}
	time.Sleep(maxRetry*3/2 + s.patience) // for those that are under way, and their last retry
	synctest.Wait()
}
