package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"

	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/gomodule/redigo/redis"
	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// faultyStore is the store of a session source, behind a proxy that makes it misbehave on demand.
type faultyStore struct {
	faulty *harness.Faulty
	source string // its fields, but for the name
	faults []harness.Fault
	// most is how many connections a source with four look-ups at once may have.
	most int
	// credential is one that no source has seen yet.
	credential func(t *testing.T, n int) string
	// reasons are the log's texts about refusals, by the name of the fault; "" has those of all other faults.
	reasons map[string]string
	server  string // fields of the server's configuration
	// known says that new credentials are accepted during a fault as well, because the source need not ask the store.
	known bool
}

// faultyStores are the sources that ask a store.
var faultyStores = map[string]func(t *testing.T) faultyStore{
	"http": func(t *testing.T) faultyStore {
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"user":"alice"}`)
		}))
		t.Cleanup(app.Close)
		f := harness.StartFaulty(t, app.Listener.Addr().String())
		return faultyStore{
			faulty: f, source: fmt.Sprintf("kind: http, url: \"http://%s/auth\", timeout: \"1s\"", f.Addr()),
			faults: harness.HTTPFaults(), most: 4, credential: numbered,
			reasons: map[string]string{
				"": "ask the application: ", "503": "status 503", "429 with Retry-After": "status 429", "wrong type": "expected JSON, because the source has no fields",
				"huge": "answer is longer than", "silent": "deadline exceeded",
			},
		}
	},
	"introspection": func(t *testing.T) faultyStore {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"active":true,"user":"alice"}`)
		}))
		t.Cleanup(server.Close)
		f := harness.StartFaulty(t, server.Listener.Addr().String())
		return faultyStore{
			faulty: f, source: fmt.Sprintf("kind: introspection, url: \"http://%s/i\", auth: none, timeout: \"1s\"", f.Addr()),
			faults: harness.HTTPFaults(), most: 4, credential: numbered,
			reasons: map[string]string{
				"": "ask the authorization server: ", "503": "status 503", "429 with Retry-After": "status 429", "wrong type": "not an introspection response",
				"huge": "answer is longer than",
			},
		}
	},
	"redis": func(t *testing.T) faultyStore {
		f := harness.StartFaulty(t, startRedis(t))
		return faultyStore{
			faulty: f, source: fmt.Sprintf("kind: redis, url: \"redis://%s\", timeout: \"1s\"", f.Addr()), most: 4, credential: numbered,
			faults: []harness.Fault{
				harness.Silent, harness.Down, harness.HalfWay, harness.Drip(200 * time.Millisecond), harness.Slow(4 * time.Second),
				harness.Answers("loading", "-LOADING Redis is loading the dataset in memory\r\n"),
				harness.Answers("wrong type", "+OK\r\n+OK\r\n+OK\r\n"),
				harness.Answers("not Redis", "HTTP/1.1 400 Bad Request\r\n\r\n"),
				harness.Huge("$314572800\r\n", "x"), harness.Huge("+", "x"),
			},
			reasons: map[string]string{"": "session source faulty: redis: ", "loading": "LOADING", "huge": "longer than"},
		}
	},
	"kv": func(t *testing.T) faultyStore {
		hub := harness.Start(t, fmt.Sprintf(`
			server_name: hub
			jetstream { store_dir: %q, domain: hub }
			accounts { APP { jetstream: enabled, users: [{user: backend, password: backend}, {user: leaf, password: leaf}] } }
			leafnodes { listen: "127.0.0.1:-1", no_advertise: true }`, t.TempDir()))
		bucket := sessionBucket(t, hub)
		f := harness.StartFaulty(t, hub.Leaf(t))
		return faultyStore{
			faulty: f, source: `kind: kv, bucket: sessions, account: APP, domain: hub, timeout: "1s"`, most: 1,
			server: fmt.Sprintf(`leafnodes { remotes: [{url: "nats-leaf://leaf:leaf@%s", account: APP}] }`, f.Addr()),
			credential: func(t *testing.T, n int) string {
				login(t, bucket, numbered(t, n), alice())
				return numbered(t, n)
			},
			faults: []harness.Fault{
				harness.Silent, harness.Down, harness.HalfWay, harness.Drip(200 * time.Millisecond), harness.Slow(4 * time.Second),
				harness.Answers("not NATS", "HTTP/1.1 400 Bad Request\r\n\r\n"),
			},
			reasons: map[string]string{"": "session source faulty: bucket sessions: "},
		}
	},
	"oidc": func(t *testing.T) faultyStore {
		issuer := newIssuer(t)
		f := harness.StartFaulty(t, issuer.Listener.Addr().String())
		return faultyStore{
			faulty: f, source: fmt.Sprintf("kind: oidc, issuer: \"http://login.test\", jwks_url: \"http://%s/keys\", audience: [nats], refresh: \"10s\", timeout: \"1s\"", f.Addr()),
			faults: harness.HTTPFaults(), most: 4, known: true,
			credential: func(t *testing.T, n int) string { return issuer.token(t, fmt.Sprint(n)) },
		}
	},
}

