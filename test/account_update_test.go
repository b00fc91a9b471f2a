package test

import (
	"strings"
	"testing"

	"stamp/server/claim"
	"stamp/test/harness"
)

// What the configuration stamps of the account is of the account as it is now, on live connections too, whichever
// key signed their user JWT.
func TestAccountUpdateChangesTheStampOfLiveConnections(t *testing.T) {
	t.Skip("needs the server to attach the account's connections again after an update of its JWT")
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
