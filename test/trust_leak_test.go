package test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp.example/claim"
	"stamp/test/harness"
)

// The template of a scope is in the account JWT, which monitoring and the system account's
// services show.
func TestLeaksOfAScopeTemplate(t *testing.T) {
	op := harness.NewOperator(t)
	app := op.Account(t, "APP")
	key := app.ScopedKey(t, map[string]any{"Authorization": "Bearer " + planted, "X-User": "{{name()}}"})
	s := harness.Start(t, op.PushConf(t), "-DV")
	sys := s.Connect(t, op.Sys.User(t, "sys", nil).Options()...)
	e := listen(t, sys)
	scoped := app.UserBy(t, key, "ann", nil, harness.Scoped)
	sub := subscribed(t, s, app.User(t, "sub", nil).Options()...)
	pub := s.Connect(t, scoped.Options()...)
	if err := pub.Publish("t.x", nil); err != nil {
		t.Fatal(err)
	}
	if got := next(t, sub, nil).Header.Get("Authorization"); got != "Bearer "+planted {
		t.Fatal("the message is not stamped, so that this test shows nothing")
	}
	app.Claims.Tags.Add("changed:1")
	app.Push(t, s)

	for _, page := range []string{"/accountz?acc=" + app.ID(), "/connz?auth=1&subs=1&state=all", "/varz", "/jsz?accounts=1", "/subsz?subs=1"} {
		text := string(s.Get(t, page))
		if leaks(text) {
			t.Errorf("the page %s shows the value", page)
		}
		if strings.HasPrefix(page, "/accountz") && !strings.Contains(text, `"APP"`) {
			t.Errorf("the page %s does not show the account", page)
		}
	}
	for _, subject := range []string{
		"$SYS.REQ.ACCOUNT." + app.ID() + ".INFO", "$SYS.REQ.ACCOUNT." + app.ID() + ".CONNZ", "$SYS.REQ.SERVER.PING.ACCOUNTZ", "$SYS.REQ.SERVER.PING.CONNZ",
	} {
		m := request(t, sys, subject, `{"account":"`+app.ID()+`","auth":true}`)
		if leaks(string(m.Data)) {
			t.Errorf("%s shows the value", subject)
		}
	}
	for _, subject := range []string{"$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT.PING.STATZ", "$SYS.REQ.USER.INFO"} {
		m := request(t, s.Connect(t, app.User(t, "curious", nil).Options()...), subject, `{"auth":true,"state":2}`)
		if leaks(string(m.Data)) {
			t.Errorf("%s shows the value to a user of the account", subject)
		}
	}
	if leaks(s.Text()) {
		t.Errorf("the log shows the value: %s", leakingLine(s.Text()))
	}
	// The push is a message of the system account itself, and has the account JWT.
	for line := range strings.Lines(e.text()) {
		if leaks(line) && !strings.Contains(line, "CLAIMS.") {
			t.Errorf("an event shows the value: %.80s", line)
		}
	}
}

// leakingLine returns the first line that leaks, without the value.
func leakingLine(text string) string {
	for line := range strings.Lines(text) {
		if leaks(line) {
			line = tokenPart.ReplaceAllString(strings.ReplaceAll(line, planted, "<VALUE>"), "<TOKEN>")
			return fmt.Sprintf("%.400s", line)
		}
	}
	return ""
}

