package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// publisher is what messages are written to, as the bytes of its protocol.
type publisher interface {
	io.WriteCloser
	// drain returns when the server has processed the n messages that were written since.
	drain(n int) error
}

// client is a connection that sends bytes made beforehand, so that the bench's own
// work stays small beside the server's.
type client struct {
	net.Conn
	r *bufio.Reader

	// A subscriber's bytes, over the connection's life.
	got, want int
}

// connectOptions are the fields of CONNECT that the bench uses.
type connectOptions struct {
	Verbose  bool   `json:"verbose"`
	Pedantic bool   `json:"pedantic"`
	Headers  bool   `json:"headers"`
	Protocol int    `json:"protocol"`
	User     string `json:"user,omitempty"`
	Pass     string `json:"pass,omitempty"`
	Token    string `json:"auth_token,omitempty"`
	JWT      string `json:"jwt,omitempty"`
	Sig      string `json:"sig,omitempty"`
}

// dial connects; login, if any, fills in what the INFO's nonce is needed for.
func dial(addr string, o connectOptions, login func(nonce string, o *connectOptions) error) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return newClient(conn, o, login)
}

func newClient(conn net.Conn, o connectOptions, login func(nonce string, o *connectOptions) error) (*client, error) {
	c := &client{Conn: conn, r: bufio.NewReaderSize(conn, 4096)}
	if err := c.handshake(o, login); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

func (c *client) handshake(o connectOptions, login func(string, *connectOptions) error) error {
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		return err
	}
	var info struct{ Nonce string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "INFO ")), &info); err != nil {
		return fmt.Errorf("read INFO: %w", err)
	}
	o.Headers, o.Protocol = true, 1
	if login != nil {
		if err := login(info.Nonce, &o); err != nil {
			return err
		}
	}
	connect, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c, "CONNECT %s\r\n", connect); err != nil {
		return err
	}
	return c.flush()
}

func (c *client) drain(int) error { return c.flush() }

// flush returns when the server has processed everything that was sent.
func (c *client) flush() error {
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	for {
		line, err := c.r.ReadString('\n')
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(line, "PONG"):
			return nil
		case strings.HasPrefix(line, "-ERR"):
			return errors.New(strings.TrimSpace(line))
		}
	}
}

// subscribe makes c a reader, which counts bytes from then on.
func (c *client) subscribe() error {
	if _, err := fmt.Fprintf(c, "SUB %s 1\r\n", subject); err != nil {
		return err
	}
	return c.flush()
}

// receive drops incoming bytes until all that are wanted have come. A PING of the server counts as bytes of messages; the
// server sends one in the first seconds of a connection.
func (c *client) receive(buf []byte, check *checker) error {
	for c.got < c.want {
		n, err := c.Conn.Read(buf)
		if err != nil {
			return fmt.Errorf("subscriber has %d of %d bytes: %w", c.got, c.want, err)
		}
		if err := check.next(buf[:n]); err != nil {
			return err
		}
		c.got += n
	}
	if c.got-c.want > 2*len("PING\r\n") {
		return fmt.Errorf("subscriber got %d bytes instead of %d", c.got, c.want)
	}
	return nil
}

// checker compares a stream with repetitions of one message. A nil checker compares nothing.
type checker struct {
	message []byte
	at      int // in message
	skip    int // bytes of a PING that are still to come
}

func (k *checker) next(b []byte) error {
	if k == nil {
		return nil
	}
	for len(b) > 0 {
		if k.skip > 0 || k.at == 0 && b[0] == 'P' {
			if k.skip == 0 {
				k.skip = len("PING\r\n")
			}
			n := min(k.skip, len(b))
			k.skip, b = k.skip-n, b[n:]
			continue
		}
		n := min(len(b), len(k.message)-k.at)
		if !matches(b[:n], k.message[k.at:k.at+n]) {
			return fmt.Errorf("subscriber got another message than was expected, in the %d bytes from byte %d of it", n, k.at)
		}
		k.at, b = (k.at+n)%len(k.message), b[n:]
	}
	return nil
}

// anyByte stands in an expected message for a byte that varies.
const anyByte = 0

func matches(got, want []byte) bool {
	for i := range got {
		if got[i] != want[i] && want[i] != anyByte {
			return false
		}
	}
	return true
}
