package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/stored"
)

type source struct {
	cfg  *Config
	pool *redis.Pool
}

// Times of connections that are not in use.
const (
	idleTimeout = 5 * time.Minute // then they are closed
	idleTrusted = time.Second     // longer ones are tried before they are used
)

// Open makes the pool of connections. Whether the server is there shows at the
// first look-up.
func (c *Config) Open(context.Context, session.Env) (session.Source, error) {
	return &source{cfg: c, pool: &redis.Pool{
		DialContext: c.dial, MaxIdle: c.Calls(), MaxActive: c.Calls(), Wait: true, IdleTimeout: idleTimeout,
		TestOnBorrowContext: func(ctx context.Context, conn redis.Conn, used time.Time) error {
			if time.Since(used) < idleTrusted {
				return nil
			}
			_, err := redis.DoContext(conn, ctx, "PING")
			return err
		},
	}}, nil
}

// Close closes the connections.
func (s *source) Close() error { return s.pool.Close() }

// Accepts takes cookies and tokens that a key can be made of.
func (s *source) Accepts(r *session.Request) (string, bool) {
	if k := r.Credential.Kind; k != session.Cookie && k != session.Token {
		return "", false
	}
	return s.cfg.key(r.Credential.Value)
}

// Find reads the key.
func (s *source) Find(ctx context.Context, r *session.Request) (*session.Session, error) {
	key, ok := s.Accepts(r)
	if !ok {
		return nil, session.ErrUnknown
	}
	answers, err := s.ask(ctx, key)
	var answer redis.Error
	if err != nil && !errors.As(err, &answer) && !errors.Is(err, stored.ErrTooLong) && ctx.Err() == nil {
		answers, err = s.ask(ctx, key) // the server may have been restarted
	}
	if err != nil {
		return nil, fmt.Errorf("redis: %w", withoutText(err))
	}
	found, err := s.cfg.read(answers, time.Now())
	if err != nil {
		return nil, err
	}
	if found.Ended(time.Now()) {
		return nil, session.ErrUnknown
	}
	found.Key = stored.SessionKey(key)
	return found, nil
}

// answers of the server to what was asked of a key.
type answers struct {
	text   []byte   // nil: no such key, or not asked
	fields [][]byte // name, value, name, value; empty: no such key, or not asked
	ttl    int64    // milliseconds; -1: none; -2: no such key
	other  int      // how many said that the key is of another type
	asked  int
}

// ask asks for the value, in the forms that it may have, and its TTL, in one go.
func (s *source) ask(ctx context.Context, key string) (a answers, err error) {
	conn, err := s.pool.GetContext(ctx)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	commands := s.cfg.commands()
	for _, command := range commands {
		if err := conn.Send(command, key); err != nil {
			return a, err
		}
	}
	if err := conn.Flush(); err != nil {
		return a, err
	}
	var first error
	for _, command := range commands {
		reply, err := redis.ReceiveContext(conn, ctx)
		if err = a.add(command, reply, err); err != nil && first == nil {
			first = err
		}
		if conn.Err() != nil {
			return a, first
		}
	}
	return a, first
}

func (c *Config) commands() []string {
	switch c.Form {
	case JSON:
		return []string{"GET", "PTTL"}
	case Auto:
		return []string{"GET", "HGETALL", "PTTL"}
	}
	return []string{"HGETALL", "PTTL"}
}

func (a *answers) add(command string, reply any, err error) error {
	var answer redis.Error
	wrongType := errors.As(err, &answer) && strings.HasPrefix(string(answer), "WRONGTYPE")
	switch command {
	case "PTTL":
		a.ttl, err = redis.Int64(reply, err)
		return err
	case "GET":
		a.text, err = redis.Bytes(reply, err)
	case "HGETALL":
		a.fields, err = redis.ByteSlices(reply, err)
	}
	a.asked++
	switch {
	case wrongType:
		a.other++
		return nil
	case errors.Is(err, redis.ErrNil):
		return nil
	}
	return err
}
