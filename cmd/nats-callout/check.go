package main

import (
	"fmt"
	"io"

	"stamp/server/callout"
	"stamp/server/conf"
)

// configuration are the flags that name one.
type configuration struct {
	Config   string `short:"c" required:"" placeholder:"FILE" help:"configuration file"`
	Embedded bool   `help:"FILE is a nats-server's configuration, with a handler inside the server"`
}

func (c *configuration) load() (*callout.Config, error) {
	if !c.Embedded {
		return callout.Load(c.Config)
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
	return cfg, cfg.CheckAccount(calloutAccount(n, cfg))
}

// calloutAccount is where a server with this configuration sends authorization requests.
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
