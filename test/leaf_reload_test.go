package test

import (
	"fmt"
	"net"
	"testing"

	"github.com/nats-io/jwt/v2"

	"stamp.example/claim"
	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// expectLeafStamp checks that a message of a leafnode arrives with exactly the stamped lines. The leafnode tries to forge
// them.
func expectLeafStamp(t *testing.T, leaf, sub *harness.Raw, lines ...string) {
	t.Helper()
	own := block("Own: 1", "Site: forged", "X-User: forged")
	leaf.Send("HMSG t.x %d %d\r\n%spayload\r\n", len(own), len(own)+len("payload"), own)
	kept := []string{"Own: 1"}
	if len(lines) == 0 {
		kept = append(kept, "Site: forged", "X-User: forged")
	}
	expectMsg(t, sub, "a message of the leafnode", block(append(kept, lines...)...))
}

// A leafnode stays the user that it logged in as. A reload does not take it for a user of accounts{} with the same name,
// and does not close it because of such a user.
func TestReloadLooksUpLeafnodesWhereTheyWereLetIn(t *testing.T) {
	const conf = `
		debug: %t
		headers { protected: [Site, X-User] }
		accounts { APP { users: [{user: sub, password: sub}, {user: site, password: other, headers: {X-User: boss}}] } }
		leafnodes { listen: "127.0.0.1:-1", authorization { users: [{user: site, password: site, account: APP, headers: {Site: one}}] } }`
	hub := harness.Start(t, fmt.Sprintf(conf, false))
	sub := subscriber(t, hub, password("sub"))
	leaf := rawLeaf(t, hub, "site")
	for _, debug := range []bool{true, false} {
		expectLeafStamp(t, leaf, sub, "Site: one")
		hub.Reload(t, fmt.Sprintf(conf, debug))
		untilPong(t, leaf)
	}
	expectLeafStamp(t, leaf, sub, "Site: one")
}

// A leafnode without a password is not stamped as a user that a reload adds, even if it gave the name of that user.
func TestReloadGivesNoUserToALeafnodeWithoutOne(t *testing.T) {
	const conf = `leafnodes { listen: "127.0.0.1:-1" }
		`
	hub := harness.Start(t, conf)
	sub := subscriber(t, hub, harness.Nobody)
	leaf := rawLeaf(t, hub, "admin")
	expectLeafStamp(t, leaf, sub)
	hub.Reload(t, conf+`authorization { users: [{user: sub, password: sub}, {user: admin, password: secret, headers: {X-User: admin}}] }`)
	untilPong(t, leaf)
	expectLeafStamp(t, leaf, subscriber(t, hub, password("sub")))
}

// If its user is removed, a leafnode is closed and cannot connect again: without the user it is not known what to stamp.
func TestReloadClosesTheLeafnodeOfARemovedUser(t *testing.T) {
	const conf = `
		headers { protected: [Site, X-User] }
		accounts { APP { users: [{user: sub, password: sub} %s] } }
		leafnodes { listen: "127.0.0.1:-1" }`
	hub := harness.Start(t, fmt.Sprintf(conf, ", {user: site, password: site, headers: {Site: one}}"))
	sub := subscriber(t, hub, password("sub"))
	leaf := rawLeaf(t, hub, "site")
	expectLeafStamp(t, leaf, sub, "Site: one")
	hub.Reload(t, fmt.Sprintf(conf, ""))
	leaf.ExpectClosed()
	harness.Eventually(t, "the leafnode is gone", func() bool { return len(hub.Leafz(t).Leafs) == 0 })
}

// A session that ends while a leafnode connection of it is being authenticated, or before the server lists it, does not leave
// the connection behind: neither the end that comes before the callout's answer, nor the one after.
func TestLogoutOfALeafnodeThatIsBeingConnected(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(`
		leafnodes { listen: "127.0.0.1:-1" }
		system_account: SYS
		accounts { SYS {users: [{user: sys, password: sys}]}, AUTH { users: [{user: auth, password: auth}] }, APP { users: [{user: sub, password: sub}] } }
		authorization { timeout: 60, auth_callout { issuer: %s, account: AUTH, auth_users: [auth, sub, sys] } }`, harness.Public(t, issuer)))
	asked, answer := make(chan string), make(chan bool)
	callout := harness.Callout{Issuer: issuer, Answer: func(req *jwt.AuthorizationRequestClaims) (string, error) {
		asked <- req.ConnectOptions.Username
		<-answer
		uc := jwt.NewUserClaims(req.UserNkey)
		uc.Audience, uc.Name = "APP", req.ConnectOptions.Username
		uc.Tags.Add(forwarded.SessionTag("kv/" + uc.Name))
		return claim.Encode(uc, &claim.Claim{Headers: []claim.Header{{Name: "X-User", Values: []string{uc.Name}}}}, issuer)
	}}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	sys := s.Connect(t, userInfo("sys"))
	sub := subscriber(t, s, password("sub"))
	logout := func(name string) {
		request(t, sys, "$SYS.REQ.SERVER.PING.RENEW", fmt.Sprintf(`{"session":"kv/%s","kick":true}`, name))
	}
	begin := func(name string) *harness.Raw {
		conn, err := net.Dial("tcp", s.Leaf(t))
		if err != nil {
			t.Fatal(err)
		}
		raw := harness.NewRaw(t, conn)
		raw.Send(`CONNECT {"user":%q,"pass":"x","name":%q,"server_id":%q,"protocol":1,"headers":true}`+"\r\nLMSG t.x 1\r\nx\r\n", name, name, name)
		if got := <-asked; got != name {
			t.Fatalf("the callout is asked about %s", got)
		}
		return raw
	}
	stays := begin("stays")
	answer <- true
	if m := sub.Msg(); m.Header != block("X-User: stays") {
		t.Fatalf("a leafnode whose session goes on: %q", m.Header)
	}

	before := begin("before")
	logout("before")
	answer <- true
	before.ExpectClosed()

	after := begin("after")
	answer <- true
	if m := sub.Msg(); m.Header != block("X-User: after") {
		t.Fatalf("a leafnode before the end of its session: %q", m.Header)
	}
	logout("after")
	after.ExpectClosed()

	stays.Send("LMSG t.last 1\r\nx\r\n")
	if m := sub.Msg(); m.Subject != "t.last" || m.Header != block("X-User: stays") {
		t.Errorf("the next message is %s with %q", m.Subject, m.Header)
	}
}
