package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
)

// cached returns a source behind a cache that keeps entries for long.
func cached(t *testing.T, nc *nats.Conn, cfg Config) (*session.Lookup, *Source, *changes) {
	t.Helper()
	cfg.Settings = session.Defaults()
	cfg.Name, cfg.Cache, cfg.NegativeCache = "kv", time.Hour, time.Hour
	cfg.template = mustTemplate(t, "")
	c := &changes{seen: map[string]bool{}}
	var lookup *session.Lookup
	ready := make(chan struct{})
	opened, err := cfg.Open(t.Context(), session.Env{
		Log:     slog.New(slog.NewTextHandler(c, nil)),
		Connect: func(string) (*nats.Conn, error) { return nc, nil },
		Changed: func(change session.Change) {
			<-ready
			lookup.Forget(change.Key)
			c.changed(change)
		},
		Lost: func(string) { <-ready; lookup.ForgetAll() },
	})
	if err != nil {
		t.Fatal(err)
	}
	lookup = session.NewLookup(opened, cfg.Settings)
	close(ready)
	t.Cleanup(func() { _ = lookup.Close() })
	return lookup, opened.(*Source), c
}

func ask(t *testing.T, l *session.Lookup, id string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	_, err := l.Find(ctx, cookie(id))
	return err
}

// isCached waits until the session is cached.
func isCached(t *testing.T, l *session.Lookup, id string) {
	t.Helper()
	eventually(t, "cache "+id, func() error {
		if err := ask(t, l, id); err != nil {
			return err
		}
		if known, _ := l.Cached(cookie(id)); !known {
			return errors.New("it is not cached")
		}
		return nil
	})
}

func ends(t *testing.T, l *session.Lookup, id string) {
	t.Helper()
	eventually(t, "end of "+id, func() error {
		if err := ask(t, l, id); !errors.Is(err, session.ErrUnknown) {
			return errors.New("it is accepted")
		}
		return nil
	})
}

func stream(t *testing.T, nc *nats.Conn) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "KV_sessions")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRemovedUnseen: if an entry is removed without a marker, consumers are not told. The session is not accepted from the
// cache.
func TestRemovedUnseen(t *testing.T) {
	for name, remove := range map[string]func(t *testing.T, s jetstream.Stream, bucket jetstream.KeyValue){
		"purge of the stream": func(t *testing.T, s jetstream.Stream, _ jetstream.KeyValue) {
			if err := s.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"purge of the subject": func(t *testing.T, s jetstream.Stream, _ jetstream.KeyValue) {
			if err := s.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.sessions.a")); err != nil {
				t.Fatal(err)
			}
		},
		"purge, and another login": func(t *testing.T, s jetstream.Stream, bucket jetstream.KeyValue) {
			if err := s.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.sessions.a")); err != nil {
				t.Fatal(err)
			}
			put(t, bucket, "other", `{}`)
			put(t, bucket, "another", `{}`)
		},
		"deletion of the message": func(t *testing.T, s jetstream.Stream, bucket jetstream.KeyValue) {
			entry, err := bucket.Get(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.DeleteMsg(t.Context(), entry.Revision()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			nc := connect(t, startServer(t, t.TempDir(), -1))
			createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			// A stream may allow that messages are deleted by number. Streams of KV do not.
			cfg := stream(t, nc).CachedInfo().Config
			if err := js.DeleteStream(t.Context(), "KV_sessions"); err != nil {
				t.Fatal(err)
			}
			cfg.DenyDelete = false
			if _, err := js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			bucket, err := js.KeyValue(t.Context(), "sessions")
			if err != nil {
				t.Fatal(err)
			}
			put(t, bucket, "a", `{}`)
			l, _, _ := cached(t, nc, Config{Bucket: "sessions"})
			isCached(t, l, "a")
			remove(t, stream(t, nc), bucket)
			ends(t, l, "a")
		})
	}
}

// TestAnotherBucket: nothing that was found in a bucket is used after the bucket was replaced by another one of the same name.
func TestAnotherBucket(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	cfg := jetstream.KeyValueConfig{Bucket: "sessions"}
	put(t, createBucket(t, nc, cfg), "a", `{}`)
	l, _, _ := cached(t, nc, Config{Bucket: "sessions"})
	isCached(t, l, "a")
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), "sessions"); err != nil {
		t.Fatal(err)
	}
	put(t, createBucket(t, nc, cfg), "b", `{}`)
	ends(t, l, "a")
	isCached(t, l, "b")
}

// TestNoConsumer: without a watch nothing is cached, but sessions are found.
func TestNoConsumer(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	cfg := stream(t, nc).CachedInfo().Config
	if err := js.DeleteStream(t.Context(), "KV_sessions"); err != nil {
		t.Fatal(err)
	}
	cfg.MaxConsumers = 1
	full, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := full.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "taken"}); err != nil {
		t.Fatal(err)
	}
	bucket, err := js.KeyValue(t.Context(), "sessions")
	if err != nil {
		t.Fatal(err)
	}
	put(t, bucket, "a", `{}`)
	l, s, c := cached(t, nc, Config{Bucket: "sessions"})
	eventually(t, "warning", func() error {
		if !strings.Contains(c.text(), "maximum consumers") {
			return errors.New(c.text())
		}
		return nil
	})
	for range 3 {
		if err := ask(t, l, "a"); err != nil {
			t.Fatal(err)
		}
		if known, _ := l.Cached(cookie("a")); known || s.Live() {
			t.Fatal("a session is cached, though the bucket cannot be watched")
		}
	}
	if err := bucket.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := ask(t, l, "a"); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("expected ErrUnknown after the session's end; found %v", err)
	}
	if err := full.DeleteConsumer(t.Context(), "taken"); err != nil {
		t.Fatal(err)
	}
	put(t, bucket, "b", `{}`)
	isCached(t, l, "b")
}

