package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// gate passes TCP connections on until it is cut.
type gate struct {
	addr, to string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
}

func openGate(t *testing.T, addr, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	g := &gate{addr: addr, to: to, conns: map[net.Conn]struct{}{}}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go g.pass(in)
		}
	}()
	return g
}

func (g *gate) pass(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	defer out.Close()
	g.mu.Lock()
	if g.cut {
		g.mu.Unlock()
		return
	}
	g.conns[in], g.conns[out] = struct{}{}, struct{}{}
	g.mu.Unlock()
	go func() {
		_, _ = io.Copy(out, in)
		out.Close()
	}()
	_, _ = io.Copy(in, out)
}

func (g *gate) set(cut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = cut
	for c := range g.conns {
		c.Close()
	}
	clear(g.conns)
}

// A logout while a cluster is cut off closes the session's connections there when the cluster is back. It does not close
// connections of a session that was begun anew under the same name.
func TestLogoutWhileAClusterIsCutOff(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	gates := map[string]*gate{}
	for _, name := range []string{"A", "B"} {
		gates[name] = openGate(t, harness.FreeAddr(t), harness.FreeAddr(t))
	}
	conf := func(name, other, more string) string {
		return fmt.Sprintf(`
			server_name: %s
			accounts {
				AUTH { users: [{user: auth, password: auth}] }
				APP { users: [{user: svc, password: svc}] }
				SYS { users: [{user: sys, password: sys}] }
			}
			system_account: SYS
			authorization { timeout: 10, auth_callout { issuer: %s, account: AUTH, auth_users: [auth, svc, sys] } }
			gateway { name: %s, listen: %q, advertise: %q, gateways: [{name: %s, url: "nats://%s"}] }
			%s`, name, harness.Public(t, issuer), name, gates[name].to, gates[name].addr, other, gates[other].addr, more)
	}
	a := harness.Start(t, conf("A", "B", `leafnodes { listen: "127.0.0.1:-1" }`))
	b := harness.Start(t, conf("B", "A", ""))
	// Bucket and handler are behind a leafnode, since JetStream in a cluster needs more than one server.
	store := harness.Start(t, fmt.Sprintf(`
		accounts { AUTH { jetstream: enabled, users: [{user: auth, password: auth}] } }
		jetstream { store_dir: %q }
		leafnodes { remotes: [{url: "nats://auth:auth@%s", account: AUTH}] }`, t.TempDir(), a.Leaf(t)))
	store.WaitLog(t, "Leafnode connection created")
	js, err := jetstream.New(store.Connect(t, userInfo("auth")))
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sessions"})
	if err != nil {
		t.Fatal(err)
	}
	h := harness.StartCallout(t, fmt.Sprintf(`
		connect { urls: ["nats://%s"], user: auth, password: auth, system { urls: ["nats://%s"], user: sys, password: sys } }
		issuer: %s
		sessions: [{kind: kv, bucket: sessions, cache: 0}]
		grants: [{account: APP, publish: ">", subscribe: ">"}]`, store.Addr(t), a.Addr(t), harness.Seed(t, issuer)))
	login(t, bucket, "gone", alice())
	login(t, bucket, "stays", alice())
	harness.Eventually(t, "the gateway", func() bool {
		return strings.Contains(b.Text(), "Outbound gateway connection to \"A\"") && strings.Contains(a.Text(), "Outbound gateway connection to \"B\"")
	})
	gone, stays := harness.Client(t, b, token("gone")), harness.Client(t, b, token("stays"))
	for _, g := range gates {
		g.set(true)
	}
	mark := h.Mark()
	if err := bucket.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	mark.WaitLog(t, "session changed.*ended=true")
	gone.Flush() // it has heard nothing
	for _, g := range gates {
		g.set(false)
	}
	gone.ExpectClosed()
	stays.Flush()
	// The session is begun anew. What is repeated about the old one does not concern it.
	login(t, bucket, "gone", alice())
	again := harness.Client(t, b, token("gone"))
	for deadline := time.Now().Add(12 * time.Second); time.Now().Before(deadline); time.Sleep(time.Second) {
		again.Flush() // two of the repetitions are in this time
	}
}

