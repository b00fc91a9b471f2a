package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// waysConf has a user with headers and a user without.
const waysConf = `
	max_payload: 2MB
	max_pending: 64MB
	authorization { users: [
		{ user: pub, password: pub, headers: { Session: "real", Roles: ["x", "y"], Token: {value: "scoped", subjects: ["t.api.>"]} } }
		{ user: sub, password: sub }
	] }
`

// stamped is what waysConf puts on a message on a subject to which Token is not bound.
var stamped = []string{"Roles: x", "Roles: y", "Session: real"}

const hostile = "NATS/1.0\r\nOwn: 1\r\nSESSION: forged\r\nroles:forged\r\nToken: forged\r\n\r\n"

var hostileStamped = block(append([]string{"Own: 1"}, stamped...)...)

// A message may arrive in any pieces. A read may end within its protocol line, its
// header or its payload.
func TestSplitReads(t *testing.T) {
	s := harness.Start(t, waysConf)
	sub := subscriber(t, s, password("sub"))
	pub := harness.Client(t, s, password("pub"))
	for _, size := range []int{0, 1, 511, 512, 4095, 4096, 8000, 32767, 65535, 65536, 1 << 20} {
		payload := strings.Repeat("p", size)
		for _, b := range []string{"", hostile} {
			want := block(stamped...)
			msg := fmt.Sprintf("PUB t.x %d\r\n%s\r\n", size, payload)
			if b != "" {
				want = hostileStamped
				msg = fmt.Sprintf("HPUB t.x %d %d\r\n%s%s\r\n", len(b), len(b)+size, b, payload)
			}
			for _, at := range cuts(msg, size) {
				pub.Send("%s", msg[:at])
				// After a round trip of another client, the server has read what was sent
				// so far, and its next read begins at the cut.
				sub.Flush()
				pub.Send("%s", msg[at:])
				got := sub.Msg()
				if got.Header != want || got.Payload != payload {
					t.Fatalf("payload of %d bytes, header of %d, cut at %d: header %q, payload intact %t",
						size, len(b), at, got.Header, got.Payload == payload)
				}
			}
		}
	}
}

// cuts are places within the line, at its end, in the header, and in the payload.
func cuts(msg string, size int) []int {
	line := strings.Index(msg, "\r\n") + 2
	head := len(msg) - size - 2
	at := []int{1, line - 1, line, len(msg) - 1, head + size/2}
	for i := line; i <= head; i += 7 {
		at = append(at, i)
	}
	return at
}

// Messages at and above the announced limit, each in one write.
func TestLargestMessage(t *testing.T) {
	s := harness.Start(t, waysConf)
	sub := subscriber(t, s, password("sub"))
	pub := harness.Client(t, s, password("pub"))
	size := pub.Info.MaxPayload
	pub.Pub("t.x", strings.Repeat("p", size))
	if m := sub.Msg(); m.Header != block(stamped...) || len(m.Payload) != size {
		t.Errorf("expected the stamp and the whole payload; found header %q, payload of %d bytes", m.Header, len(m.Payload))
	}
}

// Many messages in one write each get the right stamp.
func TestManyAtOnce(t *testing.T) {
	s := harness.Start(t, waysConf)
	sub := subscriber(t, s, password("sub"))
	pub := harness.Client(t, s, password("pub"))
	var b strings.Builder
	const n = 3000
	for i := range n {
		if i%2 == 0 {
			fmt.Fprintf(&b, "PUB t.api.%d 3\r\nabc\r\n", i)
		} else {
			fmt.Fprintf(&b, "HPUB t.%d %d %d\r\n%sabc\r\n", i, len(hostile), len(hostile)+3, hostile)
		}
	}
	pub.Send("%s", b.String())
	scoped := block("Roles: x", "Roles: y", "Session: real", "Token: scoped")
	for i := range n {
		want := scoped
		if i%2 == 1 {
			want = hostileStamped
		}
		if m := sub.Msg(); m.Header != want || m.Payload != "abc" {
			t.Fatalf("message %d: the header is %q, want %q", i, m.Header, want)
		}
	}
}

