package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// A request to JetStream on the other side of a leafnode connection is judged where its client is connected, because the server
// on the other side knows only the leafnode's user. The stream is behind the hub's leafnode, or in the client's hub.
func TestRepliesOfAnotherDomain(t *testing.T) {
	const users = `users: [
		{user: owner, password: owner}
		{user: mallory, password: mallory, permissions: {publish: ["$JS.far.API.>", "api.>", "make"], subscribe: "_INBOX.mallory.>"}}
	]`
	for _, c := range []struct{ name, hub, spoke string }{
		{"the leafnode's", "", "jetstream { store_dir: %q, domain: far }"},
		{"the hub's", "jetstream { store_dir: %q, domain: far }", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := func(name, jetstream, more string) string {
				streams := ""
				if jetstream != "" {
					jetstream = fmt.Sprintf(jetstream, t.TempDir())
					streams = "jetstream: enabled,"
				}
				return fmt.Sprintf(`
					server_name: %s
					headers { check_replies: true }
					%s
					%s
					system_account: SYS
					accounts {
						SYS { users: [{user: sys, password: sys}] }
						APP { %s %s
							exports: [{service: "$JS.far.API.>"}]
							mappings: { "api.>": "$JS.far.API.>" }
						}
						OTHER {
							imports: [{service: {account: APP, subject: "$JS.far.API.CONSUMER.CREATE.S.push"}, to: "make"}]
							users: [{user: importer, password: importer, permissions: {publish: ["make"], subscribe: "_INBOX.mallory.>"}}]
						}
					}`, name, jetstream, more, streams, users)
			}
			hub := harness.Start(t, conf("hub", c.hub, `leafnodes { listen: "127.0.0.1:-1" }`))
			spoke := harness.Start(t, conf("spoke", c.spoke, fmt.Sprintf(`leafnodes { remotes: [{url: "nats://owner:owner@%s", account: APP}] }`, hub.Leaf(t))))
			near, far := hub, spoke
			if c.hub != "" {
				near, far = spoke, hub
			}
			owner := far.Connect(t, userInfo("owner"))
			js := newJetStream(t, owner)
			mustStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"t.>"}})
			if _, err := js.Publish(t.Context(), "t.x", []byte("delete everything")); err != nil {
				t.Fatal(err)
			}
			harness.Eventually(t, "the other domain", func() bool {
				_, err := near.Connect(t, userInfo("owner")).Request("$JS.far.API.STREAM.INFO.S", nil, nothingComes)
				return err == nil
			})
			admin := subscribedTo(t, near.Connect(t, userInfo("owner")), "admin.do")
			push := func(to string) string {
				return fmt.Sprintf(`{"stream_name":"S","config":{"name":"push","deliver_subject":%q,"ack_policy":"none"}}`, to)
			}
			for _, request := range []struct{ user, subject, body string }{
				{"mallory", "$JS.far.API.CONSUMER.CREATE.S.push", push("admin.do")},
				{"mallory", "$JS.far.API.CONSUMER.DURABLE.CREATE.S.push", push("admin.do")},
				{"mallory", "api.CONSUMER.CREATE.S.push", push("admin.do")},
				{"importer", "make", push("admin.do")},
				{"mallory", "$JS.far.API.STREAM.SNAPSHOT.S", `{"deliver_subject":"admin.do","chunk_size":1024}`},
				{"mallory", "$JS.far.API.CONSUMER.CREATE.S.push", `{"stream_name"`},
			} {
				raw := harness.Client(t, near, password(request.user))
				raw.Sub("_INBOX.mallory.>", "1")
				raw.Send("PUB %s _INBOX.mallory.1 %d\r\n%s\r\n", request.subject, len(request.body), request.body)
				if errs := strings.Join(untilPong(t, raw), "\n"); !strings.Contains(errs, "Permissions Violation for Publish to") {
					t.Errorf("a request to %s by %s was not refused: %s", request.subject, request.user, errs)
				}
			}
			if n := len(must(consumerNames(t, js, "S"))); n > 0 {
				t.Errorf("expected that no refused request created a consumer; found %d", n)
			}
			if m, err := admin.NextMsg(nothingComes); err == nil {
				t.Errorf("%q came to where mallory may not publish", m.Data)
			}
			// Mallory may ask JetStream to send messages to a subject to which she may subscribe.
			raw := harness.Client(t, near, password("mallory"))
			raw.Sub("_INBOX.mallory.>", "1")
			body := push("_INBOX.mallory.2")
			raw.Send("PUB $JS.far.API.CONSUMER.CREATE.S.push _INBOX.mallory.1 %d\r\n%s\r\n", len(body), body)
			if errs := untilPong(t, raw); len(errs) > 0 {
				t.Errorf("an honest request is refused: %v", errs)
			}
			harness.Eventually(t, "the consumer", func() bool { return len(must(consumerNames(t, js, "S"))) == 1 })
		})
	}
}

func consumerNames(t *testing.T, js jetstream.JetStream, stream string) (names []string, err error) {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		return nil, err
	}
	lister := s.ConsumerNames(t.Context())
	for name := range lister.Name() {
		names = append(names, name)
	}
	return names, lister.Err()
}
