package test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/jwt/v2"

	"stamp/server/claim"
	"stamp/test/harness"
)

// When a reload makes the account of live callout users that of the callout too, they are denied the
// subjects of callouts, as those are that come later: they could read everybody's credentials.
func TestReloadMovesTheCalloutToTheAccountOfItsUsers(t *testing.T) {
	app := startApplication(t)
	conf := liveConf{url: app.url}.String()
	s := harness.Start(t, conf)
	l := connectLive(t, s, 1)
	s.Reload(t, strings.Replace(conf, "callout {\n", "callout {\n account: APP\n", 1))
	harness.Eventually(t, "the renewal", func() bool { return varzHeaders(t, s)["renewals"] == 1 })
	n := 0
	denied := func(raw *harness.Raw) bool {
		n++
		raw.Send("SUB $SYS.REQ.USER.AUTH stamp-callout a%d\r\n", n)
		errs := untilPong(t, raw)
		raw.Send("UNSUB a%d\r\n", n)
		return len(errs) == 1 && strings.HasPrefix(errs[0], "-ERR 'Permissions Violation for Subscription")
	}
	if !denied(l.conns["live0"]) {
		t.Error("the live user may subscribe to the subject of callouts")
	}
	if !denied(l.add("fresh", token("fresh"))) {
		t.Error("a new user of the callout may subscribe to the subject of callouts")
	}
	l.expectAlive()
}

// A connection that a callout has put into an account ends with the account.
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