// The settings that limit the trace log must not let values through: for lines that are cut off, for headers without
// payload, and for messages of the system account. Nor must it matter what a subscriber gets: the whole message, one
// from which headers are cut, or the payload alone.
func TestLeaksOfTheTraceLog(t *testing.T) {
	for name, conf := range map[string]string{
		"short": "max_traced_msg_len: 40", "headers only": "trace_headers: true", "both": "max_traced_msg_len: 33, trace_headers: true", "plain": "",
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, fmt.Sprintf(`
				%s
				jetstream { store_dir: %q }
				headers { sealed: [Session] }
				accounts {
					APP { jetstream: enabled, users: [
						{user: pub, password: pub, headers: {S: %q, Session: [%q, "%[3]s-2"]}}
						{user: reader, password: reader, header_permissions: {subscribe: {allow: [Session]}}}, {user: blind, password: blind} ] }
					SYS { users: [ {user: sys, password: sys} ] }
				}
				system_account: SYS`, conf, t.TempDir(), planted, planted), "-D", "-VV")
			store(t, s)
			for _, user := range []string{"reader", "blind"} {
				nc := s.Connect(t, userInfo(user))
				for _, w := range storedWays {
					if m := w.read(t, nc, nil); m.Header.Get("S") != planted {
						t.Fatalf("%s: the message is not stamped, so that this test shows nothing", w.name)
					}
				}
			}
			subscribers := []*harness.Raw{
				harness.Client(t, s, password("reader")), harness.Client(t, s, password("blind")), harness.Client(t, s, withoutHeaders("reader")),
			}
			for _, r := range subscribers {
				r.Sub("js.>", "1")
			}
			publish := func(payload string) (size int) {
				s.Connect(t, userInfo("pub")).Publish("js.z", []byte(payload)) //nolint:errcheck // waited for
				for i, r := range subscribers {
					m := r.Msg()
					if m.Payload != payload {
						t.Fatalf("subscriber %d has another payload", i)
					}
					size = max(size, len(m.Header))
				}
				return size
			}
			block := publish("payload")
			for _, payload := range payloadsWithABlock(block) {
				publish(payload)
			}
			s.WaitLog(t, `->> \[HMSG js.z`)
			s.WaitLog(t, `MSG_PAYLOAD.*REDACTED|MSG_PAYLOAD.*NATS/1.0`)
			if text := s.Text(); leaks(text) || exposes(text, planted) {
				t.Errorf("the log shows the value: %s", leakingLine(text))
			}
		})
	}
}

// withoutHeaders is the credential of a client that does not support headers.
func withoutHeaders(user string) harness.Credential {
	return func(nonce string) map[string]any {
		fields := password(user)(nonce)
		fields["headers"], fields["no_responders"] = false, false
		return fields
	}
}

// payloadsWithABlock are payloads with a header block, of which the trace log shows the size alone. The message's own
// header block, of size bytes, is longer or shorter than they, or as long as the block at their beginning.
func payloadsWithABlock(size int) []string {
	const begin, end = "NATS/1.0\r\nA: ", "\r\n\r\n"
	value := "S: " + planted
	payloads := []string{
		"NATS/1.0\r\n" + value + end,
		"NATS/1.0\r\n" + value + end + "x",
		begin + strings.Repeat("a", 2*size) + "\r\n" + value + end,
		"text\r\nNATS/1.0\r\n" + value + end,
		"text\r\n" + strings.Repeat("t", 2*size) + value + end + "NATS/1.0" + end,
	}
	for near := -3; near <= 3; near++ {
		payloads = append(payloads, begin+strings.Repeat("a", size+near-len(begin+end))+end+value+end)
	}
	return payloads
}

// If a leafnode logs in with a JWT, neither side's log or monitoring shows the claim.
func TestLeaksOfALeafnodeJWT(t *testing.T) {
	op := harness.NewOperator(t)
	app := op.Account(t, "APP")
	hub := harness.Start(t, op.Conf(t)+`leafnodes { listen: "127.0.0.1:-1" }`, "-DV")
	e := listen(t, hub.Connect(t, op.Sys.User(t, "sys", nil).Options()...))
	site := app.User(t, "site", &claim.Claim{Headers: []claim.Header{{Name: "Session", Values: []string{planted}}}})
	sub := subscribed(t, hub, app.User(t, "sub", nil).Options()...)
	spoke := harness.Start(t, fmt.Sprintf(`leafnodes { remotes: [ {url: "nats://%s", credentials: %q} ] }`, hub.Leaf(t), site.Creds(t)), "-DV")
	harness.Eventually(t, "the leafnode connection", func() bool { return len(spoke.Leafz(t).Leafs) == 1 })
	nc := spoke.Connect(t)
	reach(t, nc, sub)
	if err := nc.PublishMsg(colored("t.x")); err != nil {
		t.Fatal(err)
	}
	if next(t, sub, nil).Header.Get("Session") != planted {
		t.Fatal("the message is not stamped, so that this test shows nothing")
	}
	spoke.Stop()
	e.expect(t, ".DISCONNECT", "")
	for name, text := range map[string]string{
		"the hub's log": hub.Text(), "the spoke's log": spoke.Text(), "events": e.text(),
		"leafz": string(hub.Get(t, "/leafz?subs=1")), "connz": string(hub.Get(t, "/connz?auth=1&state=all")), "accountz": string(hub.Get(t, "/accountz?acc="+app.ID())),
	} {
		if leaks(text) {
			t.Errorf("%s shows the value: %s", name, leakingLine(text))
		}
	}
}

