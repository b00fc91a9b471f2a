package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// client does what a browser's page could do, and what a hostile script in it
// could. It holds the cookie as a browser does, and uses it for nothing but the
// upgrade request of the websocket.
type client struct {
	web, websocket, origin string // URLs
	report                 *report
	remote                 bool // the service is another process: show what it answers
}

const (
	visitorName = "alice"
	patience    = 10 * time.Second // for one answer
)

// run shows and checks everything. An error means that it could not go on.
func (c *client) run(ctx context.Context) error {
	cookie, err := c.login(ctx)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	c.report.promise("the session is in a cookie that scripts cannot read", cookieFault(cookie))

	c.strangers(ctx, cookie)

	c.report.say("client", "connects with the cookie alone, and asks %s", serviceSubject)
	nc, err := c.connect(c.origin, cookie)
	if err != nil {
		return fmt.Errorf("connect with the cookie: %w", err)
	}
	defer nc.Close()
	c.visits(ctx, nc, cookie.Value)
	c.report.promise("a malformed header block is refused, and the connection lives", c.malformed(ctx, cookie))
	c.report.promise("a new access token is stamped on the live connection", c.renewal(ctx, nc, cookie))
	c.report.say("client", "connects in a second tab")
	second, err := c.connect(c.origin, cookie)
	if err != nil {
		return fmt.Errorf("connect a second tab: %w", err)
	}
	defer second.Close()
	c.report.promise("logging out closes the connections of all tabs, and the cookie is worth nothing", c.logout(ctx, cookie, nc, second))
	return nil
}

// renewal has the application refresh the access token, of which the page knows nothing.
func (c *client) renewal(ctx context.Context, nc *nats.Conn, cookie *http.Cookie) error {
	token := func() (string, error) {
		got, err := askAt(ctx, nc, tokenSubject, nil)
		if err == nil && len(got.Headers["Authorization"]) != 1 {
			err = fmt.Errorf("it received %s", got)
		}
		if err != nil {
			return "", err
		}
		c.show(got, nil)
		return got.Headers["Authorization"][0], nil
	}
	c.report.say("client", "asks %s, without a header", tokenSubject)
	first, err := token()
	if err != nil {
		return err
	}
	if err := c.post(ctx, "/refresh", cookie); err != nil {
		return err
	}
	c.report.say("client", "asks again, on the same connection")
	return retry(ctx, func() error {
		next, err := token()
		if err == nil && next == first {
			err = errors.New("the old access token is stamped still")
		}
		return err
	})
}

// post sends a request to the web server, as the page does.
func (c *client) post(ctx context.Context, path string, cookie *http.Cookie) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.web+path, nil)
	if err != nil {
		return err
	}
	r.AddCookie(cookie)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%s answered %s", path, answer.Status)
	}
	return nil
}

