package test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"stamp/test/harness"
)

// Servers with the handler inside start together: none has JetStream before all of them listen. A look-up that begins before
// that is answered soon after it, however long its source may take. One that is started again, too.
func TestInsideClusterColdStart(t *testing.T) {
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	var routes, confs []string
	for range 3 {
		routes = append(routes, harness.FreeAddr(t))
	}
	for i := range 3 {
		confs = append(confs, fmt.Sprintf(`
			listen: "127.0.0.1:-1"
			server_name: S%d
			accounts { APP { jetstream: enabled, users: [{user: backend, password: backend}] } }
			jetstream { store_dir: %q }
			cluster { name: C, listen: %q, routes: ["nats://%s"] }
			authorization { timeout: 30 }
			callout {
				issuer: %s, xkey: %s
				sessions: [
					{kind: kv, name: one, bucket: sessions, account: APP, timeout: "10s"}
					{kind: kv, name: two, bucket: sessions, account: APP, timeout: "10s"}
					{kind: kv, name: three, bucket: sessions, account: APP, timeout: "1h"}
				]
				grants: [{account: APP, publish: ">", subscribe: ">"}]
			}`, i, t.TempDir(), routes[i], strings.Join(routes, "\", \"nats://"), harness.Seed(t, issuer), harness.Seed(t, xkey)))
	}
	var servers []*harness.Server
	for _, conf := range confs {
		servers = append(servers, harness.Launch(t, conf))
	}
	for _, s := range servers {
		s.WaitLog(t, "Server is ready")
	}
	harness.Eventually(t, "a leader of the cluster", func() bool {
		return strings.Contains(servers[0].Text()+servers[1].Text()+servers[2].Text(), "Self is new JetStream cluster metadata leader")
	})
	login(t, replicatedBucket(t, servers[0]), "one", alice())
	for _, s := range servers {
		harness.Eventually(t, "a session is known", func() bool { return tryToken(t, s, "one") })
	}
	servers[1].Stop()
	servers[1] = harness.Launch(t, confs[1])
	servers[1].WaitLog(t, "Server is ready")
	harness.Eventually(t, "a session is known after a restart", func() bool { return tryToken(t, servers[1], "one") })
}

// tryToken reports whether a connection with a token is let in.
func tryToken(t *testing.T, s *harness.Server, token string) bool {
	t.Helper()
	nc, err := s.TryConnect(t, nats.Token(token))
	if err != nil {
		return false
	}
	nc.Close()
	return true
}

// replicatedBucket makes the bucket on three servers, as the backend.
func replicatedBucket(t *testing.T, s *harness.Server) (bucket jetstream.KeyValue) {
	t.Helper()
	js, err := jetstream.New(s.Connect(t, userInfo("backend")))
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the bucket", func() bool {
		bucket, err = js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sessions", Replicas: 3})
		return err == nil
	})
	return bucket
}

// endsAway stops a handler's server, and then the handler.
func endsAway(t *testing.T, s *harness.Server, h *harness.Process) {
	t.Helper()
	s.Stop()
	h.WaitLog(t, "disconnected from NATS")
	mark := h.Mark()
	h.Signal(t, syscall.SIGTERM)
	if code := h.Exit(t); code != 0 || strings.Contains(mark.Text(), "without an answer") {
		t.Errorf("expected exit code 0 and no lost callouts; found %d:\n%s", code, mark.Text())
	}
}

// If a handler has taken no callout and its server is away, the handler ends at once.
func TestStandaloneEndsWhileItsServerIsAway(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(calloutConf, harness.Public(t, issuer), ""))
	h := harness.StartCallout(t, handlerConf(t, s, "user: auth, password: auth", "issuer: "+harness.Seed(t, issuer), "APP"))
	harness.Client(t, s, harness.Password("alice", "open"))
	endsAway(t, s, h)
}

// Servers that accept TCP and say nothing delay neither the end of a handler nor its reload.
func TestStandaloneBesideSilentServers(t *testing.T) {
	var urls []string
	for range 40 { // more than could be asked one after another while the test waits
		l, err := net.Listen("tcp", "127.0.0.1:0") // the system accepts
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		urls = append(urls, "nats://"+l.Addr().String())
	}
	file := filepath.Join(t.TempDir(), "callout.conf")
	conf := fmt.Sprintf(`connect { urls: ["%s"], user: auth, password: auth }
		issuer: %s
		http: "127.0.0.1:0"
		sessions: [{kind: anonymous}]
		grants: [{account: APP, publish: ">", subscribe: []}]`, strings.Join(urls, `", "`), harness.Seed(t, harness.NewAccountKey(t)))
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	h := harness.Run(t, harness.CalloutBinary(t), "serve", "-c", file)
	h.WaitLog(t, "http endpoint")
	h.Signal(t, syscall.SIGHUP)
	h.Signal(t, syscall.SIGTERM)
	if code := h.Exit(t); code != 0 {
		t.Errorf("expected exit code 0 beside silent servers; found %d:\n%s", code, h.Text())
	}
}

