package test

import (
	"fmt"
	"testing"

	"github.com/nats-io/jwt/v2"

	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// calloutSupercluster is three servers and one in another cluster, by a gateway. The callout of all of them is served at the first.
func calloutSupercluster(t *testing.T) (*service, []*harness.Server) {
	t.Helper()
	issuer := harness.NewAccountKey(t)
	conf := func(name, more string) string {
		return fmt.Sprintf(`
			server_name: %s
			accounts {
				AUTH { users: [{user: auth, password: auth}] }
				APP { users: [{user: svc, password: svc}] }
				OTHER {}
				SYS { users: [{user: sys, password: sys}] }
			}
			system_account: SYS
			leafnodes { listen: "127.0.0.1:-1" }
			authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, svc, sys] } }
			callout { request {} }
			%s`, name, harness.Public(t, issuer), more)
	}
	gateway := "gateway { name: one, listen: \"127.0.0.1:-1\" }\n"
	first := harness.Start(t, conf("A", gateway+`cluster { name: one, listen: "127.0.0.1:-1" }`))
	servers := []*harness.Server{first}
	for _, name := range []string{"B", "C"} {
		servers = append(servers, harness.Start(t, conf(name, fmt.Sprintf(`%s cluster { name: one, listen: "127.0.0.1:-1", routes: ["nats://%s"] }`, gateway, first.Route(t)))))
	}
	servers = append(servers, harness.Start(t, conf("D", fmt.Sprintf(`gateway { name: two, listen: "127.0.0.1:-1", gateways: [{name: one, urls: ["nats://%s"]}] }`, first.Gateway(t)))))
	expectReach(t, servers, userInfo("sys"))
	v := &service{Server: first, counts: map[uint64]int{}}
	v.set(func(a asked, uc *jwt.UserClaims) error {
		uc.Name = a.ConnectOptions.Username
		if a.ConnectOptions.Password == "other" {
			uc.Audience = "OTHER"
		}
		uc.Tags = jwt.TagList{forwarded.SessionTag("app/" + uc.Name)}
		return nil
	})
	callout := harness.Callout{Issuer: issuer, Answer: v.answer("APP", issuer), Silent: errSilent}
	callout.Serve(t, first.Connect(t, userInfo("auth")))
	return v, servers
}

// Renewals and logouts reach all connections of a session, or of a user, on all servers of all clusters, leafnodes included,
// and no connection of others.
func TestRenewalsAndLogoutsEverywhere(t *testing.T) {
	for name, q := range map[string]forwarded.Renew{
		"session": {Session: "app/alice", Account: "APP"}, "user": {User: "alice", Account: "APP"},
	} {
		t.Run(name, func(t *testing.T) {
			v, servers := calloutSupercluster(t)
			var alice, others []*harness.Raw
			for _, s := range servers {
				harness.Eventually(t, "the callout is reached", func() bool {
					nc, err := s.TryConnect(t, userInfo("early"))
					if err == nil {
						nc.Close()
					}
					return err == nil
				})
				alice = append(alice, harness.Client(t, s, password("alice")))
				others = append(others, harness.Client(t, s, password("bob")), harness.Client(t, s, harness.Password("alice", "other")))
			}
			site := harness.Start(t, fmt.Sprintf(`
				server_name: site
				leafnodes { remotes: [{url: "nats://alice:alice@%s"}] }`, servers[2].Leaf(t)))
			harness.Eventually(t, "the leafnode", func() bool { return len(site.Leafz(t).Leafs) == 1 })
			before := v.renewals()
			tell := func(kick bool) {
				t.Helper()
				q.Kick = kick
				ask(t, servers[3], q)
			}
			tell(false)
			harness.Eventually(t, "the renewals", func() bool { return v.renewals()-before >= len(alice)+1 })
			mark := servers[2].Mark()
			tell(true)
			for _, c := range alice {
				c.ExpectClosed()
			}
			mark.WaitLog(t, `lid:\d+ - Leafnode connection closed: Kicked`)
			for _, c := range others {
				c.Flush()
			}
			if n := v.renewals() - before; n != len(alice)+1 {
				t.Errorf("%d connections were renewed, want %d", n, len(alice)+1)
			}
		})
	}
}
