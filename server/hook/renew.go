package hook

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout/forwarded"
)

// A renewal begins at a random time between renewFrom and renewFrom+renewSpread of the life of the
// user JWT, so that connections that connected in the same second are not renewed in the same
// second.
//
// At most maxFast callouts for renewals run at a time. A callout that takes longer than slowAfter no
// longer counts for that: a handler that cannot reach its store gives no answer, and such a callout
// must not delay other renewals. At most maxSlow of these run at a time.
const (
	renewFrom   = 0.8
	renewSpread = 0.1
	maxFast     = 64
	maxSlow     = 4096
	slowAfter   = 100 * time.Millisecond
)

// A renewal that gets no answer is tried again. The pause doubles from firstRetry to maxRetry. The
// server gives up when the user JWT expires or, if the renewal was requested and the expiry is not
// known, after requestedFor.
const (
	firstRetry   = 500 * time.Millisecond
	maxRetry     = 30 * time.Second
	requestedFor = time.Minute
)

// renewer renews the connections of one server.
type renewer struct {
	renew    func(cid uint64) error
	counters *counters
	sessions *sessions

	// requesting is held while a request about a session is carried out. It is locked before the lock
	// of sessions, and that before mu.
	requesting sync.Mutex

	mu           sync.Mutex
	queue        renewalQueue
	queued       map[uint64]*renewal // those in queue, by connection id
	running      map[uint64]*renewal // by connection id
	slow         int                 // those in running that are marked as slow
	timer        *time.Timer         // for the first in queue
	aliveAtSweep int                 // length of queue after the last dropGone
}

// renewal is the next renewal of a connection.
type renewal struct {
	cid      uint64
	due      time.Time
	expires  time.Time     // when the user JWT expires; zero if not known
	giveUpAt time.Time     // no retry after that
	pause    time.Duration // before the next retry
	index    int           // in the queue
	routine  bool          // the user JWT is about to expire; nobody requested the renewal
	repeat   bool          // another renewal was requested while this one was running
	slow     bool          // it has been running for longer than slowAfter
}

func newRenewer(c *counters) *renewer {
	return &renewer{counters: c, queued: map[uint64]*renewal{}, running: map[uint64]*renewal{}}
}

var errSessionEnded = errors.New("the connection's session has ended")

// add adds a connection that an auth callout authenticated or renewed. It returns an error, which
// refuses the connection, if the session ended while the answer was on its way.
func (r *renewer) add(info *natsserver.AttachInfo) error {
	if name, ok := forwarded.SessionOf(info.UserClaims.Tags); ok {
		conn := sessionConn{info.Account, info.Asked, forwarded.RevisionOf(info.UserClaims.Tags)}
		switch missed, ok := r.sessions.add(name, info.CID, conn); {
		case ok && missed.kick:
			return errSessionEnded
		case ok:
			defer r.renewNow(info.CID)
		}
	}
	if expires := info.UserClaims.Expires; expires > 0 {
		r.schedule(info.CID, time.Unix(expires, 0), time.Now(), info.Renewal)
	}
	return nil
}

// schedule schedules the renewal of a connection whose user JWT expires at a time. It does nothing
// if a routine renewal has just brought no later time: then the credential itself expires, and
// another renewal would bring no more. renewed tells that a renewal has brought the user JWT, and not
// a second CONNECT, for which a renewal may wait.
func (r *renewer) schedule(cid uint64, expires, now time.Time, renewed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if current := r.running[cid]; current != nil && current.routine {
		switch {
		case !renewed:
			current.expires, current.giveUpAt = expires, expires // it will be about this user JWT
		case !expires.After(current.expires):
			return
		}
	}
	life := float64(expires.Sub(now))
	due := now.Add(time.Duration(life * (renewFrom + renewSpread*rand.Float64())))
	r.enqueue(&renewal{cid: cid, due: due, expires: expires, giveUpAt: expires, pause: firstRetry, routine: true})
}

// renewNow renews a connection as soon as the limits permit. If a renewal is running, it is
// repeated, because its answer may already be stale.
func (r *renewer) renewNow(cid uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if current := r.running[cid]; current != nil {
		current.repeat = true
		return
	}
	r.enqueueRequested(cid, now)
}

// enqueueRequested puts a requested renewal into the queue. It replaces a routine renewal there, and
// so is tried until the user JWT expires: nothing else would renew the connection before. The lock is
// held.
func (r *renewer) enqueueRequested(cid uint64, now time.Time) {
	next := &renewal{cid: cid, due: now, giveUpAt: now.Add(requestedFor), pause: firstRetry}
	if scheduled := r.queued[cid]; scheduled != nil {
		next.expires, next.giveUpAt = scheduled.expires, scheduled.giveUpAt
	}
	r.enqueue(next)
}

