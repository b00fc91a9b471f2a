package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"golang.org/x/crypto/bcrypt"

	"stamp.example/claim"
	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// renewConf is a server whose callout is another program than our handler.
const renewConf = `
	accounts {
		AUTH { users: [{user: auth, password: auth}] }
		APP { jetstream: enabled, users: [{user: svc, password: svc}] }
		OTHER { users: [{user: other, password: other}] }
		SYS { users: [{user: sys, password: sys}] }
	}
	system_account: SYS
	mqtt { listen: "127.0.0.1:-1" }
	server_name: S
	jetstream { store_dir: %q }
	leafnodes { listen: "127.0.0.1:-1" }
	authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, svc, sys, other, bob] %s } }`

// asked is a callout as the service got it.
type asked struct {
	*jwt.AuthorizationRequestClaims
	number  int // of those of the connection, from 1
	renewal bool
}

// service is a callout service. Its answers have a header N with the number of the connection's callout, and the changes of
// edit.
type service struct {
	*harness.Server
	conf   string
	mu     sync.Mutex
	counts map[uint64]int
	all    []asked
	edit   func(a asked, uc *jwt.UserClaims) error
}

var errSilent = errors.New("no answer")

func (v *service) set(edit func(a asked, uc *jwt.UserClaims) error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.edit = edit
}

func (v *service) renewals() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, a := range v.all {
		if a.renewal {
			n++
		}
	}
	return n
}

func (v *service) note(req *jwt.AuthorizationRequestClaims) (asked, func(asked, *jwt.UserClaims) error) {
	told, _ := forwarded.FromTags(req.Tags)
	v.mu.Lock()
	defer v.mu.Unlock()
	id := req.ClientInformation.ID
	v.counts[id]++
	a := asked{req, v.counts[id], told.Renewal}
	v.all = append(v.all, a)
	return a, v.edit
}

// answer is the Answer of a callout service whose users are signed by key.
func (v *service) answer(account string, key nkeys.KeyPair, base ...func(*jwt.UserClaims)) func(*jwt.AuthorizationRequestClaims) (string, error) {
	return func(req *jwt.AuthorizationRequestClaims) (string, error) {
		a, edit := v.note(req)
		uc := jwt.NewUserClaims(req.UserNkey)
		uc.Audience = account
		for _, f := range base {
			f(uc)
		}
		if edit != nil {
			if err := edit(a, uc); err != nil {
				return "", err
			}
		}
		return claim.Encode(uc, header("N", strconv.Itoa(a.number)), key)
	}
}

func startService(t *testing.T, xkey nkeys.KeyPair, args ...string) *service {
	t.Helper()
	return startServiceWith(t, xkey, "callout { request {} }", args...)
}

// startServiceWith starts it beside a server with a callout block.
func startServiceWith(t *testing.T, xkey nkeys.KeyPair, callout string, args ...string) *service {
	t.Helper()
	issuer, fields := harness.NewAccountKey(t), ""
	if xkey != nil {
		fields = ", xkey: " + harness.Public(t, xkey)
	}
	v := &service{counts: map[uint64]int{}, conf: fmt.Sprintf(renewConf, t.TempDir(), harness.Public(t, issuer), fields) + "\n" + callout}
	v.Server = harness.Start(t, v.conf, args...)
	handler := harness.Callout{Issuer: issuer, XKey: xkey, Answer: v.answer("APP", issuer), Silent: errSilent}
	handler.Serve(t, v.Connect(t, userInfo("auth")))
	return v
}

// expireIn sets the end of a user JWT to a time from now. It is cut to whole seconds.
func expireIn(uc *jwt.UserClaims, d time.Duration) { uc.Expires = time.Now().Add(d).Unix() }

// number returns N in the header of the next message of pub.
func number(t *testing.T, pub, sub *harness.Raw) int {
	t.Helper()
	pub.Pub("t.x", "payload")
	lines := sub.Msg().Lines()
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "N: ") {
		t.Fatalf("expected one header line, N; the message has %d lines", len(lines))
	}
	n, err := strconv.Atoi(lines[0][len("N: "):])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// renewed waits until pub has its nth stamp, and was not disconnected.
func renewed(t *testing.T, pub, sub *harness.Raw, n int) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("stamp %d", n), func() bool { return number(t, pub, sub) >= n })
}

// ask sends a request to renew, and returns how many connections it was for.
func ask(t *testing.T, s *harness.Server, q forwarded.Renew) int {
	t.Helper()
	subject := "$SYS.REQ.SERVER." + s.ID(t) + ".RENEW"
	if q.CID == 0 {
		subject = forwarded.RenewAll
	}
	body, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Data  struct{ Connections int }
		Error *struct{ Description string }
	}
	if err := json.Unmarshal(request(t, s.Connect(t, userInfo("sys")), subject, string(body)).Data, &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Error != nil {
		t.Fatalf("the request %s to renew failed: %s", body, answer.Error.Description)
	}
	return answer.Data.Connections
}

