package test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/jwt/v2"

	"stamp.example/claim"
	"stamp/test/harness"
)

const reloadConf = `
	debug: %v
	%s
	authorization { users: [{user: u, password: u, %s}, {user: sub, password: sub}] }`

// A reload replaces the headers of a configured user on live connections.
func TestReloadOfHeaders(t *testing.T) {
	conf := func(headers string) string { return fmt.Sprintf(reloadConf, false, "", headers) }
	s := harness.Start(t, conf(`headers: {Session: "1"}`))
	sub := subscriber(t, s, password("sub"))
	raw := harness.Client(t, s, password("u"))
	full := raw.Info.MaxPayload
	expectStamp(t, raw, sub, "Session: 1")
	for _, step := range []struct {
		name, conf string
		want       []string
	}{
		{"changed", conf(`headers: {Session: "2"}`), []string{"Session: 2"}},
		{"another name", conf(`headers: {Changed: "longer value"}`), []string{"Changed: longer value"}},
		{"removed", conf(""), nil},
		{"added", conf(`headers: {Session: "3", Roles: ["a", "b"]}`), []string{"Roles: a", "Roles: b", "Session: 3"}},
		{"debug on", fmt.Sprintf(reloadConf, true, "", `headers: {Session: "3", Roles: ["a", "b"]}`), []string{"Roles: a", "Roles: b", "Session: 3"}},
		{"limits", fmt.Sprintf(reloadConf, false, "headers { max_headers: 2 }", `headers: {Session: "3", Roles: ["a", "b"]}`), []string{"Roles: a", "Roles: b", "Session: 3"}},
	} {
		s.Reload(t, step.conf)
		raw.Flush()
		t.Run(step.name, func(t *testing.T) { expectStamp(t, raw, sub, step.want...) })
		if step.want == nil && raw.Info.MaxPayload <= full {
			t.Errorf("%s: max_payload is %d, and was %d with a stamp", step.name, raw.Info.MaxPayload, full)
		}
	}
}

// If a reload sets a limit that the headers of a configured user exceed, it is refused, and connections stay as they are.
func TestReloadOfLimits(t *testing.T) {
	const user = `headers: {A: "{{server-id()}}", B: "2"}`
	s := harness.Start(t, fmt.Sprintf(reloadConf, false, "headers { max_headers: 2 }", user))
	sub := subscriber(t, s, password("sub"))
	raw := harness.Client(t, s, password("u"))
	for limit, want := range map[string]string{"": "", "max_headers: 1": "too many headers", "max_bytes: 50": "header block is longer than max_bytes: found 79 bytes; at most 50 are allowed"} {
		if want != "" {
			if line := s.TryReload(t, fmt.Sprintf(reloadConf, false, "headers { "+limit+" }", user)); !strings.Contains(line, `user "u" could not connect: `+want) {
				t.Errorf("expected the reload to %q to be refused, with the limit; the server logged %s", limit, line)
			}
		}
		expectStamp(t, raw, sub, "A: "+s.ID(t), "B: 2")
	}
}

// publishDuring publishes without pause while during runs. It checks that every message
// arrived with one of the header blocks, and that each block was used. The function
// that during gets waits until some messages have arrived.
func publishDuring(t *testing.T, pub, sub *harness.Raw, during func(pass func()), blocks ...string) {
	t.Helper()
	stop, sent := make(chan struct{}), make(chan int)
	var rounds atomic.Int64
	go func() {
		n := 0
		defer func() { sent <- n }()
		for ; ; n++ {
			select {
			case <-stop:
				pub.Pub("t.last", "")
				return
			default:
			}
			pub.Pub("t.n", strconv.Itoa(n))
			if n%64 == 0 {
				pub.Send("PING\r\n")
				if line, err := pub.Line(); line != "PONG" {
					t.Errorf("the publisher got %d bytes and the error %v instead of a PONG", len(line), err)
					return
				}
				rounds.Add(1)
			}
		}
	}()
	go func() {
		defer close(stop) // also when it ends the test
		during(func() {
			// The first message may have been published before the reload, but the second one was not.
			until := rounds.Load() + 2
			harness.Eventually(t, "messages go through", func() bool { return rounds.Load() >= until })
		})
	}()
	seen := map[string]int{}
	for n := 0; ; n++ {
		m := sub.Msg()
		if !slices.Contains(blocks, m.Header) {
			t.Fatalf("message %d has the header %q", n, m.Header)
		}
		seen[m.Header]++
		if m.Subject == "t.last" {
			if got := <-sent; got != n {
				t.Fatalf("%d messages were sent and %d arrived", got, n)
			}
			break
		}
		if m.Payload != strconv.Itoa(n) {
			t.Fatalf("message %d has another payload of %d bytes", n, len(m.Payload))
		}
	}
	for i, b := range blocks {
		if seen[b] == 0 {
			t.Errorf("no message with the header block %d of %d", i+1, len(blocks))
		}
	}
}

// During reloads each message has the whole old stamp or the whole new one.
func TestReloadWhilePublishing(t *testing.T) {
	conf := func(i int) string {
		return fmt.Sprintf(reloadConf, i%3 == 0, "", []string{`headers: {Session: "even"}`, `headers: {Session: "odd"}`}[i%2])
	}
	s := harness.Start(t, conf(0))
	sub := subscriber(t, s, password("sub"))
	raw := harness.Client(t, s, password("u"))
	publishDuring(t, raw, sub, func(pass func()) {
		for i := range 12 {
			s.Reload(t, conf(i+1))
			pass()
		}
	}, block("Session: even"), block("Session: odd"))
}

