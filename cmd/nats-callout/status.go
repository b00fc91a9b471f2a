package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/internal/callout"
	"stamp/internal/callout/forwarded"
)

type statusCommand struct {
	connection
	Handler []string `placeholder:"URL" sep:"," help:"also show this handler: the address http of its configuration, such as http://127.0.0.1:8223; repeatable"`
	JSON    bool     `help:"one JSON object"`
}

// Help is shown by status --help.
func (*statusCommand) Help() string {
	return loginHelp + " The servers tell who stamps and which handlers are subscribed; sources, sessions and the last refusals are shown of each --handler."
}

// overview is what the command shows.
type overview struct {
	Servers  []serverStatus  `json:"servers"`
	Handlers []subscribed    `json:"handlers"`
	Asked    []handlerStatus `json:"asked,omitempty"`
}

// serverStatus is a server. Stamp is nil for a stock server.
type serverStatus struct {
	ID          string        `json:"id"`
	Name        string        `json:"name"`
	Cluster     string        `json:"cluster,omitempty"`
	Version     string        `json:"version"`
	Connections int           `json:"connections"`
	Stamp       *stampCounter `json:"stamp"`
}

// stampCounter is the object headers of varz, and the renewals that wait.
type stampCounter struct {
	Release            string `json:"release"`
	StampedConnections uint64 `json:"stamped_connections"`
	StampedMessages    uint64 `json:"stamped_messages"`
	StrippedLines      uint64 `json:"stripped_lines"`
	RefusedConnections uint64 `json:"refused_connections"`
	RefusedMessages    uint64 `json:"refused_messages"`
	Renewals           uint64 `json:"renewals"`
	RefusedRenewals    uint64 `json:"refused_renewals"`
	UnansweredRenewals uint64 `json:"unanswered_renewals"`
	PendingRenewals    int    `json:"pending_renewals"`
}

// subscribed is a handler as a server knows it: a subscription to authorization requests.
type subscribed struct {
	Server     string `json:"server"`
	Client     uint64 `json:"client"`
	Account    string `json:"account"`
	QueueGroup string `json:"queue_group"`
}

// handlerStatus is a handler that was asked itself.
type handlerStatus struct {
	URL    string          `json:"url"`
	Error  string          `json:"error,omitempty"`
	Status *callout.Status `json:"status,omitempty"`
}

// Run shows the overview. It fails if a handler that was named does not answer.
func (c *statusCommand) Run(s *streams) error {
	endpoints, err := c.endpoints()
	if err != nil {
		return err
	}
	nc, err := c.dial(s)
	if err != nil {
		return err
	}
	defer nc.Close()
	var o overview
	if o.Servers, err = c.servers(nc); err != nil {
		return err
	}
	if o.Handlers, err = c.handlers(nc); err != nil {
		return err
	}
	failed := false
	for _, endpoint := range endpoints {
		h := c.askHandler(endpoint)
		failed = failed || h.Error != ""
		o.Asked = append(o.Asked, h)
	}
	if c.JSON {
		err = json.NewEncoder(s.out).Encode(o)
	} else {
		err = o.write(s.out)
	}
	if err == nil && failed {
		return errSaid
	}
	return err
}

// endpoints returns the URLs of --handler.
func (c *statusCommand) endpoints() ([]string, error) {
	var list []string
	for _, text := range c.Handler {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return nil, usage(errors.New("--handler: expected a URL such as http://127.0.0.1:8223, without a user"), "")
		}
		list = append(list, u.JoinPath("statusz").String())
	}
	return list, nil
}

// Subjects of requests to all servers, in the system account.
const (
	varzOfAll  = "$SYS.REQ.SERVER.PING.VARZ"
	subszOfAll = "$SYS.REQ.SERVER.PING.SUBSZ"
)

