package test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// TestStatus shows a cluster of a Stamp server and a stock server, with a nats-callout and a handler
// inside, to an operator.
func TestStatus(t *testing.T) {
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	const system = `
		accounts {
			AUTH { users: [{user: auth, password: auth}] }
			APP { users: [{user: app, password: app, headers: {X-App: "1"}}] }
			SYS { users: [{user: sys, password: sys}, {user: none, password: none, permissions: {publish: {deny: ">"}}}] }
		}
		system_account: SYS
		server_name: %s
		authorization { auth_callout { issuer: %s, xkey: %s, account: AUTH, auth_users: [auth, app, sys, none] } }
		cluster { name: C, listen: "127.0.0.1:-1" %s }`
	conf := func(name, more string) string {
		return fmt.Sprintf(system, name, harness.Public(t, issuer), harness.Public(t, xkey), more)
	}
	stamps := harness.Start(t, "headers { protected: [X-App] }"+conf("stamps", ""))
	stock := harness.StartStock(t, strings.Replace(conf("plain", fmt.Sprintf(", routes: [\"nats://%s\"]", stamps.Route(t))), `, headers: {X-App: "1"}`, "", 1))
	keys := fmt.Sprintf("issuer: %s\nxkey: %s", harness.Seed(t, issuer), harness.Seed(t, xkey))
	h := harness.StartCallout(t, handlerConf(t, stock, "user: auth, password: auth", keys, "APP"))
	handler := "http://" + endpoint.FindStringSubmatch(h.WaitLog(t, endpoint.String()))[1]
	inside := harness.Start(t, `
		accounts { APP { users: [{user: sub, password: sub}] } }
		callout { http: "127.0.0.1:0", sessions: [{kind: anonymous}], grants: [{account: APP, publish: ">", subscribe: ">"}] }`)
	insideURL := shownAt(t, inside.WaitLog(t, "shows metrics on http://"))
	app := stamps.Connect(t, userInfo("app"))
	if err := app.Publish("m", nil); err != nil {
		t.Fatal(err)
	}
	sub := must(app.SubscribeSync("m"))
	if err := app.PublishMsg(&nats.Msg{Subject: "m", Header: nats.Header{"X-App": {"forged"}}}); err != nil {
		t.Fatal(err)
	}
	must(sub.NextMsg(harness.Timeout))
	harness.Client(t, stock, harness.Password("alice", "open"))
	expectRefused(t, stock, harness.Password("eve", "secret-of-eve"))

	status := func(server *harness.Server, user string, args ...string) (string, int) {
		t.Helper()
		command := exec.Command(harness.CalloutBinary(t), append([]string{"status", "-s", "nats://" + server.Addr(t), "--user", user, "--password", "@/dev/stdin", "--timeout", "2s"}, args...)...)
		command.Stdin = strings.NewReader(user)
		out, _ := command.CombinedOutput() // the exit code says whether it failed
		if strings.Contains(string(out), "secret-of-eve") {
			t.Errorf("the command shows a credential: %s", out)
		}
		return string(out), command.ProcessState.ExitCode()
	}
	var shown string
	harness.Eventually(t, "both servers and the handler are shown", func() bool {
		var code int
		shown, code = status(stamps, "sys", "--handler", handler, "--handler", insideURL)
		return code == 0 && strings.Contains(shown, "1 of 2 servers stamp")
	})
	for _, want := range []string{
		`(?m)^plain +C +2\.\S+ +stock +\d+ +- `,
		`(?m)^stamps +C +2\.\S+ +2\.\S+\+stamp\.\d+ +\d+ +1 +1 +0 +0 +0 +0$`,
		`(?m)^1 of 2 servers stamp; clients of plain can forge`,
		`(?m)^handler: client \d+ of server plain, account AUTH, queue group stamp-callout$`,
		`(?m)^` + regexp.QuoteMeta(handler) + `: 2\.\S+, queue group stamp-callout, ready$`,
		`(?m)^  source users \(users\): works; 1 session cached, 2 asked, 1 unknown, 0 failed`,
		`(?m)^  callouts: 0 renewals, 1 granted, 1 refused$`,
		`(?m)^    \d{4}-\S+Z  client \d+ of server plain, nats, password: refused: no session`,
		`(?m)^` + regexp.QuoteMeta(insideURL) + `: 2\.\S+, queue group \S+, ready$`,
	} {
		if !regexp.MustCompile(want).MatchString(shown) {
			t.Errorf("expected output that matches %s; found\n%s", want, shown)
		}
	}

	out, code := status(stock, "sys", "--json", "--handler", handler)
	var o struct {
		Servers []struct {
			Name  string
			Stamp map[string]any
		}
		Handlers []map[string]any
		Asked    []struct {
			Status struct{ Refusals []map[string]any }
		}
	}
	if err := json.Unmarshal([]byte(out), &o); err != nil || code != 0 {
		t.Fatalf("expected exit code 0 and JSON; found exit code %d, error %v:\n%s", code, err, out)
	}
	if len(o.Servers) != 2 || o.Servers[0].Stamp != nil || o.Servers[1].Stamp["stamped_messages"] != 1.0 || len(o.Handlers) != 1 || len(o.Asked[0].Status.Refusals) != 1 {
		t.Errorf("the JSON does not tell of two servers, one handler and one refusal:\n%s", out)
	}

	for _, c := range []struct {
		user string
		args []string
		want string
	}{
		{"app", nil, "hint: log in as a user of the system account"},
		{"none", nil, "the user may not ask the servers: nats: permissions violation"},
		{"sys", []string{"--handler", "http://" + harness.FreeAddr(t)}, "connection refused"},
		{"sys", []string{"--handler", "http://" + stamps.Monitor(t)}, "is it the address http of a handler"},
		{"sys", []string{"--handler", "127.0.0.1:8223"}, "--handler: expected a URL such as http://127.0.0.1:8223"},
		{"sys", []string{"--handler", "http://u:secret-of-eve@127.0.0.1:8223"}, "without a user"},
	} {
		if out, code := status(stamps, c.user, c.args...); code == 0 || !strings.Contains(out, c.want) {
			t.Errorf("user %s with %v: expected the error %q; found exit code %d:\n%s", c.user, c.args, c.want, code, out)
		}
	}
}