// A header block that client libraries read differently is refused.
func TestMalformedBlocks(t *testing.T) {
	s := harness.Start(t, waysConf)
	sub := subscriber(t, s, password("sub"))
	pub := harness.Client(t, s, password("pub"))
	for name, b := range map[string]string{
		"line feed alone":        "NATS/1.0\r\nA: b\nSession: forged\r\n\r\n",
		"carriage return alone":  "NATS/1.0\r\nA: b\rSession: forged\r\n\r\n",
		"NUL":                    "NATS/1.0\r\nA: b\x00\r\n\r\n",
		"folded line":            "NATS/1.0\r\nA: b\r\n Session: forged\r\n\r\n",
		"blank line in between":  "NATS/1.0\r\nA: b\r\n\r\nSession: forged\r\n\r\n",
		"space before the colon": "NATS/1.0\r\nSession : forged\r\n\r\n",
		"no colon":               "NATS/1.0\r\nSession\r\n\r\n",
		"no blank line":          "NATS/1.0\r\nA: b\r\n",
		"no line end":            "NATS/1.0\r\nA: b",
		"version in lower case":  "nats/1.0\r\nA: b\r\n\r\n",
		"version twice":          "NATS/1.0\r\nNATS/1.0\r\nA: b\r\n\r\n",
		"empty name":             "NATS/1.0\r\n: b\r\n\r\n",
		"only line feeds":        "NATS/1.0\nSession: forged\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			pub.Hpub("t.x", b, "payload")
			pub.Expect(`-ERR 'Permissions Violation for Publish to "t.x": header line`)
			pub.Pub("t.after", "payload") // it lives, and nothing else was delivered
			expectMsg(t, sub, "the message after", block(stamped...))
		})
	}
	if v := string(s.Get(t, "/varz")); !strings.Contains(v, `"refused_messages": 13`) {
		t.Error("varz does not count 13 refused messages")
	}
	// The server does not read the header block of a message that nobody subscribes to.
	pub.Hpub("nobody.listens", "nonsense", "")
	pub.Flush()
}

// Client libraries close the connection after an error that they do not know.
func TestMalformedBlockKeepsTheLibraryConnected(t *testing.T) {
	s := harness.Start(t, waysConf)
	sub := subscriber(t, s, password("sub"))
	failed := make(chan error, 1)
	nc := s.Connect(t, userInfo("pub"), nats.NoReconnect(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { failed <- err }))
	m := nats.NewMsg("t.x")
	m.Header["A"] = []string{"b\x01"}
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		if !strings.Contains(err.Error(), "header line 2: control character") {
			t.Errorf("expected the place of the fault; the library reports %v", err)
		}
	case <-time.After(harness.Timeout):
		t.Fatal("the library reports no error for the malformed block")
	}
	if err := nc.Publish("t.after", []byte("payload")); err != nil {
		t.Fatal(err)
	}
	expectMsg(t, sub, "the message after", block(stamped...))
}

// Messages over TLS are stamped.
func TestOverTLS(t *testing.T) {
	ca := harness.NewCA(t)
	cert, key := ca.Issue(t, "localhost")
	s := harness.Start(t, waysConf+fmt.Sprintf("tls { cert_file: %q, key_file: %q }\n", cert, key))
	conf := ca.Client(t, "client")
	conf.InsecureSkipVerify = true // the server's name is not what is tested
	nc := s.Connect(t, userInfo("sub"), nats.Secure(conf))
	sub, err := nc.SubscribeSync("t.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	publishAndExpect(t, s.Connect(t, userInfo("pub"), nats.Secure(conf)), sub)
}

// Messages over a websocket are stamped.
func TestOverWebsocket(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		t.Run(fmt.Sprintf("compressed %t", compressed), func(t *testing.T) {
			s := harness.Start(t, waysConf+`websocket { listen: "127.0.0.1:-1", no_tls: true, compression: true }`)
			nc := s.Connect(t, userInfo("sub"))
			sub, err := nc.SubscribeSync("t.>")
			if err != nil {
				t.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			ws, err := nats.Connect("ws://"+s.Websocket(t), userInfo("pub"), nats.Compression(compressed))
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close()
			publishAndExpect(t, ws, sub)
		})
	}
}

// publishAndExpect publishes payloads of many sizes, plain and hostile.
func publishAndExpect(t *testing.T, pub *nats.Conn, sub *nats.Subscription) {
	t.Helper()
	for _, size := range []int{0, 1, 4096, 70000, 1 << 20} {
		for _, own := range []nats.Header{nil, {"Own": {"1"}, "session": {"forged"}, "ROLES": {"forged", "again"}}} {
			m := &nats.Msg{Subject: "t.x", Header: own, Data: []byte(strings.Repeat("p", size))}
			if err := pub.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
			got, err := sub.NextMsg(harness.Timeout)
			if err != nil {
				t.Fatal(err)
			}
			expectHeaders(t, got, len(own) > 0)
			if string(got.Data) != string(m.Data) {
				t.Fatalf("payload of %d bytes is not what was sent", size)
			}
		}
	}
}

// expectHeaders checks that the stamp of waysConf is on m, once.
func expectHeaders(t *testing.T, m *nats.Msg, own bool) {
	t.Helper()
	want := nats.Header{"Session": {"real"}, "Roles": {"x", "y"}}
	if own {
		want["Own"] = []string{"1"}
	}
	if fmt.Sprint(m.Header) != fmt.Sprint(want) {
		t.Fatalf("message on %s: headers %v, want %v", m.Subject, m.Header, want)
	}
}