// cid returns the id of the only connection with that name.
func cid(t *testing.T, s *harness.Server, name string) uint64 {
	t.Helper()
	for _, c := range s.Connz(t, "").Conns {
		if c.Name == name {
			return c.Cid
		}
	}
	t.Fatalf("no connection is named %s", name)
	return 0
}

func named(cred harness.Credential, name string) harness.Credential {
	return func(nonce string) map[string]any {
		m := cred(nonce)
		m["name"] = name
		return m
	}
}

// A live connection gets a new stamp before its user JWT ends, again and again, by the credential with which it connected, even
// though the name in the answer has replaced it.
func TestRenewal(t *testing.T) {
	for name, xkey := range map[string]nkeys.KeyPair{"plain": nil, "xkey": harness.NewXKey(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := startService(t, xkey)
			v.set(func(_ asked, uc *jwt.UserClaims) error { uc.Name = "somebody"; expireIn(uc, 4*time.Second); return nil })
			sub := subscriber(t, v.Server, password("svc"))
			expectSteadyRenewal(t, v, harness.Client(t, v.Server, password("alice")), sub)
		})
	}
	t.Run("operator mode", func(t *testing.T) {
		t.Parallel()
		o := newCalloutOperator(t, nil)
		authKey := o.auth.SigningKey(t)
		v := &service{Server: harness.Start(t, o.Conf(t)), counts: map[uint64]int{}}
		v.set(func(_ asked, uc *jwt.UserClaims) error { uc.Name = "somebody"; expireIn(uc, 4*time.Second); return nil })
		callout := harness.Callout{Issuer: authKey, IssuerAccount: o.auth.ID(), Answer: v.answer("", o.app.Key)}
		callout.Serve(t, v.Connect(t, o.service.Options()...))
		sub := subscriber(t, v.Server, o.app.User(t, "sub", nil).Credential)
		expectSteadyRenewal(t, v, harness.Client(t, v.Server, o.sentinel(t, nil, "alice")), sub)
	})
}

func expectSteadyRenewal(t *testing.T, v *service, pub, sub *harness.Raw) {
	t.Helper()
	if n := number(t, pub, sub); n != 1 {
		t.Fatalf("the stamp after the connect is number %d, want 1", n)
	}
	renewed(t, pub, sub, 4) // beyond two lives
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, a := range v.all {
		if o := a.ConnectOptions; o.Username != "alice" || o.Password != "alice" || a.renewal != (i > 0) {
			t.Errorf("callout %d is for a renewal: %t, of user %q", i, a.renewal, o.Username)
		}
	}
	if n := varzHeaders(t, v.Server)["renewals"]; int(n) != len(v.all)-1 {
		t.Errorf("varz counts %v renewals, the callout had %d", n, len(v.all)-1)
	}
}

// Without a claim, a connection ends with its user JWT, as it does at upstream.
func TestNoRenewalWithoutClaim(t *testing.T) {
	t.Parallel()
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(renewConf, t.TempDir(), harness.Public(t, issuer), ""))
	v := &service{Server: s, counts: map[uint64]int{}}
	callout := harness.Callout{Issuer: issuer, Answer: func(req *jwt.AuthorizationRequestClaims) (string, error) {
		v.note(req)
		uc := jwt.NewUserClaims(req.UserNkey)
		uc.Audience = "APP"
		expireIn(uc, 2*time.Second)
		return uc.Encode(issuer)
	}}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	pub := harness.Client(t, s, password("alice"))
	pub.Expect("-ERR 'User Authentication Expired'")
	if len(v.all) != 1 {
		t.Errorf("expected no callout after the first one; found %d callouts", len(v.all))
	}
}

// A renewal does not touch what stays the same: subscriptions, and the right to answer an earlier request. It applies changes
// as a reload does.
func TestRenewalOfPermissions(t *testing.T) {
	v := startService(t, nil)
	allow := []string{"keep", "drop"}
	v.set(func(a asked, uc *jwt.UserClaims) error {
		uc.Pub.Allow.Add("t.x")
		uc.Sub.Allow.Add(allow...)
		uc.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: time.Hour}
		return nil
	})
	sub := subscriber(t, v.Server, password("svc"))
	nc := v.Connect(t, userInfo("svc"))
	pub := harness.Client(t, v.Server, named(password("alice"), "alice"))
	pub.Send("SUB keep 1\r\nSUB drop 2\r\n")
	pub.Flush()
	replies := subscribedTo(t, nc, "answer.here")
	if err := nc.PublishRequest("keep", "answer.here", nil); err != nil {
		t.Fatal(err)
	}
	pub.Msg()
	renew := func(n int) {
		t.Helper()
		if got := ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, "alice")}); got != 1 {
			t.Fatalf("the request to renew concerned %d connections, want 1", got)
		}
		renewed(t, pub, sub, n)
	}
	renew(2)
	pub.Pub("answer.here", "payload")
	next(t, replies, nil)

	allow = []string{"keep"}
	renew(3)
	pub.Expect(`-ERR 'Permissions Violation for Subscription to "drop"`)
	for _, subject := range []string{"drop", "keep"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	if m := pub.Msg(); m.Subject != "keep" {
		t.Errorf("expected a message on keep; got one on %s", m.Subject)
	}
	pub.Send("SUB drop 3\r\n")
	pub.Expect(`-ERR 'Permissions Violation for Subscription to "drop"`)
}

