package login

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
)

// replicated makes a bucket behave as one with replicas: its conflicts have another error code, and its replicas may be behind.
type replicated struct {
	sessionBucket

	mu     sync.Mutex
	behind []jetstream.KeyValueEntry // what is read first
	lost   int                       // writes that are lost, first
	waits  time.Duration             // how long the answer to one would have been waited for
}

func (r *replicated) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.behind) > 0 {
		first := r.behind[0]
		r.behind = r.behind[1:]
		return first, nil
	}
	return r.sessionBucket.Get(ctx, key)
}

func (r *replicated) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return r.write(ctx, func() (uint64, error) { return r.sessionBucket.Update(ctx, key, value, revision) })
}

func (r *replicated) Write(ctx context.Context, key string, value []byte, hint string, revision uint64) (uint64, error) {
	return r.write(ctx, func() (uint64, error) { return r.sessionBucket.Write(ctx, key, value, hint, revision) })
}

func (r *replicated) write(ctx context.Context, write func() (uint64, error)) (uint64, error) {
	r.mu.Lock()
	lost := r.lost > 0
	r.lost--
	if ends, ok := ctx.Deadline(); ok {
		r.waits = max(r.waits, time.Until(ends))
	}
	r.mu.Unlock()
	if lost {
		return 0, jetstream.ErrNoStreamResponse
	}
	next, err := write()
	if isConflict(err) {
		return 0, fmt.Errorf("%w: %w", &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequenceConstant}, jetstream.ErrKeyRevisionMismatch)
	}
	return next, err
}

// replicate makes the source use its buckets as if they were replicated.
func (s *site) replicate(t *testing.T) (st *store, sessions *replicated) {
	t.Helper()
	opened, err := s.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sessions = &replicated{sessionBucket: opened.sessions}
	index := &replicated{sessionBucket: &bucketWithHints{KeyValue: opened.index}}
	st = &store{cfg: opened.cfg, js: opened.js, sessions: sessions, index: index, indexed: opened.indexed}
	s.source.store.Store(st)
	return st, sessions
}

// In a replicated bucket too, all of several tickets of one session that are used at the same time are accepted.
func TestTicketsAtOnceInAReplicatedBucket(t *testing.T) {
	s := startSite(t, newProvider(t), startServer(t), newKey(), "ticket: 10s")
	b := newBrowser(t, s)
	b.logIn()
	s.replicate(t)
	var all sync.WaitGroup
	for conn := range uint64(16) {
		secret, err := s.cfg.own.newTicket(hashed(b.cookie()), "", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if err := s.connect(t, session.Credential{Kind: session.Token, Value: secret}, conn); err != nil {
				t.Errorf("the ticket of connection %d was refused: %v", conn, err)
			}
		})
	}
	all.Wait()
}

// A write gets no answer, and then a replica is behind. The new tokens are not dropped, since the old refresh token is worth
// nothing any more.
func TestSaveWithAReplicaThatIsBehind(t *testing.T) {
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	st, sessions := s.replicate(t)
	old, err := sessions.Get(t.Context(), hashed(b.cookie()))
	if err != nil {
		t.Fatal(err)
	}
	if wait := b.refreshNow(); wait != 0 {
		t.Fatalf("the first refresh is to be tried again in %s", wait)
	}
	e, revision, err := st.get(t.Context(), hashed(b.cookie()))
	if err != nil || revision <= old.Revision() {
		t.Fatalf("the bucket has revision %d, want a later one than %d; error %v", revision, old.Revision(), err)
	}
	e.AccessToken, e.RefreshToken = "access-secret-new", "refresh-secret-new"
	sessions.behind, sessions.lost = []jetstream.KeyValueEntry{old, old}, 2
	if _, err := s.source.save(st, hashed(b.cookie()), e, revision); err != nil {
		t.Errorf("the new tokens are dropped: %v", err)
	}
	if sessions.waits == 0 || sessions.waits > closeTime/2 {
		t.Errorf("the answer to a write is waited for %s, though the source ends within %s", sessions.waits, closeTime)
	}
	if token := b.mustFind().Data["access_token"]; token != "access-secret-new" {
		t.Error("the new tokens are not stored")
	}
}

// If the provider refuses a refresh token, the session with that token ends. If another handler has refreshed the session
// meanwhile, it does not end.
func TestRefusedRefreshOfWhatHasChanged(t *testing.T) {
	p := newProvider(t)
	s := startSite(t, p, startServer(t), newKey(), "")
	b := newBrowser(t, s)
	b.logIn()
	st, key, e, revision := b.stored()
	if wait := b.refreshNow(); wait != 0 {
		t.Fatalf("the first refresh is to be tried again in %s", wait)
	}
	// The handler was stopped for longer than its lease lasts.
	asking, _ := s.gate.Enter()
	next, _ := s.source.refreshEntry(st, refreshDue{key: key, ends: e.accessEnds()}, e, revision, asking)
	if next.wait != 0 {
		t.Errorf("the late one is to be tried again in %s", next.wait)
	}
	if b.mustFind().Data["access_token"] != "access-secret-2" {
		t.Error("the session is not the one that the first refresh has made")
	}
	p.set(func() { p.refused = true })
	if wait := b.refreshNow(); wait != 0 || !s.ended(t, b) {
		t.Errorf("a refusal of what is stored: again in %s, ended: %t", wait, s.ended(t, b))
	}
}
