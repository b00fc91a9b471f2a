package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// sealedConf: pub is stamped with a sealed header, for which trusted has permission and reader has not.
const sealedConf = `
	headers { sealed: [Session] }
	max_payload: 1MB
	accounts {
		APP {
			jetstream: enabled
			users: [
				{user: pub, password: pub, headers: {Session: "top-secret"}}
				{user: trusted, password: trusted, header_permissions: {subscribe: {allow: [Session]}}}
				{user: reader, password: reader}
			]
			exports: [ {stream: "t.>"}, {service: "svc.>"}, {service: "$JS.API.>", response: stream}, {stream: "deliver.>"} ]
			imports: [ {service: {account: SVC, subject: "far.>"}} ]
		}
		SVC {
			users: [
				{user: svc_trusted, password: svc_trusted, header_permissions: {subscribe: {allow: ["*"]}}}
				{user: svc_reader, password: svc_reader}
			]
			exports: [ {service: "far.>"} ]
			imports: [ {stream: {account: APP, subject: "t.>"}, prefix: from} ]
		}
		MIRROR {
			jetstream: enabled
			users: [
				{user: mirror_trusted, password: mirror_trusted, header_permissions: {subscribe: {allow: ["Sess*"]}}}
				{user: mirror_reader, password: mirror_reader}
			]
			imports: [
				{service: {account: APP, subject: "$JS.API.>"}, to: "APP.API.>"}
				{stream: {account: APP, subject: "deliver.>"}}
			]
		}
		SYS { users: [ {user: sys, password: sys} ] }
	}
	system_account: SYS`

// way is a way in which messages are delivered. read returns the message with the
// payload "payload" that pub publishes or has stored.
type way struct {
	name string
	read func(t *testing.T, nc *nats.Conn, publish func(subject string)) *nats.Msg
}

func next(t testing.TB, sub *nats.Subscription, err error) *nats.Msg {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	m, err := sub.NextMsg(harness.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// subscribing is the way of core NATS: it subscribes, publishes and reads.
func subscribing(subject string, subscribe func(*nats.Conn) (*nats.Subscription, error)) func(*testing.T, *nats.Conn, func(string)) *nats.Msg {
	return func(t *testing.T, nc *nats.Conn, publish func(string)) *nats.Msg {
		t.Helper()
		sub, err := subscribe(nc)
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		publish(subject)
		return next(t, sub, nil)
	}
}

func sub(subject string) func(*nats.Conn) (*nats.Subscription, error) {
	return func(nc *nats.Conn) (*nats.Subscription, error) { return nc.SubscribeSync(subject) }
}

// storedWays read the message on js.a of the stream S, and of the bucket B.
var storedWays = []way{
	{"push consumer", func(t *testing.T, nc *nats.Conn, _ func(string)) *nats.Msg {
		return pushed(t, nc, "js.a", nats.DeliverAll())
	}},
	{"pull consumer", func(t *testing.T, nc *nats.Conn, _ func(string)) *nats.Msg {
		return pulled(t, nc, "js.a")
	}},
	{"ordered consumer", func(t *testing.T, nc *nats.Conn, _ func(string)) *nats.Msg {
		js := newJetStream(t, nc)
		c := answered(t, "an ordered consumer", func() (jetstream.Consumer, error) {
			return js.OrderedConsumer(context.Background(), "S", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"js.a"}})
		})
		messages, err := c.Messages() // Next does not wait until a cluster knows of the consumer
		if err != nil {
			t.Fatal(err)
		}
		defer messages.Stop()
		m, err := messages.Next(jetstream.NextMaxWait(harness.Timeout))
		if err != nil {
			t.Fatal(err)
		}
		return &nats.Msg{Header: m.Headers(), Data: m.Data()}
	}},
	{"direct get", func(t *testing.T, nc *nats.Conn, _ func(string)) *nats.Msg {
		return direct(t, nc, "$JS.API.DIRECT.GET.S.js.a", "")
	}},
	{"batched direct get", func(t *testing.T, nc *nats.Conn, _ func(string)) *nats.Msg {
		return direct(t, nc, "$JS.API.DIRECT.GET.S", `{"multi_last":["js.a"],"batch":2}`)
	}},
	{"stored-message API", func(t *testing.T, nc *nats.Conn, _ func(string)) *nats.Msg {
		return storedMsg(t, request(t, nc, "$JS.API.STREAM.MSG.GET.S", `{"last_by_subj":"js.a"}`))
	}},
	{"KV watch", func(t *testing.T, nc *nats.Conn, _ func(string)) *nats.Msg {
		return pushed(t, nc, "$KV.B.>", nats.OrderedConsumer())
	}},
	{"KV get without direct", func(t *testing.T, nc *nats.Conn, _ func(string)) *nats.Msg {
		return storedMsg(t, request(t, nc, "$JS.API.STREAM.MSG.GET.KV_B", `{"last_by_subj":"$KV.B.key"}`))
	}},
	{"source", func(t *testing.T, nc *nats.Conn, _ func(string)) *nats.Msg {
		return direct(t, nc, "$JS.API.DIRECT.GET.SOURCED.js.a", "")
	}},
}

func newJetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func request(t testing.TB, nc *nats.Conn, subject, body string) *nats.Msg {
	t.Helper()
	return answered(t, subject, func() (*nats.Msg, error) { return nc.Request(subject, []byte(body), 10*time.Second) })
}

// answered asks until there is an answer. In a cluster it takes a while until each server knows who answers and where
// the answer goes. Until then there are no responders, or the answer is lost.
func answered[T any](t testing.TB, what string, ask func() (T, error)) (answer T) {
	t.Helper()
	harness.Eventually(t, "an answer of "+what, func() bool {
		var err error
		answer, err = ask()
		lost := errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded)
		if err != nil && !lost {
			t.Fatal(err)
		}
		return err == nil
	})
	return answer
}

// direct asks a stream for a message until it gets it. In a cluster, a replica may answer that does not have it yet.
func direct(t testing.TB, nc *nats.Conn, subject, body string) (m *nats.Msg) {
	t.Helper()
	harness.Eventually(t, "a message from "+subject, func() bool {
		m = request(t, nc, subject, body)
		return isStored(m)
	})
	return m
}

// isStored reports whether m is a stored message, and not a status such as 404.
func isStored(m *nats.Msg) bool { return m.Header.Get("Status") == "" }

func mustJetStream(t testing.TB, nc *nats.Conn) nats.JetStreamContext {
	t.Helper()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func pushed(t testing.TB, nc *nats.Conn, subject string, opts ...nats.SubOpt) *nats.Msg {
	t.Helper()
	js := mustJetStream(t, nc)
	sub := answered(t, "a push consumer", func() (*nats.Subscription, error) { return js.SubscribeSync(subject, opts...) })
	return next(t, sub, nil)
}

func pulled(t testing.TB, nc *nats.Conn, subject string) *nats.Msg {
	t.Helper()
	js := mustJetStream(t, nc)
	sub := answered(t, "a pull consumer", func() (*nats.Subscription, error) { return js.PullSubscribe(subject, "", nats.BindStream("S")) })
	return answered(t, "a pull", func() ([]*nats.Msg, error) { return sub.Fetch(1) })[0]
}

// storedMsg returns the message in an answer of the stored-message API. Its JSON has
// the header block in base64.
func storedMsg(t testing.TB, answer *nats.Msg) *nats.Msg {
	t.Helper()
	var a struct {
		Message struct {
			Hdrs []byte `json:"hdrs"`
			Data []byte `json:"data"`
		} `json:"message"`
		Error any `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &a); err != nil || a.Error != nil {
		t.Fatalf("the answer has no stored message: %v, error in the answer %v", err, a.Error)
	}
	m := &nats.Msg{Data: a.Message.Data}
	if len(a.Message.Hdrs) > 0 {
		h, err := nats.DecodeHeadersMsg(a.Message.Hdrs)
		if err != nil {
			t.Fatal(err)
		}
		m.Header = h
	}
	return m
}

func store(t *testing.T, s *harness.Server) {
	t.Helper()
	storeIn(t, s, 1)
}

// mustStream makes a stream. It retries, since nobody answers before there is a
// leader, and a new leader may be too busy.
func mustStream(t testing.TB, js jetstream.JetStream, cfg jetstream.StreamConfig) {
	t.Helper()
	var last error
	harness.Eventually(t, "stream "+cfg.Name, func() bool {
		soon, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := js.CreateOrUpdateStream(soon, cfg)
		if err != nil && (last == nil || err.Error() != last.Error()) {
			t.Logf("stream %s: %v", cfg.Name, err)
		}
		last = err
		return err == nil
	})
}

// storeIn stores pub's message in a stream, in a bucket, and in a stream that sources the first stream.
func storeIn(t *testing.T, s *harness.Server, replicas int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Timeout)
	defer cancel()
	pub := newJetStream(t, s.Connect(t, userInfo("pub")))
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "S", Subjects: []string{"js.>"}, AllowDirect: true, Storage: jetstream.MemoryStorage},
		{Name: "KV_B", Subjects: []string{"$KV.B.>"}, Storage: jetstream.MemoryStorage, DenyDelete: true},
		{Name: "SOURCED", Sources: []*jetstream.StreamSource{{Name: "S"}}, AllowDirect: true, Storage: jetstream.MemoryStorage},
	} {
		cfg.Replicas = replicas
		mustStream(t, pub, cfg)
	}
	for _, subject := range []string{"js.a", "$KV.B.key"} {
		if _, err := pub.PublishMsg(ctx, colored(subject), jetstream.WithRetryAttempts(40)); err != nil { // each after 250 ms
			t.Fatal(err)
		}
	}
	harness.Eventually(t, "the source", func() bool {
		stream, err := pub.Stream(ctx, "SOURCED")
		return err == nil && stream.CachedInfo().State.Msgs == 1
	})
}

func colored(subject string) *nats.Msg {
	return &nats.Msg{Subject: subject, Data: []byte("payload"), Header: nats.Header{"Color": {"blue"}}}
}

// expectSeen checks that m is pub's message, with the sealed header or without it.
func expectSeen(t testing.TB, m *nats.Msg, sealed bool) {
	t.Helper()
	if string(m.Data) != "payload" || m.Header.Get("Color") != "blue" {
		t.Errorf("expected the publisher's message; found payload %q, Color %q", m.Data, m.Header.Get("Color"))
	}
	want := []string{"top-secret"}
	if sealed {
		want = nil
	}
	if got := m.Header["Session"]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the header must be left out: %t; found %d values of it", sealed, len(got))
	}
}

// On every way of reading a message, only readers with permission get the sealed header.
func TestSealed(t *testing.T) {
	s := harness.Start(t, sealedConf+fmt.Sprintf("\njetstream { store_dir: %q }", t.TempDir()))
	store(t, s)
	publisher := s.Connect(t, userInfo("pub"))
	publish := func(subject string) {
		if err := publisher.PublishMsg(colored(subject)); err != nil {
			t.Fatal(err)
		}
	}
	ways := append([]way{
		{"core", subscribing("t.core", sub("t.>"))},
		{"queue group", subscribing("t.core", func(nc *nats.Conn) (*nats.Subscription, error) { return nc.QueueSubscribeSync("t.>", "q") })},
		{"reply", func(t *testing.T, nc *nats.Conn, _ func(string)) *nats.Msg {
			s, err := publisher.Subscribe("t.ask", func(m *nats.Msg) { _ = m.RespondMsg(colored("")) })
			if err == nil {
				err = publisher.Flush()
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Unsubscribe() }()
			return request(t, nc, "t.ask", "")
		}},
	}, storedWays...)
	for _, w := range ways {
		for user, sealed := range map[string]bool{"trusted": false, "reader": true} {
			t.Run(w.name+" "+user, func(t *testing.T) {
				expectSeen(t, w.read(t, s.Connect(t, userInfo(user)), publish), sealed)
			})
		}
	}
	for _, w := range []way{
		{"svc", subscribing("far.a", sub("far.>"))},
		{"svc", subscribing("t.a", sub("from.t.>"))},
		{"mirror", mirrored},
	} {
		for user, sealed := range map[string]bool{"_trusted": false, "_reader": true} {
			t.Run("import "+w.name+user, func(t *testing.T) {
				expectSeen(t, w.read(t, s.Connect(t, userInfo(w.name+user)), publish), sealed)
			})
		}
	}
}

// mirrored reads a stream of another account that mirrors S.
func mirrored(t *testing.T, nc *nats.Conn, _ func(string)) *nats.Msg {
	ctx := context.Background()
	js := newJetStream(t, nc)
	_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "M", AllowDirect: true, Storage: jetstream.MemoryStorage,
		Mirror: &jetstream.StreamSource{Name: "S", External: &jetstream.ExternalStream{APIPrefix: "APP.API", DeliverPrefix: "deliver"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the mirror", func() bool {
		stream, err := js.Stream(ctx, "M")
		return err == nil && stream.CachedInfo().State.Msgs > 0
	})
	return direct(t, nc, "$JS.API.DIRECT.GET.M.js.a", "")
}

// A delivered message is correct to the byte, also if other subscribers get another form of it.
func TestSealedProtocol(t *testing.T) {
	s := harness.Start(t, sealedConf)
	pub := harness.Client(t, s, password("pub"))
	readers := map[string]*harness.Raw{}
	for _, user := range []string{"trusted", "reader"} {
		readers[user] = subscriber(t, s, password(user))
	}
	for _, test := range []struct{ lines, trusted, reader []string }{
		{nil, []string{"Session: top-secret"}, nil},
		{[]string{"A: b"}, []string{"A: b", "Session: top-secret"}, []string{"A: b"}},
		{[]string{"A: b", "Session: forged", "C:d"}, []string{"A: b", "C:d", "Session: top-secret"}, []string{"A: b", "C:d"}},
	} {
		if test.lines == nil {
			pub.Pub("t.x", "payload")
		} else {
			pub.Hpub("t.x", block(test.lines...), "payload")
		}
		expectMsg(t, readers["trusted"], "trusted", block(test.trusted...))
		expectMsg(t, readers["reader"], "reader", block(test.reader...))
	}
	// Two messages that differ only after the header, and one with a reply subject.
	for _, payload := range []string{"one", "two"} {
		pub.Send("PUB t.x some.reply %d\r\n%s\r\n", len(payload), payload)
		if m := readers["reader"].Msg(); m.Payload != payload || m.Reply != "some.reply" || m.Header != "" {
			t.Errorf("the subscriber got %d bytes of header, reply subject %q, payload %q", len(m.Header), m.Reply, m.Payload)
		}
		readers["trusted"].Msg()
	}
	// A status is not a header, and is not removed.
	pub.Hpub("t.x", "NATS/1.0 503 No Responders\r\n\r\n", "payload")
	expectMsg(t, readers["reader"], "a status", "NATS/1.0 503 No Responders\r\n\r\n")
	if got := varzHeaders(t, s)["sealed_lines"]; got != 6 {
		t.Errorf("sealed_lines is %v, want 6", got)
	}
}

// The server removes lines once for all subscribers with the same seal. When many messages come at once, the result must
// not be used for another seal or another block.
func TestSealedCutsAreNotMixed(t *testing.T) {
	s := harness.Start(t, `
		headers { sealed: [One, Two] }
		authorization { users: [
			{user: pub, password: pub}
			{user: none, password: none}
			{user: one, password: one, header_permissions: {subscribe: {allow: [One]}}}
			{user: two, password: two, header_permissions: {subscribe: {allow: [Two]}}}
			{user: both, password: both, header_permissions: {subscribe: {allow: [One, Two]}}} ] }`)
	pub := harness.Client(t, s, password("pub"))
	readers := map[string]*harness.Raw{}
	for _, user := range []string{"none", "one", "two", "both", "none again"} {
		readers[user] = subscriber(t, s, password(strings.TrimSuffix(user, " again")))
	}
	messages := []string{"first", "other", "third", "third"} // of one length, and one twice
	var sent strings.Builder
	for _, m := range messages {
		b := block("One: "+m, "Two: "+m, "A: "+m)
		fmt.Fprintf(&sent, "HPUB t.x %d %d\r\n%spayload\r\n", len(b), len(b)+len("payload"), b)
	}
	pub.Send("%s", sent.String())
	for _, m := range messages {
		for user, want := range map[string][]string{
			"none": {"A: " + m}, "one": {"One: " + m, "A: " + m}, "two": {"Two: " + m, "A: " + m},
			"both": {"One: " + m, "Two: " + m, "A: " + m}, "none again": {"A: " + m},
		} {
			expectMsg(t, readers[user], user+" of "+m, block(want...))
		}
	}
}

// varzHeaders are the counters of varz.
func varzHeaders(t *testing.T, s *harness.Server) map[string]float64 {
	t.Helper()
	var v struct {
		Headers map[string]any `json:"headers"`
	}
	if err := json.Unmarshal(s.Get(t, "/varz"), &v); err != nil {
		t.Fatal(err)
	}
	counters := map[string]float64{}
	for name, value := range v.Headers {
		if n, ok := value.(float64); ok {
			counters[name] = n
		}
	}
	return counters
}

// The hub decides what a leafnode's whole site may read, and then the site decides for its users.
func TestSealedOverLeafnode(t *testing.T) {
	const spokeUsers = `
		headers { sealed: [Session] }
		accounts { APP { users: [
			{user: trusted, password: trusted, header_permissions: {subscribe: {allow: [Session]}}}
			{user: reader, password: reader} ] } }`
	leafs := `leafnodes { listen: "127.0.0.1:-1", authorization { users: [
		{user: site, password: site, account: APP}
		{user: trusted_site, password: trusted_site, account: APP, header_permissions: {subscribe: {allow: [Session]}}} ] } }`
	a := harness.Start(t, sealedConf+`
		server_name: A
		`+leafs)
	site := func(user, permissions string) *harness.Server {
		return harness.Start(t, spokeUsers+fmt.Sprintf(`
			server_name: %[1]s, leafnodes { remotes: [ {url: "nats://%[1]s:%[1]s@%[2]s", account: APP %[3]s} ] }`, user, a.Leaf(t), permissions))
	}
	pub := a.Connect(t, userInfo("pub"))
	for _, test := range []struct {
		name, user string
		server     *harness.Server
		sealed     bool
	}{
		{"leafnode", "trusted", site("site", ""), true},
		{"trusted leafnode", "trusted", site("trusted_site", ""), false},
		{"trusted leafnode, its reader", "reader", site("trusted_site", ""), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			sub := subscribed(t, test.server, userInfo(test.user))
			reach(t, pub, sub)
			if err := pub.PublishMsg(colored("t.x")); err != nil {
				t.Fatal(err)
			}
			m, err := sub.NextMsg(harness.Timeout)
			if err != nil {
				t.Fatal(err)
			}
			expectSeen(t, m, test.sealed)
		})
	}
}

// A client that never sends CONNECT, on a server without authorization, gets no
// sealed header, also not in JSON.
func TestSealedWithoutAuthorization(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`headers { sealed: [Session] }, jetstream { store_dir: %q }`, t.TempDir()))
	nc := s.Connect(t)
	js := newJetStream(t, nc)
	ctx, cancel := context.WithTimeout(context.Background(), harness.Timeout)
	defer cancel()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"js.>"}, Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	m := colored("js.a")
	m.Header.Set("Session", "top-secret")
	if _, err := js.PublishMsg(ctx, m); err != nil {
		t.Fatal(err)
	}
	raw := harness.Dial(t, s)
	raw.Send("SUB inbox 1\r\nPUB $JS.API.STREAM.MSG.GET.S inbox 9\r\n{\"seq\":1}\r\n")
	raw.Expect("+OK")
	raw.Expect("+OK")
	answer := raw.Msg()
	got := storedMsg(t, &nats.Msg{Data: []byte(answer.Payload)})
	if got.Header.Get("Color") != "blue" || got.Header.Get("Session") != "" {
		t.Errorf("expected Color and no Session; found %d headers", len(got.Header))
	}
}

// A message trace has no value that the server stamped.
func TestSealedMessageTrace(t *testing.T) {
	a := harness.Start(t, sealedConf+`
		server_name: A, cluster { name: C, listen: "127.0.0.1:-1" }`)
	b := harness.Start(t, sealedConf+fmt.Sprintf(`
		server_name: B, cluster { name: C, listen: "127.0.0.1:-1", routes: ["nats://%s"] }`, a.Route(t)))
	far := subscribed(t, b, userInfo("reader"))
	pub := a.Connect(t, userInfo("pub"))
	reach(t, pub, far)
	events, err := pub.SubscribeSync("trace.>")
	if err != nil {
		t.Fatal(err)
	}
	m := colored("t.x")
	m.Header.Set("Nats-Trace-Dest", "trace.me")
	if err := pub.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	servers := map[string]string{}
	for len(servers) < 2 {
		e := next(t, events, nil)
		var event struct {
			Server  struct{ Name string }
			Request struct{ Header map[string][]string }
		}
		if err := json.Unmarshal(e.Data, &event); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(e.Data), "top-secret") {
			t.Errorf("the event of %s shows the value", event.Server.Name)
		}
		servers[event.Server.Name] = fmt.Sprint(event.Request.Header["Color"], event.Request.Header["Session"], event.Request.Header["Nats-Trace-Dest"])
	}
	if servers["A"] != "[blue] [] [trace.me]" || servers["B"] != "[[REDACTED]] [[REDACTED]] [trace.me]" {
		t.Errorf("the trace events of the servers have the headers %v", servers)
	}
	expectSeen(t, next(t, far, nil), true)
}