// servers asks all servers, stock ones too, and those that stamp for their renewals.
func (c *statusCommand) servers(nc *nats.Conn) ([]serverStatus, error) {
	type varz struct {
		Connections int           `json:"connections"`
		Headers     *stampCounter `json:"headers"`
	}
	answers, err := askServers[varz](nc, varzOfAll, nil, c.Timeout)
	if err != nil {
		return nil, err
	}
	if len(answers) == 0 {
		return nil, c.noAnswer(nc, varzOfAll)
	}
	pending, err := askServers[forwarded.Renewed](nc, forwarded.RenewAll, []byte(`{"pending":true}`), c.Timeout)
	if err != nil {
		return nil, err
	}
	list := make([]serverStatus, 0, len(answers))
	for _, a := range answers {
		one := serverStatus{
			ID: a.Server.ID, Name: a.Server.Name, Cluster: a.Server.Cluster, Version: a.Server.Version,
			Connections: a.Data.Connections, Stamp: a.Data.Headers,
		}
		for _, p := range pending {
			if one.Stamp != nil && p.Server.ID == one.ID {
				one.Stamp.PendingRenewals = p.Data.Pending
			}
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b serverStatus) int {
		return slices.Compare([]string{a.Cluster, a.Name, a.ID}, []string{b.Cluster, b.Name, b.ID})
	})
	return list, nil
}

// noAnswer explains that no server answered.
func (c *statusCommand) noAnswer(nc *nats.Conn, subject string) error {
	if errors.Is(nc.LastError(), nats.ErrPermissionViolation) {
		return hint(fmt.Errorf("the user may not ask the servers: %w", nc.LastError()), "permit it to publish $SYS.REQ.SERVER.PING.>, and to subscribe to its inbox")
	}
	return hint(fmt.Errorf("no server answered on %s in %s", subject, c.Timeout), "log in as a user of the system account ($SYS by default) that may publish $SYS.REQ.SERVER.PING.> and subscribe to its inbox")
}

// handlers returns who is subscribed to authorization requests as a member of a queue group, which
// handlers are. Servers list their own clients only.
func (c *statusCommand) handlers(nc *nats.Conn) ([]subscribed, error) {
	type subsz struct {
		Subscriptions []struct {
			Account string `json:"account"`
			Subject string `json:"subject"`
			Queue   string `json:"qgroup"`
			Client  uint64 `json:"cid"`
		} `json:"subscriptions_list"`
	}
	body := []byte(`{"subscriptions":true,"limit":100000,"test":"` + callout.Subject + `"}`)
	answers, err := askServers[subsz](nc, subszOfAll, body, c.Timeout)
	if err != nil {
		return nil, err
	}
	if len(answers) == 0 {
		return nil, c.noAnswer(nc, subszOfAll)
	}
	list := []subscribed{}
	for _, a := range answers {
		for _, sub := range a.Data.Subscriptions {
			if sub.Subject == callout.Subject && sub.Queue != "" {
				list = append(list, subscribed{a.Server.Name, sub.Client, sub.Account, sub.Queue})
			}
		}
	}
	slices.SortFunc(list, func(a, b subscribed) int {
		return slices.Compare([]string{a.Server, strconv.FormatUint(a.Client, 10)}, []string{b.Server, strconv.FormatUint(b.Client, 10)})
	})
	return list, nil
}

// maxStatus bounds the answer of a handler, in bytes.
const maxStatus = 1 << 20

// askHandler asks a handler's endpoint.
func (c *statusCommand) askHandler(endpoint string) handlerStatus {
	h := handlerStatus{URL: strings.TrimSuffix(endpoint, "/statusz")}
	status, err := c.fetchStatus(endpoint)
	if err != nil {
		h.Error = err.Error()
	}
	h.Status = status
	return h
}

func (c *statusCommand) fetchStatus(endpoint string) (*callout.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout+readyTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", errors.Unwrap(err))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer to %s is %s; is it the address http of a handler, and of this release?", "/statusz", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxStatus+1))
	if err != nil {
		return nil, fmt.Errorf("the answer breaks off: %w", err)
	}
	var status callout.Status
	if len(body) > maxStatus || json.Unmarshal(body, &status) != nil || status.Version == "" {
		return nil, errors.New("the answer is not the status of a handler")
	}
	return &status, nil
}

