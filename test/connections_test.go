package test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// twoTenants is a callout whose users are all called carol. Those that log in as "foreign" are in OTHER, the rest in APP.
func twoTenants(t *testing.T) *service {
	t.Helper()
	v := startService(t, nil)
	v.set(func(a asked, uc *jwt.UserClaims) error {
		uc.Name = "carol"
		if a.ConnectOptions.Username == "foreign" {
			uc.Audience = "OTHER"
		}
		uc.Tags = jwt.TagList{forwarded.SessionTag("kv/one")}
		return nil
	})
	return v
}

// Two tenants may have users, and sessions, of the same name.
func TestRenewAndKickInOneAccount(t *testing.T) {
	for name, q := range map[string]forwarded.Renew{
		"user": {User: "carol"}, "session": {Session: "kv/one"}, "all": {All: true},
	} {
		t.Run(name, func(t *testing.T) {
			v := twoTenants(t)
			sub := subscriber(t, v.Server, password("svc"))
			app, _ := harness.Client(t, v.Server, password("app")), harness.Client(t, v.Server, password("app2"))
			foreign := harness.Client(t, v.Server, password("foreign"))
			q.Account = "APP"
			if n := ask(t, v.Server, q); n != 2 {
				t.Errorf("%d connections of APP were renewed, want 2", n)
			}
			renewed(t, app, sub, 2)
			q.Kick = true
			if n := ask(t, v.Server, q); n != 2 {
				t.Errorf("%d connections of APP were closed, want 2", n)
			}
			app.ExpectClosed()
			foreign.Flush()
			q.Account = "NONE"
			if n := ask(t, v.Server, q); n != 0 {
				t.Errorf("%d connections were closed for an account that does not exist", n)
			}
			foreign.Flush()
			v.mu.Lock()
			for _, a := range v.all {
				if a.renewal && a.ConnectOptions.Username == "foreign" {
					t.Error("a connection of another account was renewed")
				}
			}
			v.mu.Unlock()
			q.Account = ""
			if n := ask(t, v.Server, q); n != 1 {
				t.Errorf("%d connections of all accounts were closed", n)
			}
			foreign.ExpectClosed()
		})
	}
}

// A request must have exactly one selector, and an account only with a selector that it can narrow.
func TestRenewRequestsThatSayNothing(t *testing.T) {
	v := twoTenants(t)
	nc := v.Connect(t, userInfo("sys"))
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `{"cid":1,"user":"carol"}`, `{"all":true,"user":"carol"}`, `{"all":true,"pending":true}`, `{"cid":1,"account":"APP"}`,
		`{"pending":true,"kick":true}`, `{"pending":true,"account":"APP"}`, `{"account":"APP"}`, `{"account":"APP","kick":true}`, `{"every":true}`,
	} {
		m, err := nc.Request(forwarded.RenewAll, []byte(body), harness.Timeout)
		if err != nil || !strings.Contains(string(m.Data), `"error"`) {
			t.Errorf("expected an error for the renewal request %s; found error %v, answer %s", body, err, m.Data)
		}
	}
	if got := string(request(t, nc, forwarded.RenewAll, `{"pending":true}`).Data); !strings.Contains(got, `"pending":0`) {
		t.Errorf("expected that no renewal is pending; found %s", got)
	}
}

// In operator mode an account is given by its public key, since names are not unique. A name is refused, so that nobody takes
// it for success.
func TestKickInAnAccountOfAnOperator(t *testing.T) {
	o := newCalloutOperator(t, nil)
	s := harness.Start(t, o.Conf(t))
	nc := s.Connect(t, o.Sys.User(t, "sys", nil).Options()...)
	if got := string(request(t, nc, forwarded.RenewAll, `{"user":"carol","account":"APP","kick":true}`).Data); !strings.Contains(got, "public key") {
		t.Errorf("expected the server to ask for the account's public key; it answered %s", got)
	}
	user := s.Connect(t, o.app.User(t, "carol", nil).Options()...)
	if got := string(request(t, nc, forwarded.RenewAll, `{"user":"`+user.Opts.User+`","account":"`+o.app.ID()+`"}`).Data); strings.Contains(got, "public key") {
		t.Errorf("the server refused the account's public key: %s", got)
	}
}

