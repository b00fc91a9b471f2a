package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// A message is stamped once, whatever way it then takes.
func TestOverRouteAndGateway(t *testing.T) {
	a := harness.Start(t, waysConf+`server_name: A
		cluster { name: C, listen: "127.0.0.1:-1" }
		gateway { name: C, listen: "127.0.0.1:-1" }`)
	b := harness.Start(t, waysConf+fmt.Sprintf(`server_name: B
		cluster { name: C, listen: "127.0.0.1:-1", routes: ["nats://%s"] }
		gateway { name: C, listen: "127.0.0.1:-1" }`, a.Route(t)))
	d := harness.Start(t, waysConf+fmt.Sprintf(`server_name: D
		gateway { name: D, listen: "127.0.0.1:-1", gateways: [ {name: C, urls: ["nats://%s"]} ] }`, a.Gateway(t)))
	pub := a.Connect(t, userInfo("pub"))
	for name, s := range map[string]*harness.Server{"route": b, "gateway": d} {
		sub := subscribed(t, s, userInfo("sub"))
		reach(t, pub, sub)
		t.Run(name, func(t *testing.T) { publishAndExpect(t, pub, sub) })
		t.Run(name+", request", func(t *testing.T) {
			answer(t, s.Connect(t, userInfo("pub")), "t.q")
			harness.Eventually(t, "the service to be reached", func() bool {
				m, err := pub.Request("t.q", []byte("?"), time.Second)
				if err != nil {
					return false
				}
				expectHeaders(t, m, false)
				return string(m.Data) == "map[Roles:[x y] Session:[real]]"
			})
		})
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
}

// If a requester of another cluster has just subscribed, the reply takes a way of its own: back to that cluster, whatever
// interest is known.
func TestReplyToAnotherCluster(t *testing.T) {
	a := harness.Start(t, waysConf+`server_name: A
		gateway { name: A, listen: "127.0.0.1:-1" }`)
	b := harness.Start(t, waysConf+fmt.Sprintf(`server_name: B
		gateway { name: B, listen: "127.0.0.1:-1", gateways: [ {name: A, urls: ["nats://%s"]} ] }`, a.Gateway(t)))
	service, asking := b.Connect(t, userInfo("pub")), a.Connect(t, userInfo("sub"))
	answer(t, service, "t.q")
	harness.Eventually(t, "the service to be reached", func() bool {
		_, err := asking.Request("t.q", nil, time.Second)
		return err == nil
	})
	for i := range 50 {
		inbox, err := asking.SubscribeSync(nats.NewInbox())
		if err != nil {
			t.Fatal(err)
		}
		if err := asking.PublishRequest("t.q", inbox.Subject, nil); err != nil {
			t.Fatal(err)
		}
		m, err := inbox.NextMsg(harness.Timeout)
		if err != nil {
			t.Fatalf("reply %d did not arrive: %v", i, err)
		}
		expectHeaders(t, m, false)
	}
}

// Latency sampling reads the header of the message that is being processed. It must read the stamped one, even if that is
// longer than the bytes that were received.
func TestLatencySampling(t *testing.T) {
	long := strings.Repeat("v", 8000)
	s := harness.Start(t, fmt.Sprintf(`
		accounts {
			APP { users: [ {user: pub, password: pub, headers: {Long: %q}} ]
				imports: [ {service: {account: SVC, subject: "one"}, to: "t.one"} ] }
			SVC { users: [ {user: svc, password: svc} ]
				exports: [ {service: "one", latency: {sampling: headers, subject: "latency"}} ] }
		}`, long))
	answer(t, s.Connect(t, userInfo("svc")), "one")
	pub := s.Connect(t, userInfo("pub"))
	for _, h := range []nats.Header{nil, {"Own": {"1"}}} {
		m, err := pub.RequestMsg(&nats.Msg{Subject: "t.one", Header: h}, harness.Timeout)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(m.Data), long) {
			t.Error("the service did not get the stamp")
		}
	}
}

