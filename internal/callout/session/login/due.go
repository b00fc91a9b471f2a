package login

import (
	"container/heap"
	"context"
	"encoding/binary"
	"encoding/hex"
	"math"
	"sync"
	"time"
)

// dueIndex says of each session of a bucket that will be refreshed when that is. It holds about 65
// bytes for a session, nothing of its content, and nothing of sessions without a refresh token.
//
// Sources of one process that follow the same bucket share an index: the handler that a reload
// starts need not read the bucket again. So its methods may be called at the same time.
type dueIndex struct {
	epoch time.Time     // of record.due
	wake  chan struct{} // has an element if ready has to look again

	mu      sync.Mutex
	seen    uint64      // sequence of the bucket up to which all changes are in the index
	chunks  [][]dueOnce // chunks, so that growing copies nothing
	made    uint32      // number of records in the chunks
	free    recordID    // first of the records that are not in use, linked by next
	heads   []recordID  // first record of each chain, by the first bytes of the key; its length is a power of two
	ordered []recordID  // a heap, the first to be due in front
}

// dueOnce is the record of a session.
type dueOnce struct {
	key      [keyBytes]byte // of the entry in the bucket
	ends     uint32         // of the access token, in Unix seconds; 0: the entry has to be read first
	due      uint32         // in units of dueUnit since the epoch
	next     recordID       // in its chain
	place    uint32         // in ordered
	failures uint8          // of refreshes, in a row
}

// recordID is the number of a record, from 1. 0 is none.
type recordID uint32

const (
	keyBytes    = 32 // keys are SHA-256 hashes, in hexadecimal
	dueUnit     = 100 * time.Millisecond
	chunkLength = 1024
	// maxChain is how many records a chain has on average until the number of chains is doubled.
	maxChain = 1
)

func newDueIndex() *dueIndex {
	return &dueIndex{epoch: time.Now(), wake: make(chan struct{}, 1), heads: make([]recordID, 64)}
}

// refreshDue is a session that is due for a refresh. ends is when its access token expires, in Unix
// seconds. It is 0 if the entry has to be read to know whether and when it is due.
type refreshDue struct {
	key      string
	ends     int64
	failures int // in a row
}

// parseKey returns the bytes of an entry's key. ok is not set for a key that no session of ours has.
func parseKey(text string) (key [keyBytes]byte, ok bool) {
	if len(text) != hex.EncodedLen(keyBytes) {
		return key, false
	}
	_, err := hex.Decode(key[:], []byte(text))
	return key, err == nil && hex.EncodeToString(key[:]) == text
}

// change is what the bucket says of a session.
type change struct {
	sequence uint64
	key      string
	remove   bool // it will not be refreshed
	ends     int64
	wait     time.Duration // until it is due
}

// apply takes a change of the bucket. Changes must be given in their order, but may be given twice:
// one that the index has seen does nothing.
func (x *dueIndex) apply(c change) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c.sequence <= x.seen {
		return
	}
	x.seen = c.sequence
	key, ok := parseKey(c.key)
	if !ok {
		return
	}
	if c.remove {
		x.remove(key)
		return
	}
	x.set(key, refreshDue{ends: c.ends}, c.wait)
}

// again makes a session due once more, unless the bucket has said something newer of it.
func (x *dueIndex) again(d refreshDue, wait time.Duration) {
	key, ok := parseKey(d.key)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.find(key) == 0 {
		x.set(key, d, wait)
	}
}

// ready waits until a session is due. It returns false if ctx has ended.
func (x *dueIndex) ready(ctx context.Context) bool {
	for ctx.Err() == nil {
		wait := x.untilFirst()
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-x.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	x.rouse() // another source may wait, and this one may have taken the element that was for it
	return false
}

// take removes the session that has been due for the longest time. ok is not set if none is due.
func (x *dueIndex) take() (d refreshDue, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.ordered) == 0 || x.record(x.ordered[0]).due > x.units(0) {
		return d, false
	}
	r := x.record(x.ordered[0])
	d = refreshDue{key: hex.EncodeToString(r.key[:]), ends: int64(r.ends), failures: int(r.failures)}
	x.remove(r.key)
	x.rouse()
	return d, true
}

// last returns the sequence of the bucket up to which all changes are in the index.
func (x *dueIndex) last() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen
}

// length returns the number of sessions.
func (x *dueIndex) length() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.ordered)
}

// rouse makes ready look again.
func (x *dueIndex) rouse() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// idle is how long ready waits if there are no sessions. A new one ends the wait.
const idle = time.Hour

func (x *dueIndex) untilFirst() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.ordered) == 0 {
		return idle
	}
	return time.Until(x.epoch.Add(time.Duration(x.record(x.ordered[0]).due) * dueUnit))
}

// The caller of the methods below holds the lock.

func (x *dueIndex) record(id recordID) *dueOnce {
	return &x.chunks[(id-1)/chunkLength][(id-1)%chunkLength]
}

// units returns the time after a wait as in record.due, rounded up, so that nothing is due too early.
func (x *dueIndex) units(wait time.Duration) uint32 {
	after := max(time.Since(x.epoch)+wait, 0)
	if wait > 0 {
		after += dueUnit - 1
	}
	return uint32(min(after/dueUnit, math.MaxUint32))
}