// With --wait, the command waits until renewals are done, and says how they ended.
func TestConnectionsCommandWaits(t *testing.T) {
	v := twoTenants(t)
	t.Setenv("NATS_PASSWORD", "sys")
	sub := subscriber(t, v.Server, password("svc"))
	app := harness.Client(t, v.Server, password("app"))
	run := func(args ...string) (string, int) {
		t.Helper()
		args = append([]string{"connections"}, args...)
		cmd := exec.Command(harness.CalloutBinary(t), append(args, "--server", "nats://"+v.Addr(t), "--user", "sys")...)
		out, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	out, code := run("renew", "--all", "--wait", "30s")
	if code != 0 || !strings.Contains(out, "server S: 1 connection renewed\nall renewals are done\n") {
		t.Errorf("expected exit code 0 and one connection renewed; found exit code %d:\n%s", code, out)
	}
	if n := number(t, app, sub); n != 2 {
		t.Errorf("the command ended before the renewal: the stamp is number %d", n)
	}
	// No answer: not done in time.
	v.set(func(asked, *jwt.UserClaims) error { return errSilent })
	out, code = run("renew", "--all", "--wait", "1s")
	if code != 1 || !strings.Contains(out, "1 renewal not done in 1s") {
		t.Errorf("without a handler, expected exit code 1 and a renewal that is not done; found exit code %d:\n%s", code, out)
	}
	v.set(func(_ asked, uc *jwt.UserClaims) error { uc.Name = "carol"; return nil })
	if out, code = run("renew", "--of", "carol", "--wait", "30s"); code != 0 {
		t.Errorf("with a handler again, expected exit code 0; found %d:\n%s", code, out)
	}
	// Refused: the connection is closed, and the command says so.
	v.set(func(asked, *jwt.UserClaims) error { return nats.ErrAuthorization })
	out, code = run("renew", "--all", "--account", "APP", "--wait", "30s")
	if code != 0 || !strings.Contains(out, "1 connection closed, because the callout refused the renewal") {
		t.Errorf("after a refusal, expected exit code 0 and a closed connection; found exit code %d:\n%s", code, out)
	}
	app.ExpectClosed()
	for _, args := range [][]string{{"renew"}, {"renew", "--all", "--of", "a"}, {"kick"}, {"kick", "--account", "APP"}, {"kick", "--of", "a", "--session", "b"}, {"kick", "--all"}} {
		if out, code := run(args...); code != 2 {
			t.Errorf("connections %q: expected exit code 2, wrong usage; found %d:\n%s", args, code, out)
		}
	}
}

// A second CONNECT takes a connection out of the session of the first: the end of that one does not concern it any more.
func TestSecondConnectLeavesTheSession(t *testing.T) {
	v := startService(t, nil)
	v.set(func(a asked, uc *jwt.UserClaims) error {
		uc.Tags = jwt.TagList{forwarded.SessionTag("kv/" + a.ConnectOptions.Username)}
		return nil
	})
	for _, second := range []string{"two", "svc"} { // of another session, and of none
		raw := harness.Client(t, v.Server, named(password("one"), "it"))
		raw.Connect(named(password(second), "it"))
		raw.Flush()
		if n := ask(t, v.Server, forwarded.Renew{Session: "kv/one", Kick: true}); n != 0 {
			t.Errorf("as %s: the end of the first session concerns %d connections", second, n)
		}
		raw.Flush()
	}
	raw := harness.Client(t, v.Server, named(password("one"), "it"))
	raw.Connect(named(password("two"), "it"))
	raw.Flush()
	ask(t, v.Server, forwarded.Renew{Session: "kv/two", Kick: true})
	raw.ExpectClosed()
}
