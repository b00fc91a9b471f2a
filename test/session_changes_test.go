package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// followers are servers of one cluster, with a connection on each server for each session of a bucket.
type followers struct {
	servers  []*harness.Server
	handlers []*harness.Process // in processes of their own
	bucket   jetstream.KeyValue
	conns    []*nats.Conn
	sys      *nats.Conn
	issuer   string // seeds of the handlers
	xkey     string
	tells    atomic.Int64 // messages with which handlers told servers of changes
	changed  int          // changes of sessions so far
}

// sharedSessions is how many sessions the bucket has.
const sharedSessions = 20

// startFollowers starts a cluster. Each server has the handler inside, except the last without. Beside them, there are
// handlers in processes of their own.
func startFollowers(t *testing.T, servers, without, handlers int) *followers {
	t.Helper()
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	var routes []string
	for range servers {
		routes = append(routes, harness.FreeAddr(t))
	}
	f := &followers{issuer: harness.Seed(t, issuer), xkey: harness.Seed(t, xkey)}
	for i, route := range routes {
		callout := fmt.Sprintf(`callout {
			account: AUTH, issuer: %s, xkey: %s
			sessions: [{kind: kv, bucket: sessions, account: AUTH}]
			grants: [{account: APP, publish: ">", subscribe: ">", headers: {N: "{{ session.n }}"}}]
		}`, harness.Seed(t, issuer), harness.Seed(t, xkey))
		if i >= servers-without {
			callout = fmt.Sprintf(`authorization { auth_callout { issuer: %s, xkey: %s, account: AUTH, auth_users: [backend, sys, handler] } }`,
				harness.Public(t, issuer), harness.Public(t, xkey))
		}
		f.servers = append(f.servers, harness.Start(t, fmt.Sprintf(`
			server_name: S%d
			accounts { AUTH { jetstream: enabled, users: [{user: backend, password: backend}] }, APP {}, SYS { users: [
				{user: sys, password: sys}
				{user: handler, password: handler, permissions: { # as docs/callout-operating.md says
					publish: ["$SYS.REQ.SERVER.PING.RENEW", "$SYS.REQ.SERVER.*.KICK", "_STAMP.HANDLERS"]
					subscribe: ["$SYS.SERVER.*.STATSZ", "_STAMP.HANDLERS", "_INBOX.>"]}}
			] } }
			system_account: SYS
			jetstream { store_dir: %q }
			cluster { name: C, listen: %q, routes: ["nats://%s"], pool_size: -1 }
			%s`, i, t.TempDir(), route, strings.Join(routes, `", "nats://`), callout)))
	}
	for _, s := range f.servers {
		harness.Eventually(t, "the routes", func() bool { return s.Varz(t).Remotes == servers-1 })
	}
	js, err := jetstream.New(f.servers[0].Connect(t, userInfo("backend")))
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the bucket", func() bool {
		f.bucket, err = js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sessions"})
		return err == nil
	})
	f.changeAll(t)
	for range handlers {
		f.handlers = append(f.handlers, harness.StartCallout(t, fmt.Sprintf(`
			connect { urls: ["nats://%s"], user: backend, password: backend, system { user: handler, password: handler } }
			issuer: %s, xkey: %s
			sessions: [{kind: kv, bucket: sessions}]
			grants: [{account: APP, publish: ">", subscribe: ">", headers: {N: "{{ session.n }}"}}]`,
			f.servers[0].Addr(t), f.issuer, f.xkey)))
	}
	for _, s := range f.servers {
		for i := range sharedSessions {
			eventuallyIn(t, s, nats.Token(sharedSession(i)))
			f.conns = append(f.conns, s.Connect(t, nats.Token(sharedSession(i))))
		}
	}
	f.listen(t)
	return f
}

func sharedSession(i int) string { return fmt.Sprintf("session%d", i) }