func (x *dueIndex) head(key [keyBytes]byte) *recordID {
	return &x.heads[int(binary.LittleEndian.Uint32(key[:]))&(len(x.heads)-1)]
}

func (x *dueIndex) find(key [keyBytes]byte) recordID {
	for id := *x.head(key); id != 0; id = x.record(id).next {
		if x.record(id).key == key {
			return id
		}
	}
	return 0
}

// set adds a session, or replaces what is known of it.
func (x *dueIndex) set(key [keyBytes]byte, d refreshDue, wait time.Duration) {
	id := x.find(key)
	if id == 0 {
		id = x.add(key)
	}
	r := x.record(id)
	r.ends, r.failures, r.due = clampSeconds(d.ends), uint8(min(d.failures, math.MaxUint8)), x.units(max(wait, 0))
	heap.Fix(byDue{x}, int(r.place))
	if x.ordered[0] == id {
		x.rouse()
	}
}

// clampSeconds returns a time in Unix seconds in the range of dueOnce.ends.
func clampSeconds(seconds int64) uint32 { return uint32(min(max(seconds, 0), math.MaxUint32)) }

func (x *dueIndex) add(key [keyBytes]byte) recordID {
	if len(x.ordered) >= maxChain*len(x.heads) {
		x.double()
	}
	id := x.free
	if id != 0 {
		x.free = x.record(id).next
	} else {
		if int(x.made) == len(x.chunks)*chunkLength {
			x.chunks = append(x.chunks, make([]dueOnce, chunkLength))
		}
		x.made++
		id = recordID(x.made)
	}
	head := x.head(key)
	*x.record(id) = dueOnce{key: key, next: *head}
	*head = id
	heap.Push(byDue{x}, id)
	return id
}

func (x *dueIndex) double() {
	x.heads = make([]recordID, 2*len(x.heads))
	for _, id := range x.ordered {
		head := x.head(x.record(id).key)
		x.record(id).next, *head = *head, id
	}
}

func (x *dueIndex) remove(key [keyBytes]byte) {
	at := x.head(key)
	for *at != 0 && x.record(*at).key != key {
		at = &x.record(*at).next
	}
	id := *at
	if id == 0 {
		return
	}
	r := x.record(id)
	*at = r.next
	heap.Remove(byDue{x}, int(r.place))
	*r = dueOnce{next: x.free}
	x.free = id
}

// byDue implements heap.Interface.
type byDue struct{ *dueIndex }

func (h byDue) Len() int { return len(h.ordered) }

func (h byDue) Less(i, j int) bool { return h.record(h.ordered[i]).due < h.record(h.ordered[j]).due }

func (h byDue) Swap(i, j int) {
	h.ordered[i], h.ordered[j] = h.ordered[j], h.ordered[i]
	h.record(h.ordered[i]).place, h.record(h.ordered[j]).place = uint32(i), uint32(j)
}

func (h byDue) Push(id any) {
	added, _ := id.(recordID)
	h.record(added).place = uint32(len(h.ordered))
	h.ordered = append(h.ordered, added)
}

func (h byDue) Pop() any {
	last := len(h.ordered) - 1
	id := h.ordered[last]
	h.ordered = h.ordered[:last]
	return id
}

// sharedIndexes are the indexes of this process, by what they were made of.
var sharedIndexes struct {
	mu sync.Mutex
	of map[string]*sharedIndex
}

type sharedIndex struct {
	*dueIndex
	name  string
	users int
}

// shareIndex returns the index with a name, which says of which bucket it is, and by which
// configuration it was made. The caller calls release when it no longer uses the index.
func shareIndex(name string) *sharedIndex {
	sharedIndexes.mu.Lock()
	defer sharedIndexes.mu.Unlock()
	shared := sharedIndexes.of[name]
	if shared == nil {
		shared = &sharedIndex{dueIndex: newDueIndex(), name: name}
		if sharedIndexes.of == nil {
			sharedIndexes.of = map[string]*sharedIndex{}
		}
		sharedIndexes.of[name] = shared
	}
	shared.users++
	return shared
}

// anew replaces an index by an empty one, because its bucket was restored from a backup. Other sources
// that use the index go on with it until they notice the same.
func (i *sharedIndex) anew() *sharedIndex {
	sharedIndexes.mu.Lock()
	if sharedIndexes.of[i.name] == i {
		delete(sharedIndexes.of, i.name)
	}
	sharedIndexes.mu.Unlock()
	i.release()
	return shareIndex(i.name)
}

// keepIndex is how long an index is kept that nobody uses: the handler that takes the place of another
// one may find its bucket only after that has ended.
const keepIndex = time.Minute

// release says that a source no longer uses the index.
func (i *sharedIndex) release() {
	sharedIndexes.mu.Lock()
	defer sharedIndexes.mu.Unlock()
	if i.users--; i.users == 0 {
		time.AfterFunc(keepIndex, i.drop)
	}
}

// drop drops an index unless somebody uses it again.
func (i *sharedIndex) drop() {
	sharedIndexes.mu.Lock()
	defer sharedIndexes.mu.Unlock()
	if i.users == 0 && sharedIndexes.of[i.name] == i {
		delete(sharedIndexes.of, i.name)
	}
}
