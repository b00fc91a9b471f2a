package redis

import (
	"context"
	"errors"

	"github.com/gomodule/redigo/redis"
)

// inOrder is a connection that ends where an answer is not one to the command that is next. The server, or what speaks its
// protocol in between, has then sent one too many or too few, and all that follow would be those of other sessions: such a
// connection is not used again.
type inOrder struct {
	redis.Conn
	wire *bounded
	sent []string // commands whose answers are to come
	read int      // answers that were read
	err  error    // why it is not used any more
}

// Err implements redis.Conn. The pool closes a connection that has one.
func (c *inOrder) Err() error {
	if c.err != nil {
		return c.err
	}
	return c.Conn.Err()
}

// Send implements redis.Conn.
func (c *inOrder) Send(command string, args ...any) error {
	c.sent = append(c.sent, command)
	return c.Conn.Send(command, args...)
}

// ReceiveContext implements redis.ConnWithContext.
func (c *inOrder) ReceiveContext(ctx context.Context) (any, error) {
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
func (c *inOrder) DoContext(ctx context.Context, command string, args ...any) (any, error) {
	reply, err := redis.DoContext(c.Conn, ctx, command, args...)
	return c.checked(command, reply, err)
}

// checked tells of an answer that is of another type than those to the command, and of one too many behind it. An error of
// the server may be the answer to any command.
func (c *inOrder) checked(command string, reply any, err error) (any, error) {
	var answer redis.Error
	if err != nil && !errors.As(err, &answer) {
		return reply, err
	}
	c.read++
	if err == nil && !isAnswer(command, reply) || len(c.sent) == 0 && c.wire.replies != c.read {
		c.err = errAnswer
		return nil, c.err
	}
	return reply, err
}

// isAnswer tells whether an answer is of the type of those to the command.
func isAnswer(command string, reply any) (is bool) {
	switch command {
	case "PTTL":
		_, is = reply.(int64)
	case "GET":
		_, is = reply.([]byte)
		is = is || reply == nil
	case "HGETALL":
		_, is = reply.([]any)
	case "PING":
		is = reply == "PONG"
	}
	return is
}
