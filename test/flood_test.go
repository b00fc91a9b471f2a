package test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"golang.org/x/crypto/bcrypt"

	"stamp/test/harness"
)

// TestFloodOfPasswords: a flood of wrong passwords, more than can be compared, does not end live connections, because the
// passwords of their renewals are compared all the same.
func TestFloodOfPasswords(t *testing.T) {
	const cost = 12 // some tenths of a second
	hash, err := bcrypt.GenerateFromPassword([]byte("open"), cost)
	if err != nil {
		t.Fatal(err)
	}
	s := harness.Start(t, fmt.Sprintf(`
		accounts { APP { users: [{user: backend, password: backend}] } }
		authorization { timeout: 5 }
		callout {
			sessions: [{kind: users, timeout: "4s", users: [{user: alice, password: %q}]}]
			grants: [{account: APP, publish: ">", subscribe: ">", expires: "15s", headers: {X-User: "{{ session.user }}"}}]
		}`, hash))
	live := harness.Client(t, s, harness.Password("alice", "open"))
	stop := make(chan struct{})
	var flood sync.WaitGroup
	for i := range 40 {
		flood.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				nc, err := nats.Connect("nats://"+s.Addr(t), nats.UserInfo("alice", fmt.Sprintf("wrong-%d-%d", i, n)), nats.NoReconnect(), nats.Timeout(harness.Timeout))
				if err == nil {
					nc.Close()
					t.Error("a wrong password was accepted")
				}
			}
		})
	}
	defer func() { close(stop); flood.Wait() }()
	s.WaitLog(t, "overloaded: too many session look-ups")
	// Two renewals: by then the first user JWT has ended.
	harness.Eventually(t, "two renewals", func() bool {
		live.Flush() // ends the test when the connection is closed
		return varzHeaders(t, s)["renewals"] >= 2
	})
}
