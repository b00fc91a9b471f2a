package login

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
)

// lastOfIndex returns the number of the last message in the bucket beside the sessions, which says how often that was written
// to.
func (s *site) lastOfIndex(t *testing.T) uint64 {
	t.Helper()
	state, err := s.stateOf(t.Context(), s.cfg.indexBucket())
	if err != nil {
		t.Fatal(err)
	}
	return state.last
}

// keep stores sessions whose access tokens have ended.
func (s *site) keep(t *testing.T, sessions int) {
	t.Helper()
	st, err := s.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range sessions {
		e := &entry{
			Claims: map[string]any{"sub": "alice", "iss": s.provider.URL, "aud": "app"}, Subject: "alice", AccessToken: "x", RefreshToken: fmt.Sprint("r", i),
			AccessExpires: time.Now().Unix(), Expires: time.Now().Add(time.Hour).Unix(),
		}
		if _, err := st.create(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// While the provider accepts requests for tokens and does not answer, the sessions that have to wait cause no requests to the
// buckets, however many they are.
func TestSilentTokenEndpointSparesTheBuckets(t *testing.T) {
	t.Parallel()
	writes := func(sessions int) uint64 {
		nc, p := startServer(t), newProvider(t)
		s := startSite(t, p, nc, newKey(), "provider_timeout: 1s")
		p.hang(t, "/token")
		s.keep(t, sessions)
		harnessWait(t, 2*timeout, "a failure for all", func() bool { return s.gate.Wait() > 0 })
		before, asked := s.lastOfIndex(t), p.count("/token")
		harnessWait(t, 4*timeout, "two more requests", func() bool { return p.count("/token") >= asked+2 })
		return s.lastOfIndex(t) - before
	}
	few, many := writes(50), writes(400)
	if many > 2*few+40 {
		t.Errorf("%d writes for 50 sessions that wait, %d for 400", few, many)
	}
}

// If the bucket for the leases takes no entries, no session is refreshed. The log, the metric and /readyz say so until the
// bucket takes entries again.
func TestIndexThatTakesNothing(t *testing.T) {
	t.Parallel()
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "refresh_before: 5s")
	p.set(func() { p.life = 2 * time.Second })
	b := newBrowser(t, s)
	b.logIn()
	limit := func(size int64) {
		stream, err := s.js.Stream(t.Context(), "KV_sessions-index")
		if err != nil {
			t.Fatal(err)
		}
		config := stream.CachedInfo().Config
		config.MaxBytes = size
		if _, err := s.js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	eventually(t, "a line, the metric and /readyz", func() bool {
		return strings.Contains(s.text(), "level=ERROR") && strings.Contains(s.text(), "sessions-index") && s.metrics.refreshFailures.Get() > 0 && s.LookupError() != nil
	})
	if p.refreshes() != 0 {
		t.Errorf("%d refreshes were sent without a lease, want none", p.refreshes())
	}
	limit(-1)
	harnessWait(t, 3*timeout, "a refresh", func() bool { return p.refreshes() > 0 && s.LookupError() == nil })
}

// If a bucket is gone, and the handler's user may not make it again, /readyz says so for as long as it is missing.
func TestIndexThatMayNotBeMade(t *testing.T) {
	t.Parallel()
	server := sourcetest.ServerOf(t, fmt.Sprintf(`
		listen: "127.0.0.1:-1", jetstream { store_dir: %q }
		accounts { A { jetstream: enabled, users: [ {user: admin, password: a}, {user: h, password: h, permissions { publish { deny: ["$JS.API.STREAM.CREATE.>"] } } } ] } }`, t.TempDir()))
	as := func(user, password string) *nats.Conn {
		nc, err := nats.Connect(server.ClientURL(), nats.UserInfo(user, password))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	js, err := jetstream.New(as("admin", "a"))
	if err != nil {
		t.Fatal(err)
	}
	create := func(bucket string) {
		if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, TTL: 24 * time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	create("sessions")
	create("sessions-index")
	p := newProvider(t)
	s := startSite(t, p, as("h", "h"), newKey(), "timeout: 1s")
	b := newBrowser(t, s)
	b.logIn()
	if err := js.DeleteKeyValue(t.Context(), "sessions-index"); err != nil {
		t.Fatal(err)
	}
	harnessWait(t, 2*timeout, "an error", func() bool { return s.LookupError() != nil && strings.Contains(s.text(), "level=ERROR") })
	create("sessions-index")
	eventually(t, "that it is well again", func() bool { return s.LookupError() == nil })
	eventually(t, "a logout by the provider", func() bool {
		return s.logOutBy(t, p.sign(p.key, logoutClaims(func(map[string]any) {}))) == 200 && s.ended(t, b)
	})
}

// If the bucket by which a logout finds sessions is lost, it is written anew from the sessions. Until that is done, a logout
// token is not answered as if there was nothing to end. A used ticket stays used.
func TestLogoutAfterTheIndexWasLost(t *testing.T) {
	for name, anew := range map[string]bool{"gone": false, "made by another": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, p := startServer(t), newProvider(t)
			s := startSite(t, p, nc, newKey(), "ticket: 60s")
			b := newBrowser(t, s)
			b.logIn()
			used, err := s.cfg.own.newTicket(hashed(b.cookie()), "", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			ticket := session.Credential{Kind: session.Token, Value: used}
			if err := s.connect(t, ticket, 1); err != nil {
				t.Fatal(err)
			}
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			if err := js.DeleteKeyValue(t.Context(), "sessions-index"); err != nil {
				t.Fatal(err)
			}
			if anew {
				if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sessions-index", TTL: 24 * time.Hour}); err != nil {
					t.Fatal(err)
				}
			}
			token := p.sign(p.key, logoutClaims(func(map[string]any) {}))
			eventually(t, "an answer of success", func() bool { return s.logOutBy(t, token) == 200 })
			if !s.ended(t, b) {
				t.Error("the logout token is answered with success, and the session lives")
			}
			b.logIn()
			if err := s.connect(t, ticket, 2); err == nil {
				t.Error("a used ticket opens another connection")
			}
			fresh, err := s.cfg.own.newTicket(hashed(b.cookie()), "", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.connect(t, session.Credential{Kind: session.Token, Value: fresh}, 3); err != nil {
				t.Errorf("a new ticket was refused: %v", err)
			}
		})
	}
}

// If the bucket that notes used tickets is lost, they stay used.
func TestUsedTicketsAfterTheIndexWasLost(t *testing.T) {
	t.Parallel()
	nc, p := startServer(t), newProvider(t)
	s := startSite(t, p, nc, newKey(), "ticket: 60s")
	b := newBrowser(t, s)
	b.logIn()
	ticket := func() session.Credential {
		t.Helper()
		text, err := s.cfg.own.newTicket(hashed(b.cookie()), "", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return session.Credential{Kind: session.Token, Value: text}
	}
	first, second := ticket(), ticket()
	for conn, used := range []session.Credential{first, second} {
		if err := s.connect(t, used, uint64(conn)); err != nil {
			t.Fatal(err)
		}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), "sessions-index"); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sessions-index", TTL: 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := s.connect(t, first, 7); err == nil {
		t.Error("a used ticket opens another connection")
	}
	// A ticket from the same millisecond as the new bucket may be older than the bucket.
	now, err := s.stateOf(t.Context(), s.cfg.indexBucket())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next millisecond", func() bool { return time.Now().UnixMilli() > now.created.UnixMilli() })
	if err := s.connect(t, ticket(), 8); err != nil {
		t.Errorf("a new ticket was refused: %v", err)
	}
	if err := s.connect(t, second, 9); err == nil {
		t.Error("a used ticket opens another connection, after a new one was used")
	}
}
