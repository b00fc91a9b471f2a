package test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"stamp.example/claim"
	"stamp/test/harness"
)

// A user is changed back and forth between two states while messages flow. What a message may do in each of them differs in
// two things that only belong together: a subject, and a header. Whoever sees a mixture of both has found a moment at which one
// of them was changed already, and the other was not.

// changes is how often the user is changed. Each change is one chance to see a mixture.
const changes = 200

// changingUser is a user in two states.
type changingUser struct {
	permissions [2]jwt.Permissions
	claims      [2]*claim.Claim
	block       string // of the configuration
}

const sealSession = "headers { sealed: [Session] }"

// places are the ways by which a live connection of a user is changed. Each returns a server and the function that puts the
// user in a state, and returns when the state is in force.
var places = map[string]func(t *testing.T, u changingUser) (*harness.Server, func(state int)){
	"reload":  changedByReload,
	"renewal": changedByRenewal,
}

func changedByReload(t *testing.T, u changingUser) (*harness.Server, func(state int)) {
	dir := t.TempDir()
	conf := func(state int) string {
		p, c := u.permissions[state], u.claims[state]
		side := func(p jwt.Permission) string {
			return fmt.Sprintf("{allow: %s, deny: %s}", list(p.Allow), list(p.Deny))
		}
		text := fmt.Sprintf("permissions: {publish: %s, subscribe: %s}", side(p.Pub), side(p.Sub))
		if len(c.Headers) > 0 {
			text += fmt.Sprintf(", headers: {%s: %s}", c.Headers[0].Name, c.Headers[0].Values[0])
		}
		if len(c.Subscribe) > 0 {
			text += fmt.Sprintf(", header_permissions: {subscribe: {allow: %s}}", list(c.Subscribe))
		}
		return fmt.Sprintf(`
			server_name: S, mqtt { listen: "127.0.0.1:-1" }, jetstream { store_dir: %q }
			%s
			accounts { APP { jetstream: enabled, users: [
				{user: u, password: u, %s}
				{user: svc, password: svc, headers: {Session: secret}, header_permissions: {subscribe: {allow: ["*"]}}}
			] } }`, dir, u.block, text)
	}
	s := harness.Start(t, conf(0))
	return s, func(state int) { s.Reload(t, conf(state)) }
}

// list is a list of strings in a configuration.
func list(of []string) string {
	return strings.ReplaceAll(fmt.Sprintf("%q", slices.Concat([]string{}, of)), " ", ", ")
}

func changedByRenewal(t *testing.T, u changingUser) (*harness.Server, func(state int)) {
	issuer := harness.NewAccountKey(t)
	var now atomic.Int32
	s := harness.Start(t, strings.Replace(fmt.Sprintf(renewConf, t.TempDir(), harness.Public(t, issuer), ""), "{user: svc, password: svc}",
		`{user: svc, password: svc, headers: {Session: secret}, header_permissions: {subscribe: {allow: ["*"]}}}`, 1)+
		"\n"+u.block+"\ncallout { request {} }")
	callout := harness.Callout{Issuer: issuer, Answer: func(req *jwt.AuthorizationRequestClaims) (string, error) {
		uc := jwt.NewUserClaims(req.UserNkey)
		uc.Audience, uc.Permissions = "APP", u.permissions[now.Load()]
		return claim.Encode(uc, u.claims[now.Load()], issuer)
	}}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	sys, done := s.Connect(t, userInfo("sys")), 0.0
	return s, func(state int) {
		now.Store(int32(state))
		n := 0
		for _, c := range s.Connz(t, "?auth=1").Conns {
			if c.Name == "u" || c.MQTTClient == "u" {
				request(t, sys, "$SYS.REQ.SERVER."+s.ID(t)+".RENEW", fmt.Sprintf(`{"cid":%d}`, c.Cid))
				n++
			}
		}
		done += float64(n)
		harness.Eventually(t, "the renewal", func() bool { return varzHeaders(t, s)["renewals"] >= done })
	}
}

