package test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/nats-io/jwt/v2"

	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// An account may have any name. A request that names an account concerns only the connections of that account.
func TestConnectionsInAccountsWithOddNames(t *testing.T) {
	names := []string{"A B", "a.b", "A.*", ">", "n/a", "é", "$X", "APP/x", "APP"}
	accounts := ""
	for _, name := range names {
		accounts += strconv.Quote(name) + ": {}\n"
	}
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(`
		accounts {
			%s
			AUTH { users: [{user: auth, password: auth}] }
			SYS { users: [{user: sys, password: sys}] }
		}
		system_account: SYS
		authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, sys] } }
		callout { request {} }`, accounts, harness.Public(t, issuer)))
	v := &service{Server: s, counts: map[uint64]int{}}
	v.set(func(a asked, uc *jwt.UserClaims) error {
		uc.Name, uc.Audience = "carol", a.ConnectOptions.Username
		uc.Tags = jwt.TagList{forwarded.SessionTag("kv/one")}
		return nil
	})
	callout := harness.Callout{Issuer: issuer, Answer: v.answer("", issuer)}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	live := map[string]*harness.Raw{}
	for _, name := range names {
		live[name] = harness.Client(t, s, password(name))
	}
	for i, name := range names {
		for _, q := range []forwarded.Renew{{User: "carol"}, {Session: "kv/one"}, {All: true}} {
			q.Account = name
			if n := ask(t, s, q); n != 1 {
				t.Errorf("account %q: %d connections are concerned by %+v, want 1", name, n, q)
			}
		}
		if n := ask(t, s, forwarded.Renew{User: "carol", Account: name, Kick: true}); n != 1 {
			t.Errorf("account %q: %d connections were closed, want 1", name, n)
		}
		live[name].ExpectClosed()
		for _, other := range names[i+1:] {
			live[other].Flush()
		}
	}
}