// listen counts the messages that tell of sessions.
func (f *followers) listen(t *testing.T) {
	t.Helper()
	f.sys = f.servers[0].Connect(t, userInfo("sys"))
	if _, err := f.sys.Subscribe(forwarded.RenewAll, func(m *nats.Msg) {
		if strings.Contains(string(m.Data), `"session":"kv/`) && !strings.Contains(string(m.Data), `"again"`) {
			f.tells.Add(1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := f.sys.Flush(); err != nil {
		t.Fatal(err)
	}
}

// changeAll changes each session once.
func (f *followers) changeAll(t *testing.T) {
	t.Helper()
	for i := range sharedSessions {
		login(t, f.bucket, sharedSession(i), map[string]any{"n": fmt.Sprint(f.changed)})
		f.changed++
	}
}

func (f *followers) renewals(t *testing.T) (n int) {
	t.Helper()
	for _, s := range f.servers {
		n += int(varzHeaders(t, s)["renewals"])
	}
	return n
}

// pending returns how many renewals the servers have not done yet.
func (f *followers) pending(t *testing.T) (n int) {
	t.Helper()
	for _, s := range f.servers {
		n += f.pendingOf(t, s)
	}
	return n
}

func (f *followers) pendingOf(t *testing.T, s *harness.Server) int {
	t.Helper()
	var answer struct{ Data forwarded.Renewed }
	m := request(t, f.sys, "$SYS.REQ.SERVER."+s.ID(t)+".RENEW", `{"pending":true}`)
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Data.Pending
}

// change changes one session, and returns how many messages told of that.
func (f *followers) change(t *testing.T, session string) (tells int) {
	t.Helper()
	tellsBefore, before := f.tells.Load(), f.renewals(t)
	login(t, f.bucket, session, map[string]any{"n": fmt.Sprint(f.changed)})
	f.changed++
	harness.Eventually(t, "the renewals", func() bool { return f.renewals(t)-before >= len(f.servers) && f.pending(t) == 0 })
	for _, s := range f.servers {
		f.pendingOf(t, s) // what it has sent before, it has sent before this answer
	}
	return int(f.tells.Load() - tellsBefore)
}

// awaitTells waits until the handlers know what the others follow, so that so many messages tell of each change.
func (f *followers) awaitTells(t *testing.T, each int) {
	t.Helper()
	// A handler that hears of a change late, because its server was told of it first, tells of it during a later change.
	// So one change with that many messages says nothing yet, nor do several that follow each other fast.
	const inARow = 10
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	row := 0
	harness.Eventually(t, fmt.Sprintf("%d messages about each of %d changes", each, inARow), func() bool {
		<-tick.C
		if row++; f.change(t, sharedSession(0)) != each {
			row = 0
		}
		return row == inARow
	})
}

// expectTells checks how many messages tell of 200 changes.
func (f *followers) expectTells(t *testing.T, each int) {
	t.Helper()
	f.awaitTells(t, each)
	before := f.tells.Load()
	f.change200(t)
	if tells := int(f.tells.Load() - before); tells != 200*each {
		t.Errorf("%d messages told of 200 changes, want %d", tells, 200*each)
	}
}

// change200 changes sessions 200 times, and checks how many renewals that makes.
func (f *followers) change200(t *testing.T) {
	t.Helper()
	before, want := f.renewals(t), 200*len(f.servers)
	for range 200 / sharedSessions {
		reached := f.renewals(t) + sharedSessions*len(f.servers)
		f.changeAll(t)
		harness.Eventually(t, "the renewals", func() bool { return f.renewals(t) >= reached && f.pending(t) == 0 })
	}
	if got := f.renewals(t) - before; got != want {
		t.Errorf("%d renewals of %d connections for 200 changes, want %d", got, len(f.conns), want)
	}
}

func (f *followers) expectConnected(t *testing.T) {
	t.Helper()
	for _, nc := range f.conns {
		if nc.Stats().Reconnects != 0 || !nc.IsConnected() {
			t.Fatal("a change closed a connection")
		}
	}
}

// A change of a session renews each of its connections once, on whichever server, however many handlers notice it. The clusters
// run at the same time, because each waits until nothing has changed for 12 seconds.
func TestOneRenewalForAChange(t *testing.T) {
	for _, tt := range []struct{ servers, without int }{{3, 0}, {4, 1}} {
		t.Run(fmt.Sprintf("%d servers, %d without a handler", tt.servers, tt.without), func(t *testing.T) {
			t.Parallel()
			f := startFollowers(t, tt.servers, tt.without, 0)
			f.change200(t)
			f.expectTells(t, tt.without)
			f.expectConnected(t)
		})
	}
}

// Of several handlers in processes of their own, one tells the servers of a change. If it is killed, and the others do not
// know that yet, the next one tells with the first repetition.
func TestHandlersTakeTurns(t *testing.T) {
	f := startFollowers(t, 3, 3, 3)
	f.change200(t)
	f.expectTells(t, 1)
	tells, renewals := f.tells.Load(), f.renewals(t)
	f.handlers[0].Stop()
	f.changeAll(t)
	harness.Eventually(t, "the renewals", func() bool { return f.renewals(t) == renewals+sharedSessions*len(f.servers) })
	f.pendingOf(t, f.servers[0])
	if told := f.tells.Load() - tells; told == 0 || told > sharedSessions {
		t.Errorf("%d of %d changes were told at once", told, sharedSessions)
	}
	f.expectConnected(t)
}

// If the server that would tell of a change is killed, and the others do not know that yet, a server without a handler is told
// nevertheless.
func TestTellerIsKilled(t *testing.T) {
	f := startFollowers(t, 4, 1, 0)
	f.awaitTells(t, 1)
	status, err := f.bucket.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leader := status.(*jetstream.KeyValueBucketStatus).StreamInfo().Cluster.Leader
	victim := 1
	if leader == "S1" {
		victim = 2
	}
	without := f.servers[len(f.servers)-1]
	before := varzHeaders(t, without)["renewals"]
	f.servers[victim].Signal(t, syscall.SIGKILL)
	f.changeAll(t)
	harness.Eventually(t, "the renewals", func() bool { return varzHeaders(t, without)["renewals"] == before+sharedSessions })
}

// A handler in a process of its own, beside those inside the servers, causes no second renewal.
func TestStandaloneBesideFollowers(t *testing.T) {
	f := startFollowers(t, 3, 0, 1)
	f.awaitTells(t, 1) // of the handler alone
	f.change200(t)
}
