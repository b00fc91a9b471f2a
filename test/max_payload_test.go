package test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// The announced max_payload leaves room for the stamp, and a message of exactly that size goes through.
func TestMaxPayload(t *testing.T) {
	const limit = 1024
	s := harness.Start(t, `
		max_payload: 1024
		authorization { users: [{user: u, password: u, headers: {Session: "0123456789"}}, {user: sub, password: sub}] }`)
	sub := subscriber(t, s, password("sub"))
	stamp := block("Session: 0123456789")
	connect := func() *harness.Raw {
		raw := harness.Client(t, s, password("u"))
		if raw.Info.MaxPayload != limit-len(stamp) {
			t.Fatalf("INFO announces a max_payload of %d, expected %d", raw.Info.MaxPayload, limit-len(stamp))
		}
		return raw
	}
	raw := connect()
	for name, own := range map[string]string{"plain": "", "with a header": "NATS/1.0\r\nA: b\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			body := strings.Repeat("x", raw.Info.MaxPayload-len(own))
			want := stamp
			if own == "" {
				raw.Pub("t.max", body)
			} else {
				raw.Hpub("t.max", own, body)
				want = block("A: b", "Session: 0123456789")
			}
			if m := sub.Msg(); m.Header != want || m.Payload != body {
				t.Errorf("got a header of %d bytes and a payload of %d, expected %d and %d", len(m.Header), len(m.Payload), len(want), len(body))
			}
			over := connect()
			if own == "" {
				over.Pub("t.over", body+"x")
			} else {
				over.Hpub("t.over", own, body+"x")
			}
			if lines := over.ExpectClosed(); len(lines) != 1 || lines[0] != "-ERR 'Maximum Payload Violation'" {
				t.Errorf("a message above the limit: got %d lines before the end", len(lines))
			}
		})
	}
	plain := harness.Client(t, s, password("sub"))
	if plain.Info.MaxPayload != limit {
		t.Errorf("a connection without a stamp has a max_payload of %d, expected %d", plain.Info.MaxPayload, limit)
	}

	nc := s.Connect(t, userInfo("u"))
	harness.Eventually(t, "nats.go knows the lowered max_payload", func() bool { return nc.MaxPayload() == int64(limit-len(stamp)) })
	if err := nc.Publish("t.go", make([]byte, limit-len(stamp)+1)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("nats.go above the limit: %v", err)
	}
}

// After a reload of max_payload, the bytes of the stamp are still subtracted.
func TestMaxPayloadOverReload(t *testing.T) {
	const users = `authorization { users: [{user: u, password: u, headers: {Session: "1"}}, {user: sub, password: sub}] }`
	s := harness.Start(t, "max_payload: 1024\n"+users)
	raw := harness.Client(t, s, password("u"))
	sub := subscriber(t, s, password("sub"))
	s.Reload(t, "max_payload: 2048\n"+users)
	body := strings.Repeat("x", 2048-len(block("Session: 1")))
	raw.Pub("t.max", body)
	if m := sub.Msg(); m.Header != block("Session: 1") || m.Payload != body {
		t.Errorf("got a header of %d bytes and a payload of %d", len(m.Header), len(m.Payload))
	}
	raw.Pub("t.over", body+"x")
	if lines := raw.ExpectClosed(); len(lines) != 1 || lines[0] != "-ERR 'Maximum Payload Violation'" {
		t.Errorf("a message above the limit: got %d lines before the end", len(lines))
	}
}

// The rest of a message may come after its publisher's headers have become longer. It is refused if it has become too large:
// a leafnode that got it would close the connection of everybody behind it.
func TestMaxPayloadOfAMessageInPieces(t *testing.T) {
	conf := func(value int) string {
		return fmt.Sprintf(`
			max_payload: 1024
			authorization { users: [{user: u, password: u, headers: {Session: %q}}, {user: sub, password: sub}] }`, strings.Repeat("s", value))
	}
	s := harness.Start(t, conf(1))
	sub, raw := subscriber(t, s, password("sub")), harness.Client(t, s, password("u"))
	body := strings.Repeat("x", raw.Info.MaxPayload)
	raw.Send("PUB t.x %d\r\n%s", len(body), body[10:])
	s.Reload(t, conf(300))
	raw.Send("%s\r\n", body[:10])
	raw.Expect("-ERR 'Permissions Violation for Publish to \"t.x\": maximum payload exceeded")
	other := harness.Client(t, s, password("u"))
	other.Pub("t.x", "payload")
	expectMsg(t, sub, "the next message", block("Session: "+strings.Repeat("s", 300)))
}

// A leafnode whose payload limit leaves no room for its headers is refused, as a client is. Otherwise every message of
// it would be refused.
func TestLeafnodeWithoutRoomForItsHeaders(t *testing.T) {
	op := harness.NewOperator(t)
	app := op.Account(t, "APP")
	s := harness.Start(t, op.Conf(t)+`
		leafnodes { listen: "127.0.0.1:-1" }`)
	for payload, want := range map[int64]string{15: "headers of up to 18 bytes leave no room in a max_payload of 15 bytes", 19: ""} {
		user := app.User(t, "site", header("A", "1"), harness.Bearer, func(uc *jwt.UserClaims) { uc.Limits.Payload = payload })
		conn, err := net.Dial("tcp", s.Leaf(t))
		if err != nil {
			t.Fatal(err)
		}
		raw := harness.NewRaw(t, conn)
		mark := s.Mark()
		raw.Send(`CONNECT {"jwt":%q,"name":"site","server_id":"site","protocol":1,"headers":true}`+"\r\n", user.JWT)
		if want != "" {
			mark.WaitLog(t, want)
			raw.ExpectClosed()
			continue
		}
		untilPong(t, raw)
	}
}
