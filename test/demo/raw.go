package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// malformed sends a malformed header block, and a good message after it on the same connection.
func (c *client) malformed(ctx context.Context, cookie *http.Cookie) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c.report.say("client", "connects without a client library, to send what no library would")
	raw, err := dialRaw(ctx, c.websocket, upgradeHeader(c.origin, cookie), inboxPrefix(visitorName)+".raw")
	if err != nil {
		return err
	}
	defer raw.close()

	c.report.say("client", `publishes Color: red\nSession: forg…   (a line feed alone between them)`)
	fault, err := raw.ask(hiddenLine)
	if err != nil {
		return err
	}
	if fault == "" {
		return errors.New("it was not refused")
	}
	c.report.say("client", "is told   %s", fault)

	c.report.say("client", "publishes Color: green   (on the same connection)")
	if fault, err = raw.ask("NATS/1.0\r\nColor: green\r\n\r\n"); err != nil {
		return err
	}
	if fault != "" {
		return fmt.Errorf("the message after it was refused too: %s", fault)
	}
	// The service answers in order: had it got the first message, its answer
	// would come first.
	got, err := raw.next()
	c.show(got, err)
	if err == nil && (got.User != visitorName || strings.Join(got.Headers["Color"], " ") != "green") {
		err = fmt.Errorf("the service received %s", got)
	}
	return err
}

// rawConn speaks the NATS protocol by hand.
type rawConn struct {
	conn  net.Conn
	in    *bufio.Reader
	inbox string
	data  [][]byte // of the messages that came
}

// dialRaw connects, and subscribes to inbox.
func dialRaw(ctx context.Context, url string, header http.Header, inbox string) (*rawConn, error) {
	ws, response, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: header})
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("connect without a client library: %w", err)
	}
	r := &rawConn{conn: websocket.NetConn(ctx, ws, websocket.MessageBinary), inbox: inbox}
	r.in = bufio.NewReader(r.conn)
	if err := r.send(`CONNECT {"verbose":false,"pedantic":false,"headers":true,"protocol":1,"lang":"none","version":"0"}` +
		"\r\nSUB " + inbox + " 1\r\n"); err != nil {
		r.close()
		return nil, err
	}
	fault, err := r.ping()
	if err == nil && fault != "" {
		err = errors.New(fault)
	}
	if err != nil {
		r.close()
		return nil, fmt.Errorf("connect without a client library: %w", err)
	}
	return r, nil
}

func (r *rawConn) close() { _ = r.conn.Close() }

func (r *rawConn) send(text string) error {
	_ = r.conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(r.conn, text); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// ask publishes a request with that header block and no payload, and returns the
// server's complaint, empty when there is none.
func (r *rawConn) ask(block string) (fault string, err error) {
	if err := r.send(fmt.Sprintf("HPUB %s %s %d %d\r\n%s\r\n", serviceSubject, r.inbox, len(block), len(block), block)); err != nil {
		return "", err
	}
	return r.ping()
}

// ping waits until the server has read everything that was sent.
func (r *rawConn) ping() (fault string, err error) {
	if err := r.send("PING\r\n"); err != nil {
		return "", err
	}
	for {
		line, err := r.line()
		switch {
		case err != nil:
			return "", err
		case line == "PONG":
			return fault, nil
		case strings.HasPrefix(line, "-ERR"):
			fault = line
		}
	}
}

// next returns the first message that has not been read.
func (r *rawConn) next() (seen, error) {
	for len(r.data) == 0 {
		if _, err := r.line(); err != nil {
			return seen{}, err
		}
	}
	data := r.data[0]
	r.data = r.data[1:]
	return decodeSeen(data)
}

// line reads one line of the protocol, with the message that it announces.
func (r *rawConn) line() (string, error) {
	line, err := r.in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	words := strings.Fields(line)
	switch {
	case len(words) > 0 && words[0] == "HMSG":
		return "", errors.New("read: an answer with headers: is there a service?")
	case len(words) < 4 || words[0] != "MSG":
		return line, nil
	}
	size, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		return "", fmt.Errorf("read: size of a message: %w", err)
	}
	data := make([]byte, size+len("\r\n"))
	if _, err := io.ReadFull(r.in, data); err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	r.data = append(r.data, data[:size])
	return line, nil
}
