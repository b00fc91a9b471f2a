package test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// TestBucketOfAnotherAccount: nats-callout reads the bucket of an account by a login of that account.
func TestBucketOfAnotherAccount(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(`
		jetstream { store_dir: %q }
		accounts {
			CALLOUT { users: [{user: auth, password: auth}] }
			APP { jetstream: enabled, users: [{user: backend, password: backend}, {user: reader, password: reader}] }
		}
		authorization { timeout: 20, auth_callout { issuer: %s, account: CALLOUT, auth_users: [auth, backend, reader] } }`,
		t.TempDir(), harness.Public(t, issuer)))
	conf := func(accounts string) string {
		return fmt.Sprintf(`
			connect { urls: ["nats://%s"], user: auth, password: auth, %s }
			issuer: %s
			http: "127.0.0.1:0"
			sessions: [{kind: kv, bucket: sessions, account: APP}]
			grants: [{account: APP, publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"}}]`,
			s.Addr(t), accounts, harness.Seed(t, issuer))
	}
	h := harness.StartCallout(t, conf("accounts { APP { user: reader, password: reader } }"))
	// Before there is a bucket, readiness tells so, and what to do.
	expectReady(t, h, http.StatusServiceUnavailable)
	h.WaitLog(t, "nats kv add sessions")
	js, err := jetstream.New(s.Connect(t, userInfo("backend")))
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "sessions"})
	if err != nil {
		t.Fatal(err)
	}
	login(t, bucket, "c00k1e", alice())
	expectReady(t, h, http.StatusOK)
	sub := subscriber(t, s, token("c00k1e"))
	expectStamp(t, harness.Client(t, s, token("c00k1e")), sub, "X-User: alice")
	expectRefused(t, s, token("other"))
}

// TestBucketOfTheHub: the handler is inside a leaf node without JetStream, and the bucket at the hub.
func TestBucketOfTheHub(t *testing.T) {
	hub := harness.Start(t, fmt.Sprintf(`
		server_name: hub
		jetstream { store_dir: %q, domain: hub }
		accounts { APP { jetstream: enabled, users: [{user: backend, password: backend}, {user: leaf, password: leaf}] } }
		leafnodes { listen: "127.0.0.1:-1" }`, t.TempDir()))
	bucket := sessionBucket(t, hub)
	login(t, bucket, "c00k1e", alice())
	leaf := harness.Start(t, fmt.Sprintf(`
		server_name: leaf
		accounts { APP { users: [{user: backend, password: backend}] } }
		leafnodes { remotes: [{url: "nats-leaf://leaf:leaf@%s", account: APP}] }
		callout {
			sessions: [{kind: kv, bucket: sessions, account: APP, domain: hub}]
			grants: [{account: APP, publish: ">", subscribe: ">", headers: {X-User: "{{ session.user }}"}}]
		}`, hub.Leaf(t)))
	harness.Eventually(t, "the session is known at the leaf", func() bool {
		nc, err := leaf.TryConnect(t, nats.Token("c00k1e"))
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	client := harness.Client(t, leaf, token("c00k1e"))
	expectStamp(t, client, subscriber(t, leaf, token("c00k1e")), "X-User: alice")
	// A logout at the hub closes the connection at the leaf.
	if err := bucket.Delete(t.Context(), "c00k1e"); err != nil {
		t.Fatal(err)
	}
	client.ExpectClosed()
	expectRefused(t, leaf, token("c00k1e"))
}
