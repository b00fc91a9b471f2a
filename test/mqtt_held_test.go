package test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"stamp.example/claim"
	stamp "stamp.example/receivers/go"
	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// mqttPublish2 publishes a message of quality of service 2, packet 1, up to the PUBREC.
func mqttPublish2(t *testing.T, conn net.Conn, topic, payload string) {
	t.Helper()
	mqttSend(t, conn, mqttPacket("\x34", mqttText(topic)+"\x00\x01"+payload))
	if rec := mqttRead(t, conn); rec != "\x50\x02\x00\x01" {
		t.Fatalf("expected PUBREC; the server sent %q", rec)
	}
}

// mqttRelease2 releases it.
func mqttRelease2(t *testing.T, conn net.Conn) {
	t.Helper()
	mqttSend(t, conn, "\x62\x02\x00\x01")
	if comp := mqttRead(t, conn); comp != "\x70\x02\x00\x01" {
		t.Fatalf("expected PUBCOMP; the server sent %q", comp)
	}
}

func mqttText(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }

// mqttPacket has a length of one or two bytes (MQTT 3.1.1, section 2.2.3).
func mqttPacket(kind, body string) string {
	if len(body) < 128 {
		return kind + string([]byte{byte(len(body))}) + body
	}
	return kind + string([]byte{byte(len(body)%128 | 128), byte(len(body) / 128)}) + body
}

// mqttSession connects with a session that stays, and expects to be let in.
func mqttSession(t *testing.T, s *harness.Server, user, id string) net.Conn {
	t.Helper()
	conn := mqttConnectAs(t, s, user, id, "\xC0")
	if ack := mqttRead(t, conn); len(ack) != 4 || ack[3] != 0 {
		t.Fatalf("expected a CONNACK that lets the device in; the server sent %q", ack)
	}
	return conn
}

// mqttClose closes a connection, and waits until the server knows that. Otherwise the server would take the next connection
// with the same client id for one of two that drive each other away, and would delay and close it.
func mqttClose(t *testing.T, s *harness.Server, conn net.Conn, id string) {
	t.Helper()
	conn.Close()
	harness.Eventually(t, "the end of "+id, func() bool {
		return !slices.ContainsFunc(s.Connz(t, "").Conns, func(c *natsserver.ConnInfo) bool { return c.MQTTClient == id })
	})
}

const heldConf = `
	server_name: M
	jetstream { store_dir: %q }
	mqtt { listen: "127.0.0.1:-1" }
	headers { protected: [X-User], provenance: true }
	accounts { APP { jetstream: enabled, %s users: [
		{user: victim, password: victim, headers: {X-User: victim}, permissions: {publish: ["admin.>", "t.>", "m.>"]}}
		{user: mallory, password: mallory, headers: {X-User: mallory}, permissions: {publish: ["m.>", "t.>", "api.>"]}}
		{user: plain, password: plain, permissions: {publish: ["m.>", "kept.>"]}}
		{user: sub, password: sub}
	] } }`

// A message of quality of service 2 is stored by client id until it is released. Another user, even one of the same name, may
// connect with that id and release it: the message has the headers and the permissions of its publisher.
func TestHeldMessageIsWhatItsPublisherWas(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(heldConf, t.TempDir(), ""))
	sub := harness.Client(t, s, password("sub"))
	for i, subject := range []string{"admin.>", "t.>", "m.>"} {
		sub.Sub(subject, fmt.Sprint(i))
	}
	sub.Flush()
	for _, tt := range []struct{ publisher, topic, want string }{
		{"mallory", "admin/delete", ""}, // without permission
		{"mallory", "m/x", "X-User: mallory"},
		{"plain", "admin/delete", ""},
		{"plain", "m/x", "nobody"},
		{"victim", "admin/delete", "X-User: victim"},
	} {
		conn := mqttSession(t, s, tt.publisher, "dev1")
		mqttPublish2(t, conn, tt.topic, "held")
		mqttClose(t, s, conn, "dev1")
		conn = mqttSession(t, s, "victim", "dev1")
		mqttRelease2(t, conn)
		mqttSend(t, conn, mqttPacket("\x30", mqttText("t/end")+"end"))
		var seen []string
		for m := sub.Msg(); m.Subject != "t.end"; m = sub.Msg() {
			lines := m.Lines()
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "X-User") }) {
				lines = append(lines, "nobody")
			}
			seen = append(seen, lines...)
			if tt.want != "" && tt.want != "nobody" && !slices.Contains(lines, "Stamp-Subject: "+m.Subject) {
				t.Errorf("%v: Stamp-Subject is not the released subject %s: %q", tt, m.Subject, lines)
			}
			if strings.Contains(m.Header, "Held") {
				t.Errorf("%v: the header of the stored message is delivered: %q", tt, lines)
			}
		}
		if tt.want == "" && len(seen) > 0 || tt.want != "" && !slices.Contains(seen, tt.want) || tt.want != "X-User: victim" && slices.Contains(seen, "X-User: victim") {
			t.Errorf("%v: the held message is not released as its publisher's: %q", tt, seen)
		}
		mqttClose(t, s, conn, "dev1")
	}
}