// A renewal also changes limits, and which sealed headers the connection may read.
func TestRenewalOfLimitsAndSealedNames(t *testing.T) {
	v := startService(t, nil)
	v.set(func(a asked, uc *jwt.UserClaims) error {
		if a.number > 1 {
			uc.Limits.Payload = 100
		}
		return nil
	})
	sub := subscriber(t, v.Server, password("svc"))
	pub := harness.Client(t, v.Server, named(password("alice"), "alice"))
	pub.Pub("t.x", strings.Repeat("x", 200))
	sub.Msg()
	ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, "alice")})
	renewed(t, pub, sub, 2)
	pub.Pub("t.x", strings.Repeat("x", 200))
	pub.Expect("-ERR 'Maximum Payload Violation'")
}

// Renewals that fail, in each way.
func TestRenewalFailures(t *testing.T) {
	for _, test := range []struct {
		name         string
		edit         func(uc *jwt.UserClaims) error
		line, reason string // that the client is told, and that the event has
	}{
		{"refused", func(*jwt.UserClaims) error { return errors.New("logged out") }, "-ERR 'Authorization Violation'", "Renewal Refused"},
		{"another account", func(uc *jwt.UserClaims) error { uc.Audience = "OTHER"; return nil }, "-ERR 'User Authentication Expired'", "Authentication Expired"},
		{"an account that is not there", func(uc *jwt.UserClaims) error { uc.Audience = "NONE"; return nil }, "-ERR 'Authorization Violation'", "Renewal Refused"},
		{"another user", func(uc *jwt.UserClaims) error { uc.Subject = harness.Public(t, harness.NewUserKey(t)); return nil }, "-ERR 'Authorization Violation'", "Renewal Refused"},
		{"over already", func(uc *jwt.UserClaims) error { expireIn(uc, -time.Hour); return nil }, "-ERR 'Authorization Violation'", "Renewal Refused"},
		{"not by this way", func(uc *jwt.UserClaims) error { uc.AllowedConnectionTypes.Add("MQTT"); return nil }, "-ERR 'Authorization Violation'", "Renewal Refused"},
		{"a broken claim", func(uc *jwt.UserClaims) error { uc.Tags.Add("broken"); return nil }, "-ERR 'Authorization Violation'", "Headers Refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			issuer := harness.NewAccountKey(t)
			v := &service{counts: map[uint64]int{}}
			v.Server = harness.Start(t, fmt.Sprintf(renewConf, t.TempDir(), harness.Public(t, issuer), ""))
			good := v.answer("APP", issuer)
			callout := harness.Callout{Issuer: issuer, Answer: func(req *jwt.AuthorizationRequestClaims) (string, error) {
				token, err := good(req)
				if err == nil && test.name == "a broken claim" && v.counts[req.ClientInformation.ID] > 1 {
					return harness.Resign(t, token, issuer, invalid(fields{"headers": fields{"Nats-Rollup": "all"}}, nil)), nil
				}
				return token, err
			}}
			callout.Serve(t, v.Connect(t, userInfo("auth")))
			events := listen(t, v.Connect(t, userInfo("sys")))
			v.set(func(a asked, uc *jwt.UserClaims) error {
				if a.renewal {
					return test.edit(uc)
				}
				return nil
			})
			pub := harness.Client(t, v.Server, named(password("alice"), "alice"))
			ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, "alice")})
			pub.Expect(test.line)
			pub.ExpectClosed()
			events.expect(t, ".DISCONNECT", test.reason)
			harness.Eventually(t, "the refusal to be counted", func() bool { return varzHeaders(t, v.Server)["refused_renewals"] == 1 })
		})
	}
}

// If no answer comes, the connection stays, the callout is asked again, and the connection ends with its user JWT.
func TestRenewalWithoutAnswer(t *testing.T) {
	t.Parallel()
	v := startService(t, nil)
	v.set(func(a asked, uc *jwt.UserClaims) error {
		expireIn(uc, 10*time.Second)
		if a.renewal && a.number < 4 {
			return errSilent
		}
		if a.number > 4 {
			return errSilent
		}
		return nil
	})
	sub := subscriber(t, v.Server, password("svc"))
	pub := harness.Client(t, v.Server, named(password("alice"), "alice"))
	if got := ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, "alice")}); got != 1 {
		t.Fatalf("the request to renew concerned %d connections, want 1", got)
	}
	renewed(t, pub, sub, 4)
	if got := varzHeaders(t, v.Server); got["unanswered_renewals"] != 2 || got["renewals"] != 1 {
		t.Errorf("expected 2 unanswered renewals and 1 renewal; varz has %v", got)
	}
	pub.Expect("-ERR 'User Authentication Expired'")
	if v.renewals() < 4 {
		t.Errorf("%d renewals were tried, want 4 or more", v.renewals())
	}
}