// The same for the user of a leafnode.
func TestReloadOfLeafnodeUsers(t *testing.T) {
	conf := `
		accounts { APP { users: [{user: sub, password: sub}, {user: site, password: site, headers: {Site: %q}}] } }
		leafnodes { listen: "127.0.0.1:-1" }`
	hub := harness.Start(t, fmt.Sprintf(conf, "one"))
	sub := subscriber(t, hub, password("sub"))
	raw := startLeaf(t, hub, "site")
	expectStamp(t, raw, sub, "Site: one")
	publishDuring(t, raw, sub, func(pass func()) {
		for i := range 6 {
			hub.Reload(t, fmt.Sprintf(conf, []string{"two", "one"}[i%2]))
			pass()
		}
	}, block("Site: one"), block("Site: two"))
}

// Upstream cannot reload the users of leafnodes{}, so their headers cannot be reloaded
// either. The old configuration stays in force as a whole.
func TestReloadOfTheLeafnodesBlock(t *testing.T) {
	hub := harness.Start(t, fmt.Sprintf(leafConf, "a", "one"))
	sub := subscriber(t, hub, password("sub"))
	raw, app := startLeaf(t, hub, "stamped"), harness.Client(t, hub, password("app"))
	if line := hub.TryReload(t, fmt.Sprintf(leafConf, "a", "secret")); !strings.Contains(line, "not supported for LeafNode") || strings.Contains(line, "secret") {
		t.Error("the reload was not refused, or its error shows a value")
	}
	expectStamp(t, raw, sub, "Site: one")
	hub.Reload(t, fmt.Sprintf(leafConf, "b", "one"))
	expectStamp(t, raw, sub, "Site: one")
	expectStamp(t, app, sub, "Session: b")
}

// After a reload, connections that a callout let in are authenticated again, by a new request.
func TestReloadWithCallout(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	conf := func(debug bool) string {
		return fmt.Sprintf("debug: %v\n", debug) + fmt.Sprintf(calloutConf, harness.Public(t, issuer), "")
	}
	s := harness.Start(t, conf(false))
	callout := harness.Callout{Issuer: issuer, Answer: answers("APP", issuer, map[string]*claim.Claim{"token": header("Session", "1")})}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	// At a reload, upstream closes a connection whose user name is not in the
	// configuration (clientHasMovedToDifferentAccount). A token has no user name.
	sub := subscriber(t, s, password("config-none"))
	raw := harness.Client(t, s, func(string) map[string]any { return map[string]any{"auth_token": "token"} })
	publishDuring(t, raw, sub, func(pass func()) {
		for i := range 6 {
			s.Reload(t, conf(i%2 == 0))
			pass()
		}
	}, block("Session: 1"))
}

// An account update that changes a scope's headers closes that scope's connections, and no others.
func TestAccountUpdate(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	acc.Claims.Tags.Add("region:eu")
	changing := acc.ScopedKey(t, map[string]any{"Session": "one"})
	other := acc.ScopedKey(t, map[string]any{"Second": "1"})
	s := harness.Start(t, op.PushConf(t))
	sub := subscriber(t, s, acc.User(t, "sub", nil).Credential)
	byClaim := harness.Client(t, s, acc.User(t, "claim", header("Claim", "1")).Credential)
	byOther := harness.Client(t, s, acc.UserBy(t, other, "other", nil, harness.Scoped).Credential)
	user := acc.UserBy(t, changing, "scoped", nil, harness.Scoped)
	raw := harness.Client(t, s, user.Credential)
	expectStamp(t, raw, sub, "Session: one")

	acc.Claims.Limits.Subs = 1000
	publishDuring(t, raw, sub, func(func()) { acc.Push(t, s) }, block("Session: one"))
	expectStamp(t, raw, sub, "Session: one")

	for _, step := range []struct {
		headers any
		want    []string
	}{
		{map[string]any{"Session": "two"}, []string{"Session: two"}},
		{nil, nil},
		{map[string]any{"Session": []string{"a", "b"}}, []string{"Session: a", "Session: b"}},
	} {
		acc.ScopeHeaders(t, changing, step.headers)
		acc.Push(t, s)
		raw.ExpectClosed()
		raw = harness.Client(t, s, user.Credential)
		expectStamp(t, raw, sub, step.want...)
		expectStamp(t, byClaim, sub, "Claim: 1")
		expectStamp(t, byOther, sub, "Second: 1")
	}
}

// A template with the account's tags gives the new tags after an account update.
func TestAccountTagsUpdate(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	acc.Claims.Tags.Add("region:eu")
	key := acc.ScopedKey(t, map[string]any{"Region": "{{account-tag(region)}}"})
	s := harness.Start(t, op.PushConf(t))
	sub := subscriber(t, s, acc.User(t, "sub", nil).Credential)
	user := acc.UserBy(t, key, "u", nil, harness.Scoped)
	raw := harness.Client(t, s, user.Credential)
	expectStamp(t, raw, sub, "Region: eu")
	acc.Claims.Tags = jwt.TagList{"region:us"}
	acc.Push(t, s)
	raw.ExpectClosed()
	expectStamp(t, harness.Client(t, s, user.Credential), sub, "Region: us")
}
