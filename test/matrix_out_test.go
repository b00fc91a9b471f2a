package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// reader returns how it saw the message of a way in, or nil if the message has not arrived.
type reader func(t *testing.T, w *wayIn) *sighting

// wayOut is a way in which messages are read.
type wayOut struct {
	id, name string
	// open starts to read as trusted, which has permission for sealed headers, or as reader, which has not.
	open func(t *testing.T, m *matrix, user string) reader
	// core says that readers get messages without asking for them, so that the test can wait until they do.
	core bool
	// payloadOnly says that the protocol delivers no headers.
	payloadOnly bool
	// elsewhere asks for a stored message to be sent to a subject, with the permissions of limited. nil: a
	// reader of this way does not give a subject.
	elsewhere func(t *testing.T, m *matrix, target string)
}

// waysOut are the rows of the second table of docs/security.md. To add a way, add an entry.
var waysOut = []*wayOut{
	{id: "core", name: "subscription", core: true, open: at(func(m *matrix) *harness.Server { return m.a1 }, "", "")},
	{id: "queue", name: "queue group", core: true, open: at(func(m *matrix) *harness.Server { return m.a1 }, "", "queue")},
	{id: "websocket", name: "websocket", core: true, open: subscribedBy("", "", overWebsocket(false))},
	{id: "inprocess", name: "in-process, over a route", core: true, open: subscribedBy("", "", overProcess)},
	{id: "route", name: "route", core: true, open: at(func(m *matrix) *harness.Server { return m.a2 }, "", "")},
	{id: "gateway", name: "gateway", core: true, open: at(func(m *matrix) *harness.Server { return m.b }, "", "")},
	{id: "leaf", name: "leafnode that connects to the server", core: true, open: at(func(m *matrix) *harness.Server { return m.spoke }, "", "")},
	{id: "remote", name: "leafnode that the server connects to", core: true, open: at(func(m *matrix) *harness.Server { return m.hub }, "", "")},
	{id: "import", name: "stream import into another account", core: true, open: subscribedBy("from.", "", func(t *testing.T, m *matrix, user string) *nats.Conn { return m.conn(t, m.a2, "other_"+user) })},
	{id: "mqtt0", name: "MQTT, QoS 0", core: true, payloadOnly: true, open: byDevice(0)},
	{id: "mqtt1", name: "MQTT, QoS 1", core: true, payloadOnly: true, open: byDevice(1)},
	{id: "mqtt retained", name: "MQTT, retained", payloadOnly: true, open: lateDevice},
	{id: "push", name: "push consumer", open: pushedAll("S"), elsewhere: creating("STORED")},
	{id: "pull", name: "pull consumer", open: pulledAll, elsewhere: pulling},
	{id: "ordered", name: "ordered consumer", open: orderedAll, elsewhere: creating("STORED")},
	{id: "direct", name: "direct get", open: directly("S"), elsewhere: asking("$JS.API.DIRECT.GET.STORED.stored.a", "")},
	{id: "batch", name: "batched direct get", open: batched, elsewhere: asking("$JS.API.DIRECT.GET.STORED", `{"multi_last":["stored.a"],"batch":2}`)},
	{id: "get", name: "stored-message API", open: byAPI, elsewhere: asking("$JS.API.STREAM.MSG.GET.STORED", `{"last_by_subj":"stored.a"}`)},
	{id: "get core", name: "stored-message API, answered to a subscriber", open: answeredTo(func(t *testing.T, m *matrix, user string, s *sightings) {
		subscribeJSON(t, m.conn(t, m.a2, user), s)
	})},
	{id: "get gateway", name: "stored-message API, answered over a gateway", open: answeredTo(func(t *testing.T, m *matrix, user string, s *sightings) {
		subscribeJSON(t, m.conn(t, m.b, user), s)
	})},
	{id: "get leaf", name: "stored-message API, answered to a leafnode", open: answeredTo(func(t *testing.T, m *matrix, user string, s *sightings) {
		subscribeJSON(t, m.conn(t, m.spoke, user), s)
	})},
	{id: "get mqtt0", name: "stored-message API, answered to MQTT, QoS 0", open: answeredTo(jsonDevice(0))},
	{id: "get mqtt1", name: "stored-message API, answered to MQTT, QoS 1", open: answeredTo(jsonDevice(1))},
	{id: "kv", name: "key-value watch", open: pushedAll("KV_B"), elsewhere: creating("KV_B")},
	{id: "mirror", name: "mirror", open: directly("M")},
	{id: "source", name: "source", open: directly("SOURCED")},
	{id: "republish", name: "republished", core: true, open: func(t *testing.T, m *matrix, user string) reader {
		s := newSightings()
		s.subscribe(t, m.conn(t, m.a2, user), "", "again.>")
		return s.read
	}},
}

