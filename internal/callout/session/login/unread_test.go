package login

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// missingFirst is a bucket whose replica is behind at first, and lacks an entry.
type missingFirst struct {
	sessionBucket
	left atomic.Int64
}

func (m *missingFirst) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	if m.left.Add(-1) >= 0 {
		return nil, jetstream.ErrKeyNotFound
	}
	return m.sessionBucket.Get(ctx, key)
}

// A replica that is behind says that a session does not exist, however often it is asked. The refresh is tried again until the
// leader says the same, or the marker of the session's deletion is found.
func TestRefreshWithAReplicaThatLacksTheEntry(t *testing.T) {
	for name, ends := range map[string]bool{"hint": true, "no hint": false} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			s := startSite(t, p, startServer(t), newKey(), "")
			b := newBrowser(t, s)
			b.logIn()
			opened, key, e, _ := b.stored()
			d := refreshDue{key: key}
			if ends {
				d.ends = e.accessEnds()
			}
			const answers = 5
			behind := &missingFirst{sessionBucket: opened.sessions}
			behind.left.Store(answers)
			st := &store{cfg: opened.cfg, sessions: behind, index: opened.index, indexed: newIndexed()}
			for range answers {
				next := s.source.refresh(t.Context(), st, d)
				if next.wait == 0 {
					t.Fatal("a session that lives is forgotten")
				}
				d = next.refreshDue
			}
			if next := s.source.refresh(t.Context(), st, d); (next.wait == 0) != ends || (p.refreshes() == 1) != ends {
				t.Errorf("with the entry on the replica: tried again in %s, after %d refreshes", next.wait, p.refreshes())
			}
			if err := st.end(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			if next := s.source.refresh(t.Context(), st, d); next.wait != 0 {
				t.Errorf("with the marker of the entry's deletion: tried again in %s, want never", next.wait)
			}
			stream, err := s.js.Stream(t.Context(), streamOf(s.cfg.Bucket))
			if err == nil {
				err = stream.Purge(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			if next := s.source.refresh(t.Context(), st, d); next.wait != 0 {
				t.Errorf("with nothing under the key: tried again in %s, want never", next.wait)
			}
		})
	}
}

// Entries that no key opens, but whose headers say when they are due, are not tried again and again. They are logged, counted,
// and left until the bucket changes.
func TestRefreshOfEntriesThatNoKeyOpens(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	old := startSite(t, p, connectedTo(t, nc), newKey(), "")
	b := newBrowser(t, old)
	b.logIn()
	_, key, e, _ := b.stored()
	s := startSite(t, p, connectedTo(t, nc), newKey(), "") // the old key was stolen
	st, err := s.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	failures := s.metrics.refreshFailures.Get()
	if next := s.source.refresh(t.Context(), st, refreshDue{key: key, ends: e.accessEnds()}); next.wait != 0 {
		t.Errorf("an entry that no key opens is tried again in %s, want never", next.wait)
	}
	if s.metrics.refreshFailures.Get() == failures {
		t.Error("the failure is not counted")
	}
	if !strings.Contains(s.text(), "session cannot be refreshed") {
		t.Error("the failure is not logged")
	}
	if wait := b.refreshNow(); wait != 0 || p.refreshes() != 1 {
		t.Errorf("a handler with the key: tried again in %s, after %d refreshes", wait, p.refreshes())
	}
}
