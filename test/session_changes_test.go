package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/server/callout/forwarded"
	"stamp/test/harness"
)

// followers are servers of one cluster, with a connection on each server for each session of a bucket.
type followers struct {
	servers []*harness.Server
	bucket  jetstream.KeyValue
	conns   []*nats.Conn
	sys     *nats.Conn
	tells   atomic.Int64 // messages with which handlers told other servers of changes
	changed int          // changes of sessions so far
}

// sharedSessions is how many sessions the bucket has.
const sharedSessions = 20

// startFollowers starts a cluster. Each server has the handler inside, except the last without.
func startFollowers(t *testing.T, servers, without int) *followers {
	t.Helper()
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	var routes []string
	for range servers {
		routes = append(routes, harness.FreeAddr(t))
	}
	f := &followers{}
	for i, route := range routes {
		callout := fmt.Sprintf(`callout {
			account: AUTH, issuer: %s, xkey: %s
			sessions: [{kind: kv, bucket: sessions, account: AUTH}]
			grants: [{account: APP, publish: ">", subscribe: ">", headers: {N: "{{ session.n }}"}}]
		}`, harness.Seed(t, issuer), harness.Seed(t, xkey))
		if i >= servers-without {
			callout = fmt.Sprintf(`authorization { auth_callout { issuer: %s, xkey: %s, account: AUTH, auth_users: [backend, sys] } }`,
				harness.Public(t, issuer), harness.Public(t, xkey))
		}
		f.servers = append(f.servers, harness.Start(t, fmt.Sprintf(`
			server_name: S%d
			accounts { AUTH { jetstream: enabled, users: [{user: backend, password: backend}] }, APP {}, SYS { users: [{user: sys, password: sys}] } }
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
		var answer struct{ Data forwarded.Renewed }
		m := request(t, f.sys, "$SYS.REQ.SERVER."+s.ID(t)+".RENEW", `{"pending":true}`)
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			t.Fatal(err)
		}
		n += answer.Data.Pending
	}
	return n
}

// A change of a session renews each of its connections once, on whichever server, however many handlers hear of it.
func TestOneRenewalForAChange(t *testing.T) {
	for _, servers := range []int{3, 5} {
		for _, without := range []int{0, 1} {
			t.Run(fmt.Sprintf("%d servers, %d without a handler", servers, without), func(t *testing.T) {
				f := startFollowers(t, servers, without)
				before, changed := f.renewals(t), f.changed
				for f.changed < changed+200 {
					f.changeAll(t)
					want := (f.changed - changed) * servers
					harness.Eventually(t, "the renewals", func() bool { return f.renewals(t)-before >= want && f.pending(t) == 0 })
				}
				if got, want := f.renewals(t)-before, 200*servers; got != want {
					t.Errorf("%d renewals of %d connections for 200 changes, want %d", got, len(f.conns), want)
				}
				for _, nc := range f.conns {
					if nc.Stats().Reconnects != 0 || !nc.IsConnected() {
						t.Fatal("a connection was closed")
					}
				}
			})
		}
	}
}
