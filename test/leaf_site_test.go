package test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// In this file, a site is a server behind a leafnode, with a handler of its own for the sessions of the hub.

// siteSessions are the sources and grants of a handler. Its stamp says which one has answered.
func siteSessions(where, fields string) string {
	return fmt.Sprintf(`
		sessions: [{kind: kv, bucket: sessions %s}]
		grants: [{account: APP, publish: ">", subscribe: ">", headers: {Where: %s, X-User: "{{ session.user }}"}}]`, fields, where)
}

// hubAndSite are servers with the handler inside. The accounts where the handlers listen are not linked.
func hubAndSite(t *testing.T, site string) (hub, leaf *harness.Server, bucket jetstream.KeyValue) {
	t.Helper()
	const conf = `
		server_name: %s
		accounts { APP { %s users: [{user: backend, password: backend}, {user: site, password: site}] } }
		callout { %s }
		leafnodes { %s }
		%s`
	const enabled = "jetstream: enabled,"
	hub = harness.Start(t, fmt.Sprintf(conf, "hub", enabled, siteSessions("hub", ", account: APP"), `listen: "127.0.0.1:-1"`,
		fmt.Sprintf("jetstream { store_dir: %q, domain: hub }", t.TempDir())))
	bucket = sessionBucket(t, hub)
	login(t, bucket, "one", alice())
	own, domain := enabled, ""
	if site == "" { // without JetStream: it asks that of the hub
		own, domain = "", ", domain: hub"
	}
	leaf = harness.Start(t, fmt.Sprintf(conf, "site", own, siteSessions("site", ", account: APP"+domain),
		fmt.Sprintf(`remotes: [{url: "nats://site:site@%s", account: APP}]`, hub.Leaf(t)), site))
	return hub, leaf, bucket
}

// expectOwnHandlers connects again and again at both servers. Each connection is let in, by the handler of its server.
func expectOwnHandlers(t *testing.T, hub, site *harness.Server, cred harness.Credential, atHub, atSite *harness.Raw) {
	t.Helper()
	for range 100 {
		for _, at := range []struct {
			where  string
			server *harness.Server
			sub    *harness.Raw
		}{{"hub", hub, atHub}, {"site", site, atSite}} {
			raw := harness.Client(t, at.server, cred)
			raw.Pub("t."+at.where, "payload")
			m := at.sub.Msg()
			for m.Subject != "t."+at.where { // what the leafnode has brought from the other side
				m = at.sub.Msg()
			}
			if lines := m.Lines(); len(lines) != 2 || lines[0] != "Where: "+at.where || lines[1] != "X-User: alice" {
				t.Fatalf("at the %s, the stamp is %q", at.where, lines)
			}
			raw.Close()
		}
	}
}

// expectUnheard fails if interest in a subject at the site is known at the hub.
func expectUnheard(t *testing.T, site, hub *harness.Server, subject string, login ...nats.Option) {
	t.Helper()
	there, here := site.Connect(t, login...), hub.Connect(t, login...)
	for _, listened := range []string{subject, "told.after"} {
		if _, err := there.Subscribe(listened, func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
			t.Fatal(err)
		}
	}
	harness.Eventually(t, "the hub hears of a subject that is not denied", func() bool {
		_, err := here.Request("told.after", nil, time.Second)
		return err == nil
	})
	if _, err := here.Request(subject, nil, time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("interest in %s crosses the leafnode: error %v", subject, err)
	}
}

