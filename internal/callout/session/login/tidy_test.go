package login

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// silentIndex is an index whose bucket was deleted while requests were under way, so nothing answers them. It does not wait,
// and records how long the requests would have waited.
type silentIndex struct {
	jetstream.KeyValue
	mu    sync.Mutex
	waits time.Duration
}

func (s *silentIndex) wait(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends, ok := ctx.Deadline()
	if !ok {
		ends = time.Now().Add(time.Hour)
	}
	s.waits += time.Until(ends)
	return context.DeadlineExceeded
}

func (s *silentIndex) Update(ctx context.Context, _ string, _ []byte, _ uint64) (uint64, error) {
	return 0, s.wait(ctx)
}

func (s *silentIndex) Purge(ctx context.Context, _ string, _ ...jetstream.KVDeleteOpt) error {
	return s.wait(ctx)
}

// The entries that a refused refresh leaves in the index are removed in less time than the source has for its end.
func TestRefusedRefreshWithASilentIndex(t *testing.T) {
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	opened, key, e, revision := b.stored()
	index := &silentIndex{KeyValue: opened.index}
	st := &store{cfg: opened.cfg, js: opened.js, sessions: opened.sessions, index: index, indexed: opened.indexed}
	next := s.endRefused(st, refreshDue{key: key, ends: e.accessEnds()}, revision, errPerson)
	if next.wait != 0 {
		t.Errorf("a refused refresh is to be tried again in %s, want never", next.wait)
	}
	s.release(st, &lease{name: "lease." + key}, revision)
	if index.waits == 0 || index.waits > closeTime/2 {
		t.Errorf("the index is waited for %s, though the source ends within %s", index.waits, closeTime)
	}
	if _, _, err := opened.get(t.Context(), key); err == nil {
		t.Error("the session lives on after the refused refresh")
	}
}
