package test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// framesPlace is a publisher and a reader without permission for the sealed header.
type framesPlace struct {
	from, to *harness.Server
	publish  string // the subject of the messages
	read     string // the subject to which the reader subscribes
}

var framesPlaces = map[string]func(t *testing.T) framesPlace{
	"one server": func(t *testing.T) framesPlace {
		s := harness.Start(t, sealedConf)
		return framesPlace{s, s, "t.x", "t.x"}
	},
	"push consumer": func(t *testing.T) framesPlace {
		s := sealedStream(t)
		js, err := s.Connect(t, userInfo("reader")).JetStream()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.AddConsumer("S", &nats.ConsumerConfig{Name: "frames", DeliverSubject: "d", DeliverPolicy: nats.DeliverNewPolicy, AckPolicy: nats.AckNonePolicy}); err != nil {
			t.Fatal(err)
		}
		return framesPlace{s, s, "js.x", "d"}
	},
	"route": func(t *testing.T) framesPlace {
		const cluster = `server_name: %s, cluster { name: C, listen: "127.0.0.1:-1" %s }`
		a := harness.Start(t, sealedConf+"\n"+fmt.Sprintf(cluster, "A", ""))
		b := harness.Start(t, sealedConf+"\n"+fmt.Sprintf(cluster, "B", fmt.Sprintf(`, routes: ["nats://%s"]`, a.Route(t))))
		return framesPlace{a, b, "t.x", "t.x"}
	},
	"gateway": func(t *testing.T) framesPlace {
		const gateway = `server_name: %[1]s, gateway { name: %[1]s, listen: "127.0.0.1:-1" %[2]s }`
		a := harness.Start(t, sealedConf+"\n"+fmt.Sprintf(gateway, "A", ""))
		b := harness.Start(t, sealedConf+"\n"+fmt.Sprintf(gateway, "B", fmt.Sprintf(`, gateways: [ {name: A, urls: ["nats://%s"]} ]`, a.Gateway(t))))
		return framesPlace{a, b, "t.x", "t.x"}
	},
	// The server with the reader cuts both the header block and the payload, since the other one seals nothing, or may
	// pass on what is sealed.
	"from a leafnode": func(t *testing.T) framesPlace {
		hub := harness.Start(t, sealedConf+"\nserver_name: H, "+framesListen(""))
		site := harness.Start(t, `server_name: L, `+framesRemote(t, hub)+`
			accounts { APP { users: [ {user: pub, password: pub, headers: {Session: "top-secret"}}, {user: trusted, password: trusted} ] } }`)
		return framesPlace{site, hub, "t.x", "t.x"}
	},
	"to a leafnode": func(t *testing.T) framesPlace {
		hub := harness.Start(t, sealedConf+"\nserver_name: H, "+framesListen(", header_permissions: {subscribe: {allow: [Session]}}"))
		return framesPlace{hub, harness.Start(t, sealedConf+"\nserver_name: L, "+framesRemote(t, hub)), "t.x", "t.x"}
	},
}

func framesListen(permissions string) string {
	return fmt.Sprintf(`leafnodes { listen: "127.0.0.1:-1", authorization { users: [ {user: site, password: site, account: APP %s} ] } }`, permissions)
}

func framesRemote(t *testing.T, hub *harness.Server) string {
	return fmt.Sprintf(`leafnodes { remotes: [ {url: "nats://site:site@%s", account: APP} ] }`, hub.Leaf(t))
}

// reader is a client without permission for the sealed header, whose subscription the publisher's server knows.
func (p framesPlace) reader(t *testing.T) *harness.Raw {
	t.Helper()
	r := harness.Client(t, p.to, password("reader"))
	r.Sub(p.read, "1")
	// The server tells of this subscription after that one.
	responder := p.to.Connect(t, userInfo("trusted"))
	if _, err := responder.Subscribe("known", func(m *nats.Msg) { m.Respond(nil) }); err != nil { //nolint:errcheck // waited for
		t.Fatal(err)
	}
	nc := p.from.Connect(t, userInfo("trusted"))
	harness.Eventually(t, "the subscription at the publisher's server", func() bool {
		_, err := nc.Request("known", nil, 1e9)
		return err == nil
	})
	return r
}

// answerWith is a payload as of the stored-message API, whose header block ends with lines.
func answerWith(lines ...string) string {
	hdrs := base64.StdEncoding.EncodeToString([]byte(block(lines...)))
	return fmt.Sprintf(`{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{"subject":"x","seq":1,"hdrs":%q}}`, hdrs)
}