// eventuallyIn waits until the handler of a server knows the session.
func eventuallyIn(t *testing.T, s *harness.Server, options ...nats.Option) {
	t.Helper()
	harness.Eventually(t, "the handler knows the session", func() bool {
		nc, err := s.TryConnect(t, options...)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
}

// mirrorSessions makes a mirror of the hub's bucket in the JetStream of a site.
func mirrorSessions(t *testing.T, nc *nats.Conn) {
	t.Helper()
	mirror := jetstream.KeyValueConfig{Bucket: "sessions", Mirror: &jetstream.StreamSource{Name: "sessions", Domain: "hub"}}
	harness.Eventually(t, "JetStream at the site", func() bool {
		_, err := must(jetstream.New(nc)).CreateKeyValue(t.Context(), mirror)
		return err == nil
	})
}

// A site may read the hub's bucket, by the domain of the hub's JetStream, or have a mirror of it.
func TestHandlerAtALeafSite(t *testing.T) {
	for name, site := range map[string]string{
		"the hub's bucket": "",
		"a mirror":         fmt.Sprintf("jetstream { store_dir: %q, domain: site }", t.TempDir()),
	} {
		t.Run(name, func(t *testing.T) {
			hub, leaf, bucket := hubAndSite(t, site)
			if name == "a mirror" {
				mirrorSessions(t, leaf.Connect(t, userInfo("backend")))
			}
			eventuallyIn(t, leaf, nats.Token("one"))
			expectOwnHandlers(t, hub, leaf, token("one"), subscriber(t, hub, password("backend")), subscriber(t, leaf, password("backend")))
			if name == "the hub's bucket" {
				t.Setenv("NATS_PASSWORD", "backend")
				for args, want := range map[string]string{"--domain hub": "fields: user", "--domain none": "bucket sessions", "--domain a.b": "not the name of a JetStream domain"} {
					list := harness.Run(t, harness.CalloutBinary(t), append(strings.Fields("session list --bucket sessions --user backend --server nats://"+leaf.Addr(t)), strings.Fields(args)...)...)
					if code := list.Exit(t); !strings.Contains(list.Text(), want) || (code == 0) != (args == "--domain hub") {
						t.Errorf("session list %s ends with exit code %d:\n%s", args, code, list.Text())
					}
				}
			}
			// Both sides learn of a logout.
			here, there := harness.Client(t, hub, token("one")), harness.Client(t, leaf, token("one"))
			if err := bucket.Delete(t.Context(), "one"); err != nil {
				t.Fatal(err)
			}
			here.ExpectClosed()
			there.ExpectClosed()
			harness.Eventually(t, "the site refuses the session", func() bool {
				nc, err := leaf.TryConnect(t, nats.Token("one"))
				if err == nil {
					nc.Close()
				}
				return err != nil
			})
		})
	}
}

// Where the account of the callouts is linked, which a bucket of that account needs, the handler of a site would take
// callouts of the hub: NATS prefers a queue member behind a leafnode to one in another cluster, and has no other while the
// hub's handler starts. What keeps them apart is the deny of the remote, or of the leafnode's user.
func TestCalloutsStayOnTheirSideOfALeafnode(t *testing.T) {
	for name, deny := range map[string]struct {
		remote string
		edit   func(*jwt.UserClaims)
	}{
		"denied by the remote": {`, deny_imports: ["$SYS.REQ.USER.AUTH", "_STAMP.CALLOUT.>"]`, func(*jwt.UserClaims) {}},
		"denied by the user":   {"", func(uc *jwt.UserClaims) { uc.Sub.Deny.Add("$SYS.REQ.USER.AUTH", "_STAMP.CALLOUT.>") }},
	} {
		t.Run(name, func(t *testing.T) {
			o := newCalloutOperator(t, nil)
			link := o.auth.User(t, "site", nil, deny.edit)
			o.auth.Claims.Authorization.AuthUsers.Add(harness.Public(t, link.Key))
			hub := harness.Start(t, o.Conf(t)+`
				server_name: hub
				gateway { name: hub, listen: "127.0.0.1:-1" }
				leafnodes { listen: "127.0.0.1:-1" }`)
			// The hub's handler is in another cluster than its clients: the site's is nearer.
			other := harness.Start(t, o.Conf(t)+fmt.Sprintf(`
				server_name: other
				gateway { name: other, listen: "127.0.0.1:-1", gateways: [{name: hub, urls: ["nats://%s"]}] }`, hub.Gateway(t)))
			site := harness.Start(t, o.Conf(t)+fmt.Sprintf(`
				server_name: site
				leafnodes { remotes: [
					{url: "nats://%[2]s", account: %[1]s, credentials: %[3]q %[4]s}
					{url: "nats://%[2]s", account: %[5]s, credentials: %[6]q} ] }`,
				o.auth.ID(), hub.Leaf(t), link.Creds(t), deny.remote, o.app.ID(), o.app.User(t, "site", nil).Creds(t)))
			expectReach(t, []*harness.Server{hub, other}, o.Sys.User(t, "pinger", nil).Options()...)
			for where, s := range map[string]*harness.Server{"hub": other, "site": site} {
				conf := handlerConf(t, s, fmt.Sprintf("creds: %q", o.service.Creds(t)), fmt.Sprintf("issuer: %s\nsigning_keys { APP: {account: %s, seed: %s} }",
					harness.Seed(t, o.auth.Key), o.app.ID(), harness.Seed(t, o.app.Key)), "APP")
				harness.StartCallout(t, strings.Replace(conf, `X-Team: "{{ session.team }}"`, "Where: "+where, 1))
			}
			sentinel := o.auth.User(t, "sentinel", nil)
			cred := func(nonce string) map[string]any {
				fields := sentinel.Credential(nonce)
				fields["user"], fields["pass"] = "alice", "open"
				return fields
			}
			for _, s := range []*harness.Server{hub, site} {
				eventuallyIn(t, s, append(sentinel.Options(), nats.UserInfo("alice", "open"), nats.Timeout(2*time.Second))...)
			}
			harness.Eventually(t, "the leafnodes", func() bool { return len(hub.Leafz(t).Leafs) == 2 })
			reader := o.app.User(t, "reader", nil)
			expectUnheard(t, site, hub, "_STAMP.CALLOUT.x", o.service.Options()...)
			expectOwnHandlers(t, hub, site, cred, subscriber(t, hub, reader.Credential), subscriber(t, site, reader.Credential))
		})
	}
}
