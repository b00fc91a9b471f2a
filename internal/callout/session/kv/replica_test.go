package kv

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
)

// TestReplicaWithoutTheEntry: a replica that is behind may lack an entry that the watch has reported. Then the source cannot
// tell. If an entry was removed without a change that the watch reports, the session is unknown.
func TestReplicaWithoutTheEntry(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	var behind atomic.Bool
	behind.Store(true)
	_, err := nc.Subscribe("FAKE.API.>", func(m *nats.Msg) {
		to := nats.NewMsg("$JS" + strings.TrimPrefix(m.Subject, "FAKE"))
		to.Reply, to.Data, to.Header = m.Reply, m.Data, m.Header
		if behind.Load() && strings.Contains(m.Subject, ".DIRECT.GET.") {
			to = nats.NewMsg(m.Reply)
			to.Header = nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}
		}
		_ = nc.PublishMsg(to)
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Bucket: "sessions"}
	cfg.APIPrefix = "FAKE.API"
	s, c := open(t, nc, cfg)
	put(t, bucket, "a", `{}`)
	c.wait(t, "a", false)
	if _, err := find(t, s, "a"); !errors.Is(err, errStale) {
		t.Errorf("a replica without the entry: found error %v, want %v", err, errStale)
	}
	if _, err := find(t, s, "never"); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("an entry that never existed: expected ErrUnknown; found %v", err)
	}
	behind.Store(false)
	if _, err := find(t, s, "a"); err != nil {
		t.Errorf("a replica with the entry: %v", err)
	}
	if err := stream(t, nc).Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := find(t, s, "a"); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("after a purge of the stream: %v; want that it is unknown", err)
	}
}

// TestReplicaBehindAtTheStart: just after a start or a reload, a replica that is behind does not let in sessions that have
// ended shortly before. Changes from before the start are not reported.
func TestReplicaBehindAtTheStart(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	var behind atomic.Pointer[nats.Msg] // what the replica still has
	_, err := nc.Subscribe("FAKE.API.>", func(m *nats.Msg) {
		to := nats.NewMsg("$JS" + strings.TrimPrefix(m.Subject, "FAKE"))
		to.Reply, to.Data, to.Header = m.Reply, m.Data, m.Header
		if old := behind.Load(); old != nil && strings.HasSuffix(m.Subject, ".DIRECT.GET.KV_sessions.$KV.sessions.a") {
			to = nats.NewMsg(m.Reply)
			to.Header, to.Data = old.Header, old.Data
		}
		_ = nc.PublishMsg(to)
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, bucket, "a", `{}`)
	put(t, bucket, "b", `{}`)
	old, err := nc.Request("$JS.API.DIRECT.GET.KV_sessions.$KV.sessions.a", nil, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	behind.Store(old)
	if err := bucket.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Bucket: "sessions"}
	cfg.APIPrefix = "FAKE.API"
	s, c := open(t, nc, cfg)
	for range 3 {
		if _, err := find(t, s, "a"); !errors.Is(err, errStale) {
			t.Fatalf("a session that has ended: %v; want %v", err, errStale)
		}
	}
	if _, err := find(t, s, "b"); err != nil {
		t.Errorf("a session that lives was not found: %v", err)
	}
	put(t, bucket, "c", `{}`)
	c.wait(t, "c", false)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen) != 1 {
		t.Errorf("changes from before the start were reported: %v", c.seen)
	}
}