// A server cuts sealed headers from a message's header block, and from a payload that is an answer of JetStream. How
// much is left of a payload depends on its content, so messages that are equally long with equal header blocks can become
// messages of different sizes. If the server sent a wrong size, the reader would take a part of a payload for the next message,
// with any subject and header that the publisher likes.
func TestSealedFrames(t *testing.T) {
	for name, start := range framesPlaces {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			reader, pub := p.reader(t), harness.Client(t, p.from, password("pub"))
			answer := answerWith("Session: "+strings.Repeat("x", 300), "B: 1")
			header := block("A: 1")
			pub.Hpub(p.publish, header, answer)
			left := reader.Msg().Payload
			if cut := p.from != p.to || p.publish != p.read; cut != (len(left) < len(answer)) || len(left) < 10 {
				t.Fatalf("%d of %d bytes are left of the answer, so that this test shows nothing", len(left), len(answer))
			}
			forged := "\r\nHMSG t.forged 1 25 30\r\nNATS/1.0\r\nUser: admin\r\n\r\nhello\r\n"
			if len(left) == len(answer) {
				forged = ""
			}
			plain := strings.Repeat("a", len(left)) + forged
			plain += strings.Repeat("b", len(answer)-len(plain))
			broken := answer[:len(answer)-1] // is no JSON, and its end may be left out
			for _, order := range [][]string{{answer, plain}, {plain, answer}, {answer, answer, plain, plain, broken, plain[1:], plain}} {
				var all []string
				for range 20 {
					all = append(all, order...)
				}
				var sent strings.Builder
				for _, payload := range all {
					fmt.Fprintf(&sent, "HPUB %s %d %d\r\n%s%s\r\n", p.publish, len(header), len(header)+len(payload), header, payload)
				}
				pub.Send("%s", sent.String())
				for i, payload := range all {
					m, want := reader.Msg(), payload
					switch payload {
					case broken:
						continue
					case answer:
						want = left
					}
					if m.Payload != want || m.Header != header || m.Subject != p.publish {
						t.Fatalf("message %d came on %s with %d bytes of header and %d of payload, want %s, %d and %d",
							i, m.Subject, len(m.Header), len(m.Payload), p.publish, len(header), len(want))
					}
				}
			}
		})
	}
}

// sealed_lines has what was withheld also of the last messages of a connection, however it ends.
func TestSealedLinesOfTheLastMessages(t *testing.T) {
	const n = 10
	messages := strings.Repeat("PUB t.x 1\r\nx\r\n", n)
	s := harness.Start(t, sealedConf+fmt.Sprintf(`
		server_name: M
		jetstream { store_dir: %q }
		mqtt { listen: "127.0.0.1:-1" }
		websocket { listen: "127.0.0.1:-1", no_tls: true }`, t.TempDir()))
	reader := subscriber(t, s, password("reader"))
	for _, end := range []struct {
		name string
		want float64
		do   func(t *testing.T)
	}{
		{"a PING", n, func(t *testing.T) { harness.Client(t, s, password("pub")).Send("%sPING\r\n", messages) }},
		{"an unknown operation", n, func(t *testing.T) { harness.Client(t, s, password("pub")).Send("%sGARBAGE\r\n", messages) }},
		{"a message that is too large", n, func(t *testing.T) { harness.Client(t, s, password("pub")).Send("%sPUB t.x 99999999\r\n", messages) }},
		{"an end of the connection", n, func(t *testing.T) {
			c := harness.Client(t, s, password("pub"))
			c.Send("%s", messages)
			c.Close()
		}},
		{"a websocket's close frame", n, func(t *testing.T) {
			const connect, binaryFrame, closeFrame, normal = `CONNECT {"user":"pub","pass":"pub"}` + "\r\n", 2, 8, "\x03\xe8"
			if _, err := io.WriteString(openWebsocket(t, s), websocketFrame(binaryFrame, connect+messages)+websocketFrame(closeFrame, normal)); err != nil {
				t.Fatal(err)
			}
		}},
		{"the will of a device", 1, func(t *testing.T) {
			_, conn := device(t, s, "pub", func(o *mqtt.ClientOptions) { o.SetWill("t/x", "gone", 0, false) })
			conn.Close()
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			before := varzHeaders(t, s)["sealed_lines"]
			end.do(t)
			for range int(end.want) {
				reader.Msg()
			}
			harness.Eventually(t, "the lines to be counted", func() bool { return varzHeaders(t, s)["sealed_lines"] == before+end.want })
		})
	}
}

// openWebsocket opens a websocket to s, on which the test writes frames.
func openWebsocket(t *testing.T, s *harness.Server) (conn net.Conn) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		var err error
		conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return conn, err
	}}
	ctx, cancel := context.WithTimeout(t.Context(), harness.Timeout)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+s.Websocket(t), &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() }) //nolint:errcheck // is closed
	return conn
}

// websocketFrame is a client's frame of less than 64 KiB, masked with zeros (RFC 6455, section 5.2).
func websocketFrame(opcode byte, payload string) string {
	const final, masked, twoBytes = 0x80, 0x80, 126
	size := []byte{masked | byte(len(payload))}
	if len(payload) >= twoBytes {
		size = binary.BigEndian.AppendUint16([]byte{masked | twoBytes}, uint16(len(payload)))
	}
	return string([]byte{final | opcode}) + string(size) + "\x00\x00\x00\x00" + payload
}
