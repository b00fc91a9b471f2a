package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"stamp/internal/conf"
)

// server is the address of the Redis server and the login.
type server struct {
	network, address   string
	username, password string
	database           int
	tls                *tls.Config // nil: connect without TLS
}

// checkServer reads the URL into c.server. No fault quotes the URL, because it may hold
// a password.
func (c *Config) checkServer(n conf.Node, faults *conf.Faults) {
	if c.URL == "" {
		return
	}
	at := n.Get("url")
	s, err := parseURL(c.URL.Reveal())
	if err != nil {
		faults.Add(at, "url: %v", err)
		return
	}
	if c.Username != "" {
		s.username = c.Username
	}
	if c.Password != "" {
		s.password = c.Password.Reveal()
	}
	if s.username != "" && s.password == "" {
		faults.Add(at, "expected a password for the user name, in the url or in the field password")
	}
	switch {
	case c.TLS == nil:
	case s.tls == nil:
		faults.Add(n.Get("tls"), "tls: expected a url that begins with rediss://")
	default:
		host := s.tls.ServerName
		s.tls = c.TLS.Config(n.Get("tls"), faults)
		s.tls.ServerName = cmp.Or(s.tls.ServerName, host)
	}
	c.server = s
}

var errURL = errors.New("expected redis://host, rediss://host or unix:///path; found a text of another form, which is not shown because it may hold a password")

func parseURL(text string) (server, error) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Fragment != "" {
		return server{}, errURL // not err, which quotes the text
	}
	s := server{network: "tcp"}
	if u.User != nil {
		s.username = u.User.Username()
		s.password, _ = u.User.Password()
	}
	path := u.Path
	switch u.Scheme {
	case "unix":
		s.network, s.address, path = "unix", u.Path, ""
		if u.Host != "" || u.Path == "" {
			return server{}, errURL
		}
	case "redis", "rediss":
		host, port := u.Hostname(), u.Port()
		if host == "" {
			return server{}, errURL
		}
		if port == "" {
			port = "6379"
		}
		s.address = net.JoinHostPort(host, port)
		if u.Scheme == "rediss" {
			s.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
		}
	default:
		return server{}, errURL
	}
	s.database, err = database(path, u.Query())
	return s, err
}

// database returns the number of the database, which is the path of the URL or its
// parameter db.
func database(path string, query url.Values) (int, error) {
	for name := range query {
		if name != "db" {
			return 0, errors.New("found an unknown parameter; expected db")
		}
	}
	text := strings.Trim(path, "/")
	if text == "" {
		text = query.Get("db")
	}
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, errors.New("expected a number as the database")
	}
	return n, nil
}

// dial connects to the server, logs in and selects the database.
func (c *Config) dial(ctx context.Context) (redis.Conn, error) {
	s := &c.server
	begun := time.Now()
	var bounded *boundedConn
	conn, err := redis.DialContext(ctx, s.network, s.address,
		redis.DialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := s.open(ctx, network, address, c.Timeout)
			if err != nil {
				return nil, err
			}
			bounded = &boundedConn{Conn: conn}
			return bounded, nil
		}),
		redis.DialReadTimeout(c.Timeout), redis.DialWriteTimeout(c.Timeout),
		redis.DialDatabase(s.database), redis.DialUsername(s.username), redis.DialPassword(s.password),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.address, withoutText(err))
	}
	return &orderedConn{Conn: conn, dialed: begun, bounded: bounded, read: s.loginCommands()}, nil
}

// loginCommands returns how many commands the library sends when it connects: AUTH and
// SELECT, as far as they are needed. It reads the answers to them.
func (s *server) loginCommands() int {
	n := 0
	if s.password != "" {
		n++
	}
	if s.database != 0 {
		n++
	}
	return n
}

// open connects, with TLS if the URL says so.
func (s *server) open(ctx context.Context, network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if s.tls == nil {
		return conn, nil
	}
	secure := tls.Client(conn, s.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// clusterHint explains the answer of a server of a cluster for a key that another one has.
const clusterHint = "the server is one of a cluster, and another one has the key; a source of kind redis does not support clusters"

// hints explain error codes of the server.
var hints = map[string]string{
	"MOVED":     clusterHint,
	"ASK":       clusterHint,
	"NOPERM":    "the user needs the commands get, hgetall, pttl and ping, and permission to read the keys",
	"NOAUTH":    "the server requires a password",
	"WRONGPASS": "the user name or the password is wrong",
	"DENIED":    "the server is in protected mode, which requires a password for connections from other machines",
}

// withoutText reduces an error of the server to its code, with a hint. The rest of the
// text may quote the command, and with it the credential.
func withoutText(err error) error {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return err
	}
	code, _, _ := strings.Cut(string(answer), " ")
	if strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		code = "ERR"
	}
	if hint := hints[code]; hint != "" {
		return fmt.Errorf("%w: %s", redis.Error(code), hint)
	}
	return redis.Error(code)
}
