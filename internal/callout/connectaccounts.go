package callout

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"stamp/internal/conf"
)

// A bucket may be in another account than the callout account. Then connect { accounts } has a
// login of that account.

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

// hasAccount reports whether there is a login of an account.
func (c *Connect) hasAccount(account string) bool { return c != nil && c.accounts[account] != nil }

// DialAccount connects in another account. It does not wait for the server.
func (c *Connect) DialAccount(account string, log *slog.Logger) (*nats.Conn, error) {
	return newAccountConns(context.Background(), c, log).in(account)
}

// accountConns holds the connections of a handler in other accounts.
type accountConns struct {
	life    context.Context
	connect *Connect
	log     *slog.Logger

	mu    sync.Mutex
	links map[string]*link
}

func newAccountConns(life context.Context, c *Connect, log *slog.Logger) *accountConns {
	return &accountConns{life: life, connect: c, log: log, links: map[string]*link{}}
}

// in returns the connection in an account. It does not wait for the server.
func (a *accountConns) in(account string) (*nats.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.links[account]; l != nil {
		return l.Conn, nil
	}
	if !a.connect.hasAccount(account) {
		return nil, fmt.Errorf("connect has no login of account %q in accounts", account)
	}
	l, err := a.connect.at(a.connect.accounts[account]).dial(newDialing(a.life, a.log.With("account", account), nil))
	if err != nil {
		return nil, fmt.Errorf("account %q: %w", account, err)
	}
	a.links[account] = l
	return l.Conn, nil
}

// at returns a login with the urls and tls of c where it has none of its own.
func (c *Connect) at(login *Connect) *Connect {
	there := *login
	if len(there.URLs) == 0 {
		there.URLs = c.URLs
	}
	if there.TLS == nil {
		there.TLS = c.TLS
	}
	return &there
}

func (a *accountConns) close() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.links {
		l.Close()
	}
}