// logout ends the session at the web server, which does not know the connections.
func (c *client) logout(ctx context.Context, cookie *http.Cookie, tabs ...*nats.Conn) error {
	var closed []chan nats.Status
	for _, nc := range tabs {
		closed = append(closed, nc.StatusChanged(nats.CLOSED))
	}
	if err := c.post(ctx, "/logout", cookie); err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	for i := range tabs {
		select {
		case <-closed[i]:
			c.report.say("client", "is disconnected (tab %d)", i+1)
		case <-time.After(patience):
			return fmt.Errorf("the connection of tab %d was not closed", i+1)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if nc, err := c.connect(c.origin, cookie); err == nil {
		nc.Close()
		return errors.New("the cookie still opens a connection")
	}
	return nil
}

// login gets the cookie. It waits for a web server that is not up yet.
func (c *client) login(ctx context.Context) (*http.Cookie, error) {
	var answer *http.Response
	err := retry(ctx, func() error {
		form := strings.NewReader(url.Values{"user": {visitorName}}.Encode())
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.web+"/login", form)
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err = http.DefaultClient.Do(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	_ = answer.Body.Close()
	for _, cookie := range answer.Cookies() {
		if cookie.Name == cookieName {
			return cookie, nil
		}
	}
	return nil, fmt.Errorf("%s answered %s without the cookie %s", c.web, answer.Status, cookieName)
}

func cookieFault(cookie *http.Cookie) error {
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode {
		return errors.New("cookie is not HttpOnly and SameSite=Strict")
	}
	return nil
}

// connect opens a NATS connection over the websocket as a page of origin would.
func (c *client) connect(origin string, cookie *http.Cookie) (*nats.Conn, error) {
	return nats.Connect(c.websocket, nats.NoReconnect(), nats.Timeout(patience),
		nats.WebSocketConnectionHeaders(upgradeHeader(origin, cookie)),
		nats.CustomInboxPrefix(inboxPrefix(visitorName)))
}

func upgradeHeader(origin string, cookie *http.Cookie) http.Header {
	h := http.Header{"Origin": {origin}}
	if cookie != nil {
		h.Set("Cookie", cookie.Name+"="+cookie.Value)
	}
	return h
}

// await returns when a visitor is answered: the parts that are processes of
// their own start in any order.
func (c *client) await(ctx context.Context) error {
	cookie, err := c.login(ctx)
	if err != nil {
		return fmt.Errorf("wait for %s: %w", c.web, err)
	}
	err = retry(ctx, func() error {
		nc, err := c.connect(c.origin, cookie)
		if err != nil {
			return err
		}
		defer nc.Close()
		_, err = ask(ctx, nc, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for an answer over %s: %w", c.websocket, err)
	}
	return nil
}

// strangers shows who does not get in.
func (c *client) strangers(ctx context.Context, cookie *http.Cookie) {
	for _, s := range []struct {
		who, origin string
		cookie      *http.Cookie
	}{
		{"without a cookie", c.origin, nil},
		{"with a cookie that no login made", c.origin, &http.Cookie{Name: cookieName, Value: "invented"}},
		{"from a page of another origin", "http://elsewhere.example", cookie},
	} {
		c.report.say("client", "connects %s", s.who)
		refusal, err := c.refusal(ctx, s.origin, s.cookie)
		if err == nil {
			c.report.say("client", "is refused: %v", refusal)
		}
		c.report.promise("a connection "+s.who+" is refused", err)
	}
}

// refusal returns what the server says to a connection that it refuses, or an
// error. A connection that ends otherwise is tried again: a timeout proves
// nothing, and a server that closes before the client has written everything
// is seen as a broken pipe.
func (c *client) refusal(ctx context.Context, origin string, cookie *http.Cookie) (refusal, err error) {
	err = retry(ctx, func() error {
		var nc *nats.Conn
		if nc, refusal = c.connect(origin, cookie); refusal == nil {
			nc.Close()
			return nil
		}
		if errors.Is(refusal, nats.ErrAuthorization) || strings.Contains(refusal.Error(), "invalid websocket connection") {
			return nil
		}
		return refusal
	})
	if err == nil && refusal == nil {
		c.report.say("client", "is let in")
		err = errors.New("it was let in")
	}
	return refusal, err
}

// visits asks the service, without and with forged headers. The page's own
// header, Color, must come through.
func (c *client) visits(ctx context.Context, nc *nats.Conn, id string) {
	stamped := map[string][]string{"Session": {mask(id)}, "X-User": {visitorName}}
	colored := map[string][]string{"Session": {mask(id)}, "X-User": {visitorName}, "Color": {"blue"}}
	for _, v := range []struct {
		promise string
		header  nats.Header
		want    map[string][]string
	}{
		{"the service gets the stamp, though the client sends no header", nil, stamped},
		{"a forged header is replaced",
			nats.Header{"Session": {"forged"}, "X-User": {"admin"}, "Color": {"blue"}}, colored},
		{"a forged header in other case is removed",
			nats.Header{"session": {"forged"}, "X-USER": {"admin"}, "Color": {"blue"}}, colored},
		{"a forged alias (_ and . for -) is removed",
			nats.Header{"X_User": {"admin"}, "x.user": {"admin"}, "Color": {"blue"}}, colored},
		{"a forged header with several values is removed",
			nats.Header{"Session": {"forged", "again"}, "X-User": {"admin", "root"}, "Color": {"blue"}}, colored},
	} {
		c.report.say("client", "publishes %s", headerText(v.header))
		got, err := ask(ctx, nc, v.header)
		c.show(got, err)
		if err == nil && (got.User != visitorName || !reflect.DeepEqual(got.Headers, v.want)) {
			err = fmt.Errorf("it received %s", got)
		}
		c.report.promise(v.promise, err)
	}
}

// show prints what the service answered, where the service itself does not.
func (c *client) show(got seen, err error) {
	if c.remote && err == nil {
		c.report.say("service", "receives  %s", got)
	}
}

// headerText shows what the client sends as the service shows what it gets.
func headerText(h nats.Header) string {
	if len(h) == 0 {
		return "no header"
	}
	return seen{User: visitorName, Headers: see(h).Headers}.String()
}

// ask returns what the service received.
func ask(ctx context.Context, nc *nats.Conn, h nats.Header) (seen, error) {
	return askAt(ctx, nc, serviceSubject, h)
}

func askAt(ctx context.Context, nc *nats.Conn, subject string, h nats.Header) (seen, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: h})
	if err != nil {
		return seen{}, fmt.Errorf("ask %s: %w", subject, err)
	}
	return decodeSeen(answer.Data)
}

func decodeSeen(data []byte) (seen, error) {
	var s seen
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("decode answer of %s: %w", serviceSubject, err)
	}
	return s, nil
}

// unstamped asks on a connection whose user has no headers.
func (c *client) unstamped(ctx context.Context, nc *nats.Conn) {
	c.report.say("backend", "publishes no header, over TCP, as a user who is stamped with none")
	got, err := ask(ctx, nc, nil)
	c.show(got, err)
	if err == nil && (got.User != "" || len(got.Headers) > 0) {
		err = fmt.Errorf("it received %s", got)
	}
	c.report.promise("a message without a stamp is anonymous to the service", err)
}

// retry calls f until it succeeds, for half a minute.
func retry(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return err
		case <-tick.C:
		}
	}
}