// mixtures collects what nobody may see, once each.
type mixtures struct {
	mu   sync.Mutex
	seen map[string]int
}

func (m *mixtures) add(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen = map[string]int{}
	}
	m.seen[fmt.Sprintf(format, args...)]++
}

func (m *mixtures) report(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, text := range slices.Sorted(maps.Keys(m.seen)) {
		t.Errorf("%s: %d messages", text, m.seen[text])
	}
}

// flood calls send from now on until the returned function is called, which waits for its end.
func flood(t *testing.T, send func() error) (stop func()) {
	t.Helper()
	var over atomic.Bool
	ended := make(chan error, 1)
	go func() {
		for !over.Load() {
			if err := send(); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	return func() {
		t.Helper()
		over.Store(true)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// turnToAndFro changes the user while messages flow.
func turnToAndFro(change func(state int)) {
	for i := range changes {
		change((i + 1) % 2)
	}
}

// A reader gets a sealed header on no subject on which it was never permitted both.
func TestReaderSeesNoMixture(t *testing.T) {
	readers := map[string][2]jwt.Permissions{
		"a deny within a wildcard": {readerOf("x.>"), readerOf("x.>", "x.secret")},
		"another subject":          {readerOf("x.secret"), readerOf("x.open")},
	}
	for place, start := range places {
		for name, permissions := range readers {
			t.Run(place+", "+name, func(t *testing.T) {
				s, change := start(t, changingUser{permissions, [2]*claim.Claim{{}, {Subscribe: []string{"Session"}}}, sealSession})
				var wrong mixtures
				var got atomic.Int64
				reader := s.Connect(t, userInfo("u"), nats.Name("u"), ignoreErrors)
				read := func(m *nats.Msg) {
					got.Add(1)
					if m.Subject == "x.secret" && m.Header.Get("Session") != "" {
						wrong.add("x.secret is delivered with Session")
					}
				}
				pub := s.Connect(t, userInfo("svc"))
				stop := flood(t, func() error {
					for range 50 {
						if err := pub.Publish("x.secret", nil); err != nil {
							return err
						}
					}
					return pub.Flush()
				})
				for i := range changes {
					// Where a change has ended a subscription, it is made again.
					for _, subject := range permissions[i%2].Sub.Allow {
						sub, err := reader.Subscribe(subject, read)
						if err != nil {
							t.Fatal(err)
						}
						if err := reader.Flush(); err != nil {
							t.Fatal(err)
						}
						defer sub.Unsubscribe()
					}
					change((i + 1) % 2)
				}
				stop()
				wrong.report(t)
				if got.Load() == 0 {
					t.Error("the reader got nothing, so that this test shows nothing")
				}
			})
		}
	}
}

// A reader that may read a header on a subject before and after a change gets it during the change too.
func TestReaderMissesNothing(t *testing.T) {
	for place, start := range places {
		t.Run(place, func(t *testing.T) {
			allowed := &claim.Claim{Subscribe: []string{"Session"}}
			s, change := start(t, changingUser{[2]jwt.Permissions{readerOf("x.>"), readerOf("x.>", "x.secret")}, [2]*claim.Claim{allowed, allowed}, sealSession})
			var wrong mixtures
			reader := s.Connect(t, userInfo("u"), nats.Name("u"), ignoreErrors)
			var got atomic.Int64
			if _, err := reader.Subscribe("x.>", func(m *nats.Msg) {
				got.Add(1)
				if m.Header.Get("Session") == "" {
					wrong.add("%s is delivered without Session", m.Subject)
				}
			}); err != nil {
				t.Fatal(err)
			}
			if err := reader.Flush(); err != nil {
				t.Fatal(err)
			}
			pub, sent := s.Connect(t, userInfo("svc")), int64(0)
			stop := flood(t, func() error {
				sent++
				if err := pub.Publish("x.open", nil); err != nil {
					return err
				}
				return pub.Flush()
			})
			turnToAndFro(change)
			stop()
			harness.Eventually(t, "the last message", func() bool { return got.Load() >= sent })
			wrong.report(t)
		})
	}
}

// What a user publishes has the headers of the state in which it might publish it, and not what it wrote there itself.
func TestPublisherMixesNothing(t *testing.T) {
	states := [2]string{"zero", "one"}
	stamps := map[string]changingUser{
		"one stamp to another": {claims: [2]*claim.Claim{header("Role", "zero"), header("Role", "one")}, block: sealSession},
		"a stamp to none":      {claims: [2]*claim.Claim{header("Role", "zero"), {}}},
	}
	publishers := map[string]func(t *testing.T, s *harness.Server) func() error{
		"NATS": func(t *testing.T, s *harness.Server) func() error {
			nc := s.Connect(t, userInfo("u"), nats.Name("u"), ignoreErrors)
			return func() error {
				for i := range 100 {
					if err := nc.PublishMsg(&nats.Msg{Subject: "x." + states[i%2], Header: nats.Header{"Role": {"forged"}}}); err != nil {
						return err
					}
				}
				return nc.Flush()
			}
		},
		"MQTT QoS 0": func(t *testing.T, s *harness.Server) func() error { return mqttPublisher(t, s, states, 0) },
		"MQTT QoS 1": func(t *testing.T, s *harness.Server) func() error { return mqttPublisher(t, s, states, 1) },
	}
	for stamp, u := range stamps {
		for i, state := range states {
			u.permissions[i].Pub.Allow.Add("x." + state)
			u.permissions[i].Sub.Allow.Add("none")
		}
		for place, start := range places {
			for name, publisher := range publishers {
				t.Run(stamp+", "+place+", "+name, func(t *testing.T) {
					s, change := start(t, u)
					var wrong mixtures
					var got [2]atomic.Int64
					if _, err := s.Connect(t, userInfo("svc")).Subscribe("x.*", func(m *nats.Msg) {
						i := slices.Index(states[:], strings.TrimPrefix(m.Subject, "x."))
						got[i].Add(1)
						want := "forged" // what nobody stamps is the client's own
						if len(u.claims[i].Headers) > 0 {
							want = states[i]
						} else if name != "NATS" {
							want = ""
						}
						if role := m.Header.Get("Role"); role != want {
							wrong.add("%s comes with Role: %q", m.Subject, role)
						}
					}); err != nil {
						t.Fatal(err)
					}
					stop := flood(t, publisher(t, s))
					turnToAndFro(change)
					stop()
					wrong.report(t)
					if got[0].Load() == 0 || got[1].Load() == 0 {
						t.Errorf("%d and %d messages came in the two states, so that this test shows nothing", got[0].Load(), got[1].Load())
					}
				})
			}
		}
	}
}

// A connection that a callout let in is a user of the configuration later: with that user's permissions, also after a reload.
func TestReloadOfAUserWhoWasACallouts(t *testing.T) {
	const guest = `, {user: guest, password: guest, headers: {Role: guest}, permissions: {publish: "t.pub.>", subscribe: "t.pub.>"}}`
	issuer := harness.NewAccountKey(t)
	conf := func(users, more string) string {
		return fmt.Sprintf(`
			accounts { AUTH { users: [{user: auth, password: auth}] }, APP { users: [{user: svc, password: svc} %s] } }
			authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, svc, guest] } }
			%s`, users, harness.Public(t, issuer), more)
	}
	for name, become := range map[string]func(s *harness.Server) *harness.Raw{
		"by a second CONNECT": func(s *harness.Server) *harness.Raw {
			s.Reload(t, conf(guest, ""))
			raw := harness.Client(t, s, password("anybody"))
			raw.Connect(password("guest"))
			raw.Flush()
			return raw
		},
		"by a reload": func(s *harness.Server) *harness.Raw {
			raw := harness.Client(t, s, password("guest"))
			s.Reload(t, conf(guest, ""))
			return raw
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, conf("", ""))
			callout := harness.Callout{Issuer: issuer, Answer: func(req *jwt.AuthorizationRequestClaims) (string, error) {
				uc := jwt.NewUserClaims(req.UserNkey)
				uc.Audience = "APP" // without permissions: everything is permitted
				return claim.Encode(uc, header("Role", "callout"), issuer)
			}}
			callout.Serve(t, s.Connect(t, userInfo("auth")))
			sub := subscriber(t, s, password("svc"))
			raw := become(s)
			for _, step := range []string{"before", "after"} {
				raw.Pub("t.secret", step)
				if errs := untilPong(t, raw); len(errs) != 1 {
					t.Errorf("%s the reload, to publish without permission has the errors %q", step, errs)
				}
				raw.Pub("t.pub.x", step)
				if m := sub.Msg(); m.Subject != "t.pub.x" || !slices.Contains(m.Lines(), "Role: guest") {
					t.Errorf("%s the reload, %s comes with %q", step, m.Subject, m.Lines())
				}
				s.Reload(t, conf(guest, "headers { all: {Extra: e} }"))
			}
		})
	}
}

// A subscription that has ended takes its interest with it, so that servers of the cluster say at once that nobody responds,
// and send nothing. One that is made during a change ends too.
func TestEndedSubscriptionsLeaveNothing(t *testing.T) {
	readers := changingUser{permissions: [2]jwt.Permissions{readerOf("x.>"), readerOf("none")}, claims: [2]*claim.Claim{{}, {}}}
	for place, start := range places {
		t.Run(place, func(t *testing.T) {
			route := harness.FreeAddr(t)
			other := harness.Start(t, fmt.Sprintf(`server_name: T, cluster { name: C, listen: %q }
				accounts { APP { users: [{user: svc, password: svc}] } }`, route))
			u := readers
			u.block = fmt.Sprintf(`cluster { name: C, listen: "127.0.0.1:-1", routes: ["nats://%s"] }`, route)
			s, change := start(t, u)
			requestor := other.Connect(t, userInfo("svc"))
			reader := s.Connect(t, userInfo("u"), nats.Name("u"), ignoreErrors)
			ask := func() error { // a request that nobody answers any more is lost
				_, err := requestor.Request("x.ask", nil, 100*time.Millisecond)
				return err
			}
			for range 3 {
				if _, err := reader.Subscribe("x.ask", func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
					t.Fatal(err)
				}
				if _, err := reader.QueueSubscribe("x.*", "q", func(*nats.Msg) {}); err != nil {
					t.Fatal(err)
				}
				harness.Eventually(t, "the interest", func() bool { return ask() == nil })
				change(1)
				harness.Eventually(t, "the end of the interest", func() bool { return errors.Is(ask(), nats.ErrNoResponders) })
				change(0)
			}
		})
	}
}

// streamImports is a server whose user u may subscribe to what is permitted, in an account that imports so many streams.
func streamImports(dir string, streams int, permitted string) string {
	var imports []string
	for i := range streams {
		imports = append(imports, fmt.Sprintf(`{stream: {account: EXP, subject: "s.%d.>"}}`, i))
	}
	return fmt.Sprintf(`
		server_name: S, mqtt { listen: "127.0.0.1:-1" }, jetstream { store_dir: %q }
		accounts {
			EXP { users: [{user: exp, password: exp}], exports: [{stream: "s.>"}] }
			APP { jetstream: enabled, users: [{user: u, password: u, permissions: {subscribe: %q}}], imports: [%s] }
		}`, dir, permitted, strings.Join(imports, ", "))
}

// A client that subscribes to imported streams during reloads neither ends the server nor gets what it may not.
func TestSubscribeToImportsDuringReloads(t *testing.T) {
	const streams = 200
	dir := t.TempDir()
	conf := func(permitted string) string { return streamImports(dir, streams, permitted) }
	s := harness.Start(t, conf(">"))
	exporter := s.Connect(t, userInfo("exp"))
	for range 20 {
		s.Reload(t, conf(">"))
		reader := s.Connect(t, userInfo("u"), ignoreErrors)
		stop := flood(t, func() error {
			sub, err := reader.Subscribe(">", func(*nats.Msg) {})
			if err != nil {
				return err
			}
			if err := reader.Flush(); err != nil {
				return err
			}
			return sub.Unsubscribe()
		})
		s.Reload(t, conf("none"))
		stop()
		if err := reader.Flush(); err != nil {
			t.Fatal(err)
		}
		before := reader.Stats().InMsgs
		for i := range streams {
			if err := exporter.Publish(fmt.Sprintf("s.%d.x", i), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(exporter.Flush(), reader.Flush()); err != nil {
			t.Fatal(err)
		}
		if n := reader.Stats().InMsgs - before; n > 0 {
			t.Fatalf("%d messages come after the permission was taken", n)
		}
		reader.Close()
	}
}

// The same for a device, to which messages are on their way all the time, and which goes away while it subscribes.
func TestDeviceSubscribesToImportsDuringReloads(t *testing.T) {
	const streams = 50
	dir := t.TempDir()
	s := harness.Start(t, streamImports(dir, streams, ">"))
	exporter := s.Connect(t, userInfo("exp"))
	stop := flood(t, func() error {
		for i := range streams {
			if err := exporter.Publish(fmt.Sprintf("s.%d.x", i), nil); err != nil {
				return err
			}
		}
		return exporter.Flush()
	})
	topic := "\x00\x03s/#"
	packets := strings.Repeat("\x82\x08\x00\x01"+topic+"\x00"+"\xA2\x07\x00\x02"+topic, 20)
	for i := range 20 {
		conn := mqttConnect(t, s, "u", fmt.Sprint("device", i%10))
		if got := mqttRead(t, conn); got != "\x20\x02\x00\x00" {
			t.Fatalf("the device gets %q", got)
		}
		go io.Copy(io.Discard, conn)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for {
				if _, err := io.WriteString(conn, packets); err != nil {
					return // it was closed below
				}
			}
		}()
		s.Reload(t, streamImports(dir, streams, []string{"none", ">"}[i%2]))
		conn.Close()
		<-sent
		s.Reload(t, streamImports(dir, streams, ">"))
	}
	stop()
	s.Connect(t, userInfo("u"))
}

func readerOf(allow string, deny ...string) (p jwt.Permissions) {
	p.Sub.Allow.Add(allow, "_INBOX.>")
	p.Sub.Deny.Add(deny...)
	return p
}

// mqttPublisher is a device that publishes to both topics by turns.
func mqttPublisher(t *testing.T, s *harness.Server, states [2]string, qos int) func() error {
	t.Helper()
	conn := mqttConnect(t, s, "u", "u")
	if got := mqttRead(t, conn); got != "\x20\x02\x00\x00" {
		t.Fatalf("the device gets %q", got)
	}
	var packets strings.Builder
	for i := range 100 {
		topic := "x/" + states[i%2]
		body := string([]byte{0, byte(len(topic))}) + topic
		if qos > 0 {
			body += string([]byte{0, byte(i + 1)})
		}
		packets.WriteString(string([]byte{byte(0x30 | qos<<1), byte(len(body))}) + body)
	}
	// The answer to the PING comes behind those to the messages.
	packets.WriteString("\xC0\x00")
	answers := make([]byte, 2+qos*100*4)
	return func() error {
		if _, err := io.WriteString(conn, packets.String()); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, answers)
		return err
	}
}