// A renewal whose request is lost is tried again while the user JWT lives, also where a callout may take longer than that.
func TestLostRenewalWithALongCalloutTimeout(t *testing.T) {
	t.Parallel()
	v := startServiceWith(t, nil, `callout { request {}, timeout: "20s" }`)
	v.set(func(a asked, uc *jwt.UserClaims) error {
		if expireIn(uc, 10*time.Second); a.number == 2 {
			return errSilent
		}
		return nil
	})
	sub := subscriber(t, v.Server, password("svc"))
	pub := harness.Client(t, v.Server, named(password("alice"), "alice"))
	if got := ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, "alice")}); got != 1 {
		t.Fatalf("%d connections are renewed, expected 1", got)
	}
	renewed(t, pub, sub, 3)
}

// An answer that comes too late, when the server has asked again, is ignored.
func TestRenewalAnsweredLate(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	v := &service{counts: map[uint64]int{}}
	conf := strings.Replace(renewConf, "auth_callout {", "timeout: 0.5, auth_callout {", 1)
	v.Server = harness.Start(t, fmt.Sprintf(conf, t.TempDir(), harness.Public(t, issuer), ""))
	late := make(chan *nats.Msg, 10)
	callout := harness.Callout{Issuer: issuer, Answer: v.answer("APP", issuer)}
	nc := v.Connect(t, userInfo("auth"))
	if _, err := nc.Subscribe("$SYS.REQ.USER.AUTH", func(m *nats.Msg) {
		answer, err := callout.Respond(m)
		if err != nil {
			t.Error(err)
		}
		if n := len(v.all); n == 2 {
			late <- &nats.Msg{Subject: m.Reply, Data: answer}
			return
		}
		if err := m.Respond(answer); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	sub := subscriber(t, v.Server, password("svc"))
	pub := harness.Client(t, v.Server, named(password("alice"), "alice"))
	ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, "alice")})
	renewed(t, pub, sub, 3)
	if err := nc.PublishMsg(<-late); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if n := number(t, pub, sub); n != 3 {
			t.Fatalf("the stamp after a late answer is number %d", n)
		}
	}
}

// Who may request a renewal, and of which connections.
func TestRenewRequests(t *testing.T) {
	v := startService(t, nil)
	sub := subscriber(t, v.Server, password("svc"))
	v.set(func(a asked, uc *jwt.UserClaims) error {
		uc.Name = a.ConnectOptions.Username
		uc.Tags.Add(forwarded.SessionTag("Theirs/" + a.ConnectOptions.Username)) // in lower case
		return nil
	})
	one, two := harness.Client(t, v.Server, named(password("alice"), "one")), harness.Client(t, v.Server, named(password("alice"), "two"))
	bob := harness.Client(t, v.Server, named(password("bob"), "bob"))
	if n := ask(t, v.Server, forwarded.Renew{User: "alice"}); n != 2 {
		t.Errorf("a request about alice concerned %d connections, want 2", n)
	}
	renewed(t, one, sub, 2)
	renewed(t, two, sub, 2)
	if n := ask(t, v.Server, forwarded.Renew{Session: "Theirs/alice"}); n != 2 {
		t.Errorf("a request about alice's session concerned %d connections, want 2", n)
	}
	renewed(t, one, sub, 3)
	renewed(t, two, sub, 3)
	if n := ask(t, v.Server, forwarded.Renew{Session: "Theirs/alice", Kick: true}); n != 2 {
		t.Errorf("a request about alice's session concerned %d connections, want 2", n)
	}
	one.ExpectClosed()
	two.ExpectClosed()
	if n := number(t, bob, sub); n != 1 {
		t.Errorf("bob's stamp is number %d, want 1", n)
	}
	for body, want := range map[string]string{
		`{"cid":4711}`: "no such client", `{"session":1}`: "expected a JSON object", `x`: "expected a JSON object",
	} {
		m := request(t, v.Connect(t, userInfo("sys")), "$SYS.REQ.SERVER."+v.ID(t)+".RENEW", body)
		if !strings.Contains(string(m.Data), want) {
			t.Errorf("request %s: expected an answer with %q; found %s", body, want, m.Data)
		}
	}
	// A connection of a configured user does not belong to the callout.
	own := harness.Client(t, v.Server, named(password("svc"), "own"))
	ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, "own")})
	own.Flush()
	// Accounts other than the system account do not have this service.
	if _, err := v.Connect(t, userInfo("svc")).Request(forwarded.RenewAll, []byte(`{"user":"bob","kick":true}`), 100*time.Millisecond); err == nil {
		t.Error("a user of an ordinary account got an answer")
	}
	bob.Flush()
}

