package test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// The stamped values. They must be only in delivered messages.
const (
	plantedUser = "planted-4711-user"
	plantedLeaf = "planted-4711-leaf"
	plantedAll  = "planted-4711-all"
)

// shows reports whether text has a planted value, as it is or in base64, also where
// the base64 is of a longer text.
func shows(text string) bool {
	const planted = "planted-4711-"
	if strings.Contains(text, planted) {
		return true
	}
	for shift := range 3 {
		b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", shift) + planted))
		// The first and the last group of base64 depend on the text around.
		if strings.Contains(text, b[4:len(b)-4]) {
			return true
		}
	}
	return false
}

// shows finds a planted value in base64 at each alignment. Otherwise the tests of leaks would show nothing.
func TestShowsFindsBase64(t *testing.T) {
	for shift := range 3 {
		if b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + "y: " + plantedUser + "\r\n\r\n")); !shows(b) {
			t.Errorf("shows does not find the value in %s", b)
		}
	}
}

const leakConf = `
	server_name: %[1]s
	headers { protected: [Session], sealed: [Session], all: {Via: "` + plantedAll + `"}, provenance: true }
	accounts {
		APP {
			jetstream: enabled
			users: [
				{user: pub, password: pub, headers: {Session: "` + plantedUser + `", Token: {value: "` + plantedUser + `", subjects: ["t.>"]}}}
				{user: reader, password: reader, header_permissions: {subscribe: {allow: ["*"]}}}
				{user: site, password: site, headers: {Session: "` + plantedLeaf + `"}}
			]
			exports: [ {service: "t.svc"}, {stream: "t.>"} ]
		}
		OTHER {
			users: [ {user: other, password: other, headers: {Session: "` + plantedUser + `"}} ]
			imports: [ {service: {account: APP, subject: "t.svc"}, share: true} ]
		}
		SYS { users: [ {user: sys, password: sys} ] }
	}
	system_account: SYS
	`

// topology is a cluster of three servers, a gateway to a fourth, and a leafnode. All
// log everything.
func topology(t *testing.T) map[string]*harness.Server {
	t.Helper()
	start := func(name, rest string) *harness.Server {
		return harness.Start(t, fmt.Sprintf(leakConf, name)+rest, "-DV")
	}
	// JetStream in a cluster needs a route in the configuration; the first server has one to itself.
	first := harness.FreeAddr(t)
	cluster := func(listen string) string {
		return fmt.Sprintf(`
			cluster { name: C, listen: %q, routes: ["nats://%s"] }
			gateway { name: C, listen: "127.0.0.1:-1" }
			jetstream { store_dir: %q }`, listen, first, t.TempDir())
	}
	a := start("A", cluster(first)+"\nleafnodes { listen: \"127.0.0.1:-1\" }")
	servers := map[string]*harness.Server{"A": a, "B": start("B", cluster("127.0.0.1:-1")), "C": start("C", cluster("127.0.0.1:-1"))}
	servers["D"] = start("D", fmt.Sprintf(`
		gateway { name: D, listen: "127.0.0.1:-1", gateways: [ {name: C, urls: ["nats://%s"]} ] }`, a.Gateway(t)))
	servers["E"] = harness.Start(t, fmt.Sprintf(`
		server_name: E
		leafnodes { remotes: [ {url: "nats://site:site@%s"} ] }`, a.Leaf(t)), "-DV")
	harness.Eventually(t, "a leader of the cluster", func() bool {
		return strings.Contains(a.Text()+servers["B"].Text()+servers["C"].Text(), "Self is new JetStream cluster metadata leader")
	})
	harness.Eventually(t, "the leafnode connection", func() bool { return len(servers["E"].Leafz(t).Leafs) == 1 })
	return servers
}

// collected is the text that was seen in one place.
type collected struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *collected) add(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.WriteString(text + "\n")
}

