package redis

import (
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

	"stamp/server/conf"
)

// TLS are the files of the connection to the server; all may be absent.
type TLS struct {
	CA         string `conf:"ca"`   // PEM: who signs the server's certificate; default: the system's
	Cert       string `conf:"cert"` // PEM: of this client
	Key        string `conf:"key"`
	ServerName string `conf:"server_name"` // in the server's certificate; default: the host
}

// server is where Redis is, and how to get in.
type server struct {
	network, address   string
	username, password string
	database           int
	tls                *tls.Config // nil: none
}

// checkServer reads the URL. No fault quotes any of it: it may hold a password.
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
		faults.Add(at, "there is a user name, but no password")
	}
	switch {
	case c.TLS == nil:
	case s.tls == nil:
		faults.Add(n.Get("tls"), "tls: the url must begin with rediss://")
	default:
		c.TLS.apply(s.tls, n.Get("tls"), faults)
	}
	c.server = s
}

var errURL = errors.New("must be redis://host, rediss://host or unix:///path")

func parseURL(text string) (server, error) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Fragment != "" {
		return server{}, errURL // the error of net/url quotes the text
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

// database reads the number of the database, in the path or the parameter db.
func database(path string, query url.Values) (int, error) {
	for name := range query {
		if name != "db" {
			return 0, errors.New("has an unknown parameter; known is db")
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
		return 0, errors.New("the database is not a number")
	}
	return n, nil
}

// apply reads the files.
func (t *TLS) apply(to *tls.Config, n conf.Node, faults *conf.Faults) {
	if t.ServerName != "" {
		to.ServerName = t.ServerName
	}
	if t.CA != "" {
		var err error
		if to.RootCAs, err = conf.LoadCertPool(t.CA); err != nil {
			faults.Add(n.Get("ca"), "ca: %v", err)
		}
	}
	if t.Cert == "" && t.Key == "" {
		return
	}
	pair, err := conf.LoadKeyPair(t.Cert, t.Key)
	if err != nil {
		faults.Add(n, "tls: cert and key: %v", err)
	}
	to.Certificates = []tls.Certificate{pair}
}

// dial connects and logs in.
func (c *Config) dial(ctx context.Context) (redis.Conn, error) {
	s := &c.server
	var wire *bounded
	conn, err := redis.DialContext(ctx, s.network, s.address,
		redis.DialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := s.open(ctx, network, address, c.Timeout)
			if err != nil {
				return nil, err
			}
			wire = &bounded{Conn: conn}
			return wire, nil
		}),
		redis.DialReadTimeout(c.Timeout), redis.DialWriteTimeout(c.Timeout),
		redis.DialDatabase(s.database), redis.DialUsername(s.username), redis.DialPassword(s.password),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.address, withoutText(err))
	}
	return &inOrder{Conn: conn, wire: wire, read: s.commands()}, nil
}

// commands is how many the library sends, and reads the answers of, when it connects: AUTH and SELECT.
func (s *server) commands() int {
	n := 0
	if s.password != "" {
		n++
	}
	if s.database != 0 {
		n++
	}
	return n
}

// open makes the connection, with TLS where the URL says so.
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

// elsewhere is what a server of a cluster says of a key that it does not have.
const elsewhere = "the server is one of a cluster, and another one has the key; a redis source asks one server alone"

// hints explain the codes of answers.
var hints = map[string]string{
	"MOVED":     elsewhere,
	"ASK":       elsewhere,
	"NOPERM":    "the user needs get, hgetall, pttl and ping, and the right to read the keys",
	"NOAUTH":    "the server wants a password",
	"WRONGPASS": "the user name or the password is wrong",
	"DENIED":    "the server is in protected mode, and wants a password of clients on other machines",
}

// withoutText keeps of an answer of the server its code alone: the text behind it
// may quote the command, and with it the credential.
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
