package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
)

type source struct {
	cfg  *Config
	pool *redis.Pool

	// silent is when a request that got no answer was begun: connections that are older may not
	// answer either. It is nil if there was no such request.
	silent atomic.Pointer[time.Time]
}

// Times of idle connections.
const (
	idleTimeout = 5 * time.Minute // an idle connection is closed after this time
	idleTrusted = time.Second     // a connection that was idle for longer is pinged before it is used
)

// Open returns the source. It does not connect to the server; the first look-up does.
func (c *Config) Open(context.Context, session.Env) (session.Source, error) {
	s := &source{cfg: c}
	s.pool = &redis.Pool{
		DialContext: c.dial, MaxIdle: c.Calls(), MaxActive: c.Calls(), Wait: true, IdleTimeout: idleTimeout,
		TestOnBorrowContext: s.test,
	}
	return s, nil
}

var errSilent = errors.New("a request got no answer since the connection was made")

// test returns an error if an idle connection must not be used. The pool closes it then.
func (s *source) test(ctx context.Context, conn redis.Conn, used time.Time) error {
	if since := s.silent.Load(); since != nil && conn.(*orderedConn).dialed.Before(*since) {
		return errSilent
	}
	if time.Since(used) < idleTrusted {
		return nil
	}
	_, err := redis.DoContext(conn, ctx, "PING")
	return err
}

// Close closes the connections.
func (s *source) Close() error { return s.pool.Close() }

// Accepts accepts cookies and tokens from which a key can be made.
func (s *source) Accepts(r *session.Request) (string, bool) {
	if k := r.Credential.Kind; k != session.Cookie && k != session.Token {
		return "", false
	}
	return s.cfg.key(r.Credential.Value)
}

// Find returns the session in the value of the credential's key.
func (s *source) Find(ctx context.Context, r *session.Request) (*session.Session, error) {
	key, ok := s.Accepts(r)
	if !ok {
		return nil, session.ErrUnknown
	}
	answers, err := s.ask(ctx, key)
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

// answers are the answers of the server to the commands for one key.
type answers struct {
	text       []byte   // of GET; nil: no such key, or GET was not sent
	fields     [][]byte // of HGETALL: name, value, name, value, ...; empty: no such key, or HGETALL was not sent
	ttl        int64    // of PTTL, in milliseconds; -1: the key has no TTL; -2: no such key
	reads      int      // answers to GET and HGETALL
	wrongTypes int      // how many of these say that the value is of another type
}

// ask sends the commands for a key, and returns the answers. If the connection breaks, it asks a
// second time, because the server may have been restarted. If no answer comes, it asks again by a
// new connection until the time of the look-up is over: the server may have been replaced by
// another one, or a firewall may have forgotten the connection. Reading a key twice does no harm.
func (s *source) ask(ctx context.Context, key string) (answers, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	for broken := 0; ; {
		begun := time.Now()
		trying, cancel := context.WithTimeout(ctx, s.cfg.TryTime())
		a, err := s.askOnce(trying, key)
		late := errors.Is(trying.Err(), context.DeadlineExceeded)
		cancel()
		var answer redis.Error
		switch {
		case err == nil, errors.As(err, &answer), errors.Is(err, stored.ErrTooLong):
			return a, err
		case late:
			s.silent.Store(&begun)
		default:
			broken++
		}
		if broken > 1 || ctx.Err() != nil {
			return a, err
		}
	}
}

// askOnce sends the commands for the value, in each form that it may have, and for its TTL.
// It sends all of them before it reads the answers.
func (s *source) askOnce(ctx context.Context, key string) (a answers, err error) {
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
	var firstErr error
	for _, command := range commands {
		reply, err := redis.ReceiveContext(conn, ctx)
		if err = a.add(command, reply, err); err != nil && firstErr == nil {
			firstErr = err
		}
		if conn.Err() != nil {
			return a, firstErr
		}
	}
	return a, firstErr
}

// commands returns the commands that read a value and its TTL.
func (c *Config) commands() []string {
	switch c.Form {
	case JSON:
		return []string{"GET", "PTTL"}
	case Auto:
		return []string{"GET", "HGETALL", "PTTL"}
	}
	return []string{"HGETALL", "PTTL"}
}

// add adds the answer to a command. A wrong type is not an error, because in form Auto
// one of two commands gets it.
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
	a.reads++
	switch {
	case wrongType:
		a.wrongTypes++
		return nil
	case errors.Is(err, redis.ErrNil):
		return nil
	}
	return err
}
