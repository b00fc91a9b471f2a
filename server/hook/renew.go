package hook

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout/forwarded"
)

// Renewals begin when between renewFrom and renewFrom+renewSpread of the life of a user JWT is
// over, each connection's at a time of its own, so that those that connected in one second do not
// renew in one. At most renewAtOnce callouts for renewals are under way, and beside them renewSlow that have waited for
// longer than slowAfter: a handler that cannot tell gives no answer, and must not keep others from theirs.
const (
	renewFrom   = 0.8
	renewSpread = 0.1
	renewAtOnce = 64
	renewSlow   = 4096
	slowAfter   = 100 * time.Millisecond
)

// Without an answer, a renewal is tried again: after a time that doubles between these, and
// until the user JWT ends, or for askedFor where somebody asked for it.
const (
	retryFirst = 500 * time.Millisecond
	retryMax   = 30 * time.Second
	askedFor   = time.Minute
)

// renewer has the connections of one server renewed.
type renewer struct {
	renew    func(cid uint64) error
	counters *counters
	sessions *sessions

	mu     sync.Mutex
	due    queue
	items  map[uint64]*item // in due
	active map[uint64]*item // under way
	slow   int              // of these, those that have waited for longer than slowAfter
	timer  *time.Timer
	lived  int // how many were alive when due was last swept
}

// item is a renewal that is due some time.
type item struct {
	cid   uint64
	at    time.Time
	ends  time.Time // of the user JWT; zero: not known
	until time.Time // it is tried again before
	wait  time.Duration
	index int  // in the queue
	timed bool // because the user JWT is about to end; nobody asked
	again bool // asked for while it was under way
	slow  bool // has waited for longer than slowAfter
}

func newRenewer(c *counters) *renewer {
	return &renewer{counters: c, items: map[uint64]*item{}, active: map[uint64]*item{}}
}

var errSessionEnded = errors.New("its session has ended")

// attach notes what a callout has said of a connection. An error refuses the connection: its
// session ended while the answer was on its way.
func (r *renewer) attach(info *natsserver.AttachInfo) error {
	if name, ok := forwarded.SessionOf(info.UserClaims.Tags); ok {
		switch since, ok := r.sessions.add(name, info.Account, info.CID, info.Asked); {
		case ok && since.kick:
			return errSessionEnded
		case ok:
			defer r.ask(info.CID)
		}
	}
	if end := info.UserClaims.Expires; end > 0 {
		r.schedule(info.CID, time.Unix(end, 0), time.Now())
	}
	return nil
}

// schedule has a connection renewed before ends. When an answer brought no more time though the
// time was nearly over, the credential has no more, and nothing is to be asked.
func (r *renewer) schedule(cid uint64, ends, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.active[cid]; a != nil && a.timed && !ends.After(a.ends) {
		return
	}
	life := float64(ends.Sub(now))
	at := now.Add(time.Duration(life * (renewFrom + renewSpread*rand.Float64())))
	r.put(&item{cid: cid, at: at, ends: ends, until: ends, wait: retryFirst, timed: true})
}

// ask has a connection renewed at once.
func (r *renewer) ask(cid uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if a := r.active[cid]; a != nil {
		a.again = true
		return
	}
	next := &item{cid: cid, at: now, until: now.Add(askedFor), wait: retryFirst}
	if known := r.items[cid]; known != nil {
		next.ends, next.until = known.ends, known.until
	}
	r.put(next)
}

// askAll has connections renewed that let nobody wait: as many at once as may be.
func (r *renewer) askAll(cids []uint64) {
	for _, cid := range cids {
		r.ask(cid)
	}
}

// put puts an item in the place of the connection's other one. The lock is held.
func (r *renewer) put(next *item) {
	if known := r.items[next.cid]; known != nil {
		heap.Remove(&r.due, known.index)
	}
	r.sweep()
	r.items[next.cid] = next
	heap.Push(&r.due, next)
	r.wake()
}

// wake has the timer set for what is due first, unless as many are under way as may be. The
// lock is held.
func (r *renewer) wake() {
	if len(r.due) == 0 || r.full() {
		return
	}
	wait := time.Until(r.due[0].at)
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, r.begin)
		return
	}
	r.timer.Reset(wait)
}

// begin begins what is due.
func (r *renewer) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for len(r.due) > 0 && !r.full() && !r.due[0].at.After(now) {
		next := heap.Pop(&r.due).(*item)
		delete(r.items, next.cid)
		r.active[next.cid] = next
		go r.run(next)
	}
	r.wake()
}

// full tells whether as many callouts are under way as may be. The lock is held.
func (r *renewer) full() bool { return len(r.active)-r.slow >= renewAtOnce }

// giveWay lets another renewal begin beside one that waits for long.
func (r *renewer) giveWay(i *item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.active[i.cid] != i:
	case r.slow < renewSlow:
		i.slow = true
		r.slow++
		r.wake()
	default:
		time.AfterFunc(slowAfter, func() { r.giveWay(i) })
	}
}

func (r *renewer) run(i *item) {
	waits := time.AfterFunc(slowAfter, func() { r.giveWay(i) })
	err := r.renew(i.cid)
	waits.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.active, i.cid)
	if i.slow {
		i.slow = false
		r.slow--
	}
	defer r.wake()
	switch {
	case err == nil:
		r.counters.renewals.Add(1)
		if i.again {
			now := time.Now()
			r.put(&item{cid: i.cid, at: now, ends: i.ends, until: now.Add(askedFor), wait: retryFirst})
		}
	case errors.Is(err, natsserver.ErrRenewNoAnswer):
		r.counters.unansweredRenewals.Add(1)
		r.retry(i, time.Now())
	case errors.Is(err, natsserver.ErrRenewRefused):
		r.counters.refusedRenewals.Add(1)
	}
}

// retry has an item tried again. The lock is held.
func (r *renewer) retry(i *item, now time.Time) {
	wait := i.wait/2 + rand.N(i.wait)
	if left := i.until.Sub(now); wait > left/2 {
		wait = left / 2
	}
	if wait < retryFirst/10 { // it ends
		if !i.timed {
			r.counters.givenUpRenewals.Add(1)
		}
		return
	}
	if _, newer := r.items[i.cid]; newer {
		return
	}
	i.at, i.wait = now.Add(wait), min(2*i.wait, retryMax)
	r.put(i)
}

// sweep drops connections that are gone, when there may be many. The lock is held.
func (r *renewer) sweep() {
	if len(r.due) < 2*r.lived+1024 || r.sessions == nil {
		return
	}
	kept := r.due[:0]
	for _, i := range r.due {
		if r.sessions.alive(i.cid) {
			kept = append(kept, i)
		} else {
			delete(r.items, i.cid)
		}
	}
	clear(r.due[len(kept):])
	r.due, r.lived = kept, len(kept)
	for at, i := range r.due {
		i.index = at
	}
	heap.Init(&r.due)
}

// queue is a heap: the first is due first.
type queue []*item

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	i := x.(*item)
	i.index = len(*q)
	*q = append(*q, i)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	i := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return i
}

// pending is how many renewals that somebody asked for are not done.
func (r *renewer) pending() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.active {
		if !i.timed || i.again {
			n++
		}
	}
	for _, i := range r.due {
		if !i.timed {
			n++
		}
	}
	return n
}
