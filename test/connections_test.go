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

// Users, and sessions, of two tenants may have the same name.
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
				t.Errorf("%d connections of APP are renewed", n)
			}
			renewed(t, app, sub, 2)
			q.Kick = true
			if n := ask(t, v.Server, q); n != 2 {
				t.Errorf("%d connections of APP are closed", n)
			}
			app.ExpectClosed()
			foreign.Flush()
			q.Account = "NONE"
			if n := ask(t, v.Server, q); n != 0 {
				t.Errorf("%d connections of no account are closed", n)
			}
			foreign.Flush()
			v.mu.Lock()
			for _, a := range v.all {
				if a.renewal && a.ConnectOptions.Username == "foreign" {
					t.Error("a connection of another account is renewed")
				}
			}
			v.mu.Unlock()
			q.Account = ""
			if n := ask(t, v.Server, q); n != 1 {
				t.Errorf("%d connections of all accounts are closed", n)
			}
			foreign.ExpectClosed()
		})
	}
}

// A request says exactly one thing, and an account only where it can narrow it.
func TestRenewRequestsThatSayNothing(t *testing.T) {
	v := twoTenants(t)
	nc := v.Connect(t, userInfo("sys"))
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `{"cid":1,"user":"carol"}`, `{"all":true,"user":"carol"}`, `{"all":true,"pending":true}`, `{"cid":1,"account":"APP"}`,
		`{"pending":true,"kick":true}`, `{"pending":true,"account":"APP"}`, `{"account":"APP"}`, `{"account":"APP","kick":true}`, `{"every":true}`,
	} {
		m, err := nc.Request(forwarded.RenewAll, []byte(body), harness.Timeout)
		if err != nil || !strings.Contains(string(m.Data), `"error"`) {
			t.Errorf("%s: %v, %s", body, err, m.Data)
		}
	}
	if got := string(request(t, nc, forwarded.RenewAll, `{"pending":true}`).Data); !strings.Contains(got, `"pending":0`) {
		t.Errorf("pending: %s", got)
	}
}

// In operator mode an account is its public key, since names are not unique. A name is refused, so that nobody
// believes that it has closed something.
func TestKickInAnAccountOfAnOperator(t *testing.T) {
	o := newCalloutOperator(t, nil)
	s := harness.Start(t, o.Conf(t))
	nc := s.Connect(t, o.Sys.User(t, "sys", nil).Options()...)
	if got := string(request(t, nc, forwarded.RenewAll, `{"user":"carol","account":"APP","kick":true}`).Data); !strings.Contains(got, "public key") {
		t.Errorf("by name: %s", got)
	}
	user := s.Connect(t, o.app.User(t, "carol", nil).Options()...)
	if got := string(request(t, nc, forwarded.RenewAll, `{"user":"`+user.Opts.User+`","account":"`+o.app.ID()+`"}`).Data); strings.Contains(got, "public key") {
		t.Errorf("by key: %s", got)
	}
}

// The command waits until renewals are done, and says what became of them.
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
		t.Errorf("exit code %d: %s", code, out)
	}
	if n := number(t, app, sub); n != 2 {
		t.Errorf("the command is over, and the stamp is number %d", n)
	}
	// No answer: not done in time.
	v.set(func(asked, *jwt.UserClaims) error { return errSilent })
	out, code = run("renew", "--all", "--wait", "1s")
	if code != 1 || !strings.Contains(out, "1 renewal not done in 1s") {
		t.Errorf("without a handler: exit code %d: %s", code, out)
	}
	v.set(func(_ asked, uc *jwt.UserClaims) error { uc.Name = "carol"; return nil })
	if out, code = run("renew", "--of", "carol", "--wait", "30s"); code != 0 {
		t.Errorf("with a handler again: exit code %d: %s", code, out)
	}
	// Refused: the connection is closed, and the command says so.
	v.set(func(asked, *jwt.UserClaims) error { return nats.ErrAuthorization })
	out, code = run("renew", "--all", "--account", "APP", "--wait", "30s")
	if code != 0 || !strings.Contains(out, "1 connection closed, because the callout refused the renewal") {
		t.Errorf("refused: exit code %d: %s", code, out)
	}
	app.ExpectClosed()
	for _, args := range [][]string{{"renew"}, {"renew", "--all", "--of", "a"}, {"kick"}, {"kick", "--account", "APP"}, {"kick", "--of", "a", "--session", "b"}, {"kick", "--all"}} {
		if out, code := run(args...); code != 2 {
			t.Errorf("%q: exit code %d: %s", args, code, out)
		}
	}
}