// The end of a session closes its connections within a moment, on all servers of a cluster, with handlers in processes of their
// own. A change of the session changes the stamp.
func TestSessionOverTheCluster(t *testing.T) {
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	first := harness.FreeAddr(t)
	start := func(name, listen string) *harness.Server {
		return harness.Start(t, fmt.Sprintf(`
			server_name: %s
			accounts {
				AUTH { jetstream: enabled, users: [{user: auth, password: auth}] }
				APP { users: [{user: svc, password: svc}] }
				SYS { users: [
					# With the permissions that docs/callout-operating.md gives them, but those for taking turns.
					{user: handler, password: sys, permissions: {
						publish: ["$SYS.REQ.SERVER.PING.RENEW", "$SYS.REQ.SERVER.*.KICK"], subscribe: ["$SYS.SERVER.*.STATSZ", "_INBOX.>"]}}
					{user: sys, password: sys, permissions: {publish: ["$SYS.REQ.SERVER.PING.RENEW"], subscribe: ["_INBOX.>"]}}
				] }
			}
			system_account: SYS
			jetstream { store_dir: %q }
			cluster { name: C, listen: %q, routes: ["nats://%s"] }
			authorization { auth_callout { issuer: %s, xkey: %s, account: AUTH, auth_users: [auth, svc, sys, handler] } }
			callout { request {} }`, name, t.TempDir(), listen, first, harness.Public(t, issuer), harness.Public(t, xkey)))
	}
	a := start("A", first)
	b := start("B", "127.0.0.1:-1")
	harness.Eventually(t, "a leader of the cluster", func() bool {
		return strings.Contains(a.Text()+b.Text(), "Self is new JetStream cluster metadata leader")
	})
	bucket := bucketOf(t, a.Connect(t, userInfo("auth")))
	var handlers []*harness.Process
	for _, s := range []*harness.Server{a, b} {
		handlers = append(handlers, harness.StartCallout(t, fmt.Sprintf(`
			connect { urls: ["nats://%s"], user: auth, password: auth, system { user: handler, password: sys } }
			issuer: %s
			xkey: %s
			sessions: [{kind: kv, bucket: sessions}]
			grants: [{account: APP, user: "{{ session.user }}", publish: ">", subscribe: ">", headers: {N: "{{ session.n }}"}}]`,
			s.Addr(t), harness.Seed(t, issuer), harness.Seed(t, xkey))))
	}
	for _, handler := range handlers {
		handler.WaitLog(t, "to do that in turn, the user of connect.system needs")
	}
	login(t, bucket, "one", map[string]any{"user": "alice", "n": "1"})
	login(t, bucket, "two", map[string]any{"user": "bob", "n": "1"})
	for _, s := range []*harness.Server{a, b} {
		sub := subscriber(t, s, password("svc"))
		alice, bob := harness.Client(t, s, token("one")), harness.Client(t, s, token("two"))
		login(t, bucket, "one", map[string]any{"user": "alice", "n": "2"})
		renewed(t, alice, sub, 2)
		if n := number(t, bob, sub); n != 1 {
			t.Errorf("bob's stamp is number %d, want 1", n)
		}
		login(t, bucket, "one", map[string]any{"user": "alice", "n": "1"})
		harness.Eventually(t, "the old stamp", func() bool { return number(t, alice, sub) == 1 })
	}
	// On both servers, and while one of the handlers is stopped.
	tabs := []*harness.Raw{harness.Client(t, a, token("one")), harness.Client(t, b, token("one")), harness.Client(t, b, token("one"))}
	other := harness.Client(t, b, token("two"))
	handlers[0].Stop()
	began := time.Now()
	if err := bucket.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	for _, tab := range tabs {
		tab.ExpectClosed()
	}
	t.Logf("closed after %s", time.Since(began).Round(time.Millisecond))
	other.Flush()
	expectRefused(t, a, token("one"))
	// By the command line.
	t.Setenv("NATS_PASSWORD", "sys")
	kicked := harness.Client(t, a, token("two"))
	for command, want := range map[string]string{"renew": "renewed", "kick": "closed"} {
		p := harness.Run(t, harness.CalloutBinary(t), "connections", command, "--server", "nats://"+a.Addr(t), "--user", "sys", "--of", "bob")
		if code := p.Exit(t); code != 0 || !strings.Contains(p.Text(), "server A: ") || !strings.Contains(p.Text(), "server B: ") || !strings.Contains(p.Text(), want) {
			t.Errorf("connections %s ends with exit code %d:\n%s", command, code, p.Text())
		}
	}
	kicked.ExpectClosed()
	other.ExpectClosed()
	other = harness.Client(t, b, token("two"))
	t.Setenv("NATS_PASSWORD", "auth")
	t.Setenv("ID", "two")
	revoke := harness.Run(t, harness.CalloutBinary(t), "session", "revoke", "--server", "nats://"+b.Addr(t), "--user", "auth", "--bucket", "sessions", "--id", "env:ID")
	if code := revoke.Exit(t); code != 0 {
		t.Errorf("session revoke ends with exit code %d:\n%s", code, revoke.Text())
	}
	other.ExpectClosed()
}

