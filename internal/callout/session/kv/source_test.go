package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
	"stamp/internal/callout/session/internal/stored"
)

const timeout = 20 * time.Second

func mustTemplate(t testing.TB, text string) stored.Template {
	t.Helper()
	if text == "" {
		text = stored.CredentialKey
	}
	template, err := stored.ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// startServer runs a server with JetStream in dir; port -1 is any.
func startServer(t testing.TB, dir string, port int) *natsserver.Server {
	t.Helper()
	return sourcetest.Server(t, &natsserver.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir})
}

func connect(t testing.TB, s *natsserver.Server) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func createBucket(t testing.TB, nc *nats.Conn, cfg jetstream.KeyValueConfig) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var bucket jetstream.KeyValue
	eventually(t, "create the bucket", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		bucket, err = js.CreateKeyValue(ctx, cfg)
		return err
	})
	return bucket
}

// eventually waits until f returns nil.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("waited in vain for %s: %v", what, err)
}

// changes are what a source reported.
type changes struct {
	mu   sync.Mutex
	seen map[string]bool // key: the last was a deletion
	log  bytes.Buffer
}

func (c *changes) changed(change session.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[change.Key] = change.Deleted
}

func (c *changes) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Write(p)
}

func (c *changes) has(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.seen[SessionKey(key)]
	return ok
}

func (c *changes) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

func (c *changes) wait(t testing.TB, key string, deleted bool) {
	t.Helper()
	eventually(t, "change of "+key, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if got, ok := c.seen[SessionKey(key)]; !ok || got != deleted {
			return fmt.Errorf("seen %v, deleted %v; want deleted %v", ok, got, deleted)
		}
		return nil
	})
}

