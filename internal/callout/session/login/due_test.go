package login

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// numbered returns the key of the session with a number.
func numbered(n int) string {
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(n)))
	return hex.EncodeToString(sum[:])
}

// heapBytes is how much memory is in use.
func heapBytes() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A session takes less than 100 bytes of memory, at each number of sessions, also just after a part of the index has grown.
func TestBytesOfASession(t *testing.T) {
	const law = 100
	before := heapBytes()
	x := newDueIndex()
	for n := 1; n <= 300_000; n++ {
		x.apply(change{sequence: uint64(n), key: numbered(n), ends: time.Now().Unix() + 300, wait: time.Duration(n) * time.Millisecond})
		if n%50_000 == 0 || n == 1<<18+1 {
			each := (heapBytes() - before) / n
			t.Logf("%d sessions: %d bytes each", n, each)
			if each >= law {
				t.Errorf("%d sessions: %d bytes each; want less than %d", n, each, law)
			}
		}
	}
	// Sessions that begin and end take no further memory.
	full := heapBytes()
	for n := 300_001; n <= 600_000; n++ {
		x.apply(change{sequence: uint64(2 * n), key: numbered(n - 300_000), remove: true})
		x.apply(change{sequence: uint64(2*n + 1), key: numbered(n), ends: 1, wait: time.Hour})
	}
	if x.length() != 300_000 {
		t.Errorf("the index has %d sessions, want 300000", x.length())
	}
	if now := heapBytes(); now > full+full/10 {
		t.Errorf("%d bytes after as many sessions have ended as have begun; %d before", now-before, full-before)
	}
	runtime.KeepAlive(x)
}

// The index behaves as a list of sessions that is sorted by time.
func TestDueIndex(t *testing.T) {
	x := newDueIndex()
	want := map[string]int64{}
	for sequence := range uint64(20_000) {
		key := numbered(rand.N(2_000))
		if rand.N(3) == 0 {
			x.apply(change{sequence: sequence + 1, key: key, remove: true})
			delete(want, key)
			continue
		}
		want[key] = 1 + rand.N(int64(3000))
		x.apply(change{sequence: sequence + 1, key: key, ends: want[key], wait: time.Duration(want[key]) * time.Minute})
	}
	if x.length() != len(want) || x.last() != 20_000 {
		t.Fatalf("the index has %d sessions, want %d", x.length(), len(want))
	}
	if _, ok := x.take(); ok {
		t.Error("a session is taken too early")
	}
	x.epoch = x.epoch.Add(-3001 * time.Minute) // later
	before := int64(0)
	for range len(want) {
		d, ok := x.take()
		if !ok || d.ends != want[d.key] || d.ends < before {
			t.Fatalf("%+v, %t, after one that ends at %d; want that it ends at %d", d, ok, before, want[d.key])
		}
		before = d.ends
		delete(want, d.key)
	}
	if _, ok := x.take(); ok || x.length() != 0 {
		t.Error("the index has more sessions than it was given")
	}
}

// Sessions are taken in the order in which they are due, and none too early.
func TestOrderOfSessionsThatAreDue(t *testing.T) {
	x := newDueIndex()
	x.apply(change{sequence: 1, key: numbered(1), ends: 1, wait: 6 * dueUnit})
	x.apply(change{sequence: 2, key: numbered(2), ends: 2, wait: time.Millisecond})
	x.apply(change{sequence: 3, key: numbered(3), ends: 3, wait: time.Hour})
	x.apply(change{sequence: 3, key: numbered(3), remove: true})             // seen already
	x.apply(change{sequence: 4, key: "not one of ours", ends: 4})            // ignored
	x.again(refreshDue{key: numbered(3), ends: 9, failures: 2}, 0)           // the bucket says otherwise
	x.again(refreshDue{key: numbered(4), ends: 4, failures: 300}, 2*dueUnit) // nothing is known of it
	for _, n := range []int{2, 4, 1} {
		if !x.ready(t.Context()) {
			t.Fatal("no session is due, though three are")
		}
		d, ok := x.take()
		if !ok || d.key != numbered(n) || d.ends != int64(n) {
			t.Fatalf("%+v, %t; want that of session %d", d, ok, n)
		}
		if n == 4 && d.failures != 255 {
			t.Errorf("the session has %d failures, want the largest number, 255", d.failures)
		}
	}
	if _, ok := x.take(); ok {
		t.Error("a session is taken an hour too early")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if x.ready(ctx) {
		t.Error("a session is ready to be taken, though the context has ended")
	}
	if x.length() != 1 || x.last() != 4 {
		t.Errorf("%d sessions, up to the change %d", x.length(), x.last())
	}
}

// Two sources wait on one index. Each session that is due wakes one of them, also after the other one has ended.
func TestTwoSourcesWaitForOneIndex(t *testing.T) {
	x := newDueIndex()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	ended, taken := make(chan struct{}), make(chan string)
	go func() {
		defer close(ended)
		for x.ready(ctx) {
			if d, ok := x.take(); ok {
				taken <- d.key
			}
		}
	}()
	go func() {
		for x.ready(t.Context()) {
			if d, ok := x.take(); ok {
				taken <- d.key
			}
		}
	}()
	for n := range 200 {
		if n == 100 {
			end()
			<-ended
		}
		x.apply(change{sequence: uint64(n) + 1, key: numbered(n), ends: 1})
		if key := <-taken; key != numbered(n) {
			t.Fatalf("the change of session %d woke a source for %s", n, key)
		}
	}
}

// The header of an entry says when its session is due, and for which client.
func TestHint(t *testing.T) {
	for _, want := range []timing{{}, {1, 0, 0}, {1 << 40, 5, 7}} {
		if got, ok := parseHint(want.hint("p"), "p"); !ok || got != want {
			t.Errorf("the hint of %+v is read as %+v, %t", want, got, ok)
		}
		if _, ok := parseHint(want.hint("p"), "q"); ok {
			t.Errorf("%+v: the hint of another client was accepted", want)
		}
	}
	for _, text := range []string{"", "p", "p 1", "p x 0 0", "p 1 2 3 4", "p -1 0 0", "p 0 0 0", "p 1 -1 0", "p 1 0 -1", "p never 1 2", "p 1 0 99999999999999999999"} {
		if _, ok := parseHint(text, "p"); ok {
			t.Errorf("the hint %q was accepted", text)
		}
	}
	with := (&entry{RefreshToken: "r", AccessExpires: 5, NotBefore: 3, Failures: 1}).timing()
	if with != (timing{5, 3, 1}) || (&entry{AccessExpires: 5}).timing() != (timing{}) {
		t.Errorf("the timing of an entry is %+v, or one without a refresh token has a timing", with)
	}
}