// readyTime is how long a handler takes at most to find out whether it is ready.
const readyTime = 10 * time.Second

// maxShown is how many handlers the overview shows as text: any client can subscribe in its own account.
const maxShown = 50

// write shows the overview as text.
func (o *overview) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVER\tCLUSTER\tNATS\tSTAMP\tCONNECTIONS\tSTAMPED\tSTRIPPED\tREFUSED\tRENEWED\tUNANSWERED\tPENDING")
	var stock []string
	for _, one := range o.Servers {
		fmt.Fprintf(t, "%s\t%s\t%s\t", text(one.Name), text(one.Cluster), text(one.Version))
		if v := one.Stamp; v != nil {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", text(v.Release), one.Connections, v.StampedMessages, v.StrippedLines,
				v.RefusedMessages+v.RefusedConnections, v.Renewals, v.UnansweredRenewals, v.PendingRenewals)
			continue
		}
		stock = append(stock, text(one.Name))
		fmt.Fprintf(t, "stock\t%d\t-\t-\t-\t-\t-\t-\n", one.Connections)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d of %d servers stamp", len(o.Servers)-len(stock), len(o.Servers))
	if len(stock) > 0 {
		fmt.Fprintf(w, "; clients of %s can forge stamped headers, and read sealed ones", strings.Join(stock, ", "))
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w)
	if len(o.Handlers) == 0 {
		fmt.Fprintln(w, "no handler is subscribed to authorization requests")
	}
	for i, h := range o.Handlers {
		if i == maxShown {
			fmt.Fprintf(w, "and %d more, which --json shows\n", len(o.Handlers)-i)
			break
		}
		fmt.Fprintf(w, "handler: client %d of server %s, account %s, queue group %s\n", h.Client, text(h.Server), text(h.Account), text(h.QueueGroup))
	}
	for _, h := range o.Asked {
		h.write(w)
	}
	return nil
}

func (h *handlerStatus) write(w io.Writer) {
	fmt.Fprintf(w, "\n%s: ", h.URL)
	if h.Status == nil {
		fmt.Fprintln(w, h.Error)
		return
	}
	s := h.Status
	state := "ready"
	if s.NotReady != "" {
		state = "not ready: " + text(s.NotReady)
	}
	fmt.Fprintf(w, "%s, queue group %s, %s\n", text(s.Version), text(s.QueueGroup), state)
	for _, source := range s.Sources {
		health := "works"
		if source.Fault != "" {
			health = text(source.Fault)
		}
		fmt.Fprintf(w, "  source %s (%s): %s; %d %s cached, %d asked, %d unknown, %d failed, %d overloaded, %d from the cache\n", text(source.Name), text(source.Kind),
			health, source.Sessions, plural(source.Sessions, "session"), source.Asked, source.Unknown, source.Failed, source.Overloaded, source.FromCache)
	}
	fmt.Fprintf(w, "  callouts: %d renewals", s.Renewals)
	for _, result := range []string{"granted", "refused", "overloaded", "unanswered", "late", "malformed", "failed", "ignored"} {
		if n := s.Answers[result]; n > 0 || result == "granted" || result == "refused" {
			fmt.Fprintf(w, ", %d %s", n, result)
		}
	}
	fmt.Fprintln(w)
	for i, r := range s.Refusals {
		if i == 0 {
			fmt.Fprintln(w, "  last refusals:")
		}
		what := "refused"
		if r.PutOff {
			what = "renewal put off"
		}
		fmt.Fprintf(w, "    %s  client %d of server %s, %s, %s: %s: %s\n", r.At.Format(time.RFC3339), r.Client, text(r.Server), text(r.Type), text(r.Credential), what, text(r.Reason))
	}
}

// text is a text of others, fit for a terminal.
func text(s string) string {
	if s == "" {
		return "-"
	}
	if !printable(s) {
		return strconv.Quote(s)
	}
	return s
}
