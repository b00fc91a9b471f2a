package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// outgoing is a message to publish.
type outgoing struct {
	As             string // the user: pub, or limited, which may subscribe to little
	Subject, Reply string
	Header         nats.Header
	Payload        string
}

// wayIn is a way in which messages are published.
type wayIn struct {
	id, name string
	// origin is the server that must know of the readers before this way publishes.
	origin string
	// publish publishes a message. It is nil if the server itself makes this message from that of another way, with.
	publish func(t *testing.T, m *matrix, o outgoing)
	with    string
	// subject returns the subject on which readers get the message with this token. nil: m and the token.
	subject func(token string) string
	// published are further subjects that Stamp-Subject may have. One that ends with a full stop is the
	// beginning of a subject.
	published func(token string) []string
	// account is the account of the publisher; empty: APP.
	account string
	// noHeaders says that the protocol has no headers that a publisher could set.
	noHeaders bool
	// api returns the subject on which this way publishes a request $JS.API.>. nil: the same.
	api func(subject string) string
}

func (w *wayIn) subjectOf(token string) string {
	if w.subject == nil {
		return "m." + token
	}
	return w.subject(token)
}

// waysIn are the rows of the first table of docs/security.md. To add a way, add an entry.
var waysIn = []*wayIn{
	{id: "tcp", name: "NATS over TCP", origin: "a1", publish: over(func(t *testing.T, m *matrix, user string) *nats.Conn { return m.conn(t, m.a1, user) })},
	{id: "tls", name: "NATS over TLS", origin: "a1", publish: over(overTLS)},
	{id: "websocket", name: "websocket", origin: "a1", publish: over(overWebsocket(false))},
	{id: "compressed", name: "websocket, compressed", origin: "a1", publish: over(overWebsocket(true))},
	{id: "inprocess", name: "in-process", origin: "a3", publish: over(overProcess)},
	{id: "import", name: "service import", origin: "a1", account: "OTHER", api: otherNames,
		subject: func(token string) string { return "m.import." + token },
		publish: over(func(t *testing.T, m *matrix, user string) *nats.Conn { return m.conn(t, m.a1, "other_"+user) })},
	{id: "mqtt0", name: "MQTT, QoS 0", origin: "a1", publish: overMQTT(0, false), noHeaders: true},
	{id: "mqtt1", name: "MQTT, QoS 1", origin: "a1", publish: overMQTT(1, false), noHeaders: true},
	{id: "mqtt2", name: "MQTT, QoS 2", origin: "a1", publish: overMQTT(2, false), noHeaders: true},
	{id: "will", name: "MQTT, will", origin: "a1", publish: byWill, noHeaders: true},
	{id: "retained", name: "MQTT, retained", origin: "a1", publish: overMQTT(1, true), noHeaders: true},
	{id: "retained copy", name: "MQTT, retained, as it is stored", with: "retained", noHeaders: true,
		subject:   func(token string) string { return "$MQTT.rmsgs.m." + token },
		published: func(token string) []string { return []string{"m." + token} }},
	{id: "birth", name: "Sparkplug birth", origin: "a1", subject: birth, publish: overMQTT(0, false), noHeaders: true},
	{id: "birth certificate", name: "Sparkplug birth, its certificate", with: "birth", noHeaders: true,
		subject:   func(token string) string { return "$sparkplug.certificates." + birth(token) },
		published: func(token string) []string { return []string{birth(token)} }},
	{id: "birth certificate copy", name: "Sparkplug birth, its certificate as it is stored", with: "birth", noHeaders: true,
		subject:   func(token string) string { return "$MQTT.rmsgs.$sparkplug.certificates." + birth(token) },
		published: func(token string) []string { return []string{birth(token), "$sparkplug.certificates." + birth(token)} }},
	{id: "leaf", name: "leafnode that connects to the server", origin: "site", api: func(s string) string { return strings.Replace(s, "$JS.", "$JS.hub.", 1) }, publish: over(func(t *testing.T, m *matrix, user string) *nats.Conn { return m.conn(t, m.site, user) })},
	{id: "remote", name: "leafnode that the server connects to", origin: "outside", publish: over(func(t *testing.T, m *matrix, _ string) *nats.Conn { return m.conn(t, m.outside, "pub") })},
	{id: "reply", name: "service reply, through an import", origin: "a1", account: "SVC", published: responses,
		publish: answering(func(m *matrix) *harness.Server { return m.a1 }, "far.one.", "svc_")},
	{id: "far reply", name: "service reply, through an import, from another cluster", origin: "a1", account: "SVC", published: responses,
		publish: answering(func(m *matrix) *harness.Server { return m.b }, "far.two.", "svc_")},
	{id: "gateway reply", name: "service reply over a gateway", origin: "a1",
		publish: answering(func(m *matrix) *harness.Server { return m.b }, "ask.", "")},
}

