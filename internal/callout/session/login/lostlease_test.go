package login

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The bucket is lost with the leases in it. Until those leases would have ended, no handler takes a lease for a session that
// another handler may be refreshing.
func TestLeasesAreLostDuringARefresh(t *testing.T) {
	t.Parallel()
	nc, p, key := startServer(t), newProvider(t), newKey()
	p.life = 10 * time.Minute
	a := startSite(t, p, connectedTo(t, nc), key, "refresh_before: 60s")
	b := startSite(t, p, connectedTo(t, nc), key, "refresh_before: 61s")
	var mu sync.Mutex
	used := map[string]int{}
	blocked := make(chan struct{})
	release := sync.OnceFunc(func() { close(blocked) })
	defer release()
	p.intercept("/token", func(_ http.ResponseWriter, r *http.Request) bool {
		_ = r.ParseForm()
		mu.Lock()
		used[r.PostFormValue("refresh_token")]++
		first := used[r.PostFormValue("refresh_token")] == 1
		mu.Unlock()
		if first {
			<-blocked
		}
		return false
	})
	a.due(t, 1)
	eventually(t, "a request", func() bool { return p.count("/token") == 1 })
	st, err := a.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := st.sessions.Keys(t.Context())
	if err != nil || len(keys) != 1 {
		t.Fatalf("expected one session in the bucket; found %v, error %v", keys, err)
	}
	e, _, err := st.get(t.Context(), keys[0])
	if err != nil {
		t.Fatal(err)
	}
	due := refreshDue{key: keys[0], ends: e.accessEnds()}
	before := b.source.store.Load()
	if err := a.js.DeleteKeyValue(t.Context(), a.cfg.indexBucket()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: a.cfg.indexBucket(), TTL: 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	// One handler has not noticed the loss, and one has.
	b.source.refresh(t.Context(), before, due)
	eventually(t, "the new bucket", func() bool { now := b.source.store.Load(); return now != nil && now != before })
	if next := b.source.refresh(t.Context(), b.source.store.Load(), due); next.wait < time.Second {
		t.Errorf("the refresh is tried again in %s, want later: another handler may have the lease", next.wait)
	}
	mu.Lock()
	defer mu.Unlock()
	for token, n := range used {
		if n > 1 {
			t.Errorf("refresh token %s was sent %d times, want once", token, n)
		}
	}
}

// An index that was restored from a backup has old leases, which do not show the refreshes that are under way.
func TestLeasesOfARestoredIndex(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	at := time.Now()
	s.restored.Store(&at) // as lookAfter does
	s.source.store.Store(nil)
	if _, err := s.opened(t.Context()); err != nil {
		t.Fatal(err)
	}
	if wait := b.refreshNow(); wait < time.Second || s.provider.refreshes() != 0 {
		t.Errorf("the refresh is to be tried again in %s, after %d refreshes; want later, and 0", wait, s.provider.refreshes())
	}
}
