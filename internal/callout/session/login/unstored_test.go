package login

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// change changes the configuration of the sessions' bucket.
func (s *site) change(t *testing.T, change func(*jetstream.StreamConfig)) {
	t.Helper()
	stream, err := s.js.Stream(t.Context(), "KV_sessions")
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	change(&config)
	if _, err := s.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}

// While the bucket does not take the answer to a refresh, the source keeps its lease. Otherwise another handler would send the
// refresh token a second time.
func TestUnstoredAnswerKeepsItsLease(t *testing.T) {
	t.Parallel()
	s := startSite(t, newProvider(t), startServer(t), newKey(), "timeout: 1s")
	b := newBrowser(t, s)
	b.logIn()
	st, key, e, revision := b.stored()
	held, err := st.lease(t.Context(), key, time.Now().Add(-time.Minute), time.Second)
	if err != nil || held == nil {
		t.Fatalf("no lease before the refresh: %v, error %v", held, err)
	}
	taken := held.revision
	s.change(t, func(c *jetstream.StreamConfig) { c.MaxBytes = 1 })
	next := *e
	next.AccessToken, next.RefreshToken = "access-secret-new", "refresh-secret-new"
	done := make(chan retry)
	go func() {
		done <- s.storeLater(st, retry{refreshDue: refreshDue{key: key, ends: e.accessEnds()}, unstored: &unstored{errTooLarge, &next, revision}, lease: held})
	}()
	eventually(t, "a lease that was renewed", func() bool {
		found, err := st.index.Get(t.Context(), "lease."+key)
		return err == nil && found.Revision() > taken
	})
	if other, err := st.lease(t.Context(), key, time.Now().Add(10*time.Second), time.Second); other != nil || err != nil {
		t.Fatalf("another handler gets the lease: error %v", err)
	}
	s.change(t, func(c *jetstream.StreamConfig) { c.MaxBytes = -1 })
	if again := <-done; again.wait != 0 {
		t.Errorf("the refresh is to be tried again in %s, want it done", again.wait)
	}
	if token := b.mustFind().Data["access_token"]; token != "access-secret-new" {
		t.Error("the new tokens are not stored")
	}
	if found, err := st.index.Get(t.Context(), "lease."+key); err != nil || !strings.HasPrefix(string(found.Value()), "0 ") {
		t.Errorf("the lease is not given back: %v", err)
	}
}

// While the bucket takes no tokens, no new refresh tokens are sent, except for a few that show whether it takes tokens again.
// /readyz says so.
func TestBucketThatTakesNothingHoldsRefreshesBack(t *testing.T) {
	t.Parallel()
	const sessions = 300
	nc, p := startServer(t), newProvider(t)
	p.life = 10 * time.Minute
	release := p.hang(t, "/keys")
	s := startSite(t, p, nc, newKey(), "")
	s.due(t, sessions)
	s.change(t, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 })
	release()
	eventually(t, "an error at /readyz", func() bool {
		err := s.LookupError()
		return err != nil && strings.Contains(err.Error(), "tokens cannot be refreshed: bucket sessions:")
	})
	if n := p.refreshes(); n == 0 || n > sessions/3 {
		t.Errorf("%d refresh tokens were sent, while the bucket takes none", n)
	}
	s.change(t, func(c *jetstream.StreamConfig) { c.MaxMsgSize = -1 })
	harnessWait(t, 3*timeout, "all refreshes", func() bool { return s.metrics.refreshes.Get() >= sessions && s.LookupError() == nil })
}
