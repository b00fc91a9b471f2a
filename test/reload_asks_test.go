package test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/jwt/v2"

	"stamp.example/claim"
	"stamp/test/harness"
)

// A reload asks no callout about connections that one has let in, even if no_auth_user could decide about them. It closes none
// of them, and waits for nobody.
func TestReloadAsksNobodyDespiteNoAuthUser(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	conf := func(top string) string {
		return fmt.Sprintf(`
			accounts { AUTH { users: [{user: auth, password: auth}] }, APP { users: [{user: svc, password: svc}] }, B {} }
			no_auth_user: svc
			%s
			authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, svc] } }`, top, harness.Public(t, issuer))
	}
	for _, account := range []string{"APP", "B"} {
		t.Run(account, func(t *testing.T) {
			s := harness.Start(t, conf(""))
			var asked atomic.Int64
			callout := harness.Callout{Issuer: issuer, Answer: func(r *jwt.AuthorizationRequestClaims) (string, error) {
				asked.Add(1)
				uc := jwt.NewUserClaims(r.UserNkey)
				uc.Audience = account
				return claim.Encode(uc, header("N", "1"), issuer)
			}}
			callout.Serve(t, s.Connect(t, userInfo("auth")))
			var conns []*harness.Raw
			for range 3 {
				conns = append(conns, harness.Client(t, s, func(string) map[string]any { return map[string]any{"pass": "x"} }))
			}
			before := asked.Load()
			s.Reload(t, conf("debug: true"))
			for _, conn := range conns {
				conn.Flush()
			}
			if n := asked.Load() - before; n != 0 {
				t.Errorf("the callout was asked %d times", n)
			}
		})
	}
}

// If auth_users has a name that no user has, the callout decides about that name, also at a reload.
func TestReloadWithAnAuthUserThatIsNoUser(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	conf := func(top string) string {
		return fmt.Sprintf(`
			%s
			accounts { AUTH { users: [{user: auth, password: auth}] }, APP { users: [{user: svc, password: svc}] } }
			authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, svc, ghost] } }`, top, harness.Public(t, issuer))
	}
	s := harness.Start(t, conf(""))
	callout := harness.Callout{Issuer: issuer, Answer: answers("APP", issuer, map[string]*claim.Claim{"ghost": header("N", "1")})}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	sub := subscriber(t, s, password("svc"))
	ghost := harness.Client(t, s, password("ghost"))
	expectStamp(t, ghost, sub, "N: 1")
	s.Reload(t, conf("debug: true"))
	expectStamp(t, ghost, sub, "N: 1")
}

// After a reload, a connection with a token and a name is judged as a new one with the same credential: if a configured user
// has got that name, the callout decides about both, or neither is let in.
func TestReloadTakesANameBesideAToken(t *testing.T) {
	app := startApplication(t)
	conf := liveConf{url: app.url}
	s := harness.Start(t, conf.String())
	sub := subscriber(t, s, password("svc"))
	cred := func(string) map[string]any { return map[string]any{"auth_token": "alice", "user": "alice"} }
	raw := harness.Client(t, s, cred)
	expectStamp(t, raw, sub, "X-User: alice")
	conf.users = "{user: alice, password: secret}"
	s.Reload(t, conf.String())
	fresh := harness.Dial(t, s)
	fresh.Connect(cred)
	fresh.Send("PING\r\n")
	if line, err := fresh.Line(); err == nil && line == "PONG" {
		expectStamp(t, fresh, sub, "X-User: alice")
		expectStamp(t, raw, sub, "X-User: alice")
		return
	} else if !strings.HasPrefix(line, "-ERR 'Authorization Violation'") {
		t.Fatalf("the new connection got %q, error %v", line, err)
	}
	raw.ExpectClosed()
}