// answer replies with the headers of the request.
func answer(t *testing.T, nc *nats.Conn, subject string) {
	t.Helper()
	if _, err := nc.QueueSubscribe(subject, "q", func(m *nats.Msg) { _ = m.Respond([]byte(fmt.Sprint(m.Header))) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

const importsConf = `
	max_payload: 2MB
	max_pending: 64MB
	accounts {
		APP { users: [ {user: pub, password: pub, headers: {Session: "real", Roles: ["x", "y"]}} ]
			exports: [ {stream: "t.>"} ]
			imports: [ {service: {account: SVC, subject: "one"}, to: "t.one"}, {service: {account: SVC, subject: "many"}, to: "t.many"} ] }
		SVC { users: [ {user: svc, password: svc, headers: {Session: "real", Roles: ["x", "y"]}}, {user: sub, password: sub} ]
			exports: [ {service: "one"}, {service: "many", response: stream} ]
			imports: [ {stream: {account: APP, subject: "t.>"}, prefix: "from"} ] }
		SYS { users: [ {user: sys, password: sys} ] }
	}
	system_account: SYS
`

// A streamed response ends with an empty message. With a stamp, that would not be recognized as the end, and the import of the
// responses would never be removed.
func TestStreamedResponseEnds(t *testing.T) {
	s := harness.Start(t, importsConf)
	svc, pub := s.Connect(t, userInfo("svc")), s.Connect(t, userInfo("pub"))
	_, err := svc.Subscribe("many", func(m *nats.Msg) {
		for _, part := range []string{"1", "2", ""} {
			_ = m.Respond([]byte(part))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := svc.Flush(); err != nil {
		t.Fatal(err)
	}
	inbox, err := pub.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := pub.PublishRequest("t.many", inbox.Subject, nil); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			m, err := inbox.NextMsg(harness.Timeout)
			if err != nil {
				t.Fatal(err)
			}
			if i < 2 {
				expectHeaders(t, m, false)
			} else if len(m.Header)+len(m.Data) > 0 {
				t.Error("the end is not empty")
			}
		}
	}
	harness.Eventually(t, "no response import to be left", func() bool {
		return s.ResponseImports(t, "SVC") == 0
	})
}

// The subjects of a header are those before a mapping.
func TestScopeAndMapping(t *testing.T) {
	s := harness.Start(t, waysConf+`mappings { "t.api.in": "t.elsewhere", "t.plain": "t.api.out" }`)
	sub := subscriber(t, s, password("sub"))
	pub := harness.Client(t, s, password("pub"))
	pub.Pub("t.api.in", "payload")
	expectMsg(t, sub, "mapped out of the scope", block("Roles: x", "Roles: y", "Session: real", "Token: scoped"))
	pub.Pub("t.plain", "payload")
	expectMsg(t, sub, "mapped into the scope", block(stamped...))
}

// Stored messages keep their stamp on every way of reading them, and JetStream's own headers still work.
func TestJetStream(t *testing.T) {
	s := harness.Start(t, waysConf+fmt.Sprintf("server_name: J\njetstream { store_dir: %q }", t.TempDir()))
	js, err := jetstream.New(s.Connect(t, userInfo("pub")))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "S", Subjects: []string{"t.>"}, AllowDirect: true,
		RePublish: &jetstream.RePublish{Destination: "again.>"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "M", Mirror: &jetstream.StreamSource{Name: "S"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // the second is a duplicate: the client's other headers still act
		ack, err := js.PublishMsg(ctx, &nats.Msg{
			Subject: "t.a", Data: []byte("payload"), Header: nats.Header{"Nats-Msg-Id": {"1"}, "session": {"forged"}},
		})
		if err != nil || ack.Duplicate != (i == 1) {
			t.Fatalf("publish %d: error %v, duplicate %t, want %t", i, err, ack.Duplicate, i == 1)
		}
	}
	check := func(what string, h nats.Header, data []byte) {
		t.Helper()
		if fmt.Sprint(h["Session"], h["Roles"], h["session"]) != "[real] [x y] []" || string(data) != "payload" {
			t.Errorf("%s: expected the stamp and the payload; the headers are %v", what, h)
		}
	}
	raw, err := stream.GetMsg(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	check("get", raw.Header, raw.Data)
	for _, name := range []string{"S", "M"} {
		c, err := js.CreateConsumer(ctx, name, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Next(jetstream.FetchMaxWait(harness.Timeout))
		if err != nil {
			t.Fatal(err)
		}
		check("consumer of "+name, m.Headers(), m.Data())
		if err := m.DoubleAck(ctx); err != nil {
			t.Errorf("cannot acknowledge the message: %v", err)
		}
	}
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "B"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(ctx, "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(ctx, "k"); err != nil || string(e.Value()) != "v" {
		t.Errorf("cannot read the key that was put: %v", err)
	}
	obj, err := js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "O"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := obj.PutString(ctx, "o", string(make([]byte, 500000))); err != nil {
		t.Fatal(err)
	}
	if got, err := obj.GetBytes(ctx, "o"); err != nil || len(got) != 500000 {
		t.Errorf("the object that was put comes back with %d bytes, error %v", len(got), err)
	}
}

// Message traces work for stamped connections too.
func TestMessageTrace(t *testing.T) {
	s := harness.Start(t, waysConf)
	traces := subscribed(t, s, userInfo("sub"))
	pub := s.Connect(t, userInfo("pub"))
	if err := pub.PublishMsg(&nats.Msg{Subject: "t.x", Header: nats.Header{"Nats-Trace-Dest": {"t.trace"}}}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for len(seen) < 2 {
		m, err := traces.NextMsg(harness.Timeout)
		if err != nil {
			t.Fatalf("expected traces of both messages; got %v, error %v", seen, err)
		}
		seen[m.Subject] = true
	}
}

// Snapshots are bytes: a stamped connection can make one, and restore it.
func TestSnapshotAndRestore(t *testing.T) {
	s := harness.Start(t, waysConf+fmt.Sprintf("server_name: J\njetstream { store_dir: %q }", t.TempDir()))
	nc := s.Connect(t, userInfo("pub"))
	js, ctx := newJetStream(t, nc), t.Context()
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"t.>"}})
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	for i := range n {
		if _, err := js.Publish(ctx, "t.a", []byte(strings.Repeat("p", i*50))); err != nil {
			t.Fatal(err)
		}
	}
	config, err := json.Marshal(stream.CachedInfo().Config)
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	answer := request(t, nc, "$JS.API.STREAM.SNAPSHOT.S", fmt.Sprintf(`{"deliver_subject": %q, "chunk_size": 8192}`, inbox.Subject))
	var taken struct{ State json.RawMessage }
	if err := json.Unmarshal(answer.Data, &taken); err != nil {
		t.Fatal(err)
	}
	var snapshot []byte
	for {
		m := next(t, inbox, nil)
		if len(m.Data) == 0 {
			break
		}
		snapshot = append(snapshot, m.Data...)
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := js.DeleteStream(ctx, "S"); err != nil {
		t.Fatal(err)
	}
	answer = request(t, nc, "$JS.API.STREAM.RESTORE.S", fmt.Sprintf(`{"config": %s, "state": %s}`, config, taken.State))
	var into struct {
		Deliver string `json:"deliver_subject"`
	}
	if err := json.Unmarshal(answer.Data, &into); err != nil || into.Deliver == "" {
		t.Fatalf("no subject to restore to: %v", err)
	}
	for at := 0; at < len(snapshot); at += 5000 {
		request(t, nc, into.Deliver, string(snapshot[at:min(at+5000, len(snapshot))]))
	}
	request(t, nc, into.Deliver, "")
	if stream, err = js.Stream(ctx, "S"); err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(ctx, n)
	if err != nil || len(m.Data) != (n-1)*50 || fmt.Sprint(m.Header["Session"]) != "[real]" {
		t.Errorf("the last restored message: error %v, %d bytes, or without the stamp", err, len(m.Data))
	}
}