// TestReplicaBehindUnderTheWatch: just after a start, the watch and the look-ups are on a replica that is behind, or the watch
// fails. What has ended before is not let in, and what lives is.
func TestReplicaBehindUnderTheWatch(t *testing.T) {
	for _, watch := range []string{"on the replica", "refused"} {
		t.Run(watch, func(t *testing.T) {
			nc := connect(t, startServer(t, t.TempDir(), -1))
			bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
			put(t, bucket, "a", `{}`)
			put(t, bucket, "b", `{}`)
			old, err := nc.Request("$JS.API.DIRECT.GET.KV_sessions.$KV.sessions.a", nil, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if err := bucket.Delete(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			_, err = nc.Subscribe("FAKE.API.>", func(m *nats.Msg) {
				to := nats.NewMsg("$JS" + strings.TrimPrefix(m.Subject, "FAKE"))
				to.Reply, to.Data, to.Header = m.Reply, m.Data, m.Header
				switch {
				case strings.HasSuffix(m.Subject, ".DIRECT.GET.KV_sessions.$KV.sessions.a"):
					to = nats.NewMsg(m.Reply)
					to.Header, to.Data = old.Header, old.Data
				case strings.Contains(m.Subject, ".CONSUMER.CREATE.") && watch == "refused":
					to = nats.NewMsg(m.Reply)
					to.Data = []byte(`{"error":{"code":400,"err_code":10026,"description":"maximum consumers limit reached"}}`)
				case strings.Contains(m.Subject, ".CONSUMER.CREATE."):
					to.Data = sourcetest.WithoutPast(t, m.Data)
				}
				_ = nc.PublishMsg(to)
			})
			if err != nil {
				t.Fatal(err)
			}
			cfg := Config{Bucket: "sessions"}
			cfg.APIPrefix = "FAKE.API"
			s, _ := open(t, nc, cfg)
			for range 3 {
				if _, err := find(t, s, "a"); !errors.Is(err, session.ErrUnknown) {
					t.Fatalf("a session that has ended: %v; want that it is unknown", err)
				}
			}
			if _, err := find(t, s, "b"); err != nil {
				t.Errorf("a session that lives was not found: %v", err)
			}
		})
	}
}

// TestPastIsRead: soon after a start, look-ups no longer ask the leader: also if the bucket is empty, if its last message was
// removed, and if the last change is long ago.
func TestPastIsRead(t *testing.T) {
	for _, what := range []string{"entries", "empty", "emptied", "last removed"} {
		t.Run(what, func(t *testing.T) {
			nc := connect(t, startServer(t, t.TempDir(), -1))
			bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
			if what != "empty" {
				put(t, bucket, "a", `{}`)
				put(t, bucket, "b", `{}`)
			}
			var err error
			switch what {
			case "emptied":
				err = stream(t, nc).Purge(t.Context())
			case "last removed":
				err = stream(t, nc).Purge(t.Context(), jetstream.WithPurgeSubject("$KV.sessions.b"))
			}
			if err != nil {
				t.Fatal(err)
			}
			s, _ := open(t, nc, Config{Bucket: "sessions"})
			eventually(t, "the past to be read", func() error {
				if !s.past.isOpen() {
					return errors.New("it is not")
				}
				return nil
			})
		})
	}
	t.Run("long ago", func(t *testing.T) {
		nc := connect(t, startServer(t, t.TempDir(), -1))
		bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
		put(t, bucket, "a", `{}`)
		put(t, bucket, "b", `{}`)
		s, _ := open(t, nc, Config{Bucket: "sessions"})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := s.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.began = time.Now().Add(time.Hour)
		consumer, err := s.createConsumer(t.Context(), b, b.lastRevision)
		if err != nil {
			t.Fatal(err)
		}
		if n := consumer.CachedInfo().NumPending; n != 1 {
			t.Errorf("the watch reads %d entries from before it began, want 1: the last one", n)
		}
	})
}

// TestConfigurationChanges: a change of the bucket's configuration applies to its entries, also to cached ones.
func TestConfigurationChanges(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions", TTL: 24 * time.Hour})
	l, _, _ := cached(t, nc, Config{Bucket: "sessions"})
	put(t, bucket, "a", `{}`)
	isCached(t, l, "a")
	change := func(f func(*jetstream.StreamConfig)) {
		t.Helper()
		cfg := stream(t, nc).CachedInfo().Config
		f(&cfg)
		js, err := jetstream.New(nc)
		if err == nil {
			_, err = js.UpdateStream(t.Context(), cfg)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, age := range []time.Duration{time.Minute, time.Hour} {
		change(func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = age, time.Minute })
		eventually(t, "another TTL", func() error {
			found, err := l.Find(t.Context(), cookie("a"))
			if err != nil {
				return err
			}
			if left := time.Until(found.Expires); left > age || left < age-time.Minute {
				return fmt.Errorf("it ends in %s", left)
			}
			return nil
		})
	}
	change(func(c *jetstream.StreamConfig) { c.AllowDirect = false })
	put(t, bucket, "b", `{}`)
	eventually(t, "read without direct get", func() error { return ask(t, l, "b") })
}
