package login

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/sourcetest"
	"stamp/test/harness"
)

// The tests of this file have many sessions, and count what is read, sent and kept for them.

// fill writes entries of the usual size, which nobody can decrypt. Their headers say that they are due in an hour.
func fill(t testing.TB, nc *nats.Conn, c *Config, entries int) {
	t.Helper()
	var failed atomic.Pointer[error]
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4000), jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) { failed.Store(&err) }))
	if err != nil {
		t.Fatal(err)
	}
	st, err := openStore(t.Context(), js, c)
	if err != nil {
		t.Fatal(err)
	}
	// The buckets look as if they were older than these sessions.
	var streams [2]streamState
	for i, name := range st.buckets() {
		stream, err := js.Stream(t.Context(), streamOf(name))
		if err != nil {
			t.Fatal(err)
		}
		streams[i] = streamState{created: stream.CachedInfo().Created, last: stream.CachedInfo().State.LastSeq}
	}
	if err := st.markComplete(t.Context(), streams); err != nil {
		t.Fatal(err)
	}
	hint := timing{ends: time.Now().Add(time.Hour).Unix()}.hint(c.party())
	value := make([]byte, 900)
	rand.Read(value)
	for n := range entries {
		m := nats.NewMsg("$KV." + c.Bucket + "." + numbered(n))
		m.Data = value
		m.Header.Set(hintHeader, hint)
		if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		t.Fatal("the bucket is not filled in a minute")
	}
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
}

// states returns the states of the two buckets, or zero for one that is missing.
func (s *source) states(t testing.TB) (streams [2]streamState) {
	t.Helper()
	streams[0], _ = s.stateOf(t.Context(), s.cfg.Bucket)
	streams[1], _ = s.stateOf(t.Context(), s.cfg.indexBucket())
	return streams
}

