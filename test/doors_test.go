package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// A refused message leaves nothing behind: if it was to be retained, later subscribers do not get it.
func TestRefusedMessageIsNotRetained(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`
		server_name: M
		jetstream { store_dir: %q }
		mqtt { listen: "127.0.0.1:-1" }
		headers { provenance: true }
		authorization { users: [{user: pub, password: pub, headers: {A: x}}, {user: sub, password: sub}] }`, t.TempDir()))
	pub, _ := device(t, s, "pub")
	wait(t, pub.Publish("t/bad\x01", 0, true, "refused"))
	wait(t, pub.Publish("t/good", 1, true, "kept"))
	reader, _ := device(t, s, "sub")
	got := make(chan mqtt.Message, 10)
	wait(t, reader.Subscribe("t/#", 1, func(_ mqtt.Client, m mqtt.Message) { got <- m }))
	wait(t, pub.Publish("t/end", 1, false, "end"))
	for m := range got {
		switch string(m.Payload()) {
		case "refused":
			t.Error("what was refused is retained")
		case "end":
			return
		}
	}
}

// A websocket frame may hold many messages. The frame must fit the max_payload of the server, each message that of the
// connection.
func TestFrameOfManyMessages(t *testing.T) {
	o := harness.NewOperator(t)
	acc := o.Account(t, "A")
	s := harness.Start(t, o.Conf(t)+`websocket { listen: "127.0.0.1:-1", no_tls: true, compression: true }`)
	user := acc.User(t, "limited", header("N", "1"), func(uc *jwt.UserClaims) { uc.Limits.Payload = 1024 })
	errs := make(chan error, 10)
	nc, err := nats.Connect("ws://"+s.Websocket(t), append(user.Options(), nats.Compression(true), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for range 20 { // the flush sends them in one frame
		if err := nc.Publish("t.x", []byte(strings.Repeat("x", 600))); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.FlushTimeout(harness.Timeout); err != nil {
		t.Fatalf("the server refused the frame: %v, %v", err, nc.LastError())
	}
	large := fmt.Sprintf("PUB t.x 1025\r\n%s\r\n", strings.Repeat("x", 1025))
	raw := harness.Client(t, s, user.Credential)
	raw.Send("%s", large)
	raw.Expect("-ERR 'Maximum Payload Violation'")
}

// A trace header that the server removes has no effect: no event is published, and the message is delivered.
func TestNoTraceByARemovedHeader(t *testing.T) {
	s := harness.Start(t, `
		headers { protected: ["Nats-Trace-Dest", "Nats-Trace-Only", traceparent] }
		accounts { A {
			msg_trace: {dest: external, sampling: 100}
			users: [{user: pub, password: pub}, {user: free, password: free, header_permissions: {publish: {allow: ["*"]}}}, {user: sub, password: sub}]
		} }`)
	sub := harness.Client(t, s, password("sub"))
	sub.Sub(">", "1")
	sub.Flush()
	pub := harness.Client(t, s, password("pub"))
	for _, lines := range [][]string{
		{"Nats-Trace-Dest: event"},
		{"Nats-Trace-Dest: event", "Nats-Trace-Only: true"},
		{"Nats-Trace-Only: 1"},
		{"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		{"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Nats-Trace-Dest: event"},
	} {
		pub.Hpub("t.x", block(lines...), "payload")
		m := sub.Msg()
		if m.Subject != "t.x" || len(m.Lines()) > 0 {
			t.Errorf("expected a message on t.x without the headers %q; got subject %s with %q", lines, m.Subject, m.Lines())
		}
	}
	free := harness.Client(t, s, password("free"))
	free.Hpub("t.x", block("Nats-Trace-Dest: event"), "payload")
	for range 2 {
		if m := sub.Msg(); m.Subject == "event" {
			return
		}
	}
	t.Error("a publisher that may send the trace header gets no trace")
}

// A renewal tells the client a changed max_payload, and closes the connection if the headers leave no room for a payload.
func TestRenewalChangesTheLimitOfPayloads(t *testing.T) {
	v := startService(t, nil)
	limit := int64(5000)
	v.set(func(_ asked, uc *jwt.UserClaims) error { uc.Limits.Payload = limit; return nil })
	alice := harness.Client(t, v.Server, named(password("alice"), "alice"))
	renewals := 0.0
	renew := func(to int64) {
		t.Helper()
		limit = to
		ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, "alice")})
		if renewals++; to > 100 {
			harness.Eventually(t, "the renewal", func() bool { return varzHeaders(t, v.Server)["renewals"] == renewals })
		}
	}
	for _, to := range []int64{3000, 7000} {
		renew(to)
		alice.Flush()
		room := int(to) - alice.Info.MaxPayload
		if room < 0 || room > stampRoom {
			t.Fatalf("a limit of %d is told as %d", to, alice.Info.MaxPayload)
		}
		alice.Pub("t.x", strings.Repeat("x", int(alice.Info.MaxPayload)))
		alice.Flush()
	}
	renew(10) // less than the header block
	for _, line := range alice.ExpectClosed() {
		if strings.HasPrefix(line, "INFO") {
			t.Errorf("expected the connection to close without a new limit; the server sent %q", line)
		}
	}
}

// A renewal that takes a permission away stops the MQTT subscriptions that a stream serves.
func TestRenewalStopsAnMQTTSubscription(t *testing.T) {
	v := startService(t, nil)
	v.set(func(a asked, uc *jwt.UserClaims) error {
		if uc.Sub.Allow.Add("other.>", "end.>"); !a.renewal {
			uc.Sub.Allow.Add("t.>")
		}
		return nil
	})
	dev, _ := device(t, v.Server, "alice")
	got := make(chan mqtt.Message, 10)
	note := func(_ mqtt.Client, m mqtt.Message) { got <- m }
	wait(t, dev.Subscribe("t/+", 1, note))
	wait(t, dev.Subscribe("end/+", 1, note))
	pub, _ := device(t, v.Server, "svc")
	wait(t, pub.Publish("t/before", 1, false, "before"))
	if m := <-got; m.Topic() != "t/before" {
		t.Fatalf("expected the message on t/before; got one on %s", m.Topic())
	}
	for _, c := range v.Connz(t, "auth=1").Conns {
		if c.MQTTClient == "alice"+t.Name() {
			ask(t, v.Server, forwarded.Renew{CID: c.Cid})
		}
	}
	harness.Eventually(t, "the renewal", func() bool { return varzHeaders(t, v.Server)["renewals"] == 1 })
	wait(t, pub.Publish("t/after", 1, false, "after"))
	wait(t, pub.Publish("end/x", 1, false, "end"))
	if m := <-got; m.Topic() != "end/x" {
		t.Errorf("after the renewal, expected end/x; got a message on %s", m.Topic())
	}
}

// Refused messages fill neither the log nor the memory of the log's rate limit. The log has one line for a connection in a
// while, with a long subject cut off.
func TestRefusedMessagesDoNotFillTheLog(t *testing.T) {
	s := harness.Start(t, `
		headers { check_replies: true }
		authorization { users: [{user: mallory, password: mallory, permissions: {publish: ">", subscribe: mine}}, {user: sub, password: sub}] }`)
	subscribed(t, s, userInfo("sub"))
	raw := harness.Client(t, s, password("mallory"))
	const n = 500
	for i := range n {
		raw.Send("PUB t.%d.%s other 0\r\n\r\n", i, strings.Repeat("x", 3000))
	}
	if errs := untilPong(t, raw); len(errs) != n {
		t.Fatalf("expected an error for each of %d refused messages; got %d", n, len(errs))
	}
	if size := len(s.Text()); size > 20_000 {
		t.Errorf("the log has %d bytes, want 20000 or less", size)
	}
	s.WaitLog(t, `Publish Refused - Subject "t\.`)
}

// A sealed header that makes the server measure a service's latency is not shown in the metric.
func TestLatencyMetricShowsNoSealedValue(t *testing.T) {
	s := harness.Start(t, `
		headers { sealed: [traceparent] }
		accounts {
			SVC { users: [{user: svc, password: svc}], exports: [{service: "api", latency: {sampling: headers, subject: latency}}] }
			APP { users: [{user: app, password: app}], imports: [{service: {account: SVC, subject: "api"}}] }
			SYS { users: [{user: sys, password: sys}] }
		}
		system_account: SYS`)
	svc := s.Connect(t, userInfo("svc"))
	metrics := subscribedTo(t, svc, "latency")
	if _, err := svc.Subscribe("api", func(m *nats.Msg) { _ = m.Respond([]byte("answer")) }); err != nil {
		t.Fatal(err)
	}
	if err := svc.Flush(); err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg("api")
	const secret = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	m.Header["traceparent"] = []string{secret}
	if _, err := s.Connect(t, userInfo("app")).RequestMsg(m, harness.Timeout); err != nil {
		t.Fatal(err)
	}
	metric, err := metrics.NextMsg(harness.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(metric.Data), secret) {
		t.Error("the metric shows the value")
	}
	var shown struct{ Header map[string][]string }
	if err := json.Unmarshal(metric.Data, &shown); err != nil || len(shown.Header) != 1 {
		t.Errorf("the metric is without the header: %v", err)
	}
}

// check_replies checks each subject to which a request asks JetStream to send something, whatever the subject of the
// request is. It checks no other message.
func TestCheckRepliesOfRequests(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`
		headers { check_replies: true }
		server_name: S
		jetstream { store_dir: %q, domain: hub }
		mqtt { listen: "127.0.0.1:-1" }
		accounts {
			APP {
				jetstream: enabled
				users: [
					{user: owner, password: owner}
					{user: mallory, password: mallory, permissions: {publish: ">", subscribe: ["_INBOX.>", "mine.>"]}}
				]
				exports: [{service: "$JS.API.CONSUMER.>"}, {service: "$JS.API.CONSUMER.CREATE.S"}, {service: "$JS.API.STREAM.SNAPSHOT.S"}, {stream: "out.>"}]
				mappings: {"alias.make": "$JS.API.CONSUMER.CREATE.S"}
			}
			OTHER {
				users: [{user: guest, password: guest, permissions: {publish: ">", subscribe: ["_INBOX.>", "in.out.>"]}}]
				imports: [
					{service: {account: APP, subject: "$JS.API.CONSUMER.>"}, to: "APP.API.CONSUMER.>"}
					{service: {account: APP, subject: "$JS.API.CONSUMER.CREATE.S"}, to: "make"}
					{service: {account: APP, subject: "$JS.API.STREAM.SNAPSHOT.S"}, to: "snap"}
					{stream: {account: APP, subject: "out.>"}, prefix: in}
				]
			}
		}`, t.TempDir()))
	owner := s.Connect(t, userInfo("owner"))
	request(t, owner, "$JS.API.STREAM.CREATE.S", `{"name":"S","subjects":["t.>"],"storage":"file"}`)
	victim := subscribedTo(t, owner, ">")
	if err := owner.Publish("t.x", []byte("attack")); err != nil {
		t.Fatal(err)
	}
	consumer := func(subject string) string {
		return fmt.Sprintf(`{"stream_name":"S","config":{"deliver_subject":%q,"ack_policy":"none"}}`, subject)
	}
	snapshot := func(subject string) string { return fmt.Sprintf(`{"deliver_subject":%q}`, subject) }
	for _, test := range []struct {
		user, subject string
		body          func(string) string
		mine          string
	}{
		{"mallory", "$JS.API.CONSUMER.CREATE.S", consumer, "mine.a"},
		{"mallory", "$JS.API.CONSUMER.CREATE.S.name", consumer, "mine.b"},
		{"mallory", "$JS.hub.API.CONSUMER.CREATE.S", consumer, "mine.c"},
		{"mallory", "alias.make", consumer, "mine.d"},
		{"mallory", "$JS.API.STREAM.SNAPSHOT.S", snapshot, "mine.e"},
		{"guest", "APP.API.CONSUMER.CREATE.S", consumer, "out.a"},
		{"guest", "make", consumer, "out.b"},
		{"guest", "snap", snapshot, "out.c"},
	} {
		t.Run(test.user+" "+test.subject, func(t *testing.T) {
			raw := harness.Client(t, s, password(test.user))
			raw.Sub("_INBOX.>", "1")
			bodies := []string{test.body("admin.delete"), test.body("mine.x") + test.body("admin.delete"),
				strings.ToUpper(test.body("")[:1]) + strings.Replace(test.body("admin.delete"), "deliver", "Deliver", 1)[1:]}
			for i, body := range bodies {
				raw.Send("PUB %s _INBOX.%d %d\r\n%s\r\n", test.subject, i, len(body), body)
				// The error names the subject as the client sent it, not what an import or a mapping makes of it.
				// Where nobody got the request, an answer says so, at once.
				for want := fmt.Sprintf("-ERR 'Permissions Violation for Publish to %q: ", test.subject); ; {
					line, err := raw.Line()
					if err != nil {
						t.Fatal(err)
					}
					if strings.HasPrefix(line, want) {
						break
					}
					if strings.HasPrefix(line, "-ERR") || strings.Contains(line, "MSG ") && !strings.HasPrefix(line, "HMSG _INBOX.") {
						t.Fatalf("the server answered %.100q; expected %q", line, want)
					}
				}
			}
			body := test.body(test.mine)
			raw.Send("PUB %s _INBOX.ok %d\r\n%s\r\n", test.subject, len(body), body)
			m := raw.Msg()
			for m.Subject != "_INBOX.ok" { // that nobody got the last request
				m = raw.Msg()
			}
			if strings.Contains(m.Payload, `"error"`) {
				t.Errorf("an honest request is answered by %s", m.Payload)
			}
		})
	}
	dev, _ := device(t, s, "mallory")
	wait(t, dev.Publish("$JS/API/CONSUMER/CREATE/S", 0, false, consumer("admin.delete")))
	// A message on such a subject is not checked if it is no request.
	raw := harness.Client(t, s, password("mallory"))
	raw.Pub("shop.CONSUMER.CREATED", "plain text")
	if errs := untilPong(t, raw); len(errs) > 0 {
		t.Errorf("a message that is no request was refused: %q", errs)
	}
	if err := owner.Publish("admin.end", nil); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := victim.NextMsg(harness.Timeout)
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject == "admin.delete" {
			t.Error("the attacker's message reaches admin.delete")
		}
		if m.Subject == "admin.end" {
			return
		}
	}
}

