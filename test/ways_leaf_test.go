package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// hubAndSpoke are two servers. The spoke's leafnode connection logs in as pub, which is stamped. The spoke's own clients have
// no claim.
func hubAndSpoke(t *testing.T, extra string) (hub, spoke *harness.Server) {
	hub = harness.Start(t, waysConf+"server_name: hub\nleafnodes { listen: \"127.0.0.1:-1\""+extra+" }")
	spoke = harness.Start(t, fmt.Sprintf(`
		server_name: spoke
		max_payload: 2MB
		max_pending: 64MB
		leafnodes { remotes: [ { url: "nats://pub:pub@%s" } ]%s }`, hub.Leaf(t), extra))
	harness.Eventually(t, "the leafnode connection", func() bool { return len(spoke.Leafz(t).Leafs) == 1 })
	return hub, spoke
}

// reach waits until a message of c reaches sub, and drops all messages that sub has got.
func reach(t *testing.T, c *nats.Conn, sub *nats.Subscription) {
	t.Helper()
	harness.Eventually(t, "interest at the other server", func() bool {
		if err := c.Publish("t.probe", nil); err != nil {
			t.Fatal(err)
		}
		_, err := sub.NextMsg(50e6)
		return err == nil
	})
	harness.Eventually(t, "the probes to be over", func() bool {
		_, err := sub.NextMsg(100e6)
		return err != nil
	})
}

// Messages over a leafnode connection are stamped at the hub, with and without compression.
func TestLeafnodeConnection(t *testing.T) {
	for name, extra := range map[string]string{"plain": "", "compressed": ", compression: s2_best"} {
		t.Run(name, func(t *testing.T) {
			hub, spoke := hubAndSpoke(t, extra)
			atHub, atSpoke := subscribed(t, hub, userInfo("sub")), subscribed(t, spoke)
			pub := spoke.Connect(t)
			reach(t, pub, atHub)
			drain(t, atSpoke)
			publishAndExpect(t, pub, atHub)
			// The spoke's own subscribers get the message as it was sent.
			m, err := atSpoke.NextMsg(harness.Timeout)
			if err != nil || len(m.Header) != 0 {
				t.Errorf("at the spoke: headers %v, error %v", m.Header, err)
			}
		})
	}
}

// Messages from the hub to the spoke are not stamped.
func TestTowardsTheLeafnode(t *testing.T) {
	hub, spoke := hubAndSpoke(t, "")
	atSpoke := subscribed(t, spoke)
	pub := hub.Connect(t, userInfo("sub"))
	reach(t, pub, atSpoke)
	if err := pub.PublishMsg(&nats.Msg{Subject: "t.x", Header: nats.Header{"Session": {"mine"}}}); err != nil {
		t.Fatal(err)
	}
	m, err := atSpoke.NextMsg(harness.Timeout)
	if err != nil || fmt.Sprint(m.Header) != "map[Session:[mine]]" {
		t.Errorf("expected the publisher's own header and no stamp; found %v, error %v", m.Header, err)
	}
}

// If a message is too large with the stamp, it is dropped. Upstream would close the connection, which would cut off everybody
// behind it.
func TestLargeMessageOverLeafnode(t *testing.T) {
	hub, spoke := hubAndSpoke(t, "")
	atHub := subscribed(t, hub, userInfo("sub"))
	pub := spoke.Connect(t)
	reach(t, pub, atHub)
	if err := pub.Publish("t.large", []byte(strings.Repeat("p", 2<<20))); err != nil {
		t.Fatal(err)
	}
	hub.WaitLog(t, `Publish Refused - Subject "t.large": maximum payload exceeded with the added headers`)
	if err := pub.Publish("t.after", nil); err != nil {
		t.Fatal(err)
	}
	m, err := atHub.NextMsg(harness.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != "t.after" || hub.Leafz(t).Leafs[0].ID == 0 {
		t.Errorf("expected the next message, over the same leafnode connection; got %s", m.Subject)
	}
	expectHeaders(t, m, false)
}

func subscribed(t *testing.T, s *harness.Server, opts ...nats.Option) *nats.Subscription {
	t.Helper()
	nc := s.Connect(t, opts...)
	sub, err := nc.SubscribeSync("t.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return sub
}

func drain(t *testing.T, sub *nats.Subscription) {
	t.Helper()
	for {
		if _, err := sub.NextMsg(100e6); err != nil {
			return
		}
	}
}