// A server without a user with an nkey cannot take the login of nats-callout, which says so and ends.
func TestStandaloneAtAServerWithoutNkeys(t *testing.T) {
	s := harness.Start(t, "listen: \"127.0.0.1:-1\"")
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	nkey := filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(nkey, []byte(harness.Seed(t, user)), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "callout.conf")
	conf := handlerConf(t, s, "nkey_file: \""+nkey+"\"", "issuer: "+harness.Seed(t, harness.NewAccountKey(t)), "APP")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	h := harness.Run(t, harness.CalloutBinary(t), "serve", "-c", file)
	if code := h.Exit(t); code != 1 || !strings.Contains(h.Text(), "nkeys not supported by the server") {
		t.Errorf("expected exit code 1 and the reason; found %d:\n%s", code, h.Text())
	}
}

// systemHandler is a handler with a login for the system account, and the server that it serves.
func systemHandler(t *testing.T, system string) (s *harness.Server, h *harness.Process, file, conf string) {
	t.Helper()
	issuer := harness.NewAccountKey(t)
	s = harness.Start(t, fmt.Sprintf(`
		jetstream { store_dir: %q }
		accounts {
			AUTH { jetstream: enabled, users: [{user: auth, password: auth}] }
			APP { users: [{user: svc, password: svc}] }
			SYS { users: [{user: sys, password: sys}, {user: mute, password: mute, permissions: {publish: ["x"]}}] }
		}
		system_account: SYS
		authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, svc, sys, mute] } }`, t.TempDir(), harness.Public(t, issuer)))
	conf = fmt.Sprintf(`connect { urls: ["nats://%s"], user: auth, password: auth, system { %%s } }
		issuer: %s
		http: "127.0.0.1:0"
		sessions: [{kind: kv, bucket: sessions}]
		grants: [{account: APP, publish: ">", subscribe: []}]`, s.Addr(t), harness.Seed(t, issuer))
	file = filepath.Join(t.TempDir(), "callout.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, conf, system), 0o600); err != nil {
		t.Fatal(err)
	}
	h = harness.Run(t, harness.CalloutBinary(t), "serve", "-c", file)
	h.WaitLog(t, "serving")
	return s, h, file, conf
}

// If the login of connect { system } reaches no server, that is a fault: sessions that end would keep their connections.
func TestSystemLoginsThatReachNobody(t *testing.T) {
	for system, want := range map[string]string{
		"user: svc, password: svc":   "is it the login of a user of the system account",
		"user: sys, password: wrong": "connect.system: not connected",
		"user: mute, password: mute": "may the user publish this",
	} {
		_, h, _, _ := systemHandler(t, system)
		expectReady(t, h, http.StatusServiceUnavailable)
		harness.Eventually(t, "the reason at /readyz", func() bool { return strings.Contains(readyz(t, h), want) })
		h.WaitLog(t, "level=ERROR.*"+want)
	}
}

// A reload to such a login is refused, and the one that works stays.
func TestReloadToASystemLoginThatReachesNobody(t *testing.T) {
	s, h, file, conf := systemHandler(t, "user: sys, password: sys")
	bucket := bucketOf(t, s.Connect(t, userInfo("auth")))
	login(t, bucket, "one", alice())
	expectReady(t, h, http.StatusOK)
	for _, system := range []string{"user: sys, password: wrong", "user: svc, password: svc"} {
		if err := os.WriteFile(file, fmt.Appendf(nil, conf, system), 0o600); err != nil {
			t.Fatal(err)
		}
		mark := h.Mark()
		h.Signal(t, syscall.SIGHUP)
		mark.WaitLog(t, "reload failed, the old configuration stays.*connect.system")
	}
	tab := harness.Client(t, s, token("one"))
	if err := bucket.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	tab.ExpectClosed()
}

// If a reload moves the endpoint to an address that is taken, the endpoint stays where it is. The next reload moves it.
func TestInsideEndpointThatCannotMove(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conf := func(http string) string {
		return fmt.Sprintf(`
			accounts { APP { users: [] } }
			callout { http: %q, sessions: [{kind: anonymous}], grants: [{account: APP, publish: "a", subscribe: []}] }`, http)
	}
	old := harness.FreeAddr(t)
	s := harness.Start(t, conf(old))
	ready := func(address string) bool {
		response, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
	harness.Eventually(t, "ready", func() bool { return ready(old) })
	mark := s.Mark()
	s.Reload(t, conf(taken.Addr().String()))
	mark.WaitLog(t, "address already in use; metrics are still shown on http://"+old)
	if !ready(old) {
		t.Error("the endpoint is gone from its old address")
	}
	_ = taken.Close()
	s.Reload(t, conf(taken.Addr().String()))
	harness.Eventually(t, "it has moved", func() bool { return ready(taken.Addr().String()) && !ready(old) })
}