// indexOf returns the index of a source that follows its bucket.
func (s *source) indexOf(t testing.TB) *dueIndex {
	t.Helper()
	state, err := s.stateOf(t.Context(), s.cfg.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	sharedIndexes.mu.Lock()
	defer sharedIndexes.mu.Unlock()
	if shared := sharedIndexes.of[s.cfg.indexName(state.created)]; shared != nil {
		return shared.dueIndex
	}
	return newDueIndex()
}

// connectedTo connects once more.
func connectedTo(t testing.TB, nc *nats.Conn, options ...nats.Option) *nats.Conn {
	t.Helper()
	other, err := nats.Connect(nc.ConnectedUrl(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	return other
}

// A source with a full bucket answers before it has read any of the bucket. In this test, the source may not even create the
// consumer that would read it.
func TestServesBeforeTheBucketIsRead(t *testing.T) {
	const entries = 50_000
	server := sourcetest.ServerOf(t, fmt.Sprintf(`
		listen: "127.0.0.1:-1", jetstream { store_dir: %q }
		accounts { A { jetstream: enabled, users: [ {user: admin, password: a}, {user: h, password: h, permissions { publish { deny: ["$JS.API.CONSUMER.>"] } } } ] } }`, t.TempDir()))
	admin, err := nats.Connect(server.ClientURL(), nats.UserInfo("admin", "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	p, key := newProvider(t), newKey()
	before := startSite(t, p, admin, key, "")
	fill(t, admin, before.cfg, entries)
	b := newBrowser(t, before)
	b.logIn()

	nc, err := nats.Connect(server.ClientURL(), nats.UserInfo("h", "h"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s := startSite(t, p, nc, key, "", `client_id: app`, `refresh_before: "59s", client_id: app`) // an index of its own
	if _, err := s.find(t, session.Cookie, b.cookie()); err != nil {
		t.Errorf("a session from before was not found: %v", err)
	}
	if body := s.asked(t, b.cookie()); !strings.Contains(body, `"authenticated":true`) {
		t.Errorf("expected /session to find the session; found %s", body)
	}
	newBrowser(t, s).logIn()
	if stats := nc.Stats(); stats.InMsgs > 100 || s.indexOf(t).length() != 0 {
		t.Errorf("the source got %d messages before its first answer, for %d entries", stats.InMsgs, entries)
	}
}

// The source learns what is due from the headers of entries: none is decrypted, or even sent. A reload with the same bucket
// reads nothing again, and the old handler may end at that time.
func TestIndexOfManySessions(t *testing.T) {
	const entries, header = 50_000, 600 // bytes of a message with its header and its subjects
	nc, p, key := startServer(t), newProvider(t), newKey()
	c, err := parse(t, config(p, "127.0.0.1:1", key, ""))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, nc, c, entries)
	first := connectedTo(t, nc)
	s := startSite(t, p, first, key, "")
	read := func(s *site, n int) func() bool { return func() bool { return s.indexOf(t).length() == n } }
	harnessWait(t, 6*timeout, "the index", read(s, entries))
	if each := first.Stats().InBytes / entries; each > header {
		t.Errorf("%d bytes for each entry; want the header alone", each)
	}
	if strings.Contains(s.text(), "cannot be refreshed") {
		t.Error("the source decrypted an entry to know when it is due")
	}

	// The watch of the bucket is told of the last ten seconds. Wait until none of the changes is that young.
	filled := time.Now()
	harnessWait(t, 2*timeout, "entries that are old", func() bool { return time.Since(filled) > 11*time.Second })
	second := connectedTo(t, nc)
	next := startSite(t, p, second, key, "")
	if err := s.source.Close(); err != nil { // perhaps before the next one follows the bucket
		t.Fatal(err)
	}
	newBrowser(t, next).logIn()
	eventually(t, "the session of a login", read(next, entries+1))
	if n := second.Stats().InMsgs; n > 300 {
		t.Errorf("the new source got %d messages after the reload, for %d entries", n, entries)
	}

	// With another refresh_before, other sessions are due, so the headers are read again.
	third := connectedTo(t, nc)
	other := startSite(t, p, third, key, `refresh_before: "2m"`)
	harnessWait(t, 6*timeout, "an index of its own", read(other, entries+1))
}

// Reloads while sessions are written remove nothing from the index: changes that the old source still applies are not taken for
// a sign that the bucket was restored. Each reload begins with the bucket's state, so the test writes as fast as it can.
func TestReloadsWhileSessionsAreWritten(t *testing.T) {
	const entries = 3000
	nc, p, key := startServer(t), newProvider(t), newKey()
	c, err := parse(t, config(p, "127.0.0.1:1", key, ""))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, nc, c, entries)
	s := startSite(t, p, connectedTo(t, nc), key, "")
	whole := func() bool { return s.indexOf(t).length() == entries }
	eventually(t, "the index", whole)
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writing := connectedTo(t, nc)
	hint := timing{ends: time.Now().Add(time.Hour).Unix()}.hint(c.party())
	writer.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			m := nats.NewMsg("$KV." + c.Bucket + "." + numbered(n%entries))
			m.Header.Set(hintHeader, hint)
			if _, err := writing.RequestMsgWithContext(ctx, m); err != nil {
				return
			}
		}
	})
	index := s.indexOf(t)
	seen := index.last()
	for range 6 {
		next := startSite(t, p, connectedTo(t, nc), key, "")
		eventually(t, "changes while both follow the bucket", func() bool { return next.indexOf(t).last() > seen+300 })
		if err := s.source.Close(); err != nil {
			t.Fatal(err)
		}
		s, seen = next, next.indexOf(t).last()
		eventually(t, "changes after the reload", func() bool { return s.indexOf(t).last() > seen+500 })
	}
	stop()
	writer.Wait()
	if !whole() || s.indexOf(t) != index {
		t.Errorf("%d of %d sessions are in the index; it is the first one: %t", s.indexOf(t).length(), entries, s.indexOf(t) == index)
	}
}

// A bucket that was restored from a backup has fewer changes than the index has seen, so the source reads all of it again.
func TestIndexOfARestoredBucket(t *testing.T) {
	first := shareIndex("restored")
	first.apply(change{sequence: 7, key: numbered(1), ends: 1, wait: time.Hour})
	second := shareIndex("restored")
	fresh := second.anew()
	if fresh.length() != 0 || fresh.last() != 0 || first.length() != 1 {
		t.Error("the index of the restored bucket is not empty, or another source has lost its own")
	}
	if other := shareIndex("restored"); other != fresh {
		t.Error("the next source got the index of the bucket before")
	} else {
		other.release()
	}
	first.release()
	fresh.release()
}

// due stores sessions whose tokens have to be refreshed now.
func (s *site) due(t *testing.T, sessions int) {
	t.Helper()
	s.provider.set(func() {
		for i := range sessions {
			s.provider.refresh[fmt.Sprint("r", i)] = true
		}
	})
	s.keep(t, sessions)
}

// However many handlers there are, each session that is due is refreshed once, even if a handler took its lease and died. The
// provider ends the session if it sees a refresh token twice.
func TestHandlersShareRefreshes(t *testing.T) {
	t.Parallel()
	const sessions = 90
	nc, p, key := startServer(t), newProvider(t), newKey()
	p.life = 10 * time.Minute
	release := p.hang(t, "/keys") // nobody refreshes before all are there
	// Different settings, so that each handler has an index of its own, as in a process of its own.
	var all []*site
	for i := range 4 {
		all = append(all, startSite(t, p, connectedTo(t, nc), key, fmt.Sprintf("refresh_before: %ds", 60+i)))
	}
	all[0].due(t, sessions)
	for _, s := range all {
		eventually(t, "an index", func() bool { return s.indexOf(t).length() == sessions })
	}
	st, err := all[0].opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// One handler has died some time ago, when it had the leases of ten sessions; another one dies now.
	keys, err := st.sessions.ListKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for key := range keys.Keys() {
		if taken++; taken > 10 {
			continue
		}
		if l, err := st.lease(t.Context(), key, time.Now().Add(-time.Hour), all[0].leaseTime()); l == nil || err != nil {
			t.Fatalf("no lease: error %v", err)
		}
	}
	if err := all[0].source.Close(); err != nil {
		t.Fatal(err)
	}
	release()
	p.heal()
	later := time.Now().Add(5 * time.Minute).Unix()
	for _, s := range all[1:] {
		harnessWait(t, 3*timeout, "all sessions to be due later", func() bool {
			x := s.indexOf(t)
			x.mu.Lock()
			defer x.mu.Unlock()
			return len(x.ordered) == sessions && int64(x.record(x.ordered[0]).ends) > later
		})
	}
	if n := p.refreshes(); n != sessions {
		t.Errorf("%d refreshes were sent for %d sessions, want one for each", n, sessions)
	}
}

// The source sends as many refreshes at once as the setting permits, and begins with fewer. Sessions that wait have no
// goroutines.
func TestRefreshesAtOnce(t *testing.T) {
	t.Parallel()
	const sessions, most = 800, 24
	nc, p := startServer(t), newProvider(t)
	p.life = 10 * time.Minute
	s := startSite(t, p, nc, newKey(), fmt.Sprint("refreshes: ", most))
	var now, peak, first atomic.Int64
	p.intercept("/token", func(http.ResponseWriter, *http.Request) bool {
		n := now.Add(1)
		for before := peak.Load(); n > before && !peak.CompareAndSwap(before, n); before = peak.Load() {
		}
		if p.refreshes() == 0 {
			first.Store(max(first.Load(), n))
		}
		time.Sleep(30 * time.Millisecond) // the time that a provider takes
		now.Add(-1)
		return false
	})
	s.due(t, sessions)
	harnessWait(t, 6*timeout, "all refreshes", func() bool { return p.refreshes() == sessions })
	if n := peak.Load(); n > most || n <= atOnce {
		t.Errorf("%d requests at once; want more than %d at first, and at most %d", n, atOnce, most)
	}
	if n := first.Load(); n > atOnce {
		t.Errorf("%d requests before the first answer; want at most %d", n, atOnce)
	}

	before := runtime.NumGoroutine()
	p.hang(t, "/token")
	s.due(t, 4*sessions)
	asked := p.count("/token")
	eventually(t, "requests", func() bool { return p.count("/token") > asked || s.gate.Held() > 0 })
	if n := runtime.NumGoroutine() - before; n > sessions {
		t.Errorf("%d more goroutines for %d sessions that wait", n, 4*sessions)
	}
}

// A provider that answers 429 gets half as many requests. After three refused sessions it gets none for as long as it has
// asked.
func TestRefreshesAtOnceOfABusyProvider(t *testing.T) {
	t.Parallel()
	nc, p := startServer(t), newProvider(t)
	p.life = 10 * time.Minute
	s := startSite(t, p, nc, newKey(), "")
	var sent atomic.Int64
	p.intercept("/token", func(w http.ResponseWriter, _ *http.Request) bool {
		sent.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	s.due(t, 400)
	eventually(t, "a pause", func() bool { return s.gate.Held() > 20*time.Second })
	if n := s.pace.now(); n > atOnce/2 {
		t.Errorf("%d at once; want %d or less", n, atOnce/2)
	}
	if n := sent.Load(); n > atOnce {
		t.Errorf("%d requests were sent to the busy provider, want %d or less", n, atOnce)
	}
	if n := s.indexOf(t).length(); n < 300 {
		t.Errorf("%d sessions wait in the index", n)
	}
}

// If the index was lost, one handler writes it anew from the sessions. Handlers that start later read no sessions for it.
func TestIndexIsWrittenAnewOnce(t *testing.T) {
	const sessions = 400
	nc, p, key := startServer(t), newProvider(t), newKey()
	s := startSite(t, p, nc, key, "")
	s.keep(t, sessions)
	b := newBrowser(t, s)
	b.logIn()
	if err := s.js.DeleteKeyValue(t.Context(), s.cfg.indexBucket()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a logout by the new index", func() bool {
		return s.logOutBy(t, p.sign(p.key, logoutClaims(func(map[string]any) {}))) == http.StatusOK
	})
	if !s.ended(t, b) {
		t.Error("the logout has not found the session")
	}
	other := connectedTo(t, nc)
	next := startSite(t, p, other, key, "")
	st, err := next.opened(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the index to be known", func() bool { _, ok := st.indexed.of(); return ok })
	// The watch is told of each session of the last seconds once.
	if n := other.Stats().InMsgs; n > sessions+sessions/2 {
		t.Errorf("the second handler got %d messages for %d sessions", n, sessions)
	}
}

// With a domain, the source writes to its buckets as jetstream.KeyValue does.
func TestWritesWithHintsElsewhere(t *testing.T) {
	server := sourcetest.Server(t, &natsserver.Options{Host: "127.0.0.1", Port: -1, JetStream: true, JetStreamDomain: "d", StoreDir: t.TempDir()})
	nc := connected(t, server)
	p := newProvider(t)
	for name, more := range map[string]string{"domain": "domain: d", "api_prefix": `api_prefix: "$JS.d.API"`} {
		t.Run(name, func(t *testing.T) {
			s := startSite(t, p, nc, newKey(), more)
			b := newBrowser(t, s)
			b.logIn()
			b.mustFind()
			if wait := b.refreshNow(); wait != 0 {
				t.Errorf("the refresh is to be tried again in %s, want it done", wait)
			}
			b.mustFind()
		})
	}
}

// A start with a million sessions: the time until the first answer, and until all headers are read. It takes 1.2 GB of disk
// for a while:
//
//	go test -run - -bench AMillionSessions -benchtime 1x ./internal/callout/session/login
func BenchmarkAMillionSessions(b *testing.B) {
	const entries = 1_000_000
	nc, key := startServer(b), newKey()
	p := &provider{Server: httptest.NewServer(http.NotFoundHandler())}
	defer p.Close()
	c, err := parse(b, config(p, harness.FreeAddr(b), key, ""))
	if err != nil {
		b.Fatal(err)
	}
	fill(b, nc, c, entries)
	st, err := openStore(b.Context(), mustJetStream(b, nc), c)
	if err != nil {
		b.Fatal(err)
	}
	e := &entry{Claims: map[string]any{"sub": "alice", "iss": p.URL, "aud": "app"}, Subject: "alice", AccessToken: "x", Expires: time.Now().Add(time.Hour).Unix()}
	cookie, err := st.create(b.Context(), e)
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; b.Loop(); n++ {
		c.RefreshBefore += time.Duration(n) // an index of its own
		own := connectedTo(b, nc)
		began := time.Now()
		opened, err := c.Open(b.Context(), session.Env{Log: slog.New(slog.DiscardHandler), Connect: func(string) (*nats.Conn, error) { return own, nil }, Cookies: true})
		if err != nil {
			b.Fatal(err)
		}
		r := &session.Request{Credential: session.Credential{Kind: session.Cookie, Value: cookie}}
		if _, err := opened.Find(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-to-answer")
		s, _ := opened.(*source)
		for s.indexOf(b).last() < entries {
			time.Sleep(20 * time.Millisecond)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s-to-index")
		b.ReportMetric(float64(own.Stats().InBytes)/entries, "B-read/session")
		if err := opened.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func mustJetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
