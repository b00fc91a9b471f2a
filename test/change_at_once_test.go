package test

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

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
}

// places are the ways by which a live connection of a user is changed. Each returns a server and the function that puts the
// user in a state, and returns when the state is in force.
var places = map[string]func(t *testing.T, u changingUser) (*harness.Server, func(state int)){
	"reload":  changedByReload,
	"renewal": changedByRenewal,
}

func changedByReload(t *testing.T, u changingUser) (*harness.Server, func(state int)) {
	conf := func(state int) string {
		p, c := u.permissions[state], u.claims[state]
		side := func(p jwt.Permission) string {
			return fmt.Sprintf("{allow: %s, deny: %s}", list(p.Allow), list(p.Deny))
		}
		text := fmt.Sprintf("permissions: {publish: %s, subscribe: %s}", side(p.Pub), side(p.Sub))
		if len(c.Headers) > 0 {
			text += fmt.Sprintf(", headers: {%s: %s}", c.Headers[0].Name, c.Headers[0].Values[0])
		}
		return fmt.Sprintf(`
			server_name: S, headers { sealed: [Session] }, mqtt { listen: "127.0.0.1:-1" }, jetstream { store_dir: %q }
			accounts { APP { jetstream: enabled, users: [
				{user: u, password: u, %s, header_permissions: {subscribe: {allow: %s}}}
				{user: svc, password: svc, headers: {Session: secret}, header_permissions: {subscribe: {allow: ["*"]}}}
			] } }`, t.TempDir(), text, list(c.Subscribe))
	}
	texts := [2]string{conf(0), conf(1)}
	texts[1] = strings.Replace(texts[1], texts[1][strings.Index(texts[1], "store_dir"):strings.Index(texts[1], "accounts")],
		texts[0][strings.Index(texts[0], "store_dir"):strings.Index(texts[0], "accounts")], 1)
	s := harness.Start(t, texts[0])
	return s, func(state int) { s.Reload(t, texts[state]) }
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
		"\nheaders { sealed: [Session] }\ncallout { request {} }")
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
				s, change := start(t, changingUser{permissions, [2]*claim.Claim{{}, {Subscribe: []string{"Session"}}}})
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
			s, change := start(t, changingUser{[2]jwt.Permissions{readerOf("x.>"), readerOf("x.>", "x.secret")}, [2]*claim.Claim{allowed, allowed}})
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

// What a user publishes has the headers of the state in which it might publish it.
func TestPublisherMixesNothing(t *testing.T) {
	states := [2]string{"zero", "one"}
	var u changingUser
	for i, state := range states {
		u.permissions[i].Pub.Allow.Add("x." + state)
		u.permissions[i].Sub.Allow.Add("none")
		u.claims[i] = header("Role", state)
	}
	publishers := map[string]func(t *testing.T, s *harness.Server) func() error{
		"NATS": func(t *testing.T, s *harness.Server) func() error {
			nc := s.Connect(t, userInfo("u"), nats.Name("u"), ignoreErrors)
			return func() error {
				for i := range 100 {
					if err := nc.Publish("x."+states[i%2], nil); err != nil {
						return err
					}
				}
				return nc.Flush()
			}
		},
		"MQTT QoS 0": func(t *testing.T, s *harness.Server) func() error { return mqttPublisher(t, s, states, 0) },
		"MQTT QoS 1": func(t *testing.T, s *harness.Server) func() error { return mqttPublisher(t, s, states, 1) },
	}
	for place, start := range places {
		for name, publisher := range publishers {
			t.Run(place+", "+name, func(t *testing.T) {
				s, change := start(t, u)
				var wrong mixtures
				var got [2]atomic.Int64
				if _, err := s.Connect(t, userInfo("svc")).Subscribe("x.*", func(m *nats.Msg) {
					state := strings.TrimPrefix(m.Subject, "x.")
					got[slices.Index(states[:], state)].Add(1)
					if role := m.Header.Get("Role"); role != state {
						wrong.add("%s comes with Role: %s", m.Subject, role)
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
