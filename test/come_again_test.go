package test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// waiting returns a client with the library's defaults, except for shorter pauses between attempts.
func waiting(t *testing.T, s *harness.Server) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://"+s.Addr(t), nats.Token("alice"), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// cutOff closes a client's connection while its session cannot be looked up, and lets it try some times. Then the
// session can be looked up again.
func cutOff(t *testing.T, s *harness.Server, app *application, nc *nats.Conn, close func()) {
	t.Helper()
	app.status.Store(http.StatusInternalServerError)
	close()
	before := app.asked.Load()
	harness.Eventually(t, "the client tries again", func() bool { return nc.IsClosed() || app.asked.Load() >= before+6 })
	if nc.IsClosed() {
		t.Fatalf("the client has given up: %v", nc.LastError())
	}
	expectTurnedAway(t, s, token("alice"))
	app.status.Store(http.StatusUnauthorized)
	if expectRefused(t, s, token("eve")) == "" {
		t.Error("a client whose token is certainly unknown is not told so")
	}
	app.status.Store(http.StatusOK)
	harness.Eventually(t, "the client is back", func() bool { return nc.IsConnected() || nc.IsClosed() })
	if nc.IsClosed() {
		t.Fatalf("the client has given up: %v", nc.LastError())
	}
}

// expectTurnedAway connects, and expects that the server closes the connection without an authorization error.
func expectTurnedAway(t *testing.T, s *harness.Server, cred harness.Credential) {
	t.Helper()
	raw := harness.Dial(t, s)
	raw.Connect(cred)
	if lines := raw.ExpectClosed(); len(lines) > 0 {
		t.Errorf("expected the connection to close without an error; the server sent %q", lines)
	}
}

// Clients of nats.go and nats.js give up after two authorization errors in a row. While a session cannot be looked up they get
// no error, so they connect again by themselves.
func TestClientsComeAgain(t *testing.T) {
	app := startApplication(t)
	s := harness.Start(t, liveConf{url: app.url}.String())
	nc := waiting(t, s)
	system := s.Connect(t, nats.UserInfo("sys", "sys"))
	cutOff(t, s, app, nc, func() { kick(t, system, nc) })
}

// The same with a handler in a process of its own that has a login of the system account.
func TestClientsComeAgainToNATSCallout(t *testing.T) {
	app := startApplication(t)
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	s := harness.Start(t, fmt.Sprintf(`
		accounts {
			AUTH { users: [{user: auth, password: auth}] }
			APP {}
			SYS { users: [
				{user: sys, password: sys}
				# With the permissions that docs/callout-operating.md gives it.
				{user: handler, password: sys, permissions: {
					publish: ["$SYS.REQ.SERVER.PING.RENEW", "$SYS.REQ.SERVER.*.KICK"], subscribe: ["$SYS.SERVER.*.STATSZ", "_INBOX.>"]}}
			] }
		}
		system_account: SYS
		authorization { timeout: 60, auth_callout { issuer: %s, xkey: %s, account: AUTH, auth_users: [auth, sys, handler] } }`, harness.Public(t, issuer), harness.Public(t, xkey)))
	harness.StartCallout(t, fmt.Sprintf(`
		connect { urls: ["nats://%s"], user: auth, password: auth, system { user: handler, password: sys } }
		issuer: %s, xkey: %s
		sessions: [{kind: http, url: %q, header: Authorization, scheme: Bearer, cache: 0, negative_cache: 0}]
		grants: [{account: APP, user: "{{ session.user }}", publish: ">", subscribe: ">"}]`, s.Addr(t), harness.Seed(t, issuer), harness.Seed(t, xkey), app.url))
	nc := waiting(t, s)
	system := s.Connect(t, nats.UserInfo("sys", "sys"))
	cutOff(t, s, app, nc, func() { kick(t, system, nc) })
}

// kick has the server close a client's connection.
func kick(t *testing.T, system, nc *nats.Conn) {
	t.Helper()
	cid, err := nc.GetClientID()
	if err == nil {
		_, err = system.Request("$SYS.REQ.SERVER."+nc.ConnectedServerId()+".KICK", fmt.Appendf(nil, `{"cid":%d}`, cid), harness.Timeout)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The same for nats.js.
func TestClientsOfNATSJSComeAgain(t *testing.T) {
	if _, err := os.Stat("js/node_modules/@nats-io/transport-node"); err != nil {
		t.Skip("nats.js is not installed; `scripts/test tools` installs it")
	}
	app := startApplication(t)
	s := harness.Start(t, liveConf{url: app.url}.String())
	_, port, _ := strings.Cut(s.Addr(t), ":")
	client := harness.Run(t, "node", "js/again.mjs", port, "alice")
	line := strings.Fields(client.WaitLog(t, "client .*"))
	system := s.Connect(t, nats.UserInfo("sys", "sys"))
	app.status.Store(http.StatusInternalServerError)
	before := app.asked.Load()
	if _, err := system.Request("$SYS.REQ.SERVER."+line[2]+".KICK", fmt.Appendf(nil, `{"cid":%s}`, line[1]), harness.Timeout); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the client tries again", func() bool {
		return strings.Contains(client.Text(), "closed") || app.asked.Load() >= before+6
	})
	app.status.Store(http.StatusOK)
	client.WaitLog(t, "back|closed")
	if strings.Contains(client.Text(), "closed") {
		t.Errorf("the client has given up: %s", client.Text())
	}
}