func (c *collected) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// listen collects the payloads of all messages on a subject.
func (c *collected) listen(t *testing.T, nc *nats.Conn, subject string) {
	t.Helper()
	_, err := nc.Subscribe(subject, func(m *nats.Msg) { c.add(m.Subject + " " + string(m.Data)) })
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// No event, advisory, monitoring page, log or error shows a stamped value.
func TestLeaks(t *testing.T) {
	servers := topology(t)
	a, d, e := servers["A"], servers["D"], servers["E"]
	events, advisories, traces, errs := &collected{}, &collected{}, &collected{}, &collected{}
	sys := a.Connect(t, userInfo("sys"))
	events.listen(t, sys, "$SYS.>")
	reader := a.Connect(t, userInfo("reader"))
	advisories.listen(t, reader, "$JS.EVENT.ADVISORY.>")
	traces.listen(t, reader, "trace.>")

	// A service that sends back the headers that it gets.
	service := servers["B"].Connect(t, userInfo("reader"))
	if _, err := service.Subscribe("t.svc", func(m *nats.Msg) { _ = m.RespondMsg(&nats.Msg{Header: m.Header}) }); err != nil {
		t.Fatal(err)
	}
	far, near := subscribed(t, d, userInfo("reader")), subscribed(t, servers["C"], userInfo("reader"))
	pub := a.Connect(t, userInfo("pub"), nats.Name("the-publisher"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		errs.add(err.Error())
	}))
	site := e.Connect(t)
	reach(t, pub, far)
	reach(t, site, far)
	drain(t, near)

	// Core NATS with a message trace, over routes, the gateway and the leafnode.
	for i, nc := range []*nats.Conn{pub, site} {
		m := colored("t.traced")
		m.Header.Set("Nats-Trace-Dest", "trace.me")
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*nats.Subscription{far, near} {
			if got := next(t, s, nil).Header.Get("Session"); got != []string{plantedUser, plantedLeaf}[i] {
				t.Fatal("the message is not stamped, so that this test shows nothing")
			}
		}
	}
	for _, nc := range []*nats.Conn{pub, a.Connect(t, userInfo("other"))} {
		harness.Eventually(t, "the service answers", func() bool {
			m, err := nc.Request("t.svc", nil, harness.Timeout/10)
			return err == nil && m.Header.Get("Status") == ""
		})
	}
	leakJetStream(t, pub, reader)

	// A message that is refused with -ERR, and a forgery.
	raw := harness.Client(t, a, password("pub"))
	raw.Hpub("t.x", "NATS/1.0\r\nno colon\r\n\r\n", "")
	errs.add(raw.Expect("-ERR"))
	raw.Hpub("t.x", block("session: forged"), "")
	raw.Send("PUB t.x %d\r\n", raw.Info.MaxPayload+1) // the server does not wait for the payload
	errs.add(strings.Join(raw.ExpectClosed(), "\n"))
	pub.Close()

	monitoring := &collected{}
	for _, page := range []string{
		"/connz?auth=1&subs=detail&state=all", "/varz", "/subsz?subs=1", "/accountz?acc=APP", "/accountz?acc=OTHER", "/leafz?subs=1",
		"/jsz?accounts=1&streams=1&consumers=1&config=1&raft=1", "/routez?subs=1", "/gatewayz?accs=1&subs=1", "/healthz", "/ipqueuesz", "/raftz", "/accstatz",
	} {
		for _, s := range servers {
			monitoring.add(string(s.Get(t, page)))
		}
	}
	for _, subject := range []string{"CONNZ", "VARZ", "SUBSZ", "JSZ", "LEAFZ", "ROUTEZ", "GATEWAYZ", "ACCOUNTZ", "STATSZ", "PROFILEZ", "IDZ", "RAFTZ"} {
		m := request(t, sys, "$SYS.REQ.SERVER.PING."+subject, `{"auth":true,"subscriptions":true,"subscriptions_detail":true,"state":2,"account":"APP","accounts":true,"streams":true,"consumer":true,"config":true,"name":"allocs"}`)
		monitoring.add(string(m.Data))
	}
	monitoring.add(string(request(t, reader, "$SYS.REQ.ACCOUNT.PING.CONNZ", `{"auth":true,"state":2}`).Data))
	monitoring.add(string(request(t, reader, "$SYS.REQ.USER.INFO", "").Data))

	// Search the text of each place. Each must also have a text that shows that something was collected there.
	harness.Eventually(t, "all trace events", func() bool { return strings.Count(traces.String(), "trace.me") >= 5 })
	harness.Eventually(t, "events of the closed connections", func() bool { return strings.Count(events.String(), ".DISCONNECT") >= 2 })
	places := map[string]struct{ text, has string }{
		"events":      {events.String(), "HEADERS.FORGERY"},
		"advisories":  {advisories.String(), `"request":"NATS/1.0\r\nVia: [REDACTED]\r\nSession: [REDACTED]\r\n`},
		"traces":      {traces.String(), `"Session":["[REDACTED]"]`},
		"errors":      {errs.String(), "header line 2"},
		"monitoring":  {monitoring.String(), `the-publisher`},
		"monitoring ": {monitoring.String(), `"Session"`},
	}
	for name, s := range servers {
		has := "Session: [REDACTED]"
		if name == "E" { // where nothing is stamped
			has = "Color: [REDACTED]"
		}
		places["log of "+name] = struct{ text, has string }{s.Text(), has}
	}
	for name, p := range places {
		if !strings.Contains(p.text, p.has) {
			t.Errorf("%s: nothing was collected there that has %q", name, p.has)
		}
		for line := range strings.Lines(p.text) {
			if shows(line) {
				t.Errorf("%s shows a stamped value: %.300s", name, strings.NewReplacer(plantedUser, "<USER>", plantedLeaf, "<LEAF>", plantedAll, "<ALL>").Replace(line))
				break
			}
		}
	}
}