// everywhere has the subjects of all messages.
var everywhere = []string{"m.>", "spBv1//0.>", "$sparkplug.certificates.>", "$MQTT.rmsgs.>"}

func (s *sightings) read(_ *testing.T, w *wayIn) *sighting {
	limit := harness.Timeout / 12
	if w.publish == nil && w.with == "" {
		limit = 20 * time.Millisecond // it is a probe, which is sent again
	}
	return s.within(limit, seenAs(w.subjectOf(w.token()), w.token()))
}

// token returns the payload of the message of a way, which is also the end of its subject.
func (w *wayIn) token() string {
	if w.with != "" {
		return wayInOf(w.with).token()
	}
	return strings.ReplaceAll(w.id, " ", "-")
}

func at(server func(*matrix) *harness.Server, prefix, queue string) func(*testing.T, *matrix, string) reader {
	return subscribedBy(prefix, queue, func(t *testing.T, m *matrix, user string) *nats.Conn { return m.conn(t, server(m), user) })
}

func subscribedBy(prefix, queue string, dial func(*testing.T, *matrix, string) *nats.Conn) func(*testing.T, *matrix, string) reader {
	return func(t *testing.T, m *matrix, user string) reader {
		s := newSightings()
		group := queue
		if queue != "" {
			group += user
		}
		for _, subject := range everywhere {
			s.subscribe(t, dial(t, m, user), group, prefix+subject)
		}
		return s.read
	}
}

var topics = []string{"m/#", "spBv1.0/#", "$sparkplug/certificates/#"}

func byDevice(qos byte) func(*testing.T, *matrix, string) reader {
	return func(t *testing.T, m *matrix, user string) reader {
		s := newSightings()
		c, _ := device(t, m.a1, user, ownClientID(m))
		for _, filter := range topics {
			wait(t, c.Subscribe(filter, qos, func(_ mqtt.Client, msg mqtt.Message) { s.payload(msg) }))
		}
		return s.read
	}
}

func ownClientID(m *matrix) func(*mqtt.ClientOptions) {
	return func(o *mqtt.ClientOptions) { o.SetClientID(m.unique()) }
}

func (s *sightings) payload(msg mqtt.Message) {
	s.put(seenAs(msg.Topic(), string(msg.Payload())), &sighting{text: string(msg.Payload())})
}

// lateDevice subscribes after all messages were published.
func lateDevice(t *testing.T, m *matrix, user string) reader {
	s := newSightings()
	var once sync.Once
	return func(t *testing.T, w *wayIn) *sighting {
		once.Do(func() {
			c, _ := device(t, m.a1, user, ownClientID(m))
			for _, filter := range topics {
				wait(t, c.Subscribe(filter, 0, func(_ mqtt.Client, msg mqtt.Message) {
					if msg.Retained() {
						s.payload(msg)
					}
				}))
			}
		})
		return s.read(t, w)
	}
}

func pushedAll(stream string) func(*testing.T, *matrix, string) reader {
	return func(t *testing.T, m *matrix, user string) reader {
		s := newSightings()
		nc := m.conn(t, m.a2, user)
		inbox := nats.NewInbox()
		s.subscribe(t, nc, "", inbox)
		if answer := request(t, nc, "$JS.API.CONSUMER.CREATE."+stream, consumer(stream, "", inbox)); strings.Contains(string(answer.Data), `"error"`) {
			t.Fatalf("cannot create a push consumer of %s: %s", stream, answer.Data)
		}
		return s.read
	}
}

