package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/internal/callout/forwarded"
)

type connectionsCommand struct {
	Renew connectionsRenew `cmd:"" help:"renew live connections: the servers ask the handler about them again"`
	Kick  connectionsKick  `cmd:"" help:"close live connections"`
}

type connectionsRenew struct {
	connections
	All  bool          `help:"every connection that an auth callout let in; use it after you have changed keys"`
	Wait time.Duration `placeholder:"DURATION" help:"wait until the renewals are done, at most this long; the command fails if they are not done by then (default: do not wait)"`
}

// Help returns the last part of connections renew --help.
func (*connectionsRenew) Help() string { return "Give one of --session, --of and --all. " + loginHelp }

const loginHelp = "Log in as a user of the system account: --user is that user, and --of is the user of the connections."

// Run asks the servers to renew connections.
func (c *connectionsRenew) Run(s *streams) error {
	q, err := c.request(c.All, "expected one of --session, --of and --all")
	if err != nil {
		return err
	}
	nc, err := c.dial(s)
	if err != nil {
		return err
	}
	defer nc.Close()
	began, err := c.ask(nc, q)
	if err != nil {
		return err
	}
	show(s, began, "renewed")
	if c.Wait == 0 {
		return nil
	}
	return c.waitFor(nc, s, began)
}

type connectionsKick struct{ connections }

// Help returns the last part of connections kick --help.
func (*connectionsKick) Help() string { return "Give --session or --of. " + loginHelp }

// Run asks the servers to close connections.
func (c *connectionsKick) Run(s *streams) error {
	q, err := c.request(false, "expected --session or --of")
	if err != nil {
		return err
	}
	q.Kick = true
	nc, err := c.dial(s)
	if err != nil {
		return err
	}
	defer nc.Close()
	answers, err := c.ask(nc, q)
	if err != nil {
		return err
	}
	show(s, answers, "closed")
	return nil
}

// connections is the flags that select connections, on all servers that the system account reaches.
type connections struct {
	connection
	Session string `placeholder:"SOURCE/KEY" help:"connections of this session: the name of its source and its key, as logs show them"`
	Of      string `placeholder:"USER" help:"connections of this user, by its name in monitoring"`
	Account string `placeholder:"NAME" help:"only those in this account; with operators, its public key. Users of two accounts may have the same name"`
}

// request returns the request to the servers. wanted is the error if the flags select no
// connections.
func (c *connections) request(all bool, wanted string) (forwarded.Renew, error) {
	var given []string
	for _, flag := range []struct {
		name string
		set  bool
	}{{"--session", c.Session != ""}, {"--of", c.Of != ""}, {"--all", all}} {
		if flag.set {
			given = append(given, flag.name)
		}
	}
	if len(given) != 1 {
		found := "none of them"
		if len(given) > 0 {
			found = strings.Join(given, " and ")
		}
		return forwarded.Renew{}, usage(fmt.Errorf("%s; found %s", wanted, found), "")
	}
	if source, key, ok := strings.Cut(c.Session, "/"); c.Session != "" && (!ok || source == "" || key == "") {
		return forwarded.Renew{}, usage(errors.New("--session: expected the name of a source, a slash and a key, as in sessions/0123456789abcdef0123456789abcdef"), "the field session of the logs has it")
	}
	return forwarded.Renew{Session: c.Session, User: c.Of, All: all, Account: c.Account}, nil
}

// quietPeriod is how long ask waits after the last answer, or twice as long as that answer took if
// that is more. After that it assumes that all servers have answered. Servers of other clusters may
// be far away.
const quietPeriod = 300 * time.Millisecond

// answer is that of one server to a request to RENEW.
type answer = serverAnswer[forwarded.Renewed]

// serverAnswer is what a server answers to a request in the system account.
type serverAnswer[T any] struct {
	Server struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		Cluster string `json:"cluster"`
		Version string `json:"ver"`
	} `json:"server"`
	Data  T `json:"data"`
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
}

