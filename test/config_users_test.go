package test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/test/harness"
)

// nkeyUser makes a user with an nkey, and returns its public key.
func nkeyUser(t *testing.T) (string, harness.Credential) {
	t.Helper()
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub := harness.Public(t, kp)
	return pub, func(nonce string) map[string]any {
		sig, _ := kp.Sign([]byte(nonce)) // a key made here can sign
		return map[string]any{"nkey": pub, "sig": base64.RawURLEncoding.EncodeToString(sig)}
	}
}

// Headers of users of authorization{} are stamped, for users with passwords and with nkeys.
func TestUsersOfTheConfiguration(t *testing.T) {
	nkey, cred := nkeyUser(t)
	s := harness.Start(t, fmt.Sprintf(`
		authorization { users: [
			{user: one, password: one, headers: {Session: "s1"}}
			{user: many, password: many, headers: {Roles: ["admin", "ops"], Auth: {value: "b", subjects: ["api.>"]}}}
			{user: perms, password: perms, headers: {Session: "s2"}, permissions: {publish: "t.>"}}
			{user: plain, password: plain}
			{nkey: %s, headers: {Session: "nkey"}} ] }`, nkey))
	sub := subscriber(t, s, password("plain"))
	expectStamp(t, harness.Client(t, s, password("one")), sub, "Session: s1")
	expectStamp(t, harness.Client(t, s, password("many")), sub, "Roles: admin", "Roles: ops")
	expectStamp(t, harness.Client(t, s, password("perms")), sub, "Session: s2")
	expectStamp(t, harness.Client(t, s, cred), sub, "Session: nkey")
	expectStamp(t, harness.Client(t, s, password("plain")), sub)
}

// Headers of users of accounts{} are stamped, and so are those of no_auth_user.
func TestUsersOfAccounts(t *testing.T) {
	nkey, cred := nkeyUser(t)
	s := harness.Start(t, fmt.Sprintf(`
		no_auth_user: anybody
		accounts {
			A { users: [{user: a, password: a, headers: {Session: "a"}}, {user: anybody, password: anybody, headers: {Session: "anybody"}},
			            {user: a-sub, password: a-sub}] }
			B { users: [{nkey: %s, headers: {Session: "b"}}, {user: b, password: b}] } }`, nkey))
	sub := subscriber(t, s, password("a-sub"))
	expectStamp(t, harness.Client(t, s, password("a")), sub, "Session: a")
	expectStamp(t, harness.Client(t, s, harness.Nobody), sub, "Session: anybody")
	subB := subscriber(t, s, password("b"))
	expectStamp(t, harness.Client(t, s, cred), subB, "Session: b")
	expectStamp(t, harness.Client(t, s, password("b")), subB)
}

const leafConf = `
	accounts {
		APP { users: [{user: sub, password: sub}, {user: app, password: app, headers: {Session: %q}}] }
	}
	leafnodes { listen: "127.0.0.1:-1"
		authorization { users: [
			{user: stamped, password: stamped, account: APP, headers: {Site: %q}}
			{user: plain, password: plain, account: APP} ] } }`

// startLeaf starts a leafnode that is a user of the hub.
func startLeaf(t *testing.T, hub *harness.Server, user string) *harness.Raw {
	t.Helper()
	leaf := harness.Start(t, fmt.Sprintf(`leafnodes { remotes: [{url: "nats://%s:%s@%s"}] }`, user, user, hub.Leaf(t)))
	harness.Eventually(t, "the leafnode knows the hub's subscription", func() bool {
		return strings.Contains(string(leaf.Get(t, "/leafz?subs=1")), `"t.\u003e"`) || strings.Contains(string(leaf.Get(t, "/leafz?subs=1")), `"t.>"`)
	})
	return harness.Client(t, leaf, harness.Nobody)
}

// Headers of users of leafnodes{} are stamped.
func TestUsersOfLeafnodes(t *testing.T) {
	hub := harness.Start(t, fmt.Sprintf(leafConf, "a", "site"))
	sub := subscriber(t, hub, password("sub"))
	expectStamp(t, startLeaf(t, hub, "stamped"), sub, "Site: site")
	expectStamp(t, startLeaf(t, hub, "plain"), sub)
}

// An account's user may be a leafnode's too, where leafnodes{} has none.
func TestLeafnodeOfAnAccountsUser(t *testing.T) {
	hub := harness.Start(t, `
		accounts { APP { users: [{user: sub, password: sub}, {user: app, password: app, headers: {Site: "app"}}] } }
		leafnodes { listen: "127.0.0.1:-1" }`)
	sub := subscriber(t, hub, password("sub"))
	expectStamp(t, startLeaf(t, hub, "app"), sub, "Site: app")
	expectStamp(t, startLeaf(t, hub, "sub"), sub)
}

// With verify_and_map, the user of the client's certificate decides about the stamp.
func TestVerifyAndMap(t *testing.T) {
	ca := harness.NewCA(t)
	cert, key := ca.Issue(t, "server")
	s := harness.Start(t, fmt.Sprintf(`
		tls { cert_file: %q, key_file: %q, ca_file: %q, verify_and_map: true, handshake_first: true }
		authorization { users: [{user: "one@example.com", headers: {Session: "one"}}, {user: "CN=two", headers: {Session: "two"}}, {user: "CN=sub"}] }`,
		cert, key, ca.File))
	dial := func(name string, emails ...string) *harness.Raw {
		conn, err := tls.Dial("tcp", s.Addr(t), ca.Client(t, name, emails...))
		if err != nil {
			t.Fatal(err)
		}
		raw := harness.NewRaw(t, conn)
		raw.Connect(harness.Nobody)
		raw.Flush()
		return raw
	}
	sub := dial("sub")
	sub.Sub("t.>", "1")
	expectStamp(t, dial("one", "one@example.com"), sub, "Session: one")
	expectStamp(t, dial("two"), sub, "Session: two")
	expectStamp(t, dial("sub"), sub)

	nc := s.Connect(t, nats.Secure(ca.Client(t, "two")), nats.TLSHandshakeFirst())
	if err := nc.Publish("t.go", []byte("payload")); err != nil {
		t.Fatal(err)
	}
	expectMsg(t, sub, "a message of nats.go", block("Session: two"))
}