func numbered(_ *testing.T, n int) string { return fmt.Sprintf("c00k1e-%d", n) }

// startRedis runs a redis-server with all sessions of numbered, and returns its address.
func startRedis(t *testing.T) string {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		missing(t, "redis-server is missing (hint: apt-get install redis-server)")
	}
	for range 5 { // the port may be taken by another in the meantime
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		_ = l.Close()
		_, port, _ := net.SplitHostPort(address)
		p := harness.Run(t, binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
		line := p.WaitLog(t, "Ready to accept connections|in use|Failed|exit")
		if !strings.Contains(line, "Ready") {
			continue
		}
		conn, err := redis.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for n := range 1000 {
			if _, err := conn.Do("SET", "sess:"+numbered(t, n), `{"user":"alice"}`); err != nil {
				t.Fatal(err)
			}
		}
		return address
	}
	t.Fatal("redis-server does not start, or does not take the sessions")
	return ""
}

// issuer serves its key, and signs tokens.
type issuer struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(set)
	}))
	t.Cleanup(s.Close)
	return &issuer{s, key}
}

func (i *issuer) token(t *testing.T, id string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: "k1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": "http://login.test", "sub": "alice", "user": "alice", "aud": "nats", "jti": id,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A server does what it is told within these times, however its stores misbehave. They are generous for slow machines, and far
// below the minutes that a server would take if it waited for its stores.
const (
	atOnce   = 15 * time.Second
	recovery = 20 * time.Second
)

// TestFaultyStores: however a store misbehaves, new connections are refused and the log says why, live connections stay, the
// number of look-ups is bounded, and a reload and a signal take effect at once. Within seconds of the recovery everything works
// again.
func TestFaultyStores(t *testing.T) {
	for kind, start := range faultyStores {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			testFaultyStore(t, start(t))
		})
	}
}