// The subject before a mapping is forgotten with its message: it shows neither in the next message nor in a stored copy of
// that. The topic was in the read buffer, where a client can put other bytes in its place.
func TestMQTTMessageAfterAMappedOne(t *testing.T) {
	for _, mapping := range []string{`"*": "in.$1"`, `"old.*": "new.$1"`} {
		t.Run(mapping, func(t *testing.T) {
			s := harness.Start(t, fmt.Sprintf(heldConf, t.TempDir(), "mappings: {"+mapping+"},"))
			nc := s.Connect(t, userInfo("sub"))
			sub := subscribedTo(t, nc, "t.>")
			kept := subscribedTo(t, nc, "$MQTT.rmsgs.>")
			held := subscribedTo(t, nc, "$MQTT.qos2.in.>")
			sum := sha256.Sum256([]byte("APP\x00victim"))
			forged := "admin.delete\r\nStamp-Held-By:" + hex.EncodeToString(sum[:16]) + "\r\nNmqtt-Held:1\r\nX-User:victim\r\nA:b"
			topic := strings.Repeat("a", len(forged))
			if !strings.HasPrefix(mapping, `"*"`) {
				topic = "old/" + topic[4:]
			}
			conn := mqttSession(t, s, "mallory", "dev1")
			// Read at once, so that the next packet overwrites the topic in the buffer.
			mqttSend(t, conn, mqttPacket("\x30", mqttText(topic)+"q")+"\xC0\x00")
			if resp := mqttRead(t, conn); resp != "\xD0\x00" {
				t.Fatalf("expected PINGRESP; the server sent %q", resp)
			}
			body := func(kind, packet string, pad int) string {
				return mqttPacket(kind, mqttText("t/x")+packet+strings.Repeat("-", pad)+forged)
			}
			for pad := range 4 {
				mqttSend(t, conn, body("\x30", "", pad))
				mqttSend(t, conn, body("\x31", "", pad)) // retained
				m := next(t, sub, nil)
				if got := m.Header.Get("Stamp-Subject"); got != "t.x" {
					t.Errorf("padding %d: expected Stamp-Subject: t.x; found %s", pad, got)
				}
				if err := judged(m, "X-User", accounts{"APP": {"admin.>"}}); stamp.VerdictOf(err) != stamp.WrongSubject {
					t.Errorf("expected a receiver to refuse the message with the verdict subject; found %v", err)
				}
				next(t, sub, nil)
				if m := next(t, kept, nil); m.Header.Get("Stamp-Subject") != "t.x" {
					t.Errorf("padding %d: the retained message has the header %q", pad, m.Header)
				}
			}
			mqttSend(t, conn, body("\x34", "\x00\x01", 0))
			mqttRead(t, conn)
			if m := next(t, held, nil); m.Header.Get("A") != "" || m.Header.Get("Nmqtt-Mapped") != "" || len(m.Header.Values("X-User")) != 1 {
				t.Errorf("the message is held with lines of the one before: %q", m.Header)
			}
		})
	}
}

