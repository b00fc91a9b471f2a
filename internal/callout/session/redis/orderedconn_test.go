package redis

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gomodule/redigo/redis"

	"stamp/internal/callout/session"
)

// lying is a server whose first connection sends more after its first answer than it was asked for. Each session's user is the
// last letter of its key.
func lying(t *testing.T, more string) (url string, connections *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	connections = new(atomic.Int32)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			after := ""
			if connections.Add(1) == 1 {
				after = more
			}
			go answerKeys(c, after)
		}
	}()
	return "redis://" + l.Addr().String(), connections
}

func answerKeys(c net.Conn, after string) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	key := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "sess:"):
			user := fmt.Sprintf(`{"user":%q}`, line[len(line)-1:])
			key += map[bool]string{true: fmt.Sprintf("$%d\r\n%s\r\n", len(user), user), false: ":-1\r\n"}[key == ""]
			if strings.Contains(key, ":-1") {
				_, _ = c.Write([]byte(key + after))
				key, after = "", ""
			}
		}
	}
}

// If a server answers more often than it was asked, nobody gets another user's session, and the connection is not used again.
func TestAnswersOutOfOrder(t *testing.T) {
	for name, more := range map[string]string{
		"nothing": "", "a status": "+OK\r\n", "a number": ":-1\r\n", "no text": "$-1\r\n", "a list": "*0\r\n", "no list": "*-1\r\n", "a text": "$2\r\n{}\r\n",
		"a whole answer": "$12\r\n{\"user\":\"x\"}\r\n:-1\r\n", "half an answer": "$12\r\n{\"us", "an error": "-ERR x\r\n",
		"a list of two": "*2\r\n$1\r\na\r\n$-1\r\n",
	} {
		url, connections := lying(t, more)
		s := open(t, fmt.Sprintf("url: %q, form: json", url))
		for _, user := range []string{"a", "b", "c", "d"} {
			got, err := find(t, s, user)
			if err != nil || got.Data["user"] != user {
				t.Errorf("%s: user %s got %v, error %v", name, user, got, err)
			}
		}
		if n := connections.Load(); n > 2 {
			t.Errorf("%s: the source made %d connections, want 2 or less", name, n)
		}
	}
}

// well is a connection that works.
type well struct{ redis.Conn }

func (well) Err() error { return nil }

func TestAnswersOfOtherCommands(t *testing.T) {
	replies := map[string]any{
		"pong": "PONG", "status": "OK", "number": int64(1), "text": []byte("{}"), "list": []any{}, "nothing": nil,
	}
	for command, good := range map[string][]string{
		"PING": {"pong"}, "GET": {"text", "nothing"}, "HGETALL": {"list"}, "PTTL": {"number"}, "OTHER": {},
	} {
		for name, reply := range replies {
			c := &orderedConn{Conn: well{}, bounded: &boundedConn{replies: 1}}
			_, err := c.checked(command, reply, nil)
			want := false
			for _, g := range good {
				want = want || g == name
			}
			if (err == nil) != want || (c.Err() == nil) != want || errors.Is(err, session.ErrUnknown) {
				t.Errorf("%s answered by the answer to %s: error %v, then the connection has %v", command, name, err, c.Err())
			}
		}
		c := &orderedConn{Conn: well{}, bounded: &boundedConn{replies: 1}}
		if _, err := c.checked(command, nil, redis.Error("WRONGTYPE x")); err == nil || c.Err() != nil {
			t.Errorf("%s answered by an error of the server: %v, then the connection has %v", command, err, c.Err())
		}
	}
}

// The library sends commands of its own when it connects, for the password and the database. Their answers must not be mixed up
// either.
func TestDatabaseWithPassword(t *testing.T) {
	p := startRedis(t, "", "--requirepass", "s3cret")
	p.do(t, "s3cret", "SET", "sess:a", `{"user":"a"}`)
	p.do(t, "s3cret", "MOVE", "sess:a", 3)
	for form, found := range map[string]bool{"json": true, "auto": true, "hash": false} {
		s := open(t, fmt.Sprintf("url: %q, password: s3cret, form: %s", p.url()+"?db=3", form))
		for range 3 {
			if got, err := find(t, s, "a"); (err == nil) != found || found && got.Data["user"] != "a" || !found && !errors.Is(err, errType) {
				t.Errorf("form %s: expected the session: %t; found %v, error %v", form, found, got, err)
			}
		}
	}
}
