package callout

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/server/conf"
)

// Connect is how a handler in a process of its own reaches NATS.
type Connect struct {
	URLs        []string    `conf:"urls"`
	Creds       string      `conf:"creds"` // path
	Nkey        conf.Secret `conf:"nkey"`  // seed
	User        string      `conf:"user"`
	Password    conf.Secret `conf:"password"`
	Token       conf.Secret `conf:"token"`
	TLS         *TLS        `conf:"tls"`
	InboxPrefix string      `conf:"inbox_prefix"`
	// Sentinel is the path of the creds that clients connect with in operator mode,
	// so that readiness can be probed as a client.
	Sentinel string `conf:"sentinel"`
	// System is the login of a user of the system account, who asks the servers to renew and to
	// close the connections of sessions that change. Where it says nothing, urls and tls are
	// those above.
	System *Connect `conf:"system"`
	// Accounts are logins of other accounts, by the name that a source gives in account, for buckets that
	// are there. Where they say nothing, urls and tls are those above.
	Accounts map[string]conf.Node `conf:"accounts"`

	accounts map[string]*Connect
}

// TLS are paths of PEM files.
type TLS struct {
	CA   string `conf:"ca"`
	Cert string `conf:"cert"`
	Key  string `conf:"key"`
}

func (c *Connect) check(n conf.Node, faults *conf.Faults) {
	if c == nil {
		return
	}
	ways := 0
	for _, set := range []bool{c.Creds != "", c.Nkey != "", c.User != "", c.Token != ""} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		faults.Add(n, "connect: use one of creds, nkey, user, token")
	}
	if c.Nkey != "" {
		parseSeed(secretNode(n, "nkey"), "nkey", c.Nkey, nkeys.PrefixByteUser, faults)
	}
	if y := c.System; y != nil {
		at := n.Get("system")
		if y.System != nil {
			faults.Add(at.Get("system"), "system: cannot have another in it")
		}
		y.check(at, faults)
		if len(y.login()) == 0 {
			faults.Add(at, "system: one of creds, nkey, user, token is missing")
		}
	}
	c.checkAccounts(n, faults)
	if c.TLS != nil && (c.TLS.Cert == "") != (c.TLS.Key == "") {
		faults.Add(n.Get("tls"), "tls: cert and key go together")
	}
	for _, path := range []struct{ name, path string }{{"creds", c.Creds}, {"sentinel", c.Sentinel}} {
		if path.path == "" {
			continue
		}
		if _, err := os.Stat(path.path); err != nil {
			faults.Add(n.Get(path.name), "%s: %v", path.name, err)
		}
	}
}

// Dial connects, and stays connected: it waits for a server that is not there
// yet.
func (c *Connect) Dial(log *slog.Logger) (*nats.Conn, error) {
	options := c.options()
	options = append(options, c.login()...)
	options = append(options,
		nats.Name("nats-callout"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { log.Warn("cannot connect to NATS, trying again", "error", err) }),
		nats.ReconnectWait(500*time.Millisecond),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { log.Warn("disconnected from NATS", "error", err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("connected to NATS", "server", nc.ConnectedServerName()) }),
		nats.ClosedHandler(func(nc *nats.Conn) {
			// Two authorization errors on end, say; or it was us.
			if err := nc.LastError(); err != nil {
				log.Error("connection to NATS is closed for good", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Error("NATS", "error", err) }),
	)
	nc, err := nats.Connect(c.servers(), options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return nc, nil
}

// DialSystem connects in the system account; nil when there is no login for that.
func (c *Connect) DialSystem(log *slog.Logger) (*nats.Conn, error) {
	if c == nil || c.System == nil {
		return nil, nil
	}
	system := *c.System
	if len(system.URLs) == 0 {
		system.URLs = c.URLs
	}
	if system.TLS == nil {
		system.TLS = c.TLS
	}
	return system.Dial(log)
}

// Probe connects as a client with that token.
func (c *Connect) Probe(token string) (*nats.Conn, error) {
	options := c.options()
	if c != nil && c.Sentinel != "" {
		options = append(options, nats.UserCredentials(c.Sentinel))
	}
	return nats.Connect(c.servers(), append(options, nats.Name("stamp-probe"), nats.Token(token), nats.NoReconnect())...)
}

func (c *Connect) servers() string {
	if c == nil || len(c.URLs) == 0 {
		return nats.DefaultURL
	}
	return strings.Join(c.URLs, ",")
}

func (c *Connect) options() []nats.Option {
	if c == nil {
		return nil
	}
	var out []nats.Option
	if c.InboxPrefix != "" {
		out = append(out, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	if c.TLS == nil {
		return out
	}
	out = append(out, nats.Secure())
	if c.TLS.CA != "" {
		out = append(out, nats.RootCAs(c.TLS.CA))
	}
	if c.TLS.Cert != "" {
		out = append(out, nats.ClientCert(c.TLS.Cert, c.TLS.Key))
	}
	return out
}

func (c *Connect) login() []nats.Option {
	switch {
	case c == nil:
	case c.Creds != "":
		return []nats.Option{nats.UserCredentials(c.Creds)}
	case c.Nkey != "":
		kp, err := nkeys.FromSeed([]byte(c.Nkey.Reveal()))
		if err != nil {
			break // check has seen to that
		}
		return []nats.Option{nats.Nkey(public(kp), kp.Sign)}
	case c.User != "":
		return []nats.Option{nats.UserInfo(c.User, c.Password.Reveal())}
	case c.Token != "":
		return []nats.Option{nats.Token(c.Token.Reveal())}
	}
	return nil
}