// A renewal whose user JWT does not allow the client's address closes the connection.
func TestRenewalFromAnotherAddress(t *testing.T) {
	v := startService(t, nil)
	v.set(func(a asked, uc *jwt.UserClaims) error {
		if a.renewal {
			uc.Limits.Src.Set("10.0.0.0/8")
		}
		return nil
	})
	alice := harness.Client(t, v.Server, named(password("alice"), "alice"))
	ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, "alice")})
	alice.ExpectClosed()
}

// A refused account update changes nothing, with any resolver, also after the account was deleted from the resolver.
func TestRefusedAccountUpdateChangesNothing(t *testing.T) {
	const keep = "headers { keep_template_headers: true }"
	start := func(t *testing.T, conf func(*harness.Operator) string) (s *harness.Server, op *harness.Operator, app *harness.Account, without, expect func()) {
		op = harness.NewOperator(t)
		app = op.Account(t, "APP")
		key := app.ScopedKey(t, map[string]any{"N": "1"})
		s = harness.Start(t, conf(op)+keep)
		sub := subscriber(t, s, app.User(t, "sub", nil).Credential)
		user := app.UserBy(t, key, "scoped", nil, harness.Scoped)
		live := harness.Client(t, s, user.Credential)
		return s, op, app, func() { app.ScopeHeaders(t, key, nil) }, func() {
			t.Helper()
			expectStamp(t, live, sub, "N: 1")
			expectStamp(t, harness.Client(t, s, user.Credential), sub, "N: 1")
		}
	}
	t.Run("memory", func(t *testing.T) {
		s, op, _, without, expect := start(t, func(op *harness.Operator) string { return op.Conf(t) })
		expect()
		without()
		s.Reload(t, op.Conf(t)+keep)
		expect()
	})
	t.Run("deleted before", func(t *testing.T) {
		s, op, app, without, expect := start(t, func(op *harness.Operator) string { return op.PushConf(t) })
		expect()
		sys := s.Connect(t, op.Sys.User(t, "sys", nil).Options()...)
		remove := jwt.NewGenericClaims(harness.Public(t, op.Key))
		remove.Data["accounts"] = []string{app.ID()}
		request(t, sys, "$SYS.REQ.CLAIMS.DELETE", must(remove.Encode(op.Key)))
		with := app.JWT(t)
		without()
		if answer := request(t, sys, "$SYS.REQ.CLAIMS.UPDATE", app.JWT(t)); !strings.Contains(string(answer.Data), "keep_template_headers") {
			t.Errorf("the update is answered by %s", answer.Data)
		}
		if answer := request(t, sys, "$SYS.REQ.CLAIMS.UPDATE", with); !strings.Contains(string(answer.Data), `"code":200`) {
			t.Errorf("the update with the headers is answered by %s", answer.Data)
		}
	})
}

// A reload that lowers max_connections does not close the handler's own connections.
func TestReloadOfMaxConnectionsSparesTheHandler(t *testing.T) {
	conf := func(most int) string {
		return fmt.Sprintf(`
			max_connections: %d
			accounts { APP { users: [] } }
			callout { sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: ">", expires: "1h"}] }`, most)
	}
	for range 5 {
		s := harness.Start(t, conf(100))
		for range 20 {
			harness.Client(t, s, harness.Nobody)
		}
		s.Reload(t, conf(11))
		if strings.Contains(s.Text(), "pipe - maximum connections exceeded") {
			t.Fatal("the handler's connection is closed")
		}
		for _, c := range s.Connz(t, "state=closed").Conns {
			if c.IP == "" {
				t.Fatal("the handler's connection is closed")
			}
		}
	}
}
