package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stamp.example/claim"
	"stamp/test/harness"
)

// After an account update, headers.all has the new name and tags of the account, on live connections too, whichever key
// signed their user JWT.
func TestAccountUpdateChangesTheStampOfLiveConnections(t *testing.T) {
	op := harness.NewOperator(t)
	app := op.Account(t, "APP")
	app.Claims.Tags.Add("tenant:red")
	s := harness.Start(t, op.PushConf(t)+`headers { all: {X-Tenant: "{{account-tag(tenant)}}", X-Account: "{{account-name()}}"} }`)
	sub := subscriber(t, s, app.User(t, "sub", nil).Credential)
	users := map[string]*harness.User{
		"by the account's key":    app.User(t, "plain", nil),
		"with a claim of its own": app.User(t, "claim", &claim.Claim{Headers: []claim.Header{{Name: "N", Values: []string{"1"}}}}),
	}
	conns := map[string]*harness.Raw{}
	for name, user := range users {
		conns[name] = harness.Client(t, s, user.Credential)
	}
	expect := func(tenant, account string) {
		t.Helper()
		for name, raw := range conns {
			harness.Eventually(t, name+" has "+tenant+" and "+account, func() bool {
				raw.Pub("t.x", "")
				block := sub.Msg().Header
				return strings.Contains(block, "X-Tenant: "+tenant+"\r\n") && strings.Contains(block, "X-Account: "+account+"\r\n")
			})
		}
	}
	expect("red", "APP")
	app.Claims.Tags.Remove("tenant:red")
	app.Claims.Tags.Add("tenant:blue")
	app.Push(t, s)
	expect("blue", "APP")
	app.Claims.Name = "RENAMED"
	app.Push(t, s)
	expect("blue", "RENAMED")
}

// With keep_template_headers, an account update that drops the headers of a scope's template is refused and not stored.
// Without, it is reported.
func TestAccountUpdateThatLosesHeaders(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep_template_headers %t", keeps), func(t *testing.T) {
			op := harness.NewOperator(t)
			app := op.Account(t, "APP")
			key := app.ScopedKey(t, map[string]any{"N": "1"})
			before := app.JWT(t)
			s := harness.Start(t, op.PushConf(t)+fmt.Sprintf("headers { keep_template_headers: %t }", keeps))
			sub := subscriber(t, s, app.User(t, "sub", nil).Credential)
			user := app.UserBy(t, key, "scoped", nil, harness.Scoped)
			expectStamp(t, harness.Client(t, s, user.Credential), sub, "N: 1")
			sys := s.Connect(t, op.Sys.User(t, "sys", nil).Options()...)
			event := subscribedTo(t, sys, "$SYS.ACCOUNT.*.HEADERS.LOST")

			app.Claims.Tags.Add("edited")
			app.ScopeHeaders(t, key, nil)
			answer := request(t, sys, "$SYS.REQ.CLAIMS.UPDATE", app.JWT(t))
			if refused := strings.Contains(string(answer.Data), "keep_template_headers"); refused != keeps {
				t.Errorf("the update is answered by %s", answer.Data)
			}
			m := next(t, event, nil)
			if !strings.Contains(string(m.Data), harness.Public(t, key)) {
				t.Errorf("the event does not name the account's key: %s", m.Data)
			}
			s.WaitLog(t, "an update drops the headers")
			if lines := strings.Count(s.Text(), "an update drops the headers"); lines != 1 {
				t.Errorf("%d lines of the log tell of the update, want 1", lines)
			}
			stored := request(t, sys, "$SYS.REQ.ACCOUNT."+app.ID()+".CLAIMS.LOOKUP", "")
			if (string(stored.Data) == before) != keeps {
				t.Error("what is stored is not what is in force")
			}
			pub := harness.Client(t, s, user.Credential)
			if keeps {
				expectStamp(t, pub, sub, "N: 1")
			} else {
				expectStamp(t, pub, sub)
			}
		})
	}
}

// A refused account JWT does not get in through another server of the cluster that has stored it. Servers send each
// other their account JWTs without being asked.
func TestAccountUpdateOfAnotherServerIsRefusedToo(t *testing.T) {
	op := harness.NewOperator(t)
	app := op.Account(t, "APP")
	key := app.ScopedKey(t, map[string]any{"N": "1"})
	first, before := harness.FreeAddr(t), app.JWT(t)
	conf := func(name, listen string, keeps bool) string {
		return strings.Replace(op.PushConf(t), "allow_delete", `interval: "100ms", allow_delete`, 1) + fmt.Sprintf(`
			server_name: %s
			cluster { name: C, listen: %q, routes: ["nats://%s"] }
			headers { keep_template_headers: %t }`, name, listen, first, keeps)
	}
	keeps := conf("A", first, true)
	keeping := harness.Start(t, keeps)
	user := app.UserBy(t, key, "scoped", nil, harness.Scoped)
	sub := subscriber(t, keeping, app.User(t, "sub", nil).Credential)
	expectStamp(t, harness.Client(t, keeping, user.Credential), sub, "N: 1")

	// The JWT with the later time of issue wins, in whole seconds.
	harness.Eventually(t, "the next second", func() bool { return app.JWT(t) != before })
	app.ScopeHeaders(t, key, nil)
	harness.Start(t, conf("B", "127.0.0.1:-1", false))
	keeping.WaitLog(t, "an update drops the headers")

	dir := regexp.MustCompile(`dir: "([^"]+)"`).FindStringSubmatch(keeps)[1]
	stored, err := os.ReadFile(filepath.Join(dir, app.ID()+".jwt"))
	if err != nil || string(stored) != before {
		t.Errorf("the update is stored, and would be in force after the next start: %v", err)
	}
	expectStamp(t, harness.Client(t, keeping, user.Credential), sub, "N: 1")
}
