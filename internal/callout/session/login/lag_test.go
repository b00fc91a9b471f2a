package login

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
)

// laggingPlace is the place of a JetStream API in which the new consumers of a bucket, while lags is set, are on a replica that
// has nothing of the bucket yet.
const laggingPlace = "api_prefix: FAKE.API"

func lagConsumers(t *testing.T, nc *nats.Conn, bucket string) (lags *atomic.Bool) {
	t.Helper()
	lags = &atomic.Bool{}
	_, err := nc.Subscribe("FAKE.API.>", func(m *nats.Msg) {
		subject := strings.TrimPrefix(m.Subject, "FAKE.API.")
		if !strings.HasPrefix(subject, "$KV.") {
			subject = "$JS.API." + subject
		}
		to := nats.NewMsg(subject)
		to.Reply, to.Data, to.Header = m.Reply, m.Data, m.Header
		if lags.Load() && strings.HasPrefix(subject, "$JS.API.CONSUMER.CREATE."+streamOf(bucket)+".") {
			to.Data = sourcetest.WithoutPast(t, m.Data)
		}
		_ = nc.PublishMsg(to)
	})
	if err != nil {
		t.Fatal(err)
	}
	return lags
}

// A logout by the provider ends a session whose names in the index are on its leader, though a replica does not have them yet.
func TestLogoutWithAReplicaOfTheIndexThatLags(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	lags := lagConsumers(t, connectedTo(t, nc), "sessions-index")
	s := startSite(t, p, nc, newKey(), laggingPlace)
	b := newBrowser(t, s)
	b.logIn()
	opened, err := s.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the index to be complete", func() bool { _, ok := opened.indexed.of(); return ok })
	lags.Store(true)
	if code := s.logOutBy(t, p.sign(p.key, logoutClaims(func(map[string]any) {}))); code != http.StatusOK || !s.ended(t, b) {
		t.Errorf("status %d, session ended: %t; want 200 and true", code, s.ended(t, b))
	}
}

// The list of the leader has names of sessions that have ended too. A later logout of the person writes nothing for those.
func TestLogoutLeavesEndedSessionsAlone(t *testing.T) {
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "")
	last := func() uint64 {
		t.Helper()
		state, err := s.stateOf(t.Context(), "sessions")
		if err != nil {
			t.Fatal(err)
		}
		return state.last
	}
	var writes []uint64 // to the sessions' bucket, of each logout
	for range 2 {
		b := newBrowser(t, s)
		b.logIn()
		before := last()
		if code := s.logOutBy(t, p.sign(p.key, logoutClaims(func(map[string]any) {}))); code != http.StatusOK || !s.ended(t, b) {
			t.Fatalf("status %d, session ended: %t; want 200 and true", code, s.ended(t, b))
		}
		writes = append(writes, last()-before)
	}
	if writes[1] != writes[0] {
		t.Errorf("each logout ends one session; the first writes %d entries, the second %d", writes[0], writes[1])
	}
}

// The names in the index are written anew by a consumer on a replica that lags. The index does not count as complete before the
// consumer has read what the leader has.
func TestIndexWrittenAnewFromAReplicaThatLags(t *testing.T) {
	nc, p, key := startServer(t), newProvider(t), newKey()
	before := startSite(t, p, connectedTo(t, nc), key, "")
	b := newBrowser(t, before)
	b.logIn()
	if err := before.source.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mustJetStream(t, nc).DeleteKeyValue(t.Context(), "sessions-index"); err != nil {
		t.Fatal(err)
	}
	lags := lagConsumers(t, connectedTo(t, nc), "sessions")
	lags.Store(true)
	s := startSite(t, p, nc, key, laggingPlace)
	logOut := func() int { return s.logOutBy(t, p.sign(p.key, logoutClaims(func(map[string]any) {}))) }
	if code := logOut(); code != http.StatusServiceUnavailable {
		t.Errorf("a logout while the replica lags has status %d, want 503", code)
	}
	lags.Store(false)
	harnessWait(t, 3*timeout, "a logout that is carried out", func() bool { return logOut() == http.StatusOK })
	if _, err := s.find(t, session.Cookie, b.cookie()); err == nil {
		t.Error("the logout was answered with 200, and the session lives")
	}
}

// If the last messages of the sessions' bucket were removed, the index is complete without them.
func TestIndexWrittenAnewWithoutTheLastMessage(t *testing.T) {
	nc, p, key := startServer(t), newProvider(t), newKey()
	before := startSite(t, p, connectedTo(t, nc), key, "")
	b := newBrowser(t, before)
	b.logIn()
	removed := newBrowser(t, before)
	removed.logIn()
	if err := before.source.Close(); err != nil {
		t.Fatal(err)
	}
	js := mustJetStream(t, nc)
	stream, err := js.Stream(t.Context(), streamOf("sessions"))
	if err == nil {
		err = stream.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.sessions."+hashed(removed.cookie())))
	}
	if err == nil {
		err = js.DeleteKeyValue(t.Context(), "sessions-index")
	}
	if err != nil {
		t.Fatal(err)
	}
	s := startSite(t, p, connectedTo(t, nc), key, "")
	eventually(t, "a logout that is carried out", func() bool {
		return s.logOutBy(t, p.sign(p.key, logoutClaims(func(map[string]any) {}))) == http.StatusOK
	})
	if !s.ended(t, b) {
		t.Error("the logout was answered with 200, and the session lives")
	}
}