// renewAllNow renews connections as soon as the limits permit.
func (r *renewer) renewAllNow(cids []uint64) {
	for _, cid := range cids {
		r.renewNow(cid)
	}
}

// isPending reports whether a requested renewal of the connection is not done yet.
func (r *renewer) isPending(cid uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, next := range []*renewal{r.running[cid], r.queued[cid]} {
		if next != nil && (!next.routine || next.repeat) {
			return true
		}
	}
	return false
}

// enqueue puts a renewal into the queue. It replaces the renewal of the same connection that is in
// the queue. The lock is held.
func (r *renewer) enqueue(next *renewal) {
	if scheduled := r.queued[next.cid]; scheduled != nil {
		heap.Remove(&r.queue, scheduled.index)
	}
	r.dropGone()
	r.queued[next.cid] = next
	heap.Push(&r.queue, next)
	r.setTimer()
}

// setTimer sets the timer for the first renewal in the queue, unless no more may run now. The lock
// is held.
func (r *renewer) setTimer() {
	if len(r.queue) == 0 || r.isFull() {
		return
	}
	wait := time.Until(r.queue[0].due)
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, r.startDue)
		return
	}
	r.timer.Reset(wait)
}

// startDue starts the renewals that are due.
func (r *renewer) startDue() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for len(r.queue) > 0 && !r.isFull() && !r.queue[0].due.After(now) {
		next := heap.Pop(&r.queue).(*renewal)
		delete(r.queued, next.cid)
		r.running[next.cid] = next
		go r.run(next)
	}
	r.setTimer()
}

// isFull reports whether no more renewals may start. The lock is held.
func (r *renewer) isFull() bool { return len(r.running)-r.slow >= maxFast }

// markSlow marks a renewal as slow if it is still running, so that another one may start. If there
// are too many slow ones, it tries again later.
func (r *renewer) markSlow(current *renewal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.running[current.cid] != current:
	case r.slow < maxSlow:
		current.slow = true
		r.slow++
		r.setTimer()
	default:
		time.AfterFunc(slowAfter, func() { r.markSlow(current) })
	}
}

func (r *renewer) run(current *renewal) {
	slowTimer := time.AfterFunc(slowAfter, func() { r.markSlow(current) })
	err := r.renew(current.cid)
	slowTimer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, current.cid)
	if current.slow {
		current.slow = false
		r.slow--
	}
	defer r.setTimer()
	switch {
	case err == nil:
		r.counters.renewals.Add(1)
		if current.repeat {
			r.enqueueRequested(current.cid, time.Now())
		}
	case errors.Is(err, natsserver.ErrRenewNoAnswer):
		r.counters.unansweredRenewals.Add(1)
		r.retry(current, time.Now())
	case errors.Is(err, natsserver.ErrRenewRefused):
		r.counters.refusedRenewals.Add(1)
	}
}

// retry schedules a renewal that got no answer again, or gives up. The lock is held.
func (r *renewer) retry(last *renewal, now time.Time) {
	wait := last.pause/2 + rand.N(last.pause)
	if left := last.giveUpAt.Sub(now); wait > left/2 {
		wait = left / 2
	}
	if wait < firstRetry/10 { // too little time is left
		if !last.routine {
			r.counters.givenUpRenewals.Add(1)
		}
		return
	}
	if _, newer := r.queued[last.cid]; newer {
		return
	}
	last.due, last.pause = now.Add(wait), min(2*last.pause, maxRetry)
	r.enqueue(last)
}

// dropGone drops the renewals of connections that are closed, if their number may have become large.
// The lock is held.
func (r *renewer) dropGone() {
	if len(r.queue) < 2*r.aliveAtSweep+1024 || r.sessions == nil {
		return
	}
	kept := r.queue[:0]
	for _, next := range r.queue {
		if r.sessions.isOpen(next.cid) {
			kept = append(kept, next)
		} else {
			delete(r.queued, next.cid)
		}
	}
	clear(r.queue[len(kept):])
	r.queue, r.aliveAtSweep = kept, len(kept)
	for index, next := range r.queue {
		next.index = index
	}
	heap.Init(&r.queue)
}

// renewalQueue is a heap of renewals. The one that is due first is at index 0.
type renewalQueue []*renewal

func (q renewalQueue) Len() int           { return len(q) }
func (q renewalQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q renewalQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *renewalQueue) Push(x any) {
	next := x.(*renewal)
	next.index = len(*q)
	*q = append(*q, next)
}

// Pop implements heap.Interface.
func (q *renewalQueue) Pop() any {
	last := len(*q) - 1
	popped := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return popped
}

// countPending returns the number of requested renewals that are not done.
func (r *renewer) countPending() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, current := range r.running {
		if !current.routine || current.repeat {
			n++
		}
	}
	for _, next := range r.queue {
		if !next.routine {
			n++
		}
	}
	return n
}
