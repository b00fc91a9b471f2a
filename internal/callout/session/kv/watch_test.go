package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
)

func TestChanges(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	put(t, bucket, "before", `{}`)
	_, c := open(t, nc, Config{Bucket: "sessions"})
	put(t, bucket, "a", `{}`)
	put(t, bucket, "deep.er", `{}`)
	c.wait(t, "a", false)
	c.wait(t, "deep.er", false)
	if err := bucket.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := bucket.Purge(t.Context(), "deep.er"); err != nil {
		t.Fatal(err)
	}
	c.wait(t, "a", true)
	c.wait(t, "deep.er", true)
	put(t, bucket, "a", `{}`)
	c.wait(t, "a", false)
	if c.has("before") {
		t.Error("the source reported entries from before its start")
	}
}

// TestBucketLater: the application may make the bucket after the handler has started.
func TestBucketLater(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	attempts, err := nc.SubscribeSync("$JS.API.STREAM.INFO.KV_sessions")
	if err != nil {
		t.Fatal(err)
	}
	s, c := open(t, nc, Config{Bucket: "sessions"})
	if _, err := find(t, s, "a"); err == nil || errors.Is(err, session.ErrUnknown) {
		t.Errorf("without a bucket: %v; want that it cannot tell", err)
	}
	for range 4 {
		if _, err := attempts.NextMsg(timeout); err != nil {
			t.Fatal(err)
		}
	}
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	put(t, bucket, "a", `{}`)
	eventually(t, "find", func() error { _, err := find(t, s, "a"); return err })
	if err := bucket.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	c.wait(t, "a", true)
	if n := strings.Count(c.text(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings; want 1, however long it takes:\n%s", n, c.text())
	}
}

// Servers that start together answer requests to JetStream only when all of them listen. If a source waited for an answer, its
// own server would not listen.
func TestOpenWaitsForNothing(t *testing.T) {
	nc := connect(t, silentServer(t))
	cfg := Config{Bucket: "sessions", Settings: session.Defaults()}
	cfg.Timeout = time.Hour
	cfg.template = mustTemplate(t, cfg.Key)
	opened := make(chan session.Source, 1)
	go func() {
		s, err := cfg.Open(t.Context(), session.Env{
			Log: slog.New(slog.DiscardHandler), Connect: func(string) (*nats.Conn, error) { return nc, nil },
		})
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	select {
	case s := <-opened:
		if err := s.(*Source).LookupError(); err == nil {
			t.Error("LookupError returns nil before the bucket is found")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	case <-time.After(timeout):
		t.Fatal("Open waits for the bucket")
	}
}

// silentServer accepts requests to JetStream, and answers none.
func silentServer(t *testing.T) *natsserver.Server {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	if _, err := connect(t, s).Subscribe("$JS.API.>", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	return s
}

func connectAs(t *testing.T, server *natsserver.Server, user string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(server.ClientURL(), nats.UserInfo(user, user))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// If a bucket can be read but not watched, the source says so, since logouts would close nothing. It does not use its cache.
func TestReadAndNotWatched(t *testing.T) {
	for name, deny := range map[string]string{
		"no consumer":              "$JS.API.CONSUMER.CREATE.>",
		"a consumer that is empty": "$JS.API.CONSUMER.MSG.NEXT.>",
	} {
		t.Run(name, func(t *testing.T) {
			server := sourcetest.Server(t, &natsserver.Options{
				Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(),
				Users: []*natsserver.User{
					{Username: "all", Password: "all"},
					{Username: "some", Password: "some", Permissions: &natsserver.Permissions{Publish: &natsserver.SubjectPermission{Deny: []string{deny}}}},
				},
			})
			bucket := createBucket(t, connectAs(t, server, "all"), jetstream.KeyValueConfig{Bucket: "sessions"})
			put(t, bucket, "a", `{}`)
			nc := connectAs(t, server, "some")
			s, _ := open(t, nc, Config{Bucket: "sessions"})
			eventually(t, "it is told", func() error {
				if s.WatchError() == nil {
					return errors.New("it is not")
				}
				return nil
			})
			if s.Live() {
				t.Error("the source is live, though its bucket cannot be watched")
			}
			if _, err := find(t, s, "a"); err != nil {
				t.Errorf("the bucket cannot be read: %v", err)
			}
			if err := s.LookupError(); err != nil {
				t.Errorf("LookupError after sessions were found: %v", err)
			}
		})
	}
}

// TestBucketReplaced: another bucket of the same name begins at revision 1.
func TestBucketReplaced(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	cfg := jetstream.KeyValueConfig{Bucket: "sessions"}
	bucket := createBucket(t, nc, cfg)
	s, c := open(t, nc, Config{Bucket: "sessions"})
	for i := range 10 {
		put(t, bucket, "a", fmt.Sprintf(`{"n":%d}`, i))
	}
	c.wait(t, "a", false)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), "sessions"); err != nil {
		t.Fatal(err)
	}
	bucket = createBucket(t, nc, cfg)
	put(t, bucket, "a", `{"n":"new"}`)
	put(t, bucket, "b", `{}`)
	c.wait(t, "b", false)
	eventually(t, "find in the new bucket", func() error {
		found, err := find(t, s, "a")
		if err == nil && found.Data["n"] != "new" {
			t.Fatalf("the session has the data %v, which is not the new bucket's", found.Data)
		}
		return err
	})
}

// TestServerRestart: a deletion that happened while the connection was gone is reported when it is back, and the watch goes on.
func TestServerRestart(t *testing.T) {
	dir := t.TempDir()
	server := startServer(t, dir, -1)
	_, port, err := net.SplitHostPort(server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	nc := connect(t, server)
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	put(t, bucket, "a", `{}`)
	put(t, bucket, "b", `{}`)
	s, c := open(t, nc, Config{Bucket: "sessions"})
	if err := bucket.Delete(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	c.wait(t, "b", true)

	server.Shutdown()
	server.WaitForShutdown()
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Find(brief, cookie("a")); err == nil || errors.Is(err, session.ErrUnknown) {
		t.Errorf("without a server: %v; want that it cannot tell", err)
	}
	deleteOffline(t, dir, "a")

	startServer(t, dir, number)
	c.wait(t, "a", true)
	eventually(t, "find", func() error {
		if _, err := find(t, s, "a"); !errors.Is(err, session.ErrUnknown) {
			return err
		}
		return nil
	})
	put(t, bucket, "c", `{}`)
	c.wait(t, "c", false)
	if log := c.text(); strings.Contains(log, "heartbeat") {
		t.Errorf("waited for heartbeats, which the new connection makes needless:\n%s", log)
	}
}

// deleteOffline deletes a key through a server that nobody else connects to.
func deleteOffline(t *testing.T, dir, key string) {
	t.Helper()
	server := startServer(t, dir, -1)
	nc := connect(t, server)
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.KeyValue(t.Context(), "sessions")
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	server.Shutdown()
	server.WaitForShutdown()
}

// TestBehind: a replica may give an answer that is older than a change that was reported. The source does not use that answer.
func TestBehind(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	s, c := open(t, nc, Config{Bucket: "sessions"})
	put(t, bucket, "a", `{}`)
	c.wait(t, "a", false)
	if _, err := find(t, s, "a"); err != nil {
		t.Fatal(err)
	}
	s.report(session.Change{Key: SessionKey("a"), Deleted: true, Revision: session.Revision{Sequence: 2}})
	if _, err := find(t, s, "a"); !errors.Is(err, errStale) {
		t.Errorf("found error %v, want %v", err, errStale)
	}
}

func TestClose(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	s, c := open(t, nc, Config{Bucket: "sessions"})
	put(t, bucket, "a", `{}`)
	c.wait(t, "a", false)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !nc.IsConnected() {
		t.Error("the connection is not the source's to close")
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "consumers", func() error {
		stream, err := js.Stream(t.Context(), "KV_sessions")
		if err == nil && stream.CachedInfo().State.Consumers != 0 {
			err = errors.New("the consumer is still there")
		}
		return err
	})
}

// The age of a change is counted by the server's clock.
func TestAgesOfChanges(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	s, _ := open(t, nc, Config{Bucket: "sessions"})
	put(t, bucket, "a", `{}`)
	entry, err := bucket.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b.clockAhead > 0 || b.clockAhead < -timeout {
		t.Errorf("the clock of a server on the same machine is %s ahead", b.clockAhead)
	}
	at := entry.Created()
	before := b.ago(at)
	if again := b.ago(at.Add(-time.Hour)); before > timeout || again-before < time.Hour {
		t.Errorf("%s, and an hour before that %s", before, again)
	}
	for _, clock := range []time.Duration{-time.Hour, math.MinInt64} {
		b.clockAhead = clock
		if got := b.ago(at); got != 0 {
			t.Errorf("our clock is ahead by %s: the age of the change is %s, want 0", clock, got)
		}
	}
}

// A source follows its bucket if it has seen all changes up to the check before. It does not while its watch is behind, has
// ended, or watches a bucket that is gone.
func TestFollows(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	s, c := open(t, nc, Config{Bucket: "sessions"})
	if _, ok := s.Follows(); ok {
		t.Error("the source follows a bucket that does not exist")
	}
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	follows := func() (bucket int64) {
		t.Helper()
		eventually(t, "follow the bucket", func() error {
			var ok bool
			if bucket, ok = s.Follows(); !ok {
				return errors.New("it does not follow")
			}
			return nil
		})
		return bucket
	}
	followed := follows()
	put(t, bucket, "a", `{}`)
	c.wait(t, "a", false)
	found, err := find(t, s, "a")
	if err != nil || found.Revision.Bucket != followed || found.Revision.Sequence != 1 {
		t.Errorf("%v: the revision is %+v, the bucket %d", err, found.Revision, followed)
	}
	b := *s.bucket.Load()
	b.lastRevision += 10
	s.noteCaughtUp(&b)
	if _, ok := s.Follows(); ok {
		t.Error("the source follows the bucket, though it has not seen changes from before the last check")
	}
	follows() // the next check sees that this was not so

	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), "sessions"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no longer follow", func() error {
		if _, ok := s.Follows(); ok {
			return errors.New("it follows a bucket that was deleted")
		}
		return nil
	})
	createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	if again := follows(); again == followed {
		t.Error("the new bucket passes for the one before")
	}
}
