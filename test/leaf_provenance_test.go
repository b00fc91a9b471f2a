package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// provenanceAtSite starts a hub with provenance, and a site whose server has provenance too. The leafnode connection
// logs in as user.
func provenanceAtSite(t *testing.T, user, block string) (hub, site *harness.Server) {
	t.Helper()
	hub = harness.Start(t, fmt.Sprintf(`
		server_name: hub
		headers { provenance: true, protected: [Session] %s }
		accounts { APP { users: [{user: reader, password: reader}] } }
		leafnodes { listen: "127.0.0.1:-1", authorization { users: [
			{user: plain, password: plain, account: APP}
			{user: trusted, password: trusted, account: APP, header_permissions: {publish: {allow: ["*"]}}}
			{user: named, password: named, account: APP, header_permissions: {publish: {allow: [Session, "Stamp-*"]}}} ] } }`, block))
	site = harness.Start(t, fmt.Sprintf(`
		server_name: site
		headers { provenance: true }
		accounts { SITE { users: [{user: pub, password: pub, headers: {Session: "s1"}}, {user: forger, password: forger}] } }
		leafnodes { remotes: [{url: "nats://%s:%[1]s@%s", account: SITE}] }`, user, hub.Leaf(t)))
	return hub, site
}

// heard publishes m until sub gets a message, and returns that message.
func heard(t *testing.T, pub *nats.Conn, sub *nats.Subscription, m *nats.Msg) (got *nats.Msg) {
	t.Helper()
	harness.Eventually(t, "a message", func() bool {
		err := pub.PublishMsg(m)
		if err == nil {
			got, err = sub.NextMsg(100 * time.Millisecond)
		}
		return err == nil
	})
	return got
}

// The headers that a site's server stamps arrive if the leafnode's user has permission for all three names, by "*" or by
// name, also on messages that the hub stamps. Headers that a client of the site forges do not.
func TestProvenanceOverALeafnode(t *testing.T) {
	for _, user := range []string{"trusted", "named"} {
		for name, block := range map[string]string{"": "", ", headers of the hub": `, all: {Site: "{{name()}}"}`} {
			t.Run(user+name, func(t *testing.T) {
				hub, site := provenanceAtSite(t, user, block)
				sub := subscribed(t, hub, userInfo("reader"))
				pub := site.Connect(t, userInfo("pub"))
				m := heard(t, pub, sub, nats.NewMsg("t.x"))
				if h := m.Header; len(h.Values("Stamp-Account")) != 1 || h.Get("Stamp-Account") != "SITE" || h.Get("Stamp-Subject") != "t.x" ||
					len(h.Values("Stamp-Time")) != 1 || h.Get("Session") != "s1" || (h.Get("Site") != "") != (block != "") {
					t.Errorf("expected the site's stamps, and no forged ones; the message has %v", h)
				}
				forged := nats.NewMsg("t.forged")
				forged.Header.Set("Stamp-Account", "APP")
				m = heard(t, site.Connect(t, userInfo("forger")), subscribedTo(t, hub.Connect(t, userInfo("reader")), "t.forged"), forged)
				if len(m.Header.Values("Stamp-Account")) != 0 {
					t.Errorf("forged at the site: headers %v", m.Header)
				}
			})
		}
	}
}

// Without permission the hub removes them, and the warning names the leafnode and the setting.
func TestProvenanceOverALeafnodeWithoutPermission(t *testing.T) {
	hub, site := provenanceAtSite(t, "plain", "")
	sub := subscribed(t, hub, userInfo("reader"))
	m := heard(t, site.Connect(t, userInfo("pub")), sub, nats.NewMsg("t.x"))
	if len(m.Header) != 0 {
		t.Errorf("expected no headers, since the leafnode's user has no permission for them; the message has %v", m.Header)
	}
	hub.WaitLog(t, `\[WRN\] lid:\d+ - Removed headers that came from the leafnode "site", user "plain" of account "APP": .*Session.*header_permissions\.publish of the user`)
	if strings.Contains(hub.Text(), "forgery") {
		t.Error("the log calls it a forgery")
	}
}