func open(t testing.TB, nc *nats.Conn, cfg Config) (*Source, *changes) {
	t.Helper()
	if cfg.Settings.Timeout == 0 {
		cfg.Settings = session.Defaults()
		cfg.Name = "kv"
	}
	cfg.template = mustTemplate(t, cfg.Key)
	c := &changes{seen: map[string]bool{}}
	s, err := cfg.Open(t.Context(), session.Env{
		Log:     slog.New(slog.NewTextHandler(c, nil)),
		Connect: func(string) (*nats.Conn, error) { return nc, nil },
		Changed: c.changed,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	eventually(t, "the first look for the bucket", func() error {
		if err := s.(*Source).LookupError(); errors.Is(err, errOpening) {
			return err
		}
		return nil
	})
	return s.(*Source), c
}

func find(t testing.TB, s *Source, credential string) (*session.Session, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return s.Find(ctx, cookie(credential))
}

func cookie(value string) *session.Request {
	return &session.Request{Credential: session.Credential{Kind: session.Cookie, Value: value}}
}

func put(t testing.TB, bucket jetstream.KeyValue, key, value string) {
	t.Helper()
	if _, err := bucket.PutString(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	s, _ := open(t, nc, Config{Bucket: "sessions", Expires: "expires"})
	future := time.Now().Add(time.Hour).Truncate(time.Second)
	for key, value := range map[string]string{
		"plain":    `{"user":"alice","roles":["a"],"n":1.5}`,
		"unix":     fmt.Sprintf(`{"expires":%d}`, future.Unix()),
		"rfc":      `{"expires":"` + future.UTC().Format(time.RFC3339) + `"}`,
		"null":     `{"expires":null}`,
		"past":     `{"expires":1000000000}`,
		"zero":     `{"expires":0}`,
		"longago":  `{"expires":"0001-01-01T00:00:00Z"}`,
		"millis":   fmt.Sprintf(`{"expires":%d}`, future.UnixMilli()),
		"badtime":  `{"expires":"s3cret tomorrow"}`,
		"array":    `["s3cret"]`,
		"jsonnull": `null`,
		"broken":   `{"user": s3cret`,
		"trailing": `{"user":"s3cret"}{}`,
		"empty":    ``,
		"deleted":  `{}`, "purged": `{}`,
	} {
		put(t, bucket, key, value)
	}
	if bucket.Delete(t.Context(), "deleted") != nil || bucket.Purge(t.Context(), "purged") != nil {
		t.Fatal("the keys of this test could not be deleted")
	}
	const known, unknown, unsure = 0, 1, 2
	for key, want := range map[string]int{
		"plain": known, "unix": known, "rfc": known, "null": known,
		"past": unknown, "zero": unknown, "longago": unknown, "deleted": unknown, "purged": unknown, "absent": unknown, "*": unknown, ">": unknown, "": unknown, "plain.": unknown,
		"millis": unsure, "badtime": unsure, "array": unsure, "jsonnull": unsure, "broken": unsure, "trailing": unsure, "empty": unsure,
	} {
		found, err := find(t, s, key)
		got := unsure
		switch {
		case err == nil:
			got = known
		case errors.Is(err, session.ErrUnknown):
			got = unknown
		}
		if got != want {
			t.Errorf("key %s: found %v, error %v; want outcome %d", key, found, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error holds the content: %v", key, err)
		}
		if key == "unix" || key == "rfc" {
			if err == nil && !found.Expires.Equal(future) {
				t.Errorf("key %s: expires %v, want %v", key, found.Expires, future)
			}
		}
		if key == "plain" && err == nil {
			if found.Data["user"] != "alice" || found.Data["n"] != 1.5 || !found.Expires.IsZero() || found.Key != SessionKey("plain") {
				t.Errorf("expected the session of key plain, without an end; found %+v", found)
			}
		}
	}
}

func TestFindHashed(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions"})
	s, _ := open(t, nc, Config{Bucket: "sessions", Key: "web.{{ credential }}", Hash: SHA256})
	key, _ := KeyOf("web.{{ credential }}", SHA256, "any cookie; at all")
	put(t, bucket, key, `{"user":"alice"}`)
	if found, err := find(t, s, "any cookie; at all"); err != nil || found.Data["user"] != "alice" || found.Key != SessionKey(key) {
		t.Errorf("expected the session of alice by the hashed key; found %v, error %v", found, err)
	}
	// The name of the entry is no credential.
	if _, err := find(t, s, strings.TrimPrefix(key, "web.")); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("by its hash: %v; want it unknown", err)
	}
}

func TestTTL(t *testing.T) {
	nc := connect(t, startServer(t, t.TempDir(), -1))
	bucket := createBucket(t, nc, jetstream.KeyValueConfig{Bucket: "sessions", TTL: time.Hour, LimitMarkerTTL: time.Minute})
	s, c := open(t, nc, Config{Bucket: "sessions", Expires: "expires"})
	put(t, bucket, "whole", `{}`)
	for key, value := range map[string]string{"short": `{}`, "early": fmt.Sprintf(`{"expires":%d}`, time.Now().Add(30*time.Second).Unix())} {
		if _, err := bucket.Create(t.Context(), key, []byte(value), jetstream.KeyTTL(10*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]time.Duration{"whole": time.Hour, "short": 10 * time.Minute, "early": 30 * time.Second} {
		found, err := find(t, s, key)
		if err != nil {
			t.Fatalf("key %s: %v", key, err)
		}
		if left := time.Until(found.Expires); left > want || left < want-timeout {
			t.Errorf("%s: %v left; want at most %v", key, left, want)
		}
	}
	if _, err := bucket.Create(t.Context(), "brief", []byte(`{}`), jetstream.KeyTTL(time.Second)); err != nil {
		t.Fatal(err)
	}
	c.wait(t, "brief", true) // the mark that the server leaves
	if _, err := find(t, s, "brief"); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("after its TTL: %v; want it unknown", err)
	}
}

func TestEntryTTL(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "never": 0, "Never": 0, "60": time.Minute, "1h": time.Hour, "1.5s": time.Second, "x": -1, "-1": -1, "-1s": -1,
	} {
		got, err := entryTTL(nats.Header{jetstream.MsgTTLHeader: {text}})
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("the TTL header %q gives %v, want %v", text, got, want)
		}
	}
}