// A retained message stores its topic and its publisher's login name, both of which a client may choose. Neither adds lines to
// its header.
func TestRetainedMessageHasNoLinesOfTheClient(t *testing.T) {
	op := harness.NewOperator(t)
	app := op.Account(t, "APP")
	app.Claims.Limits.DiskStorage, app.Claims.Limits.MemoryStorage = -1, -1
	app.Claims.Limits.Streams, app.Claims.Limits.Consumer = -1, -1
	s := harness.Start(t, op.Conf(t)+fmt.Sprintf(`
		server_name: M
		jetstream { store_dir: %q }
		mqtt { listen: "127.0.0.1:-1" }
		headers { protected: [X-User] }`, t.TempDir()))
	kept := subscribedTo(t, s.Connect(t, app.User(t, "sub", nil).Options()...), "$MQTT.rmsgs.>")
	user := app.User(t, "plain", nil, harness.Bearer)
	for _, name := range []string{"x\r\nX-User: admin\r\nA:b", "x\r\n\r\nbody", "x\nX-User: admin", "x\rX-User: admin", "x\u0085X-User: admin", "x\u2028X-User: admin", "plain"} {
		conn, err := net.Dial("tcp", s.MQTT(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		mqttSend(t, conn, mqttPacket("\x10", mqttText("MQTT")+"\x04\xC2\x00\x00"+mqttText("dev")+mqttText(name)+mqttText(user.JWT)))
		if ack := mqttRead(t, conn); len(ack) != 4 || ack[3] != 0 {
			t.Fatalf("expected a CONNACK that lets the device in; the server sent %q", ack)
		}
		mqttSend(t, conn, mqttPacket("\x31", mqttText("m/kept")+"p"))
		m := next(t, kept, nil)
		if len(m.Header.Values("X-User"))+len(m.Header.Values("A")) > 0 || string(m.Data) != "p" || strings.ContainsAny(fmt.Sprint(m.Header), "\u0085\u2028\r\n") {
			t.Errorf("user name %q: the retained message has lines of the client, or another payload: %q, %q", name, m.Header, m.Data)
		}
		// A topic that would add lines is not stored.
		mqttSend(t, conn, mqttPacket("\x31", mqttText("m/a\u0085X-User:admin")+"p")+mqttPacket("\x31", mqttText("m/next")+"q"))
		for m := next(t, kept, nil); m.Subject != "$MQTT.rmsgs.m.next"; m = next(t, kept, nil) {
			if len(m.Data) > 0 && string(m.Data) != "-" && m.Header.Get("Nmqtt-RTopic") != "m/kept" {
				t.Errorf("a topic that would make lines is kept as %q with payload %q", m.Header.Get("Nmqtt-RTopic"), m.Data)
			}
		}
		mqttClose(t, s, conn, "dev")
	}
}

// A mapping may lead an answer from its reply subject to another subject, so that subject is judged too.
func TestReplyThatIsMapped(t *testing.T) {
	s := harness.Start(t, `
		headers { check_replies: true }
		accounts {
		APP {
			mappings: {
				"old.*": "admin.$1"
				"some.*": [{destination: "admin.$1", weight: 10%}, {destination: "_INBOX.mal.$1", weight: 90%}]
				"any.*": "_INBOX.mal.{{random(4)}}"
				"mine.*": "_INBOX.mal.$1"
			}
			imports: [{service: {account: SVC, subject: "far.>"}}]
			users: [{user: owner, password: owner}, {user: svc, password: svc}
				{user: mal, password: mal, permissions: {publish: ["svc.>", "far.>"], subscribe: ["_INBOX.mal.>", "old.>", "some.>", "any.>", "mine.>"]}}]
		}
		SVC { exports: [{service: "far.>"}], users: [{user: far, password: far}] }
		}`)
	admin := subscribedTo(t, s.Connect(t, userInfo("owner")), "admin.>")
	for user, subject := range map[string]string{"svc": "svc.>", "far": "far.>"} {
		nc := s.Connect(t, userInfo(user))
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) { m.Respond(m.Data) }); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	mal := harness.Client(t, s, password("mal"))
	mal.Sub("_INBOX.mal.>", "1")
	for _, service := range []string{"svc.echo", "far.echo"} {
		for _, reply := range []string{"admin.delete", "old.delete", "some.delete", "any.delete"} {
			mal.Send("PUB %s %s 4\r\nEVIL\r\n", service, reply)
			if line, _ := mal.Line(); !strings.HasPrefix(line, "-ERR 'Permissions Violation for Publish") {
				t.Errorf("a request to %s with the reply subject %s was not refused: %q", service, reply, line)
			}
		}
		mal.Send("PUB %s mine.1 4\r\nGOOD\r\n", service)
		if m := mal.Msg(); m.Subject != "_INBOX.mal.1" || m.Payload != "GOOD" {
			t.Errorf("service %s: the answer is %+v, want GOOD on the own inbox", service, m)
		}
	}
	if n, _, err := admin.Pending(); n != 0 || err != nil {
		t.Errorf("%d answers reached admin, error %v; want none", n, err)
	}
}

// The will of a connection whose session has ended is not published, with that session's stamp or without.
func TestWillOfAnEndedSession(t *testing.T) {
	for name, c := range map[string]struct {
		block string
		claim *claim.Claim
	}{
		"headers":          {"headers { protected: [X-User] }", &claim.Claim{Headers: []claim.Header{{Name: "X-User", Values: []string{"lost"}}}}},
		"no claim":         {"headers { protected: [X-User] }", nil},
		"no claim, sealed": {"headers { sealed: [X-User] }", nil},
		"replies":          {"headers { check_replies: true }", nil},
	} {
		t.Run(name, func(t *testing.T) { testWillOfAnEndedSession(t, c.block, c.claim) })
	}
}

// connectWithWill is an MQTT connection of a user, whose client id is the user's name, with the will "last".
func connectWithWill(t *testing.T, s *harness.Server, user, password, topic string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.MQTT(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	mqttSend(t, conn, mqttPacket("\x10", mqttText("MQTT")+"\x04\xC6\x00\x00"+mqttText(user)+mqttText(topic)+mqttText("last")+mqttText(user)+mqttText(password)))
	if ack := mqttRead(t, conn); len(ack) != 4 || ack[3] != 0 {
		t.Fatalf("expected a CONNACK that lets %s in; the server sent %q", user, ack)
	}
	return conn
}

func testWillOfAnEndedSession(t *testing.T, block string, c *claim.Claim) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(`
		server_name: M
		debug: true
		jetstream { store_dir: %q }
		mqtt { listen: "127.0.0.1:-1" }
		%s
		system_account: SYS
		accounts { SYS {users: [{user: sys, password: sys}]}, AUTH { users: [{user: auth, password: auth}] }, APP { jetstream: enabled, users: [{user: sub, password: sub}] } }
		authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, sub, sys] } }`, t.TempDir(), block, harness.Public(t, issuer)))
	var refuse atomic.Bool
	callout := harness.Callout{Issuer: issuer, Answer: func(req *jwt.AuthorizationRequestClaims) (string, error) {
		if refuse.Load() {
			return "", errors.New("session ended")
		}
		uc := jwt.NewUserClaims(req.UserNkey)
		uc.Audience, uc.Name = "APP", req.ConnectOptions.Username
		uc.Expires = time.Now().Add(10 * time.Minute).Unix()
		if c != nil {
			uc.Tags.Add(forwarded.SessionTag(uc.Name))
		}
		return claim.Encode(uc, c, issuer)
	}}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	sys := s.Connect(t, userInfo("sys"))
	sub := subscribedTo(t, s.Connect(t, userInfo("sub")), "t.>")
	users := []string{"kicked", "lost"}
	if c != nil {
		users = append(users, "refused") // who has neither a claim nor a session of ours is not renewed
	}
	for _, user := range users {
		refuse.Store(false)
		conn := connectWithWill(t, s, user, "pw", "t/will/"+user)
		refuse.Store(true)
		switch user {
		case "kicked":
			request(t, sys, "$SYS.REQ.SERVER.PING.RENEW", `{"user":"kicked","kick":true}`)
		case "refused":
			request(t, sys, "$SYS.REQ.SERVER.PING.RENEW", `{"user":"refused"}`)
		case "lost":
			conn.Close()
			continue
		}
		s.WaitLog(t, "Publish Refused - Subject \"t.will."+user+"\": connection closed")
	}
	if m := next(t, sub, nil); m.Subject != "t.will.lost" || c != nil && m.Header.Get("X-User") != "lost" {
		t.Errorf("expected only the will of the lost connection, with its headers; got %s with %v", m.Subject, m.Header)
	}
	if n, _, err := sub.Pending(); n > 0 || err != nil {
		t.Errorf("%d more messages arrived, error %v; want none", n, err)
	}
}