// The same with a handler inside one of the servers: it tells the others by the system account.
func TestSessionOverTheClusterInside(t *testing.T) {
	issuer, xkey, first := harness.NewAccountKey(t), harness.NewXKey(t), harness.FreeAddr(t)
	start := func(name, listen, callout string) *harness.Server {
		return harness.Start(t, fmt.Sprintf(`
			server_name: %s
			accounts {
				AUTH {}
				APP { jetstream: enabled, users: [{user: backend, password: backend}] }
				SYS { users: [{user: sys, password: sys}] }
			}
			system_account: SYS
			jetstream { store_dir: %q }
			cluster { name: C, listen: %q, routes: ["nats://%s"] }
			%s`, name, t.TempDir(), listen, first, callout))
	}
	a := start("A", first, fmt.Sprintf(`callout {
		account: AUTH, issuer: %s, xkey: %s
		sessions: [{kind: kv, bucket: sessions, account: APP}]
		grants: [{account: APP, publish: ">", subscribe: ">", headers: {N: "{{ session.n }}"}}]
	}`, harness.Seed(t, issuer), harness.Seed(t, xkey)))
	b := start("B", "127.0.0.1:-1", fmt.Sprintf(`callout { request {} }
		authorization { auth_callout { issuer: %s, xkey: %s, account: AUTH, auth_users: [backend, sys] } }`,
		harness.Public(t, issuer), harness.Public(t, xkey)))
	harness.Eventually(t, "a leader of the cluster", func() bool {
		return strings.Contains(a.Text()+b.Text(), "Self is new JetStream cluster metadata leader")
	})
	bucket := sessionBucket(t, a)
	login(t, bucket, "one", map[string]any{"n": "1"})
	var there *harness.Raw
	harness.Eventually(t, "the handler is reached from the other server", func() bool {
		nc, err := b.TryConnect(t, nats.Token("one"))
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	there = harness.Client(t, b, token("one"))
	here := harness.Client(t, a, token("one"))
	sub := subscriber(t, a, password("backend"))
	through(t, there, sub)
	through(t, here, sub)
	login(t, bucket, "one", map[string]any{"n": "2"})
	for name, c := range map[string]*harness.Raw{"there": there, "here": here} {
		harness.Eventually(t, "the new stamp", func() bool {
			c.Pub("t.x", name)
			m := sub.Msg()
			return m.Payload == name && len(m.Lines()) == 1 && m.Lines()[0] == "N: 2"
		})
	}
	if err := bucket.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	here.ExpectClosed()
	there.ExpectClosed()
}

func bucketOf(t *testing.T, nc *nats.Conn) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sessions"})
	if err != nil {
		t.Fatal(err)
	}
	return bucket
}

// If a connection logs in again as a configured user, it no longer belongs to the callout. Nor does one whose user a reload
// adds to the configuration.
func TestRenewalAfterAnotherLogin(t *testing.T) {
	v := startService(t, nil)
	sub := subscriber(t, v.Server, password("svc"))
	stays := func(name string, c *harness.Raw) {
		t.Helper()
		ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, name)})
		for range 20 {
			c.Flush()
			expectStamp(t, c, sub)
		}
	}
	raw := harness.Client(t, v.Server, named(password("alice"), "alice"))
	raw.Connect(named(password("svc"), "again"))
	raw.Flush()
	stays("again", raw)
	bob := harness.Client(t, v.Server, named(password("bob"), "bob"))
	v.Reload(t, strings.Replace(v.conf, "{user: svc, password: svc}", "{user: svc, password: svc}, {user: bob, password: bob}", 1))
	stays("bob", bob)
	stays("again", raw)
	if n := v.renewals(); n != 0 {
		t.Errorf("connections that are not the callout's were renewed %d times", n)
	}
}

// With each protocol, messages after a renewal have the new stamp, and nobody is disconnected.
func TestRenewalOnEveryWay(t *testing.T) {
	v := startService(t, nil)
	v.set(func(_ asked, uc *jwt.UserClaims) error { uc.Name = "dev"; return nil })
	sub := subscriber(t, v.Server, password("svc"))
	spoke := harness.Start(t, fmt.Sprintf(`leafnodes { remotes: [ {url: "nats://dev:dev@%s"} ] }`, v.Leaf(t)))
	harness.Eventually(t, "the leafnode connection", func() bool { return len(v.Leafz(t).Leafs) == 1 })
	behind := harness.Client(t, spoke, harness.Nobody)
	through(t, behind, sub)
	thing, _ := device(t, v.Server, "dev")
	plain := harness.Client(t, v.Server, password("dev"))
	ways := map[string]func(){
		"leafnode": func() { behind.Pub("t.x", "payload") },
		"MQTT":     func() { wait(t, thing.Publish("t/x", 0, false, "payload")) },
		"client":   func() { plain.Pub("t.x", "payload") },
	}
	for n := 1; n <= 3; n++ {
		for name, publish := range ways {
			want := block(fmt.Sprintf("N: %d", n))
			harness.Eventually(t, fmt.Sprintf("stamp %d by %s", n, name), func() bool {
				publish()
				return strings.Contains(sub.Msg().Header, strings.TrimPrefix(strings.TrimSuffix(want, "\r\n"), "NATS/1.0\r\n"))
			})
		}
		if got := ask(t, v.Server, forwarded.Renew{User: "dev"}); got != 3 {
			t.Fatalf("the request to renew concerned %d connections, want 3", got)
		}
	}
	for _, c := range v.Connz(t, "state=closed").Conns {
		if c.Name != "" || c.Reason != "Client Closed" {
			t.Errorf("the server closed a connection: %s", c.Reason)
		}
	}
}

