package test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// If a handler reads too slowly, the server closes its connection. The handler connects again, and answers the requests that
// come then.
func TestHandlerThatIsASlowConsumer(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, "max_control_line: 1000000\nmax_pending: 1100000\nwrite_deadline: \"1s\"\n"+fmt.Sprintf(calloutConf, harness.Public(t, issuer), ""))
	h := harness.StartCallout(t, handlerConf(t, s, "user: auth, password: auth", "issuer: "+harness.Seed(t, issuer), "APP"))
	alice := harness.Password("alice", "open")
	live := harness.Client(t, s, alice)
	expectReady(t, h, 200)
	h.Signal(t, syscall.SIGSTOP)
	mark, handlerMark := s.Mark(), h.Mark()
	large := func(string) map[string]any {
		return map[string]any{"user": "alice", "pass": "open", "name": strings.Repeat("n", 400_000)}
	}
	for range 40 { // more than the buffers handlerMark TCP hold
		harness.Dial(t, s).Connect(large)
	}
	mark.WaitLog(t, "[Ss]low [Cc]onsumer")
	h.Signal(t, syscall.SIGCONT)
	handlerMark.WaitLog(t, "disconnected from NATS")
	handlerMark.WaitLog(t, `msg="connected to NATS"`)
	expectReady(t, h, 200)
	for range 20 {
		harness.Client(t, s, alice).Flush()
	}
	live.Flush()
	if strings.Contains(handlerMark.Text(), "panic") || strings.Contains(handlerMark.Text(), "nnnnnnnn") {
		t.Error("the log has a fault, or what a client sent")
	}
}

// deleteAccounts takes accounts away from a server with PushConf.
func deleteAccounts(t *testing.T, o *harness.Operator, s *harness.Server, ids ...string) {
	t.Helper()
	claims := jwt.NewGenericClaims(harness.Public(t, o.Key))
	claims.Data["accounts"] = ids
	token, err := claims.Encode(o.Key)
	if err != nil {
		t.Fatal(err)
	}
	nc := s.Connect(t, o.Sys.User(t, "pusher", nil).Options()...)
	defer nc.Close()
	answer, err := nc.Request("$SYS.REQ.CLAIMS.DELETE", []byte(token), harness.Timeout)
	if err != nil || !strings.Contains(string(answer.Data), `"code":200`) {
		t.Fatalf("the server did not delete the accounts: error %v, answer %s", err, answer.Data)
	}
}

// The account of the callouts is deleted and made again. Meanwhile the handler says that it is not ready, and nobody is let in.
// It comes back by itself.
func TestAccountOfTheCalloutsIsMadeAgain(t *testing.T) {
	o := newCalloutOperator(t, nil)
	s := harness.Start(t, o.PushConf(t))
	h := operatorHandler(t, o, s, "http: \"127.0.0.1:0\"\n"+strings.TrimSpace(aliceAlone))
	sentinel := o.auth.User(t, "sentinel", nil)
	alice := behind(sentinel, alicesPassword)
	harness.Client(t, s, alice).Flush()
	for _, made := range []string{"again", "once-more"} {
		mark := h.Mark()
		deleteAccounts(t, o.Operator, s, o.auth.ID())
		mark.WaitLog(t, "disconnected from NATS")
		harness.Eventually(t, "that it is not ready", func() bool { return strings.Contains(readyz(t, h), "not connected to NATS") })
		expectRefused(t, s, alice)
		mark = h.Mark()
		o.auth.Claims.Tags.Add(made) // nats-server passes a JWT over that it had before
		o.auth.Push(t, s)
		mark.WaitLog(t, `msg="connected to NATS"`)
		harness.Eventually(t, "that alice is let in", func() bool {
			nc, err := s.TryConnect(t, append(sentinel.Options(), nats.UserInfo("alice", "wonderland"))...)
			if err == nil {
				nc.Close()
			}
			return err == nil
		})
	}
}