// If another connection releases a stored request to JetStream, the request is not judged by the permissions of that
// connection: no deliver subject is accepted. Its publisher may release it on the same connection.
func TestHeldRequestIsNotTheReleasersOwn(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`
		server_name: M
		jetstream { store_dir: %q }
		mqtt { listen: "127.0.0.1:-1" }
		headers { check_replies: true }
		accounts { APP { jetstream: enabled, users: [
			{user: mallory, password: mallory, permissions: {publish: ["$JS.API.CONSUMER.CREATE.S.>"], subscribe: ["_INBOX.mal.>"]}}
			{user: victim, password: victim}
		] } }`, t.TempDir()))
	js, err := s.Connect(t, userInfo("victim")).JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	request := func(name string) (topic, body string) {
		return "$JS/API/CONSUMER/CREATE/S/" + name, `{"stream_name":"S","action":"create","config":{"name":"` + name + `","deliver_subject":"admin.delete","ack_policy":"none"}}`
	}
	conn := mqttSession(t, s, "mallory", "dev1")
	topic, body := request("forged")
	mqttSend(t, conn, mqttPacket("\x34", mqttText(topic)+"\x00\x01"+body))
	mqttRead(t, conn)
	mqttClose(t, s, conn, "dev1")
	conn = mqttSession(t, s, "victim", "dev1")
	mqttRelease2(t, conn)
	topic, body = request("own")
	mqttPublish2(t, conn, topic, body)
	mqttRelease2(t, conn)
	harness.Eventually(t, "the victim's own consumer", func() bool { _, err := js.ConsumerInfo("S", "own"); return err == nil })
	if c, err := js.ConsumerInfo("S", "forged"); !errors.Is(err, nats.ErrConsumerNotFound) {
		t.Errorf("a consumer that delivers to another user's subject was not refused: %+v, error %v", c, err)
	}
}