// Renewals during other changes: each message has a stamp that was valid when it was sent, and no stamp is older than the one
// before.
func TestRenewalRaces(t *testing.T) {
	v := startService(t, nil)
	v.set(func(a asked, uc *jwt.UserClaims) error {
		uc.Name = a.ConnectOptions.Username
		if a.number%3 == 0 {
			uc.Sub.Deny.Add("never") // permissions change, too
		}
		return nil
	})
	const publishers, messages = 4, 3000
	sub := subscriber(t, v.Server, password("svc"))
	sub.Send("SUB end 9\r\n")
	sub.Flush()
	var raws []*harness.Raw
	for range publishers {
		raws = append(raws, harness.Client(t, v.Server, password("alice")))
	}
	stop := make(chan struct{})
	var background sync.WaitGroup
	sys := v.Connect(t, userInfo("sys"))
	background.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := sys.Request(forwarded.RenewAll, []byte(`{"user":"alice"}`), harness.Timeout); err != nil {
				t.Error(err)
				return
			}
		}
	})
	background.Go(func() { // others come and go; a reload may close one that is just coming
		for {
			select {
			case <-stop:
				return
			default:
			}
			if nc, err := v.TryConnect(t, userInfo("alice")); err == nil {
				nc.Close()
			}
		}
	})
	background.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			v.Reload(t, v.conf+fmt.Sprintf("\nwrite_deadline: \"%ds\"", 10+i%2))
		}
	})
	var pubs sync.WaitGroup
	for p, raw := range raws {
		pubs.Go(func() {
			for i := range messages {
				raw.Pub(fmt.Sprintf("t.%d", p), "payload")
				if i%1000 == 500 {
					raw.Connect(password("alice")) // authenticates anew
				}
			}
			raw.Pub("end", "payload")
		})
	}
	last, count := map[string]int{}, map[string]int{}
	t.Cleanup(func() { t.Logf("messages: %v", count) })
	for ends := 0; ends < publishers; {
		m := sub.Msg()
		count[m.Subject]++
		if m.Subject == "end" {
			ends++
			continue
		}
		lines := m.Lines()
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "N: ") {
			t.Fatalf("expected one header line, N; the message has %d lines", len(lines))
		}
		n, err := strconv.Atoi(lines[0][len("N: "):])
		if err != nil || n < last[m.Subject] {
			t.Fatalf("the stamp %d came after the stamp %d, or is no number: error %v", n, last[m.Subject], err)
		}
		last[m.Subject] = n
	}
	pubs.Wait()
	close(stop)
	background.Wait()
	for subject, n := range last {
		if n < 3 {
			t.Errorf("the last stamp on %s is number %d, want 3 or more", subject, n)
		}
	}
}

// Live connections survive a restart of the handler, and new ones are let in after it.
func TestRenewalOverAHandlerRestart(t *testing.T) {
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	s := harness.Start(t, fmt.Sprintf(strings.Replace(renewConf, "auth_callout {", "timeout: 0.5, auth_callout {", 1),
		t.TempDir(), harness.Public(t, issuer), ", xkey: "+harness.Public(t, xkey)))
	conf := handlerConf(t, s, "user: auth, password: auth", fmt.Sprintf("issuer: %s\nxkey: %s", harness.Seed(t, issuer), harness.Seed(t, xkey)), "APP")
	h := harness.StartCallout(t, conf)
	alice := harness.Password("alice", "open")
	sub := subscriber(t, s, alice)
	live := harness.Client(t, s, alice)
	h.Stop()
	if n := ask(t, s, forwarded.Renew{User: "alice"}); n != 2 {
		t.Fatalf("the request to renew concerned %d connections, want 2", n)
	}
	harness.Eventually(t, "renewals without an answer", func() bool {
		live.Flush()
		return varzHeaders(t, s)["unanswered_renewals"] >= 2
	})
	expectRefused(t, s, alice)
	harness.StartCallout(t, conf)
	harness.Eventually(t, "renewals", func() bool { return varzHeaders(t, s)["renewals"] >= 2 })
	expectStamp(t, live, sub, "X-Team: red", "X-User: alice")
	expectStamp(t, harness.Client(t, s, alice), sub, "X-Team: red", "X-User: alice")
}

