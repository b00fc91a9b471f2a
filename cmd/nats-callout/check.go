package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"stamp/internal/callout"
	"stamp/internal/conf"
)

// configuration is the flags that name a configuration.
type configuration struct {
	Config   string `short:"c" required:"" placeholder:"FILE" help:"configuration file"`
	Embedded bool   `help:"FILE is a nats-server configuration with a callout block"`
}

func (c *configuration) load() (*callout.Config, error) {
	if !c.Embedded {
		cfg, err := callout.Load(c.Config)
		if err != nil && isServers(c.Config) {
			return nil, hint(err, "if this is the configuration of a nats-server, use --embedded")
		}
		return cfg, err
	}
	n, err := conf.ParseFile(c.Config)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var faults conf.Faults
	block := n.Get("callout")
	if block.IsZero() {
		faults.Add(n, "there is no callout block")
		return nil, faults.Err()
	}
	cfg := callout.Parse(block, &faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return cfg, checkEmbedded(n, cfg)
}

// isServers reports whether a file has fields that a server's configuration has and that of nats-callout has not.
func isServers(file string) bool {
	n, err := conf.ParseFile(file)
	return err == nil && slices.ContainsFunc([]string{"accounts", "authorization", "listen", "port", "websocket"}, n.Has)
}

// checkEmbedded checks the block against the rest of the server's configuration, as far as the
// handler is concerned. nats-server -t checks more.
func checkEmbedded(n conf.Node, cfg *callout.Config) error {
	own, accounts := calloutAccount(n, cfg), accountsOf(n.Get("accounts"))
	known := func(name string) bool { return accounts[name] || name == own || name == "$G" || name == "$SYS" }
	var faults conf.Faults
	guests := func(block conf.Node, check func(user string) error) {
		at := block.Get("no_auth_user")
		user, _ := at.Plain().(string)
		if err := check(user); err != nil {
			faults.Add(at, "%v", err)
		}
	}
	guests(n, func(user string) error { return cfg.CheckGuests(user, "", "") })
	guests(n.Get("websocket"), func(user string) error { return cfg.CheckGuests("", user, "") })
	guests(n.Get("mqtt"), func(user string) error { return cfg.CheckGuests("", "", user) })
	err := errors.Join(cfg.CheckAccount(own), cfg.CheckForwarded(), faults.Err())
	if n.Get("accounts").IsZero() {
		return err // the file is only a part of a configuration
	}
	return errors.Join(err, cfg.CheckAccountsExist(known), cfg.CheckSourceAccounts(known))
}

// accountsOf returns the names of the accounts of a server's configuration. accounts is a block, or
// a list of names.
func accountsOf(n conf.Node) map[string]bool {
	names := map[string]bool{}
	for name := range n.Fields() {
		names[name] = true
	}
	for _, item := range n.Items() {
		if name, ok := item.Plain().(string); ok {
			names[name] = true
		}
	}
	return names
}

// calloutAccount returns the account in which a server with this configuration sends authorization
// requests.
func calloutAccount(n conf.Node, cfg *callout.Config) string {
	written := n.Get("authorization").Get("auth_callout")
	account, named := written.Get("account").Plain().(string)
	switch {
	case cfg.Account != "":
		return cfg.Account
	case named:
		return account
	case written.IsZero():
		return callout.DefaultAccount
	}
	return "$G" // upstream's default
}

type checkCommand struct{ configuration }

func (c *checkCommand) Run(s *streams) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	warn(s.err, cfg)
	sources, grants := len(cfg.Sessions), len(cfg.Grants.Items())
	_, err = fmt.Fprintf(s.out, "%s is valid: %d session %s, %d %s\n",
		c.Config, sources, plural(sources, "source"), grants, plural(grants, "grant"))
	return err
}

func warn(w io.Writer, cfg *callout.Config) {
	for _, text := range cfg.Warnings() {
		fmt.Fprintf(w, "warning: %s\n", text)
	}
}