// A stored message keeps its headers and permissions from when it was published, even if its publisher's headers and
// permissions change before it is released on the same connection.
func TestHeldMessageOverAReload(t *testing.T) {
	dir := t.TempDir()
	conf := func(user, publish string) string {
		return fmt.Sprintf(`
			server_name: M
			jetstream { store_dir: %q }
			mqtt { listen: "127.0.0.1:-1" }
			accounts { APP { jetstream: enabled, users: [
				{user: dev, password: dev, headers: {X-User: %s}, permissions: {publish: [%s]}}
				{user: sub, password: sub}
			] } }`, dir, user, publish)
	}
	s := harness.Start(t, conf("old", `"m.>"`))
	sub := subscribedTo(t, s.Connect(t, userInfo("sub")), "*.x")
	conn := mqttSession(t, s, "dev", "dev1")
	mqttPublish2(t, conn, "m/x", "held")
	mqttSend(t, conn, mqttPacket("\x34", mqttText("admin/x")+"\x00\x02"+"held"))
	if rec := mqttRead(t, conn); rec != "\x50\x02\x00\x02" {
		t.Fatalf("expected PUBREC for packet 2; the server sent %q", rec)
	}
	s.Reload(t, conf("new", `"m.>", "admin.>"`))
	mqttSend(t, conn, "\x62\x02\x00\x02")
	mqttRead(t, conn)
	mqttRelease2(t, conn)
	if m := next(t, sub, nil); m.Subject != "m.x" || m.Header.Get("X-User") != "old" {
		t.Errorf("expected m.x with the stamp before the reload; got %s with %v", m.Subject, m.Header)
	}
	if n, _, err := sub.Pending(); n > 0 || err != nil {
		t.Errorf("%d more messages arrived, error %v; want none", n, err)
	}
}

