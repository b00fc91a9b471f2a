package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/test/harness"
)

// operatorCluster is three servers of an operator, whose resolvers take updates.
func operatorCluster(t *testing.T, o *harness.Operator) []*harness.Server {
	t.Helper()
	first := harness.FreeAddr(t)
	var servers []*harness.Server
	for i, listen := range []string{first, "127.0.0.1:-1", "127.0.0.1:-1"} {
		servers = append(servers, harness.Start(t, o.PushConf(t)+fmt.Sprintf("server_name: %c\ncluster { name: C, listen: %q, routes: [\"nats://%s\"] }\n",
			'A'+i, listen, first)))
	}
	expectReach(t, servers, o.Sys.User(t, "pinger", nil).Options()...)
	return servers
}

// expectReach waits until each server reaches all others by the system account.
func expectReach(t *testing.T, servers []*harness.Server, login ...nats.Option) {
	t.Helper()
	for _, s := range servers {
		nc := s.Connect(t, login...)
		harness.Eventually(t, "the servers know each other", func() bool {
			sub := subscribedTo(t, nc, nc.NewRespInbox())
			defer func() { _ = sub.Unsubscribe() }()
			if err := nc.PublishRequest("$SYS.REQ.SERVER.PING.IDZ", sub.Subject, nil); err != nil {
				t.Fatal(err)
			}
			for range servers {
				if _, err := sub.NextMsg(200 * time.Millisecond); err != nil {
					return false
				}
			}
			return true
		})
		nc.Close()
	}
}

// pushToAll gives the account as it is now to all servers of the cluster that s is in, and waits until they have it.
func pushToAll(t *testing.T, o *harness.Operator, a *harness.Account, s *harness.Server, servers int) {
	t.Helper()
	nc := s.Connect(t, o.Sys.User(t, "pusher", nil).Options()...)
	defer nc.Close()
	sub := subscribedTo(t, nc, "answers")
	if err := nc.PublishRequest("$SYS.REQ.CLAIMS.UPDATE", "answers", []byte(a.JWT(t))); err != nil {
		t.Fatal(err)
	}
	for range servers {
		if m := next(t, sub, nil); !bytes.Contains(m.Data, []byte(`"code":200`)) {
			t.Fatalf("a server refused the push of account %s: %s", a.Name, m.Data)
		}
	}
}

// crowd connects and publishes at all servers until it is told to stop. No connect and no publish may fail.
type crowd struct {
	stop      chan struct{}
	wait      sync.WaitGroup
	connected atomic.Int64
	mu        sync.Mutex
	faults    []error
}

func (c *crowd) fault(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, err)
}

// each runs do again and again.
func (c *crowd) each(do func() error) {
	c.wait.Go(func() {
		for {
			select {
			case <-c.stop:
				return
			default:
			}
			if err := do(); err != nil {
				c.fault(err)
				return
			}
		}
	})
}

// The keys that sign answers and users are replaced on three servers with two handlers, while clients connect and publish. No
// connection is refused or closed, and no message is lost, neither when the new keys are added nor when the old ones are
// removed.
func TestKeyRotationUnderLoad(t *testing.T) {
	o := newCalloutOperator(t, nil)
	keys := []nkeys.KeyPair{o.auth.SigningKey(t), o.app.SigningKey(t)}
	servers := operatorCluster(t, o.Operator)
	sentinel := o.auth.User(t, "sentinel", nil)
	system := o.Sys.User(t, "handler", nil).Creds(t)
	service := o.service.Creds(t)
	conf := func(s *harness.Server, keys []nkeys.KeyPair) string {
		return handlerConf(t, s, fmt.Sprintf("creds: %q, sentinel: %q, system { creds: %q }", service, sentinel.Creds(t), system),
			fmt.Sprintf("issuer: %s\nissuer_account: %s\nsigning_keys { APP: {account: %s, seed: %s} }",
				harness.Seed(t, keys[0]), o.auth.ID(), o.app.ID(), harness.Seed(t, keys[1])), "APP")
	}
	var handlers []*harness.Process
	var files []string
	for _, s := range servers[:2] {
		file := filepath.Join(t.TempDir(), "callout.conf")
		writeFile(t, file, conf(s, keys))
		h := harness.Run(t, harness.CalloutBinary(t), "serve", "-c", file)
		h.WaitLog(t, "serving")
		handlers, files = append(handlers, h), append(files, file)
	}
	login := append(sentinel.Options(), nats.UserInfo("alice", "open"), nats.NoReconnect(), nats.Timeout(harness.Timeout))
	sub := subscribedTo(t, servers[2].Connect(t, o.app.User(t, "sub", nil).Options()...), "t.>")
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	c := &crowd{stop: make(chan struct{})}
	var published atomic.Int64
	for _, s := range servers {
		address := "nats://" + s.Addr(t)
		c.each(func() error {
			nc, err := nats.Connect(address, login...)
			if err != nil {
				return fmt.Errorf("server %s: connect: %w", address, err)
			}
			nc.Close()
			c.connected.Add(1)
			return nil
		})
		for range 10 {
			nc := s.Connect(t, append(login, nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
				if err != nil {
					c.fault(fmt.Errorf("a connection is closed: %w", err))
				}
			}))...)
			c.each(func() error {
				published.Add(1)
				err := nc.Publish("t.x", nil)
				if err == nil {
					err = nc.FlushTimeout(harness.Timeout)
				}
				time.Sleep(2 * time.Millisecond) // the pace of the load; nothing is waited for
				return err
			})
		}
	}
	next := []nkeys.KeyPair{o.auth.SigningKey(t), o.app.SigningKey(t)}
	pushToAll(t, o.Operator, o.auth, servers[0], 3)
	pushToAll(t, o.Operator, o.app, servers[1], 3)
	for i, h := range handlers {
		writeFile(t, files[i], conf(servers[i], next))
		mark := h.Mark()
		h.Signal(t, syscall.SIGHUP)
		mark.WaitLog(t, "level=INFO msg=reloaded")
	}
	out, err := exec.Command(harness.CalloutBinary(t), "connections", "renew", "--all", "--wait", "60s",
		"--server", "nats://"+servers[0].Addr(t), "--creds", system).CombinedOutput()
	if err != nil || strings.Count(string(out), "server ") != 3 || !strings.Contains(string(out), "all renewals are done") {
		t.Errorf("expected nats-callout connections renew to end on 3 servers; found error %v\n%s", err, out)
	}
	for i, a := range []*harness.Account{o.auth, o.app} {
		a.Claims.SigningKeys = jwt.SigningKeys{}
		a.Claims.SigningKeys.Add(harness.Public(t, next[i]))
		pushToAll(t, o.Operator, a, servers[2], 3)
	}
	// Afterwards each server still lets new connections in.
	before := c.connected.Load()
	harness.Eventually(t, "connections with the new keys", func() bool { return c.connected.Load() > before+20 || len(c.faults) > 0 })
	close(c.stop)
	c.wait.Wait()
	for _, err := range c.faults {
		t.Error(err)
	}
	for n := published.Load(); n > 0; n-- {
		m, err := sub.NextMsg(harness.Timeout)
		if err != nil {
			t.Fatalf("%d messages of %d were lost", n, published.Load())
		}
		if m.Header.Get("X-User") != "alice" {
			t.Fatalf("expected X-User: alice; the message has %v", m.Header)
		}
	}
	t.Logf("%d connects, %d messages", c.connected.Load(), published.Load())
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