// leakJetStream stores and reads messages in every way.
func leakJetStream(t *testing.T, pub, reader *nats.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Timeout)
	defer cancel()
	js := newJetStream(t, pub)
	mustStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"js.>"}, AllowDirect: true, Replicas: 3})
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "B"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(ctx, "key", []byte("value")); err != nil {
		t.Fatal(err)
	}
	if _, err := js.PublishMsg(ctx, colored("js.a")); err != nil {
		t.Fatal(err)
	}
	for _, w := range storedWays[:7] {
		if m := w.read(t, reader, nil); m.Header.Get("Session") != plantedUser {
			t.Errorf("%s: the message is not stamped, so that this test shows nothing", w.name)
		}
	}
	// Requests for which the server publishes advisories.
	for _, r := range [][2]string{
		{"STREAM.UPDATE.S", `{"name":"S","subjects":["js.>"],"allow_direct":true,"num_replicas":3,"max_msgs":9}`},
		{"STREAM.UPDATE.S", "{"}, {"STREAM.INFO.S", ""}, {"STREAM.NAMES", ""}, {"STREAM.LIST", ""},
		{"CONSUMER.DURABLE.CREATE.S.C", `{"stream_name":"S","config":{"durable_name":"C"}}`},
		{"CONSUMER.LIST.S", ""}, {"CONSUMER.NAMES.S", ""}, {"CONSUMER.PAUSE.S.C", "{}"},
		{"CONSUMER.DELETE.S.C", ""}, {"CONSUMER.DELETE.S.none", ""}, {"CONSUMER.LEADER.STEPDOWN.S.none", ""},
		{"STREAM.MSG.DELETE.S", `{"seq":1}`}, {"STREAM.PURGE.S", ""}, {"STREAM.SNAPSHOT.S", "{}"}, {"STREAM.RESTORE.S", `{"config":{"name":"S"}}`},
		{"STREAM.PEER.REMOVE.S", `{"peer":"none"}`}, {"STREAM.DELETE.S", ""}, {"STREAM.LEADER.STEPDOWN.S", ""}, {"INFO", ""},
	} {
		request(t, pub, "$JS.API."+r[0], r[1])
	}
}

// If the client itself presents a JWT with a headers claim, the server holds the JWT.
// Events, monitoring and shared request information show it without values.
func TestLeaksOfADirectJWT(t *testing.T) {
	op := harness.NewOperator(t)
	app, other := op.Account(t, "APP"), op.Account(t, "OTHER")
	app.Claims.Exports.Add(&jwt.Export{Subject: "svc", Type: jwt.Service})
	other.Claims.Imports.Add(&jwt.Import{Subject: "svc", Account: app.ID(), Type: jwt.Service, Share: true})
	s := harness.Start(t, op.Conf(t), "-DV")
	e := listen(t, s.Connect(t, op.Sys.User(t, "sys", nil).Options()...))
	service := s.Connect(t, app.User(t, "svc", nil).Options()...)
	shared := make(chan string, 1)
	if _, err := service.Subscribe("svc", func(m *nats.Msg) {
		shared <- m.Header.Get("Nats-Request-Info")
		_ = m.Respond(nil)
	}); err != nil {
		t.Fatal(err)
	}
	if err := service.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, account := range []*harness.Account{app, other} {
		nc := s.Connect(t, account.User(t, "u", header("X", planted)).Options()...)
		request(t, nc, "svc", "")
		info := <-shared
		if account == other && !strings.Contains(info, `"jwt":`) || leaks(info) {
			t.Errorf("the shared request information lacks the jwt, or shows a value: %d bytes", len(info))
		}
		for _, subject := range []string{"$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.USER.INFO"} {
			if answer := string(request(t, nc, subject, `{"auth":true}`).Data); leaks(answer) {
				t.Errorf("the value can be seen in the answer on %s", subject)
			}
		}
		nc.Close()
		e.expect(t, ".DISCONNECT", "")
	}
	expectSilence(t, s, e, "")
}