func testFaultyStore(t *testing.T, st faultyStore) {
	conf := func(version int) string {
		return fmt.Sprintf(`
			accounts { APP { users: [{user: backend, password: backend}] }, SYS { users: [{user: sys, password: sys}] } }
			system_account: SYS
			authorization { timeout: 4 }
			%s
			callout {
				sessions: [{name: faulty, concurrency: 4, negative_cache: 0, %s}]
				grants: [{account: APP, user: "{{ session.user }}", publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}", V: "%d"}}]
			}`, st.server, st.source, version)
	}
	s := harness.Start(t, conf(0))
	n := 0
	next := func() string { n++; return st.credential(t, n) }
	accepted := func(what string) {
		t.Helper()
		var err error
		for end := time.Now().Add(recovery); time.Now().Before(end); {
			var nc *nats.Conn
			if nc, err = s.TryConnect(t, nats.Token(next())); err == nil {
				nc.Close()
				return
			}
		}
		t.Fatalf("%s: no connection was accepted in %s: %v", what, recovery, err)
	}
	accepted("at the beginning")
	var live []*harness.Raw
	flush := func() {
		t.Helper()
		for _, client := range live {
			client.Flush()
		}
	}
	sys := s.Connect(t, userInfo("sys"))
	for i, fault := range st.faults {
		// The credentials are written before their store is away.
		credentials := []string{next(), next()}
		for range 24 {
			credentials = append(credentials, next())
		}
		began := time.Now()
		live = append(live, harness.Client(t, s, token(next())))
		st.faulty.Be(fault)
		mark := s.Mark()
		// More at once than there are look-ups.
		var asking sync.WaitGroup
		for _, credential := range credentials {
			asking.Go(func() {
				nc, err := nats.Connect("nats://"+s.Addr(t), nats.Token(credential), nats.NoReconnect(), nats.Timeout(harness.Timeout))
				if err == nil {
					nc.Close()
				}
				if (err == nil) != st.known {
					t.Errorf("%s: a new connection must be let in: %t; found error %v", fault.Name, st.known, err)
				}
			})
		}
		// A renewal that cannot be judged closes nothing. It goes on beside the others.
		if err := sys.Publish("$SYS.REQ.SERVER.PING.RENEW", []byte(`{"user":"alice"}`)); err != nil {
			t.Fatal(err)
		}
		asking.Wait()
		// Package session counts the look-ups. A look-up that was given up closes its connection a little later, and after a
		// reload there may be connections of two handlers.
		if most := st.faulty.Most(); i == 0 && most > 4*st.most {
			t.Errorf("%d connections to the store at once; want at most %d", most, st.most)
		}
		if !st.known {
			reason := st.reasons[fault.Name]
			if reason == "" {
				reason = st.reasons[""]
			}
			mark.WaitLog(t, "refused .*reason=.*"+reason)
			mark.WaitLog(t, "renewal put off")
		}
		flush()
		if text := mark.Text(); strings.Contains(text, "c00k1e") || strings.Contains(text, "panic") || strings.Contains(text, "fault in") {
			t.Errorf("%s: the log holds a credential or a fault of ours:\n%s", fault.Name, text)
		}
		if i%3 == 0 { // the handler is replaced while its store is away
			asked, mark := time.Now(), s.Mark()
			s.Reload(t, conf(i+1))
			mark.WaitLog(t, "Reloaded: callout handler")
			if took := time.Since(asked); took > atOnce {
				t.Errorf("%s: the reload took %s, expected at most %s", fault.Name, took, atOnce)
			}
		}
		flush()
		during := time.Since(began)
		st.faulty.Be(harness.Well)
		accepted("after " + fault.Name)
		flush()
		t.Logf("%s: %s, and %s until all was well", fault.Name, during.Round(time.Millisecond), (time.Since(began) - during).Round(time.Millisecond))
	}
	credentials := []string{next(), next(), next(), next(), next(), next(), next(), next()}
	st.faulty.Be(harness.Silent)
	var asking sync.WaitGroup
	for _, credential := range credentials {
		asking.Go(func() {
			if nc, err := nats.Connect("nats://"+s.Addr(t), nats.Token(credential), nats.NoReconnect(), nats.Timeout(harness.Timeout)); err == nil {
				nc.Close()
			}
		})
	}
	began := time.Now()
	s.Signal(t, syscall.SIGTERM)
	s.Exit(t)
	if took := time.Since(began); took > atOnce {
		t.Errorf("the process took %s to end after SIGTERM, expected at most %s", took, atOnce)
	}
	asking.Wait()
}

// TestFaultyStoreOfCallout: nats-callout ends at once, and its readiness check does not wait for a store.
func TestFaultyStoreOfCallout(t *testing.T) {
	st := faultyStores["http"](t)
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(calloutConf, harness.Public(t, issuer), ""))
	h := harness.StartCallout(t, fmt.Sprintf(`
		connect { urls: ["nats://%s"], user: auth, password: auth }
		issuer: %s
		http: "127.0.0.1:0"
		sessions: [{name: faulty, concurrency: 4, %s}]
		grants: [{account: APP, publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"}}]`, s.Addr(t), harness.Seed(t, issuer), st.source))
	live := harness.Client(t, s, token(st.credential(t, 0)))
	st.faulty.Be(harness.Silent)
	expectReady(t, h, http.StatusOK)
	expectRefused(t, s, token(st.credential(t, 1)))
	h.WaitLog(t, "refused .*session source faulty: ask the application: context deadline exceeded")
	var asking sync.WaitGroup
	for i := range 8 {
		asking.Go(func() {
			if nc, err := nats.Connect("nats://"+s.Addr(t), nats.Token(st.credential(t, 10+i)), nats.NoReconnect(), nats.Timeout(harness.Timeout)); err == nil {
				nc.Close()
			}
		})
	}
	began := time.Now()
	h.Signal(t, syscall.SIGHUP)
	h.WaitLog(t, "reloaded|configuration is in force|reload")
	h.Signal(t, syscall.SIGTERM)
	h.Exit(t)
	if took := time.Since(began); took > atOnce {
		t.Errorf("the process took %s to end after SIGHUP and SIGTERM, expected at most %s", took, atOnce)
	}
	asking.Wait()
	live.Flush()
}