// readyz returns the text of a handler's /readyz.
func readyz(t *testing.T, h *harness.Process) string {
	t.Helper()
	response, err := http.Get("http://" + endpoint.FindStringSubmatch(h.WaitLog(t, endpoint.String()))[1] + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// If no server accepts a handler's answers, its log and /readyz say so, and what to do.
func TestHandlerWhoseAnswersAreRefused(t *testing.T) {
	issuer, other := harness.NewAccountKey(t), harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(calloutConf, harness.Public(t, issuer), ""))
	h := harness.StartCallout(t, handlerConf(t, s, "user: auth, password: auth", "issuer: "+harness.Seed(t, other), "APP"))
	expectRefused(t, s, harness.Password("alice", "open"))
	line := h.WaitLog(t, "not ready.*")
	for _, want := range []string{"a connection that only a handler can let in", harness.Public(t, issuer), harness.Public(t, other), "auth_callout.issuer"} {
		if !strings.Contains(line, want) || !strings.Contains(readyz(t, h), want) {
			t.Errorf("%q is not in the log or at /readyz: %s", want, line)
		}
	}
	if strings.Contains(h.Text(), "msg=granted") {
		t.Error("the log says that connections were granted, and all of them are refused")
	}
}

// If an account does not accept users of the handler, it is named, in configuration mode and in operator mode.
func TestHandlerWhoseGrantsAreRefused(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(calloutConf, harness.Public(t, issuer), ""))
	h := harness.StartCallout(t, handlerConf(t, s, "user: auth, password: auth", "issuer: "+harness.Seed(t, issuer), "NOPE"))
	h.WaitLog(t, "not ready.*account NOPE was refused.*does the server's configuration have the account")
	if got := readyz(t, h); !strings.Contains(got, "account NOPE was refused") {
		t.Errorf("expected /readyz to name the account that was refused; found %q", got)
	}

	o := newCalloutOperator(t, nil)
	authKey := o.auth.SigningKey(t)
	s = harness.Start(t, o.Conf(t))
	seed := filepath.Join(t.TempDir(), "app.nk")
	if err := os.WriteFile(seed, []byte(harness.Seed(t, harness.NewAccountKey(t))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := fmt.Sprintf("issuer: %s\nissuer_account: %s\nsigning_keys { APP: {account: %s, seed_file: %q} }",
		harness.Seed(t, authKey), o.auth.ID(), o.app.ID(), seed)
	login := fmt.Sprintf("creds: %q, sentinel: %q", o.service.Creds(t), o.auth.User(t, "sentinel", nil).Creds(t))
	h = harness.StartCallout(t, handlerConf(t, s, login, keys, "APP"))
	h.WaitLog(t, "not ready.*account APP was refused.*signing_keys.APP")
}

// However the handler's connection is lost, it comes back by itself. While it is away, /readyz says so.
func TestHandlerComesBack(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	conf := fmt.Sprintf(calloutConf, harness.Public(t, issuer), "")
	s := harness.Start(t, conf)
	h := harness.StartCallout(t, handlerConf(t, s, "user: auth, password: auth", "issuer: "+harness.Seed(t, issuer), "APP"))
	harness.Client(t, s, harness.Password("alice", "open")).Flush()
	expectReady(t, h, 200)
	away := strings.Replace(conf, "{user: auth, password: auth,", "{user: auth, password: changed,", 1)
	for name, change := range map[string]func(){
		"another password": func() { s.Reload(t, away) },
		"user gone": func() {
			s.Reload(t, strings.Replace(conf, "{user: auth, password: auth, headers: {Svc: \"callout\"}}", "", 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			mark := h.Mark()
			change()
			mark.WaitLog(t, "disconnected from NATS")
			// As many failures as would close a connection for good by default.
			for range 3 {
				h.Mark().WaitLog(t, "[Aa]uthorization|i/o timeout")
			}
			harness.Eventually(t, "that it is not connected", func() bool { return strings.Contains(readyz(t, h), "not connected to NATS") })
			mark = h.Mark()
			s.Reload(t, conf)
			mark.WaitLog(t, "connected to NATS")
			expectReady(t, h, 200)
			harness.Client(t, s, harness.Password("alice", "open")).Flush()
		})
	}
	if strings.Contains(h.Text(), "for good") {
		t.Error("the handler's connection was closed for good")
	}
}

// If the handler's own connection is kicked by its user name, the handler continues to serve.
func TestHandlerThatIsKicked(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	conf := strings.Replace(fmt.Sprintf(calloutConf, harness.Public(t, issuer), ""), "accounts {", "system_account: SYS\naccounts { SYS { users: [{user: sys, password: sys}] },", 1)
	s := harness.Start(t, strings.Replace(conf, "auth_users: [auth]", "auth_users: [auth, sys]", 1))
	h := harness.StartCallout(t, handlerConf(t, s, "user: auth, password: auth", "issuer: "+harness.Seed(t, issuer), "APP"))
	expectReady(t, h, 200)
	mark := h.Mark()
	if _, err := s.Connect(t, userInfo("sys")).Request("$SYS.REQ.SERVER.PING.RENEW", []byte(`{"user":"auth","kick":true}`), harness.Timeout); err != nil {
		t.Fatal(err)
	}
	mark.WaitLog(t, "disconnected from NATS")
	mark.WaitLog(t, "msg=.connected to NATS")
	expectReady(t, h, 200)
	harness.Client(t, s, harness.Password("alice", "open")).Flush()
}

// If the handler's user may not subscribe to callouts, that is an error at the start. Otherwise nobody would ask the handler.
func TestHandlerThatMayNotSubscribe(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(strings.Replace(calloutConf, "password: auth,", `password: auth, permissions: {subscribe: "_INBOX.>"},`, 1), harness.Public(t, issuer), ""))
	file := filepath.Join(t.TempDir(), "callout.conf")
	if err := os.WriteFile(file, []byte(handlerConf(t, s, "user: auth, password: auth", "issuer: "+harness.Seed(t, issuer), "APP")), 0o600); err != nil {
		t.Fatal(err)
	}
	h := harness.Run(t, harness.CalloutBinary(t), "serve", "-c", file)
	if code := h.Exit(t); code != 1 || !strings.Contains(h.Text(), "subscribe to $SYS.REQ.USER.AUTH: the user of connect may not") {
		t.Errorf("expected exit code 1 and an error that names the subject; found exit code %d:\n%s", code, h.Text())
	}
}

// If a server is full, /readyz says that, and not that callouts fail. While a place is left, the handler is ready.
func TestReadinessAtAFullServer(t *testing.T) {
	const full = "as many connections as its max_connections allows"
	issuer := harness.NewAccountKey(t)
	start := func(most int) (*harness.Server, *harness.Process) {
		s := harness.Start(t, fmt.Sprintf("max_connections: %d\n", most)+fmt.Sprintf(calloutConf, harness.Public(t, issuer), ""))
		return s, harness.StartCallout(t, handlerConf(t, s, "user: auth, password: auth", "issuer: "+harness.Seed(t, issuer), "APP"))
	}
	_, h := start(1)
	if got := readyz(t, h); !strings.Contains(got, full) || strings.Contains(got, "only a handler can let in") {
		t.Errorf("expected /readyz to say that the server is full; found %s", got)
	}
	s, h := start(2)
	if got := readyz(t, h); !strings.HasPrefix(got, "ready") {
		t.Errorf("expected /readyz to say ready while a place is left; found %s", got)
	}
	harness.Eventually(t, "that the probe has gone", func() bool { return s.Varz(t).Connections == 1 })
	client := harness.Client(t, s, harness.Password("alice", "open"))
	harness.Eventually(t, "that the server is full", func() bool { return strings.Contains(readyz(t, h), full) })
	client.Close()
	expectReady(t, h, 200)
}

// The handler inside is not ready if nobody else can connect. A max_connections that has room only for the handler is refused.
func TestReadinessInsideAFullServer(t *testing.T) {
	conf := func(most int) string {
		return fmt.Sprintf(`max_connections: %d
			accounts { APP { users: [{user: app, password: app}] } }
			callout { http: "127.0.0.1:0", sessions: [{kind: anonymous}], grants: [{account: APP, publish: a, subscribe: b}] }`, most)
	}
	if code, said := checkConf(t, conf(1)); code == 0 || !strings.Contains(said, "max_connections: expected at least 2, since the handler itself needs 1; found 1") {
		t.Errorf("expected -t to refuse max_connections: 1; found exit code %d:\n%s", code, said)
	}
	s := harness.Start(t, conf(2))
	ready := func() string {
		line := s.WaitLog(t, "shows metrics on http://")
		response, err := http.Get(line[strings.Index(line, "http://"):] + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	if got := ready(); !strings.HasPrefix(got, "ready") {
		t.Errorf("expected /readyz to say that the handler is ready; found %q", got)
	}
	harness.Eventually(t, "that the probe has gone", func() bool { return s.Varz(t).Connections == 1 })
	client := harness.Client(t, s, password("app"))
	harness.Eventually(t, "that the server is full", func() bool { return strings.Contains(ready(), "max_connections") })
	client.Close()
	harness.Eventually(t, "that it is ready", func() bool { return strings.HasPrefix(ready(), "ready") })
}
