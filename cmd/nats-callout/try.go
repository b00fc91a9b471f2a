package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/internal/callout"
	"stamp/internal/callout/session"
)

type tryCommand struct {
	configuration
	presented
	upgrade
	NATS connection    `embed:"" prefix:"nats-" group:"login of kv and login sources, with --embedded; one for all of them"`
	JSON bool          `help:"JSON instead of lines"`
	Wait time.Duration `default:"5s" placeholder:"DURATION" help:"how long to retry while a source cannot answer yet (default: 5s)"`
}

// Help returns the last part of try --help.
func (*tryCommand) Help() string {
	return `A secret is never an argument: FROM is - for standard input, @FILE for a file, or env:NAME for an environment variable.

Asks the session sources as the handler does, and sends nothing to any server. Exits with 1 if the connection would be refused.`
}

func (c *tryCommand) Run(s *streams) error {
	r, err := c.request(s)
	if err != nil {
		return err
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if !cfg.Serves() {
		return errors.New("the configuration has no sessions, so there is no handler to try")
	}
	verdict, err := c.judge(cfg, r, s)
	if err != nil {
		return err
	}
	o := describe(verdict, time.Now())
	if c.JSON {
		encoder := json.NewEncoder(s.out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(o)
	}
	_, err = fmt.Fprint(s.out, o)
	return err
}

func (c *tryCommand) judge(cfg *callout.Config, r *session.Request, s *streams) (*callout.Verdict, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.Wait)
	defer cancel()
	link := &link{conns: map[string]*nats.Conn{}, connect: func(account string) (*nats.Conn, error) { return c.connect(ctx, cfg, account, s) }}
	defer link.close()
	h, err := callout.New(ctx, cfg, callout.Options{Log: slog.New(slog.DiscardHandler), Connect: link.get, LookupsOnly: true})
	if err != nil {
		return nil, err
	}
	defer h.Close()
	verdict, err := patiently(ctx, func() (*callout.Verdict, error) { return h.Decide(ctx, r) })
	if err != nil {
		err = fmt.Errorf("refused: %w", err)
		if r.Credential.Kind == session.None && (errors.Is(err, callout.ErrKind) || errors.Is(err, callout.ErrUnknown)) {
			return nil, hint(err, "no credential was given; give one with --cookie, --token, --user and --password, --nkey, --jwt or --creds")
		}
		return nil, err
	}
	return verdict, nil
}

// askAgain is the pause before a source that could not decide is asked again.
const askAgain = 200 * time.Millisecond

// patiently asks until there is an answer or ctx ends, because a source may not have reached its
// store or provider yet.
func patiently(ctx context.Context, ask func() (*callout.Verdict, error)) (*callout.Verdict, error) {
	for {
		verdict, err := ask()
		if err == nil || decided(err) {
			return verdict, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(askAgain):
		}
	}
}

// connect is for sources that store sessions in NATS.
func (c *tryCommand) connect(ctx context.Context, cfg *callout.Config, account string, s *streams) (*nats.Conn, error) {
	if c.Embedded {
		c.NATS.prefix = "nats-"
		return c.NATS.dial(s)
	}
	log := slog.New(slog.DiscardHandler)
	if account != "" {
		return cfg.Connect.DialAccount(account, log)
	}
	nc, err := cfg.Connect.Dial(ctx, log, nil)
	if err != nil {
		return nil, safe(err)
	}
	return nc, nil
}

// link holds connections by account. They are made when they are needed.
type link struct {
	connect func(account string) (*nats.Conn, error)
	conns   map[string]*nats.Conn
}

func (l *link) get(account string) (*nats.Conn, error) {
	if nc := l.conns[account]; nc != nil {
		return nc, nil
	}
	nc, err := l.connect(account)
	if err == nil {
		l.conns[account] = nc
	}
	return nc, err
}

func (l *link) close() {
	for _, nc := range l.conns {
		nc.Close()
	}
}
