package test

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"golang.org/x/crypto/bcrypt"

	"stamp/test/harness"
)

// insideCluster are two servers of a cluster, each with the handler inside.
func insideCluster(t *testing.T, sessions string) [2]*harness.Server {
	t.Helper()
	servers, _ := insideClusterWith(t, sessions)
	return servers
}

// insideClusterWith is insideCluster, and returns the first one's configuration with a header more.
func insideClusterWith(t *testing.T, sessions string) (servers [2]*harness.Server, first func(header string) string) {
	t.Helper()
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	routes := [2]string{harness.FreeAddr(t), harness.FreeAddr(t)}
	conf := func(i int, header string) string {
		return fmt.Sprintf(`
			server_name: "s%d"
			cluster { name: c, listen: %q, routes: ["nats://%s"] }
			accounts { APP { users: [{user: backend, password: backend}] } }
			callout {
				issuer: %s
				xkey: %s
				http: "127.0.0.1:0"
				sessions: [%s]
				grants: [{account: APP, publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"%s}}]
			}`, i, routes[i], routes[1-i], harness.Seed(t, issuer), harness.Seed(t, xkey), sessions, header)
	}
	for i := range servers {
		servers[i] = harness.Start(t, conf(i, ""))
	}
	for _, s := range servers {
		harness.Eventually(t, "the routes", func() bool { return s.Varz(t).Remotes == 1 })
	}
	return servers, func(header string) string { return conf(0, header) }
}

// A server asks its own handler about its connections, and not a peer's handler, which may be frozen.
func TestAFrozenPeer(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("open"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	servers := insideCluster(t, fmt.Sprintf("{kind: users, users: [{user: alice, password: %q}]}", hash))
	alice := harness.Password("alice", "open")
	for range 20 { // until the interest of the peer's handler is known, if it is to be asked
		harness.Client(t, servers[0], alice).Close()
	}
	servers[1].Signal(t, syscall.SIGSTOP)
	defer servers[1].Signal(t, syscall.SIGCONT)
	for range 20 {
		harness.Client(t, servers[0], alice).Flush()
	}
}

// If a connection cannot be judged now, it is closed without an error, so that its client connects again. In a cluster that
// must happen at the connection's own server, because the handler of another server could not close it.
func TestConnectionsOfAClusterThatCannotBeJudged(t *testing.T) {
	servers := insideCluster(t, fmt.Sprintf("{kind: http, url: \"http://%s/\"}", harness.FreeAddr(t)))
	for range 10 {
		for _, s := range servers {
			raw := harness.Dial(t, s)
			raw.Connect(token("any"))
			for _, line := range raw.ExpectClosed() {
				if strings.HasPrefix(line, "-ERR") {
					t.Fatalf("expected the connection to close without an error; the server sent %q", line)
				}
			}
		}
	}
}

// While a reload replaces the handler, callouts go to the old or the new one, and not to a peer's handler, which may be frozen.
func TestReloadsBesideAFrozenPeer(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("open"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	servers, conf := insideClusterWith(t, fmt.Sprintf("{kind: users, users: [{user: alice, password: %q}]}", hash))
	servers[1].Signal(t, syscall.SIGSTOP)
	defer servers[1].Signal(t, syscall.SIGCONT)
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				nc, err := servers[0].TryConnect(t, nats.UserInfo("alice", "open"), nats.NoReconnect())
				if err != nil {
					t.Error(err)
					return
				}
				nc.Close()
			}
		})
	}
	for i := range 40 {
		servers[0].Reload(t, conf(fmt.Sprintf(`, X-Reload: "%d"`, i)))
	}
	close(done)
	clients.Wait()
}