// askServers sends a request to all servers, and returns what each answers. The list is empty if none
// does within the time-out.
func askServers[T any](nc *nats.Conn, subject string, body []byte, timeout time.Duration) ([]serverAnswer[T], error) {
	sub, err := nc.SubscribeSync(nc.NewRespInbox())
	if err == nil {
		defer func() { _ = sub.Unsubscribe() }()
		err = nc.PublishRequest(subject, sub.Subject, body)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the servers: %w", err)
	}
	var answers []serverAnswer[T]
	began := time.Now()
	for wait := timeout; ; wait = max(quietPeriod, 2*time.Since(began)) {
		m, err := sub.NextMsg(wait)
		if errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) {
			return answers, nil
		}
		if err != nil {
			return nil, fmt.Errorf("ask the servers: %w", err)
		}
		var a serverAnswer[T]
		if err := json.Unmarshal(m.Data, &a); err != nil {
			return nil, errors.New("a server's answer is not understood")
		}
		if a.Error != nil {
			return nil, fmt.Errorf("server %s: %s", a.Server.Name, a.Error.Description)
		}
		answers = append(answers, a)
	}
}

// ask sends a request to all servers, and returns their answers by server id.
func (c *connections) ask(nc *nats.Conn, q forwarded.Renew) (map[string]answer, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	list, err := askServers[forwarded.Renewed](nc, forwarded.RenewAll, body, c.Timeout)
	if err != nil {
		return nil, err
	}
	answers := map[string]answer{}
	for _, a := range list {
		answers[a.Server.ID] = a
	}
	if len(answers) == 0 {
		return nil, hint(fmt.Errorf("no Stamp server answered in %s", c.Timeout), "log in as a user of the system account ($SYS by default); stock servers do not answer")
	}
	return answers, nil
}

// byName returns the answers in the order of the servers' names.
func byName(answers map[string]answer) []answer {
	return slices.SortedFunc(maps.Values(answers), func(a, b answer) int {
		return slices.Compare([]string{a.Server.Name, a.Server.ID}, []string{b.Server.Name, b.Server.ID})
	})
}

func show(s *streams, answers map[string]answer, what string) {
	for _, a := range byName(answers) {
		n := a.Data.Connections
		fmt.Fprintf(s.out, "server %s: %d %s %s\n", a.Server.Name, n, plural(n, "connection"), what)
	}
}

// waitFor waits until none of the servers has a requested renewal left, and reports those that
// failed.
func (c *connectionsRenew) waitFor(nc *nats.Conn, s *streams, began map[string]answer) error {
	for end := time.Now().Add(c.Wait); ; {
		now, err := c.ask(nc, forwarded.Renew{Pending: true})
		if err != nil {
			return err
		}
		pending := 0
		for id, a := range began {
			b, ok := now[id]
			if !ok {
				return fmt.Errorf("server %s does not answer any more; whether its renewals are done is not known", a.Server.Name)
			}
			pending += b.Data.Pending
		}
		switch {
		case pending == 0:
			return c.done(s, began, now)
		case time.Now().After(end):
			return hint(fmt.Errorf("%d %s not done in %s", pending, plural(pending, "renewal"), c.Wait), "does a handler answer? The server tries again until the user JWTs end")
		}
	}
}

// done reports what came of the renewals since the servers were asked.
func (c *connectionsRenew) done(s *streams, began, now map[string]answer) error {
	var givenUp uint64
	for _, a := range byName(began) {
		b := now[a.Server.ID].Data
		if n := int(b.Refused - a.Data.Refused); n > 0 {
			fmt.Fprintf(s.out, "server %s: %d %s closed, because the callout refused the renewal\n", a.Server.Name, n, plural(n, "connection"))
		}
		givenUp += b.GivenUp - a.Data.GivenUp
	}
	if givenUp > 0 {
		return hint(fmt.Errorf("%d %s got no answer, and the servers have given up", givenUp, plural(int(givenUp), "renewal")), "does a handler answer? Then renew again")
	}
	fmt.Fprintln(s.out, "all renewals are done")
	return nil
}
