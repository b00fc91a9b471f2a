package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/server/callout/forwarded"
)

type connectionsCommand struct {
	Renew connectionsRenew `cmd:"" help:"have the servers ask the callout about live connections again"`
	Kick  connectionsKick  `cmd:"" help:"close live connections"`
}

type connectionsRenew struct{ connections }

// Run asks for renewals.
func (c *connectionsRenew) Run(s *streams) error { return c.ask(s, false) }

type connectionsKick struct{ connections }

// Run asks for closes.
func (c *connectionsKick) Run(s *streams) error { return c.ask(s, true) }

// connections says which connections are meant, over all servers that the system account
// reaches.
type connections struct {
	connection
	Session string `placeholder:"SOURCE/KEY" help:"those of a session: the name of its source and its key, as logs show them"`
	Of      string `placeholder:"USER" help:"those of a user, by the name in monitoring"`
}

// lull is how long no server has answered when none is expected to.
const lull = 300 * time.Millisecond

func (c *connections) ask(s *streams, kick bool) error {
	if (c.Session == "") == (c.Of == "") {
		return usage(errors.New("either --session or --of is needed"), "")
	}
	body, err := json.Marshal(forwarded.Renew{Session: c.Session, User: c.Of, Kick: kick})
	if err != nil {
		return err
	}
	nc, err := c.dial(s)
	if err != nil {
		return err
	}
	defer nc.Close()
	answers, err := nc.SubscribeSync(nc.NewRespInbox())
	if err == nil {
		err = nc.PublishRequest(forwarded.RenewAll, answers.Subject, body)
	}
	if err != nil {
		return fmt.Errorf("ask the servers: %w", err)
	}
	return c.collect(s, answers, kick)
}

// collect shows what each server answers.
func (c *connections) collect(s *streams, answers *nats.Subscription, kick bool) error {
	what := "renewed"
	if kick {
		what = "closed"
	}
	servers := 0
	for wait := c.Timeout; ; wait = lull {
		m, err := answers.NextMsg(wait)
		if errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) {
			break
		}
		if err != nil {
			return fmt.Errorf("ask the servers: %w", err)
		}
		var answer struct {
			Server struct{ Name string }
			Data   struct{ Connections int }
			Error  *struct{ Description string }
		}
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return errors.New("a server's answer is not understood")
		}
		if answer.Error != nil {
			return fmt.Errorf("server %s: %s", answer.Server.Name, answer.Error.Description)
		}
		servers++
		n := answer.Data.Connections
		fmt.Fprintf(s.out, "server %s: %d %s %s\n", answer.Server.Name, n, plural(n, "connection"), what)
	}
	if servers == 0 {
		return hint(errors.New("no server answers"), "the user must be one of the system account, and the servers Stamp")
	}
	return nil
}