// TestCacheStays: sessions stay cached while new sessions begin.
func TestCacheStays(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	put(t, bucket, "a", `{}`)
	l, s, _ := cached(t, nc, Config{Bucket: "sessions"})
	isCached(t, l, "a")
	before := s.confirmed.Load()
	for i := range 3 {
		put(t, bucket, "new"+string(rune('a'+i)), `{}`)
	}
	eventually(t, "two checks", func() error {
		if s.confirmed.Load()-before < int64(2*checkEvery) {
			return errors.New("not yet")
		}
		return nil
	})
	if known, _ := l.Cached(cookie("a")); !known {
		t.Error("the session is not cached any more")
	}
}

// TestLookupError: the log and LookupError say what is wrong with a bucket, and what to do.
func TestLookupError(t *testing.T) {
	none := sourcetest.Server(t, &natsserver.Options{Host: "127.0.0.1", Port: -1})
	accounts := sourcetest.ServerOf(t, `
		listen: "127.0.0.1:-1"
		jetstream { store_dir: "`+t.TempDir()+`" }
		accounts {
			WITH { jetstream: enabled, users: [{user: with, password: p}] }
			WITHOUT { users: [{user: without, password: p}] }
		}`)
	dial := func(user string) *nats.Conn {
		nc, err := nats.Connect(accounts.ClientURL(), nats.UserInfo(user, "p"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	for name, c := range map[string]struct {
		nc   *nats.Conn
		cfg  Config
		want []string
	}{
		"server without JetStream":  {connect(t, none), Config{}, []string{"no server answers", "$JS.API.STREAM.INFO.KV_sessions", "domain"}},
		"account without JetStream": {dial("without"), Config{Account: "WITHOUT"}, []string{`account "WITHOUT" has no JetStream`, "jetstream: enabled"}},
		"no bucket":                 {dial("with"), Config{Account: "WITH"}, []string{"there is no such bucket", "nats kv add sessions"}},
		"no such domain":            {dial("with"), Config{Place: Place{Domain: "hub"}}, []string{"no server answers", "$JS.hub.API.STREAM.INFO.KV_sessions"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Bucket = "sessions"
			s, seen := open(t, c.nc, c.cfg)
			eventually(t, "able", func() error {
				if s.LookupError() == nil {
					return errors.New("it is able")
				}
				return nil
			})
			_, asked := find(t, s, "a")
			for _, want := range append(c.want, "bucket sessions") {
				if got := s.LookupError().Error(); !strings.Contains(got, want) {
					t.Errorf("LookupError says %q, want %q", got, want)
				}
				if asked == nil || !strings.Contains(asked.Error(), want) || errors.Is(asked, session.ErrUnknown) {
					t.Errorf("Find returned error %v, want %q", asked, want)
				}
				if want == "bucket sessions" { // it is an attribute of its own there
					continue
				}
				eventually(t, "log of "+want, func() error {
					if log := strings.ReplaceAll(seen.text(), `\"`, `"`); !strings.Contains(log, want) {
						return errors.New(log)
					}
					return nil
				})
			}
		})
	}
	nc := dial("with")
	s, _ := open(t, nc, Config{Bucket: "sessions"})
	createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	eventually(t, "able", s.LookupError)
}

func leafPort(t *testing.T, s *natsserver.Server) int {
	t.Helper()
	varz, err := s.Varz(&natsserver.VarzOptions{})
	if err != nil || varz.LeafNode.Port <= 0 {
		t.Fatalf("no port for leaf nodes: %v", err)
	}
	return varz.LeafNode.Port
}

// TestDomain: the bucket is in the JetStream of a hub, and the handler is at a leaf node that has none.
func TestDomain(t *testing.T) {
	hub := sourcetest.ServerOf(t, `
		listen: "127.0.0.1:-1", server_name: hub
		jetstream { store_dir: "`+t.TempDir()+`", domain: hub }
		leafnodes { listen: "127.0.0.1:-1" }`)
	leaf := sourcetest.ServerOf(t, fmt.Sprintf(`
		listen: "127.0.0.1:-1", server_name: leaf
		leafnodes { remotes: [{ url: "nats-leaf://127.0.0.1:%d" }] }`, leafPort(t, hub)))
	bucket := createBucket(t, connect(t, hub), jetstream.KeyValueConfig{Bucket: "sessions"})
	put(t, bucket, "a", `{"user":"alice"}`)
	for _, place := range []Place{{Domain: "hub"}, {APIPrefix: "$JS.hub.API"}} {
		s, c := open(t, connect(t, leaf), Config{Bucket: "sessions", Place: place})
		eventually(t, "find", func() error { _, err := find(t, s, "a"); return err })
		eventually(t, "watch", func() error {
			if !s.Live() {
				return fmt.Errorf("not watched: %v", s.LookupError())
			}
			return nil
		})
		put(t, bucket, "b", `{}`)
		c.wait(t, "b", false)
		if err := bucket.Delete(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		c.wait(t, "b", true)
	}
	s, _ := open(t, connect(t, leaf), Config{Bucket: "sessions"})
	if _, err := find(t, s, "a"); err == nil || errors.Is(err, session.ErrUnknown) {
		t.Errorf("without the domain: %v; want that it cannot tell", err)
	}
}
