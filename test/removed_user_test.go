package test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"stamp/test/harness"
)

// A reload without a user of the source users ends that user's live connections, and no others: at once if the handler is
// inside the server, and at their next renewal if it is a process of its own. New ones are refused in both.
func TestReloadWithoutAUserOfTheSource(t *testing.T) {
	hash := bcryptOf(t, "open")
	alice := fmt.Sprintf("{user: alice, password: %q}", hash)
	users := func(more string) string {
		return fmt.Sprintf(`
			sessions: [{kind: users, users: [{user: bob, password: %q}, %s]}]
			grants: [{account: APP, user: "{{ session.user }}", publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"}}]`, hash, more)
	}
	connect := func(t *testing.T, s *harness.Server) (alice, bob *harness.Raw) {
		return harness.Client(t, s, harness.Password("alice", "open")), harness.Client(t, s, harness.Password("bob", "open"))
	}
	expectBobAlone := func(t *testing.T, s *harness.Server, bob *harness.Raw) {
		expectStamp(t, bob, subscriber(t, s, harness.Password("bob", "open")), "X-User: bob")
		expectRefused(t, s, harness.Password("alice", "open"))
	}
	t.Run("inside", func(t *testing.T) {
		conf := func(more string) string {
			return "accounts { APP {} }\ncallout {" + users(more) + "}"
		}
		s := harness.Start(t, conf(alice))
		removed, bob := connect(t, s)
		s.Reload(t, conf(""))
		removed.ExpectClosed()
		expectBobAlone(t, s, bob)
	})
	t.Run("nats-callout", func(t *testing.T) {
		issuer := harness.NewAccountKey(t)
		s := harness.Start(t, fmt.Sprintf(`
			accounts {
				AUTH { users: [{user: auth, password: auth}] }
				SYS { users: [{user: sys, password: sys}] }
				APP {}
			}
			system_account: SYS
			authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [auth, sys] } }`, harness.Public(t, issuer)))
		file := filepath.Join(t.TempDir(), "callout.conf")
		write := func(more string) {
			conf := fmt.Sprintf("connect { urls: [\"nats://%s\"], user: auth, password: auth }\nissuer: %s\n%s", s.Addr(t), harness.Seed(t, issuer), users(more))
			if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(alice)
		h := harness.Run(t, harness.CalloutBinary(t), "serve", "-c", file)
		h.WaitLog(t, "msg=serving")
		removed, bob := connect(t, s)
		write("")
		h.Signal(t, syscall.SIGHUP)
		h.WaitLog(t, "msg=reloaded")
		expectBobAlone(t, s, bob)
		expectStamp(t, removed, subscriber(t, s, harness.Password("bob", "open")), "X-User: alice") // not renewed yet
		request(t, s.Connect(t, userInfo("sys")), "$SYS.REQ.SERVER.PING.RENEW", `{"user":"alice"}`)
		removed.ExpectClosed()
		expectBobAlone(t, s, bob)
	})
}
