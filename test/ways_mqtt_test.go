package test

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// device is an MQTT client of the Eclipse Paho library, and its connection.
func device(t *testing.T, s *harness.Server, user string, edit ...func(*mqtt.ClientOptions)) (mqtt.Client, net.Conn) {
	t.Helper()
	var conn net.Conn
	o := mqtt.NewClientOptions().AddBroker("tcp://" + s.MQTT(t)).SetClientID(user + t.Name()).
		SetUsername(user).SetPassword(user).SetAutoReconnect(false).SetProtocolVersion(4).
		SetCustomOpenConnectionFn(func(u *url.URL, _ mqtt.ClientOptions) (c net.Conn, err error) {
			conn, err = net.Dial("tcp", u.Host)
			return conn, err
		})
	for _, e := range edit {
		e(o)
	}
	c := mqtt.NewClient(o)
	wait(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(0) })
	return c, conn
}

func wait(t *testing.T, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(harness.Timeout) || token.Error() != nil {
		t.Fatalf("the MQTT request failed or got no answer: error %v", token.Error())
	}
}

func mqttServer(t *testing.T) *harness.Server {
	return harness.Start(t, waysConf+fmt.Sprintf(`
		server_name: M
		jetstream { store_dir: %q }
		mqtt { listen: "127.0.0.1:-1" }`, t.TempDir()))
}

// MQTT messages are stamped with each quality of service, retained or not.
func TestMQTTPublish(t *testing.T) {
	s := mqttServer(t)
	sub := subscribed(t, s, userInfo("sub"))
	got := make(chan mqtt.Message, 100)
	reader, _ := device(t, s, "sub")
	wait(t, reader.Subscribe("t/#", 2, func(_ mqtt.Client, m mqtt.Message) { got <- m }))
	pub, _ := device(t, s, "pub")
	for qos := range byte(3) {
		for _, retained := range []bool{false, true} {
			for _, size := range []int{0, 5, 5000, 100000} {
				payload := strings.Repeat("p", size)
				wait(t, pub.Publish("t/x", qos, retained, payload))
				m, err := sub.NextMsg(harness.Timeout)
				if err != nil {
					t.Fatal(err)
				}
				expectDevice(t, m, qos)
				if string(m.Data) != payload {
					t.Errorf("qos %d, retained %t: payload of %d bytes is not what was sent", qos, retained, size)
				}
				if m := <-got; string(m.Payload()) != payload {
					t.Errorf("qos %d, retained %t: a device got another payload of %d bytes", qos, retained, len(m.Payload()))
				}
			}
		}
	}
	// A retained message is delivered to later subscribers, with its payload alone.
	wait(t, pub.Publish("t/kept", 1, true, "kept"))
	late, _ := device(t, s, "sub", func(o *mqtt.ClientOptions) { o.SetClientID("late") })
	wait(t, late.Subscribe("t/kept", 1, func(_ mqtt.Client, m mqtt.Message) { got <- m }))
	harness.Eventually(t, "the retained message", func() bool {
		m := <-got
		return m.Retained() && string(m.Payload()) == "kept"
	})
}

// expectDevice checks the stamp beside the header that upstream makes for MQTT.
func expectDevice(t *testing.T, m *nats.Msg, qos byte) {
	t.Helper()
	want := nats.Header{"Nmqtt-Pub": {fmt.Sprint(qos)}, "Session": {"real"}, "Roles": {"x", "y"}}
	if fmt.Sprint(m.Header) != fmt.Sprint(want) {
		t.Errorf("the message of the device has the headers %v, want %v", m.Header, want)
	}
}

// The will is published when the connection is gone.
func TestMQTTWill(t *testing.T) {
	for qos := range byte(3) {
		t.Run(fmt.Sprintf("qos %d", qos), func(t *testing.T) {
			s := mqttServer(t)
			sub := subscribed(t, s, userInfo("sub"))
			_, conn := device(t, s, "pub", func(o *mqtt.ClientOptions) { o.SetWill("t/will", "gone", qos, qos == 1) })
			conn.Close()
			m, err := sub.NextMsg(harness.Timeout)
			if err != nil {
				t.Fatal(err)
			}
			expectDevice(t, m, qos)
			if string(m.Data) != "gone" {
				t.Error("the will is not what was said")
			}
		})
	}
}

// An MQTT server without JetStream uses its hub's, with header blocks that end with two blank lines. The hub adds headers to
// everything from leafnodes.
func TestMQTTOverAStampedLeafnode(t *testing.T) {
	hub := harness.Start(t, fmt.Sprintf(`
		server_name: hub
		headers { all: { "From": "leaf" } }
		jetstream { domain: HUB, store_dir: %q }
		leafnodes { listen: "127.0.0.1:-1" }`, t.TempDir()))
	spoke := harness.Start(t, fmt.Sprintf(`
		server_name: spoke
		mqtt { listen: "127.0.0.1:-1", js_domain: HUB }
		leafnodes { remotes: [ { url: "nats://%s" } ] }`, hub.Leaf(t)))
	harness.Eventually(t, "the leafnode connection", func() bool { return len(spoke.Leafz(t).Leafs) == 1 })
	// The spoke asks once for the streams of MQTT, and waits for five seconds.
	nc := spoke.Connect(t)
	harness.Eventually(t, "the hub's JetStream at the spoke", func() bool {
		_, err := nc.Request("$JS.HUB.API.INFO", nil, time.Second)
		return err == nil
	})
	got := make(chan mqtt.Message, 10)
	reader, _ := device(t, spoke, "reader")
	wait(t, reader.Subscribe("t/#", 1, func(_ mqtt.Client, m mqtt.Message) { got <- m }))
	pub, _ := device(t, spoke, "pub")
	wait(t, pub.Publish("t/x", 1, true, "payload"))
	select {
	case m := <-got:
		if string(m.Payload()) != "payload" {
			t.Errorf("expected the payload that was published; got %d bytes", len(m.Payload()))
		}
	case <-time.After(harness.Timeout):
		t.Error("the message has not come")
	}
}

// A reload judges retained messages again by the permissions of those who sent them, who may have none to publish.
func TestMQTTReloadWithARetainedMessage(t *testing.T) {
	conf := func(sealed string) string {
		return fmt.Sprintf(`
			server_name: M
			jetstream { store_dir: %q }
			mqtt { listen: "127.0.0.1:-1" }
			headers { sealed: [%s] }
			accounts { APP { jetstream: enabled, users: [ {user: pub, password: pub, permissions: {subscribe: {allow: [">"]}}} ] } }`, t.TempDir(), sealed)
	}
	first := conf("A")
	s := harness.Start(t, first)
	pub, _ := device(t, s, "pub")
	wait(t, pub.Publish("t/x", 1, true, "x"))
	s.Reload(t, strings.Replace(first, "[A]", "[A, B]", 1))
	got := make(chan mqtt.Message, 1)
	wait(t, pub.Subscribe("t/#", 1, func(_ mqtt.Client, m mqtt.Message) { got <- m }))
	select {
	case m := <-got:
		if !m.Retained() || string(m.Payload()) != "x" {
			t.Error("the retained message is another one")
		}
	case <-time.After(harness.Timeout):
		t.Error("the retained message does not come")
	}
}
