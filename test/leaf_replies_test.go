package test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// leafRepliesConf has leafnode users with different permissions. Those that
// have no list of denied subjects may subscribe to nothing but an inbox, so check_replies has to refuse
// every other reply of theirs.
const leafRepliesConf = `
	server_name: hub
	headers { check_replies: true }
	jetstream { store_dir: %q, domain: hub }
	leafnodes { listen: "127.0.0.1:-1" }
	accounts { APP { jetstream: enabled, users: [
		{user: owner, password: owner}
		{user: site, password: site, permissions: {publish: ["api.>"], subscribe: ["_INBOX.site.>"]}}
		{user: acker, password: acker, permissions: {publish: ["api.>", "$JS.ACK.>"], subscribe: ["_INBOX.site.>"]}}
		{user: deny, password: deny, permissions: {publish: ["api.>"], subscribe: {deny: ["_INBOX.victim.>", "$JS.API.>", "$JS.*.API.>", "admin.>"]}}}
		{user: both, password: both, permissions: {publish: ["api.>"], subscribe: {allow: [">"], deny: ["_INBOX.victim.>", "$JS.API.>", "$JS.*.API.>", "admin.>"]}}}
		{user: admin, password: admin, permissions: {publish: ["api.>", "$JS.>"], subscribe: ["_INBOX.site.>"]}}
	] } }`

// rawLeaf is a leafnode connection that the test speaks by hand.
func rawLeaf(t *testing.T, hub *harness.Server, user string) *harness.Raw {
	t.Helper()
	conn, err := net.Dial("tcp", hub.Leaf(t))
	if err != nil {
		t.Fatal(err)
	}
	raw := harness.NewRaw(t, conn)
	raw.Send(`CONNECT {"user":%q,"pass":%q,"name":%q,"server_id":%q,"protocol":1,"headers":true}`+"\r\n", user, user, user, user)
	// The hub has its own PING under way; the second PONG is behind all of it.
	untilPong(t, raw)
	untilPong(t, raw)
	return raw
}

// untilPong waits until the server has processed what was sent. It returns the errors that the
// server sent before its PONG.
func untilPong(t *testing.T, raw *harness.Raw) (errs []string) {
	t.Helper()
	raw.Send("PING\r\n")
	for {
		line, err := raw.Line()
		if err != nil {
			t.Fatalf("the connection ends before the PONG: %v", err)
		}
		switch {
		case line == "PONG":
			return errs
		case strings.HasPrefix(line, "-ERR"):
			errs = append(errs, line)
		}
	}
}

// forgedReplies are reply subjects that a connection did not get from the server.
var forgedReplies = []struct {
	name, reply string
	// The leafnode users whose messages get through. Plain clients' messages never do.
	site, acker, admin bool
}{
	{name: "API", reply: "$JS.API.STREAM.DELETE.ORDERS"},
	{name: "API, a harmless request", reply: "$JS.API.INFO"},
	{name: "API of a domain", reply: "$JS.hub.API.STREAM.DELETE.ORDERS"},
	{name: "API, wrapped by a gateway", reply: "_GR_.AAAAAA.BBBBBB.$JS.API.STREAM.DELETE.ORDERS"},
	{name: "API of a domain, wrapped by a gateway", reply: "_GR_.AAAAAA.BBBBBB.$JS.hub.API.STREAM.DELETE.ORDERS"},
	{name: "API, wrapped by an old gateway", reply: "$GR.AAAA.$JS.API.STREAM.DELETE.ORDERS"},
	{name: "API, wrapped twice", reply: "_GR_.AAAAAA.BBBBBB._GR_.AAAAAA.BBBBBB.$JS.API.STREAM.DELETE.ORDERS"},
	// The server cuts a prefix at a fixed offset, whatever it holds.
	{name: "API, behind a prefix of dots", reply: "_GR_..._INBOX.site.$JS.API.STREAM.DELETE.ORDERS"},
	{name: "API, behind a prefix with other dots", reply: "_GR_.a.b._INBOX.ab.$JS.API.STREAM.DELETE.ORDERS"},
	{name: "API, behind a prefix without dots", reply: "_GR_.AAAAAAxBBBBBBx$JS.API.STREAM.DELETE.ORDERS"},
	{name: "another subject, behind a prefix of dots", reply: "_GR_..._INBOX.site.admin.do"},
	{name: "another subject, behind an old prefix of dots", reply: "$GR.._IN.admin.do"},
	{name: "acknowledgement", reply: "$JS.ACK.ORDERS.c.1.1.1.1700000000000000000.0", acker: true, admin: true},
	{name: "acknowledgement, with a domain", reply: "$JS.ACK.hub.AAAA.ORDERS.c.1.1.1.1700000000000000000.0.x", acker: true, admin: true},
	{name: "another inbox", reply: "_INBOX.victim.1"},
	{name: "a subject that it may publish to, and not hear", reply: "api.other"},
	{name: "another inbox, wrapped by a gateway", reply: "_GR_.AAAAAA.BBBBBB._INBOX.victim.1"},
	{name: "another subject, wrapped by an old gateway", reply: "$GR.AAAA.admin.do"},
}

