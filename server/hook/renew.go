package hook

import (
	"bytes"
	"container/heap"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"stamp/server/callout/announce"
	"stamp/server/callout/forwarded"
)

// Renewals begin when between renewFrom and renewFrom+renewSpread of the life of a user JWT is
// over, each connection's at a time of its own, so that those that connected in one second do not
// renew in one. At most renewAtOnce callouts for renewals are under way.
const (
	renewFrom   = 0.8
	renewSpread = 0.1
	renewAtOnce = 64
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
	if len(r.due) == 0 || len(r.active) >= renewAtOnce {
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
	for len(r.due) > 0 && len(r.active) < renewAtOnce && !r.due[0].at.After(now) {
		next := heap.Pop(&r.due).(*item)
		delete(r.items, next.cid)
		r.active[next.cid] = next
		go r.run(next)
	}
	r.wake()
}

func (r *renewer) run(i *item) {
	err := r.renew(i.cid)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.active, i.cid)
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

var (
	errRenew        = errors.New(`expected a JSON object with one of "cid", "session", "user", "all" and "pending", and maybe "account" and "kick"`)
	errRenewAccount = errors.New(`account: expected the public key of an account, which operator mode needs`)
)

// maxAgain bounds the requests that one message says again.
const maxAgain = 10_000

// Renew implements natsserver.Extension.
func (h *Hook) Renew(s *natsserver.Server, body []byte) (any, error) {
	var q forwarded.Renew
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if d.Decode(&q) != nil {
		return nil, errRenew
	}
	return h.renewHere(s, q)
}

// renewHere is Renew for the connections of s.
func (h *Hook) renewHere(s *natsserver.Server, q forwarded.Renew) (*forwarded.Renewed, error) {
	if len(q.Again) == 0 {
		return h.renewOne(s, q)
	}
	if ways(q) > 0 || len(q.Again) > maxAgain {
		return nil, errRenew
	}
	all := &forwarded.Renewed{}
	for _, one := range q.Again {
		if one.Session == "" || len(one.Again) > 0 {
			return nil, errRenew
		}
		done, err := h.renewOne(s, one)
		if err != nil {
			return nil, err
		}
		all.Connections += done.Connections
	}
	return all, nil
}

func (h *Hook) renewOne(s *natsserver.Server, q forwarded.Renew) (*forwarded.Renewed, error) {
	r := h.renewer(s)
	done := &forwarded.Renewed{Refused: h.counters.refusedRenewals.Load(), GivenUp: h.counters.givenUpRenewals.Load()}
	cids, err := r.choose(s, q)
	if err != nil {
		return nil, err
	}
	for _, cid := range cids {
		if q.Kick {
			s.CloseConnection(cid)
		} else {
			r.ask(cid)
		}
	}
	done.Connections, done.Pending = len(cids), r.pending()
	return done, nil
}

// ways is how many fields of a request say which connections it is for.
func ways(q forwarded.Renew) (n int) {
	for _, set := range []bool{q.CID > 0, q.Session != "", q.User != "", q.All, q.Pending} {
		if set {
			n++
		}
	}
	return n
}

// choose returns the connections that a request is for.
func (r *renewer) choose(s *natsserver.Server, q forwarded.Renew) ([]uint64, error) {
	switch {
	case ways(q) != 1, q.Account != "" && (q.CID > 0 || q.Pending), q.Kick && q.Pending, q.Ago < 0, q.Ago > 0 && q.Session == "":
		return nil, errRenew
	}
	if q.Account != "" && isOperatorMode(s.RunningOptions()) && !nkeys.IsValidPublicAccountKey(q.Account) {
		return nil, errRenewAccount
	}
	switch {
	case q.CID > 0:
		if !s.HasConnection(q.CID) {
			return nil, natsserver.ErrRenewNoConnection
		}
		return []uint64{q.CID}, nil
	case q.Session != "":
		return r.sessions.of(q.Session, q.Account, q.Kick, q.Ago), nil
	case q.User != "":
		return inAccountOnly(s, s.ConnectionsOf(q.User), q.Account), nil
	case q.All:
		return inAccountOnly(s, s.StaleCallouts(), q.Account), nil
	}
	return nil, nil
}

// inAccountOnly returns those of the connections that are in an account; empty: all.
func inAccountOnly(s *natsserver.Server, cids []uint64, account string) []uint64 {
	if account == "" {
		return cids
	}
	return slices.DeleteFunc(cids, func(cid uint64) bool { return accountOf(s, cid) != account })
}

// accountOf is the name of a connection's account, in operator mode its public key; empty when it is gone.
func accountOf(s *natsserver.Server, cid uint64) string {
	c := s.GetClient(cid)
	if c == nil {
		c = s.GetLeafNode(cid)
	}
	if account := c.Account(); account != nil {
		return account.GetName()
	}
	return ""
}

// renewAll is Renew on s, and on all other servers that its system account reaches, now or when they come back.
func (h *Hook) renewAll(s *natsserver.Server, q forwarded.Renew) {
	// A session that has no connection here may have some there.
	_, _ = h.renewHere(s, q)
	_ = h.announcer(s).Tell(q) // RenewAll queues the message
}

// announcer returns what tells the other servers.
func (h *Hook) announcer(s *natsserver.Server) *announce.Announcer {
	h.announcing.Do(func() {
		h.announced.Store(announce.New(func(q forwarded.Renew) error {
			s.RenewAll(&q)
			return nil
		}))
	})
	return h.announced.Load()
}

// returned is told that another server is connected, maybe again.
func (h *Hook) returned() {
	if a := h.announced.Load(); a != nil {
		a.Returned()
	}
}
