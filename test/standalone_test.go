package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"golang.org/x/crypto/bcrypt"

	"stamp/test/harness"
)

// handlerConf is a handler in a process of its own. Its users are alice and bob.
func handlerConf(t *testing.T, s *harness.Server, login, keys, account string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("open"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
		connect { urls: ["nats://%s"], %s }
		%s
		http: "127.0.0.1:0"
		sessions: [{kind: users, users: [{user: alice, password: %q, team: red}, {user: bob, password: %q}]}]
		grants: [{
			name: team, account: %s, publish: ">", subscribe: ">"
			headers: {X-User: "{{ session.user }}", X-Team: "{{ session.team }}"}
		}]`, s.Addr(t), login, keys, hash, hash, account)
}

// nats-callout decides about the connections of a server in configuration mode.
func TestStandaloneInConfigurationMode(t *testing.T) {
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	s := harness.Start(t, fmt.Sprintf(calloutConf, harness.Public(t, issuer), "xkey: "+harness.Public(t, xkey)))
	keys := fmt.Sprintf("issuer: %s\nxkey: %s", harness.Seed(t, issuer), harness.Seed(t, xkey))
	h := harness.StartCallout(t, handlerConf(t, s, "user: auth, password: auth", keys, "APP"))
	alice := harness.Password("alice", "open")
	sub := subscriber(t, s, alice)
	expectStamp(t, harness.Client(t, s, alice), sub, "X-Team: red", "X-User: alice")
	expectRefused(t, s, harness.Password("alice", "shut"))
	expectRefused(t, s, harness.Password("eve", "open"))
	expectRefused(t, s, harness.Nobody)
	// bob has no team: the grant is refused, and says which field.
	expectRefused(t, s, harness.Password("bob", "open"))
	h.WaitLog(t, `refused.*team.*X-Team`)
	expectReady(t, h, http.StatusOK)
}

var endpoint = regexp.MustCompile(`address=(\S+)`)

// expectReady asks whether a callout goes through.
func expectReady(t *testing.T, h *harness.Process, want int) {
	t.Helper()
	address := endpoint.FindStringSubmatch(h.WaitLog(t, endpoint.String()))[1]
	harness.Eventually(t, fmt.Sprintf("/readyz is %d", want), func() bool {
		response, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == want
	})
}

// The same in operator mode.
func TestStandaloneInOperatorMode(t *testing.T) {
	for name, xkey := range map[string]nkeys.KeyPair{"plain": nil, "xkey": harness.NewXKey(t)} {
		t.Run(name, func(t *testing.T) {
			o := newCalloutOperator(t, xkey)
			authKey, appKey := o.auth.SigningKey(t), o.app.SigningKey(t)
			s := harness.Start(t, o.Conf(t))
			appSeed := filepath.Join(t.TempDir(), "app.nk")
			if err := os.WriteFile(appSeed, []byte(harness.Seed(t, appKey)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			keys := fmt.Sprintf("issuer: %s\nissuer_account: %s\nsigning_keys { APP: {account: %s, seed_file: %q} }",
				harness.Seed(t, authKey), o.auth.ID(), o.app.ID(), appSeed)
			if xkey != nil {
				keys += "\nxkey: " + harness.Seed(t, xkey)
			}
			sentinel := o.auth.User(t, "sentinel", nil)
			login := fmt.Sprintf("creds: %q, sentinel: %q", o.service.Creds(t), sentinel.Creds(t))
			h := harness.StartCallout(t, handlerConf(t, s, login, keys, "APP"))
			with := func(user, password string) harness.Credential {
				return func(nonce string) map[string]any {
					fields := sentinel.Credential(nonce)
					fields["user"], fields["pass"] = user, password
					return fields
				}
			}
			sub := subscriber(t, s, o.app.User(t, "sub", nil).Credential)
			expectStamp(t, harness.Client(t, s, with("alice", "open")), sub, "X-Team: red", "X-User: alice")
			expectRefused(t, s, with("alice", "shut"))
			expectRefused(t, s, sentinel.Credential)
			expectReady(t, h, http.StatusOK)
		})
	}
}

// Several handlers share the work. If one of them ends by SIGTERM, no callout is lost.
func TestStandaloneDrainsInAQueueGroup(t *testing.T) {
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	s := harness.Start(t, fmt.Sprintf(calloutConf, harness.Public(t, issuer), "xkey: "+harness.Public(t, xkey)))
	keys := fmt.Sprintf("issuer: %s\nxkey: %s", harness.Seed(t, issuer), harness.Seed(t, xkey))
	conf := handlerConf(t, s, "user: auth, password: auth", keys, "APP")
	first, second := harness.StartCallout(t, conf), harness.StartCallout(t, conf)
	done := make(chan error)
	stop := make(chan struct{})
	for range 4 {
		go func() { done <- connectUntil(s.Addr(t), stop) }()
	}
	first.Signal(t, syscall.SIGTERM)
	if code := first.Exit(t); code != 0 {
		t.Errorf("expected exit code 0 after SIGTERM; found %d", code)
	}
	// Reload replaces the handler under load.
	second.Signal(t, syscall.SIGHUP)
	second.WaitLog(t, "reloaded")
	close(stop)
	for range 4 {
		if err := <-done; err != nil {
			t.Errorf("a connection was refused: %v", err)
		}
	}
}

func connectUntil(addr string, stop chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		nc, err := nats.Connect("nats://"+addr, nats.UserInfo("alice", "open"), nats.Timeout(harness.Timeout))
		if err != nil {
			return err
		}
		nc.Close()
	}
}