// A callout may give a device another user name at each connection. A message that the device left is published all the same,
// once, and with the headers from when it was left.
func TestHeldMessageOfAChangingUserName(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(`
		server_name: M
		jetstream { store_dir: %q }
		mqtt { listen: "127.0.0.1:-1" }
		headers { protected: [X-User], provenance: true }
		accounts { AUTH { users: [{user: auth, password: auth}] }, APP { jetstream: enabled, users: [{user: sub, password: sub}] } }
		authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, sub] } }`, t.TempDir(), harness.Public(t, issuer)))
	var connections atomic.Int64
	callout := harness.Callout{Issuer: issuer, Answer: func(req *jwt.AuthorizationRequestClaims) (string, error) {
		uc := jwt.NewUserClaims(req.UserNkey)
		uc.Audience, uc.Name = "APP", fmt.Sprint("device-", connections.Add(1))
		return claim.Encode(uc, &claim.Claim{Headers: []claim.Header{{Name: "X-User", Values: []string{uc.Name}}}}, issuer)
	}}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	sub := subscribedTo(t, s.Connect(t, userInfo("sub")), "t.>")
	conn := mqttSession(t, s, "dev", "dev1")
	mqttPublish2(t, conn, "t/held", "held")
	mqttClose(t, s, conn, "dev1")
	conn = mqttSession(t, s, "dev", "dev1")
	mqttRelease2(t, conn)
	mqttSend(t, conn, mqttPacket("\x30", mqttText("t/end")+"end"))
	seen := map[string]string{}
	for len(seen) < 2 {
		m := next(t, sub, nil)
		if _, again := seen[m.Subject]; again {
			t.Errorf("the message on %s was published twice", m.Subject)
		}
		seen[m.Subject] = m.Header.Get("X-User")
	}
	if seen["t.held"] != "device-1" || seen["t.end"] != "device-2" {
		t.Errorf("expected t.held of device-1 and t.end of device-2; found %v", seen)
	}
}