// onlyWithout are replies that are refused for users without permission to publish them. The test says nothing about users with
// that permission.
var onlyWithout = map[string]string{
	"flow control":                       "$JS.FC.ORDERS.c.x",
	"flow control, through a gateway":    "_GR_.AAAAAA.BBBBBB.$JS.FC.ORDERS.c.x",
	"snapshot":                           "$JS.SNAPSHOT.ACK.ORDERS.x",
	"event":                              "$JS.EVENT.ADVISORY.x",
	"acknowledgement, through a gateway": "_GR_.AAAAAA.BBBBBB.$JS.ACK.ORDERS.c.1.1.1.1700000000000000000.0",
}

// honestReplies are replies of messages that must go through for all of the leafnode users.
var honestReplies = map[string]string{
	"none":                         "",
	"own inbox":                    "_INBOX.site.1",
	"own inbox, by a gateway":      "_GR_.AAAAAA.BBBBBB._INBOX.site.1",
	"service import":               "_R_.AbCdEf.1",
	"service import, by a gateway": "_GR_.AAAAAA.BBBBBB._R_.AbCdEf.1",
}

// A leafnode could give any JetStream request as its reply subject, and a service that answers would make that request with its
// own permissions. check_replies judges such a reply by the permissions of the connection, even if upstream's helpers call its
// subject reserved.
func TestCheckRepliesOfLeafnodes(t *testing.T) {
	hub := harness.Start(t, fmt.Sprintf(leafRepliesConf, t.TempDir()))
	service := harness.Client(t, hub, password("owner"))
	service.Sub("api.>", "1")
	n := 0
	// passes reports whether a message with that reply gets to the service.
	passes := func(t *testing.T, raw *harness.Raw, reply, format string) bool {
		t.Helper()
		n++
		subject := fmt.Sprintf("api.%d", n)
		raw.Send(format, subject, reply)
		untilPong(t, raw)
		raw.Send(strings.TrimSuffix(format, "%s 0\r\n\r\n")+"0\r\n\r\n", subject+".end")
		untilPong(t, raw)
		for got := false; ; {
			switch m := service.Msg(); m.Subject {
			case subject:
				// A gateway's wrapping is taken off on the way to a client.
				if !strings.HasSuffix(reply, m.Reply) {
					t.Errorf("the service got the reply %q", m.Reply)
				}
				got = true
			case subject + ".end":
				return got
			}
		}
	}
	const lmsg, pub = "LMSG %s %s 0\r\n\r\n", "PUB %s %s 0\r\n\r\n"
	for _, user := range []string{"site", "acker", "admin"} {
		leaf, client := rawLeaf(t, hub, user), harness.Client(t, hub, password(user))
		for _, test := range forgedReplies {
			want := map[string]bool{"site": test.site, "acker": test.acker, "admin": test.admin}[user]
			t.Run(user+", leafnode, "+test.name, func(t *testing.T) {
				if got := passes(t, leaf, test.reply, lmsg); got != want {
					t.Errorf("the message with reply %q goes through: %t, expected %t", test.reply, got, want)
				}
			})
			t.Run(user+", client, "+test.name, func(t *testing.T) {
				if passes(t, client, test.reply, pub) {
					t.Errorf("the message with reply %q goes through", test.reply)
				}
			})
		}
		for name, reply := range honestReplies {
			t.Run(user+", leafnode, "+name, func(t *testing.T) {
				if !passes(t, leaf, reply, lmsg) {
					t.Errorf("the message with reply %q is refused", reply)
				}
			})
		}
		for name, reply := range onlyWithout {
			if user == "admin" {
				continue
			}
			if user == "acker" && strings.Contains(reply, "$JS.ACK.") {
				continue
			}
			t.Run(user+", leafnode, "+name, func(t *testing.T) {
				if passes(t, leaf, reply, lmsg) {
					t.Errorf("the message with reply %q goes through", reply)
				}
			})
		}
	}
}

// repliesThrough are those of the replies with which a message of the leafnode gets to the service.
func repliesThrough(t *testing.T, leaf, service *harness.Raw, replies ...string) (through []string) {
	t.Helper()
	for _, reply := range replies {
		leaf.Send("LMSG api.x %s 0\r\n\r\n", reply)
		untilPong(t, leaf)
		leaf.Send("LMSG api.end 0\r\n\r\n")
		for service.Msg().Subject != "api.end" {
			through = append(through, reply)
		}
	}
	return through
}

