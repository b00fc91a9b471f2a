package callout

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// A server that has reached its max_connections accepts no probe either. That is not a fault of the
// handler or of its configuration, so it has an error of its own.

// ErrServerFull says that nobody can connect to the server.
var ErrServerFull = errors.New("the server has as many connections as its max_connections allows, and takes no others: raise it, or see who is connected")

// isFull reports whether a probe was refused because the server is full.
func isFull(err error) bool {
	return errors.Is(err, nats.ErrMaxConnectionsExceeded) || err != nil && strings.Contains(strings.ToLower(err.Error()), serverFull)
}

// isFullAccount reports whether a probe was authenticated but its account is full.
func isFullAccount(err error) bool {
	return err != nil && strings.Contains(strings.ToLower(err.Error()), nats.MAX_ACCOUNT_CONNECTIONS_ERR)
}

const serverFull = nats.MAX_CONNECTIONS_ERR

// fullDialer notices that a server reports that it is full. The server reports it and closes the
// connection, and a client that is about to send its CONNECT only learns that it cannot.
type fullDialer struct {
	dialer *dialer
	full   atomic.Bool
}

// Dial implements nats.CustomDialer.
func (d *fullDialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.dialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return &fullConn{Conn: c, dialer: d}, nil
}

// fullConn is read by one goroutine at a time.
type fullConn struct {
	net.Conn
	dialer *fullDialer
	end    []byte // the end of what was read so far
}

// Read implements net.Conn.
func (c *fullConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.look(p[:n])
	return n, err
}

// Write implements net.Conn. If the server has closed the connection, what it sent before is read
// first.
func (c *fullConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		rest := make([]byte, 1024)
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // if that fails, the reason stays unknown
		got, _ := c.Conn.Read(rest)
		c.look(rest[:got])
	}
	return n, err
}

func (c *fullConn) look(p []byte) {
	c.end = append(c.end, p...)
	if bytes.Contains(bytes.ToLower(c.end), []byte(serverFull)) {
		c.dialer.full.Store(true)
	}
	if keep := len(serverFull); len(c.end) > keep {
		c.end = append(c.end[:0], c.end[len(c.end)-keep:]...)
	}
}
