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

// outgoing is a message that somebody publishes.
type outgoing struct {
	As             string // pub, or limited, who may subscribe to little
	Subject, Reply string
	Header         nats.Header
	Payload        string
}

// wayIn is a way in which messages are published.
type wayIn struct {
	id, name string
	// origin is where interest has to be known before it publishes.
	origin string
	// publish publishes a message. nil: the server makes this message of that of another way, with.
	publish func(t *testing.T, m *matrix, o outgoing)
	with    string
	// subject is where readers find the message with this token. nil: m and the token.
	subject func(token string) string
	// published are the subjects, beside that, which Stamp-Subject may name. One that ends with a full
	// stop is the beginning of such a subject.
	published func(token string) []string
	// account is the publisher's; APP if empty.
	account string
	// noHeaders: the protocol has no headers that a publisher could set.
	noHeaders bool
	// api is where the requests $JS.API.> of this way are published. nil: there.
	api func(subject string) string
}

func (w *wayIn) subjectOf(token string) string {
	if w.subject == nil {
		return "m." + token
	}
	return w.subject(token)
}

// waysIn are the rows of the first table of docs/security.md. A new way is an entry here.
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

// otherNames are those by which the account OTHER imports JetStream's API.
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

// responses is what a service publishes to that answers through an import.
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
	return m.kept(t, "tls "+user, func() (*nats.Conn, error) {
		conf := m.ca.Client(t, "client")
		return m.a1.TryConnect(t, userInfo(user), quiet, nats.Secure(conf))
	})
}

func overWebsocket(compressed bool) func(*testing.T, *matrix, string) *nats.Conn {
	return func(t *testing.T, m *matrix, user string) *nats.Conn {
		return m.kept(t, fmt.Sprint("websocket ", compressed, user), func() (*nats.Conn, error) {
			return nats.Connect("ws://"+m.a1.Websocket(t), userInfo(user), quiet, nats.Compression(compressed), nats.NoReconnect())
		})
	}
}

func overProcess(t *testing.T, m *matrix, user string) *nats.Conn {
	return m.kept(t, "process "+user, func() (*nats.Conn, error) {
		return nats.Connect("", nats.InProcessServer(m.a3), userInfo(user), quiet, nats.NoReconnect())
	})
}

// topic is the MQTT topic that stands for a subject.
func topic(subject string) string {
	return strings.NewReplacer("//", ".", ".", "/").Replace(subject)
}

func overMQTT(qos byte, retained bool) func(*testing.T, *matrix, outgoing) {
	return func(t *testing.T, m *matrix, o outgoing) {
		t.Helper()
		wait(t, m.device(t, o.As).Publish(topic(o.Subject), qos, retained, o.Payload))
	}
}

// byWill has a device's will published.
func byWill(t *testing.T, m *matrix, o outgoing) {
	t.Helper()
	_, conn := device(t, m.a1, o.As, func(c *mqtt.ClientOptions) {
		c.SetClientID("will"+m.unique()).SetWill(topic(o.Subject), o.Payload, 1, false)
	})
	conn.Close()
}

// answering has a service answer with the message. Whoever asks names its subject for the answer, which
// he has just subscribed to: that is how answers from another cluster come by a way of their own.
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
		// Until the asker's server knows of the service, requests are lost.
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
