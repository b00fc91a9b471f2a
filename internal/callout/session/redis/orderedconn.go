package redis

import (
	"context"
	"errors"
	"time"

	"github.com/gomodule/redigo/redis"
)

// orderedConn is a connection that checks that each answer fits the command that it
// should be for. If it does not, the server or a proxy has sent an answer too many or
// too few, and later answers would be those for other sessions. Such a connection is
// not used again.
type orderedConn struct {
	redis.Conn
	dialed  time.Time    // when the connection was made
	bounded *boundedConn // the connection below, which counts the answers that arrive
	sent    []string     // commands whose answers have not been read
	read    int          // answers that were read
	err     error        // why the connection must not be used again; nil: it may be
}

// Err implements redis.Conn. The pool closes a connection for which it is not nil.
func (c *orderedConn) Err() error {
	if c.err != nil {
		return c.err
	}
	return c.Conn.Err()
}

// Send implements redis.Conn.
func (c *orderedConn) Send(command string, args ...any) error {
	c.sent = append(c.sent, command)
	return c.Conn.Send(command, args...)
}

// ReceiveContext implements redis.ConnWithContext.
func (c *orderedConn) ReceiveContext(ctx context.Context) (any, error) {
	reply, err := redis.ReceiveContext(c.Conn, ctx)
	if len(c.sent) == 0 {
		c.err = errAnswer
		return nil, c.err
	}
	command := c.sent[0]
	c.sent = c.sent[1:]
	return c.checked(command, reply, err)
}

// DoContext implements redis.ConnWithContext.
func (c *orderedConn) DoContext(ctx context.Context, command string, args ...any) (any, error) {
	reply, err := redis.DoContext(c.Conn, ctx, command, args...)
	return c.checked(command, reply, err)
}

// checked returns the answer to a command, or an error if the answer is of a wrong type
// or if another one that nobody asked for has arrived after it. An error of the server
// is a valid answer to any command.
func (c *orderedConn) checked(command string, reply any, err error) (any, error) {
	var answer redis.Error
	if err != nil && !errors.As(err, &answer) {
		return reply, err
	}
	c.read++
	if err == nil && !isAnswer(command, reply) || len(c.sent) == 0 && c.bounded.replies != c.read {
		c.err = errAnswer
		return nil, c.err
	}
	return reply, err
}

// isAnswer reports whether reply has a type that the command returns.
func isAnswer(command string, reply any) (ok bool) {
	switch command {
	case "PTTL":
		_, ok = reply.(int64)
	case "GET":
		_, ok = reply.([]byte)
		ok = ok || reply == nil
	case "HGETALL":
		_, ok = reply.([]any)
	case "PING":
		ok = reply == "PONG"
	}
	return ok
}
