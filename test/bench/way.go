package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// way is how messages get to the server. The subscribers of all ways are plain clients.
type way struct {
	dial func(p *process, user string) (publisher, error)
	// message is what is written for a message of size bytes.
	message func(size int, headers []header) []byte
	// delivered is what a subscriber gets of it; nil: the first message of a connection shows it.
	delivered func(size int, headers []header) []byte
	cost      int // of a message, against a plain client's
	// replies tells whether each message of a chunk has a reply subject of its own.
	replies bool
}

// chunk is what one write takes: n messages.
func (w way) chunk(size, n int, headers []header) []byte {
	one := w.message(size, headers)
	if !w.replies {
		return bytes.Repeat(one, n)
	}
	verb, subj, rest := cutProto(one)
	var b []byte
	for i := range n {
		b = append(fmt.Appendf(b, "%s %s _INBOX.bench.%08d ", verb, subj, i), rest...)
	}
	return b
}

// cutProto returns the verb and the subject of a message, and what follows these.
func cutProto(message []byte) (verb, subj, rest []byte) {
	verb, rest, _ = bytes.Cut(message, []byte(" "))
	subj, rest, _ = bytes.Cut(rest, []byte(" "))
	return verb, subj, rest
}

var plainWay = way{dial: dialPlain, message: message, delivered: delivered, cost: 1}

func dialPlain(p *process, user string) (publisher, error) {
	return dial(p.addr, connectOptions{User: user, Pass: password}, nil)
}

var websocketWay = way{dial: dialWebsocket, message: message, delivered: delivered, cost: 2}

// dialWebsocket writes each chunk as one frame.
func dialWebsocket(p *process, user string) (publisher, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, p.websocket, nil)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1)
	conn := websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
	return newClient(conn, connectOptions{User: user, Pass: password}, nil)
}

var mqttWay = way{dial: dialMQTT, message: mqttMessage, delivered: mqttDelivered, cost: 2}

// mqttClient speaks MQTT 3.1.1, by the numbers of its sections.
type mqttClient struct {
	net.Conn
	r *bufio.Reader
}

func dialMQTT(p *process, user string) (publisher, error) {
	addr, err := p.mqtt()
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &mqttClient{conn, bufio.NewReader(conn)}
	text := func(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }
	// 3.1: protocol level 4; user name, password and clean session; no keep-alive.
	body := append(text("MQTT"), 4, 0xC2, 0, 0)
	for _, s := range []string{fmt.Sprintf("bench%d", time.Now().UnixNano()), user, password} {
		body = append(body, text(s)...)
	}
	if err := c.exchange(mqttPacket(0x10, body), 0x20, 2); err != nil {
		_ = conn.Close() // it is of no use
		return nil, err
	}
	return c, nil
}

// exchange writes a packet, and reads the answer: its type, and the length of its body, which
// ends with 0.
func (c *mqttClient) exchange(packet []byte, kind, length byte) error {
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := c.Write(packet); err != nil {
		return err
	}
	for i := range int(length) + 2 {
		b, err := c.r.ReadByte()
		if err != nil {
			return err
		}
		if want := []byte{kind, length, 0, 0}[i]; b != want {
			return fmt.Errorf("byte %d of the answer to an MQTT packet is %#x, expected %#x", i, b, want)
		}
	}
	return nil
}

// drain sends PINGREQ (3.12).
func (c *mqttClient) drain(int) error { return c.exchange([]byte{0xC0, 0}, 0xD0, 0) }

// mqttPacket has the fixed header of 2.2, with the length in groups of seven bits.
func mqttPacket(kind byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{kind}, uint64(len(body))), body...)
}

// mqttMessage is a PUBLISH (3.3) with QoS 0. MQTT 3.1.1 has no headers.
func mqttMessage(size int, _ []header) []byte {
	topic := strings.ReplaceAll(subject, ".", "/")
	body := append(binary.BigEndian.AppendUint16(nil, uint16(len(topic))), topic...)
	return mqttPacket(0x30, append(body, strings.Repeat("x", size)...))
}

// mqttDelivered has the header that upstream puts first (mqttNewDeliverableMessage).
func mqttDelivered(size int, headers []header) []byte {
	block := []byte("NATS/1.0\r\nNmqtt-Pub:0\r\n\r\n")
	if len(headers) > 0 {
		block = append(block[:len(block)-2], linesOf(headers)...)
	}
	return encode("MSG "+subject+" 1", size, block)
}

// mqtt returns the address of the server's MQTT port, which only the log has.
func (p *process) mqtt() (string, error) {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return "", err
	}
	found := regexp.MustCompile(`Listening for MQTT clients on mqtt://(\S+)`).FindSubmatch(text)
	if found == nil {
		return "", errors.New("the server does not listen for MQTT clients")
	}
	return string(found[1]), nil
}