func consume(t *testing.T, s *sightings, c jetstream.Consumer) reader {
	t.Helper()
	running, err := c.Consume(func(msg jetstream.Msg) {
		s.add(msg.Subject(), &nats.Msg{Header: msg.Headers(), Data: msg.Data()})
		_ = msg.Ack() // an ordered consumer needs none
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.Stop)
	return s.read
}

func pulledAll(t *testing.T, m *matrix, user string) reader {
	js := newJetStream(t, m.conn(t, m.a2, user))
	return consume(t, newSightings(), answered(t, "a pull consumer", func() (jetstream.Consumer, error) {
		return js.CreateConsumer(t.Context(), "S", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	}))
}

func orderedAll(t *testing.T, m *matrix, user string) reader {
	js := newJetStream(t, m.conn(t, m.a2, user))
	return consume(t, newSightings(), answered(t, "an ordered consumer", func() (jetstream.Consumer, error) {
		return js.OrderedConsumer(t.Context(), "S", jetstream.OrderedConsumerConfig{})
	}))
}

// fetched returns the message in the answer to a request.
func fetched(fetch func(t *testing.T, nc *nats.Conn, subject string) *nats.Msg) func(*testing.T, *matrix, string) reader {
	return func(t *testing.T, m *matrix, user string) reader {
		nc := m.conn(t, m.a2, user)
		return func(t *testing.T, w *wayIn) *sighting {
			msg := fetch(t, nc, w.subjectOf(w.token()))
			if string(msg.Data) != w.token() {
				return nil
			}
			return &sighting{msg.Header, fmt.Sprint(msg.Header) + string(msg.Data)}
		}
	}
}

func directly(stream string) func(*testing.T, *matrix, string) reader {
	return fetched(func(t *testing.T, nc *nats.Conn, subject string) *nats.Msg {
		return direct(t, nc, "$JS.API.DIRECT.GET."+stream+"."+subject, "")
	})
}

var batched = fetched(func(t *testing.T, nc *nats.Conn, subject string) *nats.Msg {
	return direct(t, nc, "$JS.API.DIRECT.GET.S", fmt.Sprintf(`{"multi_last":[%q],"batch":2}`, subject))
})

var byAPI = fetched(func(t *testing.T, nc *nats.Conn, subject string) *nats.Msg {
	return storedMsg(t, request(t, nc, "$JS.API.STREAM.MSG.GET.S", lastBy(subject)))
})

func lastBy(subject string) string { return fmt.Sprintf(`{"last_by_subj":%q}`, subject) }

// answeredTo makes the stored-message API answer to the subscribers of ans.>.
func answeredTo(subscribe func(*testing.T, *matrix, string, *sightings)) func(*testing.T, *matrix, string) reader {
	return func(t *testing.T, m *matrix, user string) reader {
		s := newSightings()
		subscribe(t, m, user, s)
		asker := m.conn(t, m.a1, "trusted")
		return func(t *testing.T, w *wayIn) (seen *sighting) {
			// It cannot be known when the requester's server knows of the subscription.
			harness.Eventually(t, "an answer", func() bool {
				publishRequest(t, asker, "$JS.API.STREAM.MSG.GET.S", "ans."+user, lastBy(w.subjectOf(w.token())))
				seen = s.within(100e6, seenAs(w.subjectOf(w.token()), w.token()))
				return seen != nil
			})
			return seen
		}
	}
}

// answer records an answer of the stored-message API.
func (s *sightings) answer(t *testing.T, data []byte) {
	var a struct{ Message struct{ Subject string } }
	if err := json.Unmarshal(data, &a); err != nil {
		t.Error(err)
		return
	}
	msg := storedMsg(t, &nats.Msg{Data: data})
	s.put(seenAs(a.Message.Subject, string(msg.Data)), &sighting{msg.Header, fmt.Sprint(msg.Header) + string(data)})
}

func subscribeJSON(t *testing.T, nc *nats.Conn, s *sightings) {
	t.Helper()
	if _, err := nc.Subscribe("ans.>", func(msg *nats.Msg) { s.answer(t, msg.Data) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func jsonDevice(qos byte) func(*testing.T, *matrix, string, *sightings) {
	return func(t *testing.T, m *matrix, user string, s *sightings) {
		c, _ := device(t, m.a1, user, ownClientID(m))
		wait(t, c.Subscribe("ans/#", qos, func(_ mqtt.Client, msg mqtt.Message) { s.answer(t, msg.Payload()) }))
	}
}

// asking publishes a request whose answer goes to the target.
func asking(subject, body string) func(*testing.T, *matrix, string) {
	return func(t *testing.T, m *matrix, target string) {
		publishRequest(t, m.conn(t, m.a1, "limited"), subject, target, body)
	}
}

// pulling does the same with a consumer that exists.
func pulling(t *testing.T, m *matrix, target string) {
	js := newJetStream(t, m.conn(t, m.a1, "trusted"))
	name := m.unique()
	if _, err := js.CreateConsumer(t.Context(), "STORED", jetstream.ConsumerConfig{Name: name, AckPolicy: jetstream.AckNonePolicy}); err != nil {
		t.Fatal(err)
	}
	publishRequest(t, m.conn(t, m.a1, "limited"), "$JS.API.CONSUMER.MSG.NEXT.STORED."+name, target, "1")
}

// creating requests a push consumer that delivers to the target.
func creating(stream string) func(*testing.T, *matrix, string) {
	return func(t *testing.T, m *matrix, target string) {
		publishRequest(t, m.conn(t, m.a1, "limited"), "$JS.API.CONSUMER.CREATE."+stream, nats.NewInbox(), consumer(stream, "", target))
	}
}

// consumer returns the body of a request for a push consumer.
func consumer(stream, more, target string) string {
	return fmt.Sprintf(`{"stream_name":%q,"config":{"deliver_subject":%q,"deliver_policy":"all","ack_policy":"none","mem_storage":true%s}}`, stream, target, more)
}
