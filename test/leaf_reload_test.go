package test

import (
	"fmt"
	"testing"

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