// If a store does not answer in time, no connection is closed: the handler gives no answer to a renewal, and the server asks
// again.
func TestRenewalWhileTheStoreIsSlow(t *testing.T) {
	var slow atomic.Bool
	var number atomic.Int64
	number.Store(1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slow.Load() {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"user":"alice","n":"%d"}`, number.Load())
	}))
	defer app.Close()
	s := harness.Start(t, fmt.Sprintf(`
		accounts { APP { users: [{user: svc, password: svc}] }, SYS { users: [{user: sys, password: sys}] } }
		system_account: SYS
		authorization { timeout: 0.5 }
		callout {
			sessions: [{kind: http, url: %q, timeout: "300ms", cache: 0}]
			grants: [{account: APP, user: "{{ session.user }}", publish: ">", subscribe: ">", headers: {N: "{{ session.n }}"}}]
		}`, app.URL))
	sub := subscriber(t, s, password("svc"))
	alice := harness.Client(t, s, token("x"))
	slow.Store(true)
	number.Store(2)
	if n := ask(t, s, forwarded.Renew{User: "alice"}); n != 1 {
		t.Fatalf("the request to renew concerned %d connections, want 1", n)
	}
	harness.Eventually(t, "renewals without an answer", func() bool { return varzHeaders(t, s)["unanswered_renewals"] >= 1 })
	expectStamp(t, alice, sub, "N: 1")
	s.WaitLog(t, "renewal put off")
	expectRefused(t, s, token("x")) // who comes now is not let in
	slow.Store(false)
	renewed(t, alice, sub, 2)
}

// A server is killed and comes back. The handler connects again, the sessions are still there, and they end as before.
func TestSessionsOverAServerKill(t *testing.T) {
	issuer, dir, addr := harness.NewAccountKey(t), t.TempDir(), harness.FreeAddr(t)
	conf := fmt.Sprintf(`
		listen: %q
		accounts {
			AUTH { jetstream: enabled, users: [{user: auth, password: auth}] }
			APP { users: [{user: svc, password: svc}] }
			SYS { users: [{user: sys, password: sys}] }
		}
		system_account: SYS
		jetstream { store_dir: %q, sync_interval: always }
		authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, svc, sys] } }`, addr, dir, harness.Public(t, issuer))
	s := harness.Start(t, conf)
	bucket := bucketOf(t, s.Connect(t, userInfo("auth")))
	harness.StartCallout(t, fmt.Sprintf(`
		connect { urls: ["nats://%s"], user: auth, password: auth, system { user: sys, password: sys } }
		issuer: %s
		sessions: [{kind: kv, bucket: sessions}]
		grants: [{account: APP, publish: ">", subscribe: ">", headers: {N: "{{ session.n }}"}}]`, addr, harness.Seed(t, issuer)))
	login(t, bucket, "one", map[string]any{"n": "1"})
	login(t, bucket, "two", map[string]any{"n": "2"})
	harness.Client(t, s, token("one"))
	s.Signal(t, syscall.SIGKILL)
	s.Exit(t)

	s = harness.Start(t, conf)
	// The handler may take a moment to connect again.
	var one, two *nats.Conn
	harness.Eventually(t, "the handler answers", func() bool {
		var err error
		one, err = s.TryConnect(t, nats.Token("one"))
		return err == nil
	})
	two = s.Connect(t, nats.Token("two"))
	js := newJetStream(t, s.Connect(t, userInfo("auth")))
	bucket, err := js.KeyValue(t.Context(), "sessions")
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the connection of the session that ended to be closed", one.IsClosed)
	if err := two.Flush(); err != nil {
		t.Errorf("the connection of the other session is closed: %v", err)
	}
}

// Connections with each kind of credential can be renewed: a signature of the connection's nonce, a cookie of the upgrade
// request, a password, and none.
func TestRenewalOfEveryCredential(t *testing.T) {
	issuer, nkey := harness.NewAccountKey(t), harness.NewUserKey(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("open"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	s := harness.Start(t, fmt.Sprintf(`
		jetstream { store_dir: %q }
		accounts { APP { jetstream: enabled, users: [{user: backend, password: backend}] }, SYS { users: [{user: sys, password: sys}] } }
		system_account: SYS
		websocket { listen: "127.0.0.1:-1", no_tls: true, token_cookie: sid, allowed_origins: ["http://app.test"] }
		callout {
			sessions: [
				{kind: nkey, users: [{nkey: %s}]}, {kind: jwt, issuers: [%s]}, {kind: users, users: [{user: alice, password: %q}]}
				{kind: kv, bucket: sessions, account: APP}, {kind: anonymous, data: {user: nobody}}
			]
			grants: [{account: APP, user: everybody, publish: ">", subscribe: ">", headers: {Source: "{{ source }}"}}]
		}`, t.TempDir(), harness.Public(t, nkey), harness.Public(t, issuer), hash))
	login(t, sessionBucket(t, s), "c", map[string]any{"user": "carol"})
	sub := subscriber(t, s, password("backend"))
	account := &harness.Account{Key: issuer}
	conns := map[string]*harness.Raw{
		"nkey":      harness.Client(t, s, harness.NkeyCredential(nkey)),
		"jwt":       harness.Client(t, s, account.UserOf(t, "mail").Credential),
		"users":     harness.Client(t, s, harness.Password("alice", "open")),
		"kv":        mustBrowse(t, s, cookies("sid=c"), harness.Nobody),
		"anonymous": harness.Client(t, s, harness.Nobody),
	}
	for round := 1; round <= 2; round++ { // the second time, the answer's name has taken the credential's place
		if n := ask(t, s, forwarded.Renew{User: "everybody"}); n != len(conns) {
			t.Fatalf("the request to renew concerned %d connections, want %d", n, len(conns))
		}
		harness.Eventually(t, "the renewals", func() bool { return int(varzHeaders(t, s)["renewals"]) == round*len(conns) })
		for source, c := range conns {
			expectStamp(t, c, sub, "Source: "+source)
		}
	}
}
