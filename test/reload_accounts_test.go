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

// If an account is removed, connections that a callout has put into it are closed.
func TestReloadRemovesTheAccountOfCalloutUsers(t *testing.T) {
	op := harness.NewOperator(t)
	auth, app := op.Account(t, "AUTH"), op.Account(t, "APP")
	service, sentinel := auth.User(t, "service", nil), auth.User(t, "sentinel", nil, harness.Bearer)
	auth.Claims.Authorization.AuthUsers.Add(harness.Public(t, service.Key))
	auth.Claims.Authorization.AllowedAccounts.Add("*")
	conf := op.Conf(t)
	s := harness.Start(t, conf)
	callout := harness.Callout{Issuer: auth.Key, Answer: answers("", app.Key, map[string]*claim.Claim{"": header("N", "1")})}
	callout.Serve(t, s.Connect(t, service.Options()...))
	raw := harness.Client(t, s, sentinel.Credential)
	var rest strings.Builder
	for line := range strings.Lines(conf) {
		if !strings.HasPrefix(line, "  "+app.ID()) {
			rest.WriteString(line)
		}
	}
	s.Reload(t, rest.String())
	raw.ExpectClosed()
}

// The same in a configuration file, also for a connection that is just being renewed.
func TestReloadRemovesTheAccountDuringARenewal(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	conf := func(gone string) string {
		return fmt.Sprintf(`
			accounts { AUTH { users: [{user: auth, password: auth}] }, %s SYS { users: [{user: sys, password: sys}] } }
			system_account: SYS
			authorization { timeout: 3, auth_callout { issuer: %s, account: AUTH, auth_users: [auth, sys] } }`, gone, harness.Public(t, issuer))
	}
	s := harness.Start(t, conf("GONE {},"))
	var mute atomic.Bool
	var asked atomic.Int64
	callout := harness.Callout{Issuer: issuer, Silent: errSilent, Answer: func(r *jwt.AuthorizationRequestClaims) (string, error) {
		asked.Add(1)
		if mute.Load() {
			return "", errSilent
		}
		uc := jwt.NewUserClaims(r.UserNkey)
		uc.Audience = "GONE"
		return claim.Encode(uc, header("N", "1"), issuer)
	}}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	renewing := harness.Client(t, s, named(password("alice"), "alice"))
	other := harness.Client(t, s, named(password("bob"), "bob"))
	mute.Store(true)
	before := asked.Load()
	request(t, s.Connect(t, userInfo("sys")), "$SYS.REQ.SERVER."+s.ID(t)+".RENEW", fmt.Sprintf(`{"cid":%d}`, cid(t, s, "alice")))
	harness.Eventually(t, "the renewal is under way", func() bool { return asked.Load() > before })
	s.Reload(t, conf(""))
	other.ExpectClosed()
	renewing.ExpectClosed()
}
