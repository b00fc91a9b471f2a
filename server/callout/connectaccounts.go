package callout

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/server/conf"
)

// A bucket may be in another account than the one that authorization requests are sent in. Then
// connect { accounts } has a login of that account.

// checkAccounts reads the logins of other accounts.
func (c *Connect) checkAccounts(n conf.Node, faults *conf.Faults) {
	c.accounts = map[string]*Connect{}
	for _, name := range slices.Sorted(maps.Keys(c.Accounts)) {
		at, login := c.Accounts[name], &Connect{}
		at.Decode(login, faults)
		if login.System != nil || len(login.Accounts) > 0 || login.Sentinel != "" {
			faults.Add(at, "accounts: %s: system, accounts and sentinel are fields of connect", name)
		}
		login.check(at, faults)
		if len(loginsIn(at)) == 0 {
			faults.Add(at, "accounts: %s: expected one of creds, nkey, user and token; found none", name)
		}
		c.accounts[name] = login
	}
}

// hasAccount tells whether there is a login of that account.
func (c *Connect) hasAccount(account string) bool { return c != nil && c.accounts[account] != nil }

// DialAccount connects in another account, without waiting for the server.
func (c *Connect) DialAccount(account string, log *slog.Logger) (*nats.Conn, error) {
	return newAccountConns(c, log).in(context.Background(), account)
}

// accountConns are the connections of a handler in other accounts than its own.
type accountConns struct {
	connect *Connect
	log     *slog.Logger

	mu    sync.Mutex
	conns map[string]*nats.Conn
}

func newAccountConns(c *Connect, log *slog.Logger) *accountConns {
	return &accountConns{connect: c, log: log, conns: map[string]*nats.Conn{}}
}

// in returns the connection in an account. It does not wait for a server. It is called by one goroutine at a time.
func (a *accountConns) in(ctx context.Context, account string) (*nats.Conn, error) {
	a.mu.Lock()
	known := a.conns[account]
	a.mu.Unlock()
	if known != nil {
		return known, nil
	}
	if !a.connect.hasAccount(account) {
		return nil, fmt.Errorf("connect has no login of account %q in accounts", account)
	}
	login := *a.connect.accounts[account]
	if len(login.URLs) == 0 {
		login.URLs = a.connect.URLs
	}
	if login.TLS == nil {
		login.TLS = a.connect.TLS
	}
	log := a.log.With("account", account)
	options := append(append(login.options(), login.login()...),
		nats.Name("nats-callout"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(500*time.Millisecond),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { log.Warn("cannot connect to NATS, trying again", "error", err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { log.Warn("disconnected from NATS", "error", err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("connected to NATS", "server", nc.ConnectedServerName()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Error("NATS", "error", err) }),
	)
	nc, err := within(ctx, func() (*nats.Conn, error) { return nats.Connect(login.servers(), options...) })
	if err != nil {
		return nil, fmt.Errorf("connect to NATS in account %q: %w", account, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns[account] = nc
	return nc, nil
}

func (a *accountConns) close() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, nc := range a.conns {
		nc.Close()
	}
}