// A list of denied subjects counts for a reply that is wrapped as by a gateway, too: the service's
// answer goes to what is inside.
func TestCheckRepliesOfDenyLists(t *testing.T) {
	hub := harness.Start(t, fmt.Sprintf(leafRepliesConf, t.TempDir()))
	service := harness.Client(t, hub, password("owner"))
	service.Sub("api.>", "1")
	for _, user := range []string{"deny", "both"} {
		leaf := rawLeaf(t, hub, user)
		if got := repliesThrough(t, leaf, service,
			"admin.do", "_GR_.AAAAAA.BBBBBB.admin.do", "$GR.AAAA.admin.do",
			"_GR_.AAAAAA.BBBBBB._GR_.AAAAAA.BBBBBB.admin.do",
			"_INBOX.victim.1", "_GR_.AAAAAA.BBBBBB._INBOX.victim.1",
			"$JS.API.STREAM.DELETE.O", "_GR_.AAAAAA.BBBBBB.$JS.API.STREAM.DELETE.O",
		); len(got) != 0 {
			t.Errorf("%s: messages with the replies %q go through", user, got)
		}
		if got := repliesThrough(t, leaf, service, "_INBOX.own.1", "_GR_.AAAAAA.BBBBBB._INBOX.own.1"); len(got) != 2 {
			t.Errorf("%s: of messages with its own inbox only those with %q go through", user, got)
		}
	}
}

// What a leafnode is depends on which side made the connection, not on what it says: one that calls itself the hub is judged as
// any other.
func TestCheckRepliesOfALeafnodeThatSaysItIsTheHub(t *testing.T) {
	hub := harness.Start(t, fmt.Sprintf(leafRepliesConf, t.TempDir()))
	service := harness.Client(t, hub, password("owner"))
	service.Sub("api.>", "1")
	conn, err := net.Dial("tcp", hub.Leaf(t))
	if err != nil {
		t.Fatal(err)
	}
	leaf := harness.NewRaw(t, conn)
	leaf.Send(`CONNECT {"user":"site","pass":"site","name":"x","server_id":"x","protocol":1,"headers":true,"is_hub":true}` + "\r\n")
	untilPong(t, leaf)
	untilPong(t, leaf)
	if got := repliesThrough(t, leaf, service, "$JS.API.STREAM.DELETE.ORDERS", "_INBOX.victim.1"); len(got) != 0 {
		t.Errorf("messages with the replies %q go through", got)
	}
}

// The whole attack: a leafnode that may call a service makes the service's answer delete a stream.
func TestLeafnodeReplyDeletesNoStream(t *testing.T) {
	hub := harness.Start(t, fmt.Sprintf(leafRepliesConf, t.TempDir()))
	owner := hub.Connect(t, userInfo("owner"))
	js := newJetStream(t, owner)
	mustStream(t, js, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Storage: jetstream.MemoryStorage})
	answered := make(chan string, 10)
	if _, err := owner.Subscribe("api.>", func(m *nats.Msg) {
		if m.Reply != "" {
			_ = m.Respond(nil) // to whom is what this test is about
		}
		answered <- m.Subject
	}); err != nil {
		t.Fatal(err)
	}
	if err := owner.Flush(); err != nil {
		t.Fatal(err)
	}
	leaf := rawLeaf(t, hub, "site")
	leaf.Send("LMSG api.x $JS.API.STREAM.DELETE.ORDERS 2\r\n{}\r\n")
	leaf.Send("LMSG api.end 0\r\n\r\n")
	for subject := range answered {
		if subject == "api.end" {
			break
		}
	}
	if err := owner.Flush(); err != nil {
		t.Fatal(err)
	}
	// The server takes requests of the API in order, so this answer comes after a deletion.
	if _, err := js.Stream(t.Context(), "ORDERS"); err != nil {
		t.Fatalf("the stream after the attack: %v", err)
	}
	hub.WaitLog(t, "its answer would go to a subject that the connection may not subscribe to")
}

// Requests that go through a real leafnode, from a client behind it: its inbox is one that the
// leafnode's user may subscribe to, so the answer comes back.
func TestCheckRepliesLetsHonestLeafnodesThrough(t *testing.T) {
	for _, option := range []string{"check_replies: false", "check_replies: true"} {
		t.Run(option, func(t *testing.T) {
			conf := strings.Replace(leafRepliesConf, "check_replies: true", option, 1)
			hub := harness.Start(t, fmt.Sprintf(conf, t.TempDir()))
			answerAll(t, hub.Connect(t, userInfo("owner")), "api.>")
			spoke := harness.Start(t, fmt.Sprintf(`leafnodes { remotes: [{url: "nats://site:site@%s"}] }`, hub.Leaf(t)))
			nc := spoke.Connect(t, nats.CustomInboxPrefix("_INBOX.site"))
			// Until the spoke knows of the hub's interest, nobody answers.
			harness.Eventually(t, "interest at the spoke", func() bool {
				return strings.Contains(string(spoke.Get(t, "/leafz?subs=1")), "api.")
			})
			m, err := nc.Request("api.x", nil, harness.Timeout/10)
			if err != nil || string(m.Data) != "api.x" {
				t.Errorf("a request from behind the leafnode: %v; the hub's last words: %s", err, lastWords(hub))
			}
		})
	}
}

// answerAll answers each request with its subject.
func answerAll(t *testing.T, nc *nats.Conn, subject string) {
	t.Helper()
	if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
		if err := m.Respond([]byte(m.Subject)); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func lastWords(s *harness.Server) string {
	lines := strings.Split(strings.TrimSpace(s.Text()), "\n")
	return lines[len(lines)-1]
}
