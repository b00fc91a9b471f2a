package test

import (
	"fmt"
	"testing"

	"stamp/test/harness"
)

// expectLeafStamp checks that what a leafnode sends arrives with exactly the stamped lines, which it
// tries to forge.
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

// A leafnode is the user that it logged in as. After a reload it is not taken for a user of
// accounts{} that has the same name, nor closed because of it.
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

// A leafnode that came in without a password is not stamped as a user that a reload brings, whatever
// name it had said.
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

// A leafnode does not outlive its user: without it nothing would say what to stamp. It is closed,
// and does not get in again.
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