// The errors of a configuration have names and places, but no values, wherever the fault is.
func TestLeaksOfConfigurationFaults(t *testing.T) {
	for name, conf := range map[string]string{
		"all, bad name":       `headers { all: {"a b": "planted-7f1c-secret"} }`,
		"all, reserved":       `headers { all: {"Nats-X": "planted-7f1c-secret"} }`,
		"all, template":       `headers { all: {X: "planted-7f1c-secret {{nope()}}"} }`,
		"all, line break":     `headers { all: {X: "planted-7f1c-secret\nY: z"} }`,
		"all, number":         `headers { all: {X: 17, Y: "planted-7f1c-secret"} }`,
		"all, subjects":       `headers { all: {X: {value: "planted-7f1c-secret", subjects: ["a..b"]}} }`,
		"all, unknown key":    `headers { all: {X: {value: "planted-7f1c-secret", subject: "a"}} }`,
		"all, too large":      `headers { max_bytes: 10, all: {X: "planted-7f1c-secret"} }`,
		"user, template":      `authorization { users: [ {user: u, password: u, headers: {X: "planted-7f1c-secret {{nope()}}"}} ] }`,
		"user, both":          `authorization { users: [ {user: u, password: u, headers: {X: "planted-7f1c-secret", x: "planted-7f1c-secret"}} ] }`,
		"user, permissions":   `authorization { users: [ {user: u, password: u, headers: {X: "planted-7f1c-secret"}, header_permissions: {publish: {alow: [X]}}} ] }`,
		"remote":              `leafnodes { remotes: [ {url: "nats://127.0.0.1:1", headers: {X: "planted-7f1c-secret", "a b": "1"}} ] }`,
		"headers of a string": `authorization { users: [ {user: u, password: u, headers: "planted-7f1c-secret"} ] }`,
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.Launch(t, conf, "-t")
			if code := s.Exit(t); code == 0 {
				t.Error("-t accepts the faulty configuration")
			}
			if leaks(s.Text()) {
				t.Errorf("the fault shows the value: %s", leakingLine(s.Text()))
			}
			if !regexp.MustCompile(`server\.conf:\d+:\d+`).MatchString(s.Text()) {
				t.Errorf("the fault has no place: %s", s.Text())
			}
		})
	}
}

// Latency metrics, which an exporter can have sent to a subject, have no header values.
func TestLeaksOfServiceLatency(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`
		accounts {
			APP {
				users: [ {user: svc, password: svc} ]
				exports: [ {service: "svc", latency: {sampling: headers, subject: "latency"}} ]
			}
			OTHER {
				users: [ {user: pub, password: pub, headers: {Session: %q}} ]
				imports: [ {service: {account: APP, subject: "svc"}, share: true} ]
			}
			SYS { users: [ {user: sys, password: sys} ] }
		}
		system_account: SYS`, planted))
	svc := s.Connect(t, userInfo("svc"))
	metrics := subscribedTo(t, svc, "latency")
	if _, err := svc.Subscribe("svc", func(m *nats.Msg) { _ = m.Respond([]byte(m.Header.Get("Session"))) }); err != nil {
		t.Fatal(err)
	}
	if err := svc.Flush(); err != nil {
		t.Fatal(err)
	}
	m := &nats.Msg{Subject: "svc", Header: nats.Header{"traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}}
	answer, err := s.Connect(t, userInfo("pub")).RequestMsg(m, harness.Timeout)
	if err != nil || string(answer.Data) != planted {
		t.Fatalf("the request is not stamped: %v", err)
	}
	metric := next(t, metrics, nil)
	var v struct{ Type string }
	if err := json.Unmarshal(metric.Data, &v); err != nil || !strings.Contains(v.Type, "latency") {
		t.Fatalf("expected a latency metric; found type %q, error %v", v.Type, err)
	}
	if leaks(string(metric.Data)) {
		t.Error("the metric shows the value")
	}
}