// JetStream is disabled in the account with the sessions, and enabled again. Meanwhile the handler says so, and refuses, since
// it cannot tell who is connecting. It comes back by itself.
func TestJetStreamOfTheCalloutsIsDisabled(t *testing.T) {
	o := newCalloutOperator(t, nil)
	limits := jwt.JetStreamLimits{DiskStorage: 1e9, Streams: -1, Consumer: -1}
	o.auth.Claims.Limits.JetStreamLimits = limits
	app := o.auth.User(t, "app", nil)
	o.auth.Claims.Authorization.AuthUsers.Add(harness.Public(t, app.Key))
	s := harness.Start(t, o.PushConf(t)+fmt.Sprintf("jetstream { store_dir: %q }", t.TempDir()))
	h := operatorHandler(t, o, s, `
		http: "127.0.0.1:0"
		sessions: [{kind: kv, bucket: sessions, cache: 0}]
		grants: [{account: APP, publish: ">", subscribe: ">"}]`)
	login(t, bucketOf(t, s.Connect(t, app.Options()...)), "one", alice())
	sentinel := o.auth.User(t, "sentinel", nil)
	one := append(sentinel.Options(), nats.Token("one"))
	eventuallyIn(t, s, one...)
	o.auth.Claims.Limits.JetStreamLimits = jwt.JetStreamLimits{}
	o.auth.Push(t, s)
	harness.Eventually(t, "that it is not ready", func() bool {
		return strings.Contains(readyz(t, h), "cannot judge: session source kv")
	})
	if nc, err := s.TryConnect(t, one...); err == nil {
		nc.Close()
		t.Error("a connection is let in by a bucket that is not there")
	}
	o.auth.Claims.Limits.JetStreamLimits = limits
	o.auth.Push(t, s)
	harness.Eventually(t, "that it judges", func() bool { return !strings.Contains(readyz(t, h), "cannot judge") })
	if _, err := jetstream.New(s.Connect(t, app.Options()...)); err != nil {
		t.Fatal(err)
	}
	eventuallyIn(t, s, one...)
}

// The leader of a replicated bucket changes again and again while connections come. Each connection is let in, and afterwards
// the end of a session closes its connection as before.
func TestLeaderOfTheBucketChanges(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	var clients, routes, servers = []string{}, []string{}, []*harness.Server{}
	for range 3 {
		clients, routes = append(clients, harness.FreeAddr(t)), append(routes, harness.FreeAddr(t))
	}
	for i := range 3 {
		servers = append(servers, harness.Start(t, fmt.Sprintf(`
			server_name: %c
			listen: %q
			jetstream { store_dir: %q }
			cluster { name: C, listen: %q, routes: ["nats://%s"] }
			accounts { AUTH { jetstream: enabled, users: [{user: auth, password: auth}] }, APP { users: [] }, SYS { users: [{user: sys, password: sys}] } }
			system_account: SYS
			authorization { timeout: 10, auth_callout { issuer: %s, account: AUTH, auth_users: [auth, sys] } }`,
			'A'+i, clients[i], t.TempDir(), routes[i], strings.Join(routes, `", "nats://`), harness.Public(t, issuer))))
	}
	nc := servers[0].Connect(t, userInfo("auth"))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var bucket jetstream.KeyValue
	harness.Eventually(t, "the bucket", func() bool {
		bucket, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sessions", Replicas: 3})
		return err == nil || errors.Is(err, jetstream.ErrBucketExists)
	})
	harness.StartCallout(t, fmt.Sprintf(`
		connect { urls: ["nats://%s"], user: auth, password: auth, system { user: sys, password: sys } }
		issuer: %s
		sessions: [{kind: kv, bucket: sessions, cache: 0, negative_cache: 0, timeout: "8s"}]
		grants: [{account: APP, publish: ">", subscribe: ">"}]`, strings.Join(clients, `", "nats://`), harness.Seed(t, issuer)))
	login(t, bucket, "one", alice())
	eventuallyIn(t, servers[1], nats.Token("one"))
	live := harness.Client(t, servers[2], token("one"))
	var refused atomic.Value
	stop, ended := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { ended <- n }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			c, err := nats.Connect("nats://"+clients[n%3], nats.Token("one"), nats.NoReconnect(), nats.Timeout(15*time.Second))
			if err != nil {
				refused.CompareAndSwap(nil, err)
				return
			}
			c.Close()
			n++
		}
	}()
	leader := func() string {
		stream, err := js.Stream(t.Context(), "KV_sessions")
		if err != nil || stream.CachedInfo().Cluster == nil {
			return ""
		}
		return stream.CachedInfo().Cluster.Leader
	}
	for range 4 {
		before := ""
		harness.Eventually(t, "a leader", func() bool { before = leader(); return before != "" })
		request(t, nc, "$JS.API.STREAM.LEADER.STEPDOWN.KV_sessions", "")
		harness.Eventually(t, "another leader", func() bool { now := leader(); return now != "" && now != before })
	}
	close(stop)
	if n := <-ended; refused.Load() != nil {
		t.Errorf("a connection was refused while the leader changed, after %d connections: %v", n, refused.Load())
	}
	live.Flush()
	harness.Eventually(t, "the end of the session", func() bool { return bucket.Delete(t.Context(), "one") == nil })
	live.ExpectClosed()
}