// The stream of stored messages may be behind a leafnode, which removes headers and adds some. If a stored message comes back
// without its publisher's headers, it is not published.
func TestHeldMessageBehindALeafnode(t *testing.T) {
	for name, tt := range map[string]struct{ permissions, all, want string }{
		"all permitted":          {`, header_permissions: {publish: {allow: ["*"]}}`, "", "dev"},
		"the hub adds its own":   {`, header_permissions: {publish: {allow: ["*"]}}`, `, all: {X-Hub: "h"}`, "dev"},
		"nothing is permitted":   {"", "", ""},
		"a part is permitted":    {`, header_permissions: {publish: {allow: [X-User]}}`, "", ""},
		"another one is instead": {`, headers: {X-User: site}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			hub := harness.Start(t, fmt.Sprintf(`
				server_name: hub
				headers { protected: [X-User], provenance: true %s }
				jetstream { domain: HUB, store_dir: %q }
				leafnodes { listen: "127.0.0.1:-1" }
				accounts { APP { jetstream: enabled, users: [{user: site, password: site %s}] } }`, tt.all, t.TempDir(), tt.permissions))
			spoke := harness.Start(t, fmt.Sprintf(`
				server_name: spoke
				headers { protected: [X-User], provenance: true }
				mqtt { listen: "127.0.0.1:-1", js_domain: HUB }
				accounts { APP { users: [{user: dev, password: dev, headers: {X-User: dev}}, {user: sub, password: sub}] } }
				leafnodes { remotes: [{ url: "nats://site:site@%s", account: APP }] }`, hub.Leaf(t)))
			nc := spoke.Connect(t, userInfo("sub"))
			harness.Eventually(t, "the hub's JetStream at the spoke", func() bool {
				_, err := nc.Request("$JS.HUB.API.INFO", nil, time.Second)
				return err == nil
			})
			sub := subscribedTo(t, nc, "m.>")
			conn := mqttSession(t, spoke, "dev", "dev1")
			mqttPublish2(t, conn, "m/x", "held")
			mqttClose(t, spoke, conn, "dev1")
			conn = mqttSession(t, spoke, "dev", "dev1")
			mqttRelease2(t, conn)
			mqttSend(t, conn, mqttPacket("\x30", mqttText("m/end")+"end"))
			m := next(t, sub, nil)
			if tt.want == "" {
				if m.Subject != "m.end" {
					t.Errorf("a message without its publisher's headers was published: %s with %v", m.Subject, m.Header)
				}
				return
			}
			if m.Subject != "m.x" || m.Header.Get("X-User") != tt.want || m.Header.Get("Stamp-Subject") != "m.x" || len(m.Header.Values("Stamp-Subject")) != 1 {
				t.Errorf("expected m.x as its publisher sent it; got %s with %v", m.Subject, m.Header)
			}
		})
	}
}

// The will of a user whose JWT was revoked or has expired, or whom a reload has removed, is not published with that user's
// headers.
func TestWillOfAUserThatIsGone(t *testing.T) {
	op := harness.NewOperator(t)
	app := op.Account(t, "APP")
	app.Claims.Limits.DiskStorage, app.Claims.Limits.MemoryStorage = -1, -1
	app.Claims.Limits.Streams, app.Claims.Limits.Consumer = -1, -1
	s := harness.Start(t, op.PushConf(t)+fmt.Sprintf(`
		server_name: M
		debug: true
		jetstream { store_dir: %q }
		mqtt { listen: "127.0.0.1:-1" }`, t.TempDir()))
	sub := subscribedTo(t, s.Connect(t, app.User(t, "sub", nil).Options()...), "t.>")
	stamp := header("X-User", "bad")
	users := map[string]*harness.User{
		"revoked": app.User(t, "revoked", stamp, harness.Bearer),
		"expired": app.User(t, "expired", stamp, harness.Bearer, func(uc *jwt.UserClaims) { uc.Expires = time.Now().Add(2 * time.Second).Unix() }),
	}
	for name, user := range users {
		connectWithWill(t, s, name, user.JWT, "t/will/"+name)
	}
	revoked, err := jwt.DecodeUserClaims(users["revoked"].JWT)
	if err != nil {
		t.Fatal(err)
	}
	app.Claims.Revoke(revoked.Subject)
	app.Push(t, s)
	for name := range users {
		s.WaitLog(t, "Publish Refused - Subject \"t.will."+name+"\": connection closed")
	}
	if n, _, err := sub.Pending(); n > 0 || err != nil {
		t.Errorf("expected no wills; found %d, error %v", n, err)
	}
}

// The will of a connection that a reload closes is not published, whatever the reload takes from its user.
func TestWillAfterAReload(t *testing.T) {
	conf := func(dir, user string) string {
		return fmt.Sprintf(`
			server_name: M
			debug: true
			jetstream { store_dir: %q }
			mqtt { listen: "127.0.0.1:-1" }
			accounts {
				APP { jetstream: enabled, users: [{user: sub, password: sub}, %s] }
				OTHER { jetstream: enabled, users: [{user: other, password: other}] }
			}`, dir, user)
	}
	for name, after := range map[string]string{
		"removed":        "",
		"password":       `{user: m, password: "another", headers: {X: secret}}`,
		"proxy_required": `{user: m, password: m, headers: {X: secret}, proxy_required: true}`,
		"types":          `{user: m, password: m, headers: {X: secret}, allowed_connection_types: [STANDARD]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := harness.Start(t, conf(dir, `{user: m, password: m, headers: {X: secret}}`))
			sub := subscribedTo(t, s.Connect(t, userInfo("sub")), "w.>")
			connectWithWill(t, s, "m", "m", "w/m")
			s.Reload(t, conf(dir, after))
			s.WaitLog(t, `Publish Refused - Subject "w.m": connection closed`)
			if m, err := sub.NextMsg(nothingComes); err == nil {
				t.Errorf("the will was published after the reload: %s with %v", m.Subject, m.Header)
			}
		})
	}
}