// otherNames returns the subject under which the account OTHER imports a request of JetStream's API.
func otherNames(subject string) string {
	if subject == "$JS.API.CONSUMER.CREATE.STORED" {
		return "order.create"
	}
	return "APP.API." + strings.TrimPrefix(subject, "$JS.API.")
}

func wayInOf(id string) *wayIn {
	for _, w := range waysIn {
		if w.id == id {
			return w
		}
	}
	return nil
}

// birth is the subject of the topic spBv1.0/m/NBIRTH/token.
func birth(token string) string { return "spBv1//0.m.NBIRTH." + token }

// responses returns the beginning of the subjects to which a service answers an import.
func responses(string) []string { return []string{"_R_."} }

func over(dial func(t *testing.T, m *matrix, user string) *nats.Conn) func(*testing.T, *matrix, outgoing) {
	return func(t *testing.T, m *matrix, o outgoing) {
		t.Helper()
		nc := dial(t, m, o.As)
		err := nc.PublishMsg(&nats.Msg{Subject: o.Subject, Reply: o.Reply, Header: o.Header, Data: []byte(o.Payload)})
		if err == nil {
			err = nc.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func overTLS(t *testing.T, m *matrix, user string) *nats.Conn {
	return m.connectOnce(t, "tls "+user, func() (*nats.Conn, error) {
		conf := m.ca.Client(t, "client")
		return m.a1.TryConnect(t, userInfo(user), ignoreErrors, nats.Secure(conf))
	})
}

func overWebsocket(compressed bool) func(*testing.T, *matrix, string) *nats.Conn {
	return func(t *testing.T, m *matrix, user string) *nats.Conn {
		return m.connectOnce(t, fmt.Sprint("websocket ", compressed, user), func() (*nats.Conn, error) {
			return nats.Connect("ws://"+m.a1.Websocket(t), userInfo(user), ignoreErrors, nats.Compression(compressed), nats.NoReconnect())
		})
	}
}

func overProcess(t *testing.T, m *matrix, user string) *nats.Conn {
	return m.connectOnce(t, "process "+user, func() (*nats.Conn, error) {
		return nats.Connect("", nats.InProcessServer(m.a3), userInfo(user), ignoreErrors, nats.NoReconnect())
	})
}

// topic returns the MQTT topic for a subject.
func topic(subject string) string {
	return strings.NewReplacer("//", ".", ".", "/").Replace(subject)
}

func overMQTT(qos byte, retained bool) func(*testing.T, *matrix, outgoing) {
	return func(t *testing.T, m *matrix, o outgoing) {
		t.Helper()
		wait(t, m.device(t, o.As).Publish(topic(o.Subject), qos, retained, o.Payload))
	}
}

// byWill makes the server publish the will of a device.
func byWill(t *testing.T, m *matrix, o outgoing) {
	t.Helper()
	_, conn := device(t, m.a1, o.As, func(c *mqtt.ClientOptions) {
		c.SetClientID("will"+m.unique()).SetWill(topic(o.Subject), o.Payload, 1, false)
	})
	conn.Close()
}

// answering makes a service answer with the message. The requester gives the subject of the message as the reply
// subject, and has just subscribed to it: then answers from another cluster take a way of their own.
func answering(at func(*matrix) *harness.Server, subject, account string) func(*testing.T, *matrix, outgoing) {
	return func(t *testing.T, m *matrix, o outgoing) {
		t.Helper()
		service := m.conn(t, at(m), account+o.As)
		m.serve(t, at(m), account+o.As, subject+o.As, func(msg *nats.Msg) {
			if len(msg.Data) == 0 {
				_ = msg.Respond(nil)
				return
			}
			var o outgoing
			if err := json.Unmarshal(msg.Data, &o); err != nil {
				t.Error(err)
			}
			answer := &nats.Msg{Subject: msg.Reply, Reply: o.Reply, Header: o.Header, Data: []byte(o.Payload)}
			if err := service.PublishMsg(answer); err != nil {
				t.Error(err)
			}
		})
		body, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		nc := m.conn(t, m.a1, "trusted")
		// Requests are lost until the requester's server knows of the service.
		answered(t, subject+o.As, func() (*nats.Msg, error) { return nc.Request(subject+o.As, nil, time.Second) })
		sub, err := nc.SubscribeSync(o.Subject)
		if err == nil {
			err = nc.PublishRequest(subject+o.As, o.Subject, body)
		}
		if err == nil {
			err = nc.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sub.Unsubscribe() })
	}
}
