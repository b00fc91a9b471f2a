package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// connection is the flags for a connection to NATS. Their environment variables are those of the
// nats CLI.
type connection struct {
	Server      string        `short:"s" default:"nats://127.0.0.1:4222" env:"NATS_URL" placeholder:"URL" help:"URLs of servers, with commas between them (${env})"`
	Creds       string        `env:"NATS_CREDS" placeholder:"FILE" help:"credentials: user JWT and seed (${env})"`
	Nkey        string        `env:"NATS_NKEY" placeholder:"FILE" help:"seed of a user nkey (${env})"`
	User        string        `env:"NATS_USER" placeholder:"NAME" help:"user name (${env})"`
	Password    source        `placeholder:"FROM" help:"password of the user: -, @FILE or env:NAME (default: env:NATS_PASSWORD)"`
	Token       source        `placeholder:"FROM" help:"token: -, @FILE or env:NAME"`
	TLSCA       string        `name:"tlsca" env:"NATS_CA" placeholder:"FILE" help:"certificates of authorities to trust, in PEM (${env})"`
	TLSCert     string        `name:"tlscert" env:"NATS_CERT" placeholder:"FILE" help:"the client's certificate, in PEM (${env})"`
	TLSKey      string        `name:"tlskey" env:"NATS_KEY" placeholder:"FILE" help:"its key, in PEM (${env})"`
	InboxPrefix string        `env:"NATS_INBOX_PREFIX" placeholder:"SUBJECT" help:"prefix of reply subjects (${env})"`
	Timeout     time.Duration `default:"5s" placeholder:"DURATION" help:"how long to wait for each answer of NATS (default: 5s)"`

	prefix string // of the flags' names, in messages
}

// flag returns the name of a flag with its prefix.
func (c *connection) flag(name string) string { return "--" + c.prefix + name }

// dial connects once. Its errors do not contain the URL, which may contain a password.
func (c *connection) dial(s *streams) (*nats.Conn, error) {
	login, err := c.login(s)
	if err != nil {
		return nil, err
	}
	options := append(login, nats.Name(program), nats.Timeout(c.Timeout))
	if c.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	if c.TLSCA != "" {
		options = append(options, nats.RootCAs(c.TLSCA))
	}
	if c.TLSCert != "" || c.TLSKey != "" {
		options = append(options, nats.ClientCert(c.TLSCert, c.TLSKey))
	}
	nc, err := nats.Connect(c.Server, options...)
	if err != nil {
		return nil, hint(fmt.Errorf("connect to %s: %w", shownAddresses(c.Server), safe(err)), c.advice(err))
	}
	return nc, nil
}

// shownAddresses returns the hosts and ports of URLs. The rest of a URL is not shown, because it may have a password.
func shownAddresses(urls string) string {
	var hosts []string
	for text := range strings.SplitSeq(urls, ",") {
		text = strings.TrimSpace(text)
		if !strings.Contains(text, "://") {
			text = "nats://" + text // as the client library reads it
		}
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return "NATS"
		}
		hosts = append(hosts, u.Host)
	}
	return strings.Join(hosts, ", ")
}

// advice returns what to do about a connection that failed.
func (c *connection) advice(err error) string {
	if !errors.Is(err, nats.ErrAuthorization) {
		return "give the address of a server with " + c.flag("server") + " or NATS_URL"
	}
	return fmt.Sprintf("the server refused the login; give one with %s, %s, %s and %s, or %s", c.flag("creds"), c.flag("nkey"), c.flag("user"), c.flag("password"), c.flag("token"))
}

func (c *connection) login(s *streams) ([]nats.Option, error) {
	if ways := set(c.Creds != "", c.Nkey != "", c.User != "", c.Token != ""); ways > 1 {
		return nil, usage(fmt.Errorf("%s, %s, %s and %s exclude each other", c.flag("creds"), c.flag("nkey"), c.flag("user"), c.flag("token")), "")
	}
	switch {
	case c.Creds != "":
		return []nats.Option{nats.UserCredentials(c.Creds)}, nil
	case c.Nkey != "":
		option, err := nats.NkeyOptionFromSeed(c.Nkey)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.flag("nkey"), err)
		}
		return []nats.Option{option}, nil
	case c.User != "":
		password, err := c.password(s)
		return []nats.Option{nats.UserInfo(c.User, password)}, err
	case c.Token != "":
		token, err := s.read(c.Token, c.flag("token"))
		return []nats.Option{nats.Token(token)}, err
	}
	return nil, nil
}

// password returns the password of the flag or of the environment variable.
func (c *connection) password(s *streams) (string, error) {
	from := c.Password
	if from == "" {
		from = "env:NATS_PASSWORD"
	}
	return s.read(from, c.flag("password"))
}

// safe replaces an error about the form of a URL, whose text repeats the URL, and one that says less than is known.
func safe(err error) error {
	if errors.Is(err, nats.ErrNoServers) {
		return errors.New("no server answers there")
	}
	var form *url.Error
	if errors.As(err, &form) {
		return errors.New("not a valid URL")
	}
	return err
}

// set returns how many of the flags are true.
func set(flags ...bool) int {
	n := 0
	for _, flag := range flags {
		if flag {
			n++
		}
	}
	return n
}
