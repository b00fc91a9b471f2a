package test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// systemConf: the system account imports a service and a stream of APP.
const systemConf = `
	headers { protected: [X-User], sealed: [Session], provenance: true, all: {Who: "{{name()}}"} }
	accounts {
		APP {
			users: [ {user: svc, password: svc, headers: {Session: secret}} ]
			exports: [ {service: "admin.>"}, {stream: "t.>"} ]
		}
		SYS {
			users: [ {user: sys, password: sys}, {user: trusted, password: trusted
				header_permissions: {publish: {allow: [X-User]}, subscribe: {allow: [Session]}}} ]
			imports: [ {service: {account: APP, subject: "admin.>"}}, {stream: {account: APP, subject: "t.>"}} ]
		}
	}
	system_account: SYS
	leafnodes { listen: "127.0.0.1:-1" }`

// The headers block applies to users of the system account as to any others.
func TestSystemAccountIsHeld(t *testing.T) {
	hub := harness.Start(t, systemConf)
	spoke := harness.Start(t, fmt.Sprintf(`
		accounts { SPOKE { users: [{user: far, password: far}] } }
		leafnodes { remotes: [{url: "nats://sys:sys@%s", account: SPOKE}] }`, hub.Leaf(t)))
	harness.Eventually(t, "the leafnode connection", func() bool { return len(spoke.Leafz(t).Leafs) == 1 })
	svc := hub.Connect(t, userInfo("svc"))
	admin, err := svc.SubscribeSync("admin.>")
	if err != nil || svc.Flush() != nil {
		t.Fatal(err)
	}
	forged := nats.Header{"X-User": {"admin"}, "who": {"admin"}, "Stamp-Subject": {"admin.x"}, "Stamp-Account": {"APP"}, "Own": {"1"}}
	for _, tt := range []struct {
		name   string
		nc     *nats.Conn
		who    string
		user   string
		sealed bool
	}{
		{"a user", hub.Connect(t, userInfo("sys")), "sys", "", true},
		{"behind a leafnode", spoke.Connect(t, userInfo("far")), "sys", "", true},
		{"a user with permissions", hub.Connect(t, userInfo("trusted")), "trusted", "admin", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reads, err := tt.nc.SubscribeSync("t.>")
			if err != nil || tt.nc.Flush() != nil {
				t.Fatal(err)
			}
			reach(t, svc, reads)
			if err := svc.Publish("t.x", nil); err != nil {
				t.Fatal(err)
			}
			if m := next(t, reads, nil); (m.Header.Get("Session") == "") != tt.sealed || m.Header.Get("Who") != "svc" {
				t.Errorf("expected the stamp of svc, and a sealed header for those alone who may read it; the message has %v", m.Header)
			}
			reachAll(t, tt.nc, "admin.probe", admin)
			if err := tt.nc.PublishMsg(&nats.Msg{Subject: "admin.x", Header: forged}); err != nil {
				t.Fatal(err)
			}
			m := next(t, admin, nil)
			if fmt.Sprint(m.Header["Who"], m.Header["who"]) != fmt.Sprintf("[%s] []", tt.who) || m.Header.Get("X-User") != tt.user || m.Header.Get("Own") != "1" ||
				fmt.Sprint(m.Header["Stamp-Subject"], m.Header["Stamp-Account"]) != "[admin.x] [SYS]" {
				t.Errorf("expected the stamp of the system account's user; the message has %v", m.Header)
			}
		})
	}
}

// reachAll waits until a message of c on the subject reaches sub, and drops all messages of sub.
func reachAll(t *testing.T, c *nats.Conn, subject string, sub *nats.Subscription) {
	t.Helper()
	harness.Eventually(t, "interest", func() bool {
		if err := c.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		_, err := sub.NextMsg(50e6)
		return err == nil
	})
	drain(t, sub)
}

// On subjects of the servers' own protocols nothing is added, and a message without a header block is unchanged.
func TestSystemTrafficIsNotStamped(t *testing.T) {
	s := harness.Start(t, systemConf)
	sub := harness.Client(t, s, password("sys"))
	sub.Sub("$SYS.X.>", "2")
	sub.Sub("_INBOX.x.>", "3")
	sub.Sub("own.>", "4")
	pub := harness.Client(t, s, password("sys"))
	for subject, want := range map[string]string{
		"$SYS.X.y": "", "_INBOX.x.y": "",
	} {
		pub.Pub(subject, "payload")
		expectMsg(t, sub, subject, want)
		pub.Hpub(subject, block("Who: me", "X-User: admin", "Own: 1"), "payload")
		expectMsg(t, sub, subject+" with a header", block("Own: 1"))
	}
	pub.Pub("own.x", "payload")
	if m := sub.Msg(); !strings.Contains(m.Header, "Who: sys") {
		t.Errorf("expected the stamp on a subject of an account's own; the header is %q", m.Header)
	}
	// The system services answer.
	if m := request(t, s.Connect(t, userInfo("sys")), "$SYS.REQ.SERVER.PING", ""); len(m.Data) == 0 {
		t.Error("the system services do not answer a ping")
	}
}

// Messages to a mirror over a leafnode must not grow: otherwise a message at the size limit could never arrive.
func TestMirrorOverAStampedLeafnode(t *testing.T) {
	const limits = "max_payload: 5000\n"
	hub := harness.Start(t, fmt.Sprintf(limits+`
		server_name: hub
		headers { all: {Who: "{{name()}}"} }
		jetstream { store_dir: %q, domain: hub }
		accounts { APP { jetstream: enabled, users: [{user: app, password: app}] } }
		leafnodes { listen: "127.0.0.1:-1", authorization { users: [{user: site, password: site, account: APP}] } }`, t.TempDir()))
	spoke := harness.Start(t, fmt.Sprintf(limits+`
		server_name: spoke
		jetstream { store_dir: %q, domain: spoke }
		accounts { APP { jetstream: enabled, users: [{user: app, password: app}] } }
		leafnodes { remotes: [{url: "nats://site:site@%s", account: APP}] }`, t.TempDir(), hub.Leaf(t)))
	harness.Eventually(t, "the leafnode connection", func() bool { return len(spoke.Leafz(t).Leafs) == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), harness.Timeout)
	defer cancel()
	far, near := spoke.Connect(t, userInfo("app")), hub.Connect(t, userInfo("app"))
	if _, err := newJetStream(t, far).CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := newJetStream(t, far).Publish(ctx, "s.large", []byte(strings.Repeat("p", 4990))); err != nil {
		t.Fatal(err)
	}
	for _, config := range []jetstream.StreamConfig{
		{Name: "M", Mirror: &jetstream.StreamSource{Name: "S", Domain: "spoke"}},
		{Name: "SRC", Sources: []*jetstream.StreamSource{{Name: "S", Domain: "spoke"}}},
	} {
		stream, err := newJetStream(t, near).CreateStream(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "the message in "+config.Name, func() bool {
			info, err := stream.Info(ctx)
			return err == nil && info.State.Msgs == 1
		})
	}
}

// Requests to JetStream's API pass through the system account. A subscriber there sees the headers for which it has permission.
func TestSystemAccountReadsAPIRequestsSealed(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`
		headers { sealed: [Session] }
		jetstream { store_dir: %q }
		accounts {
			APP { jetstream: enabled, users: [{user: app, password: app, headers: {Session: secret}}] }
			SYS { users: [{user: sys, password: sys}, {user: trusted, password: trusted, header_permissions: {subscribe: {allow: [Session]}}}] }
		}
		system_account: SYS`, t.TempDir()))
	for user, sees := range map[string]bool{"sys": false, "trusted": true} {
		nc := s.Connect(t, userInfo(user))
		sub, err := nc.SubscribeSync("$JS.API.>")
		if err != nil || nc.Flush() != nil {
			t.Fatal(err)
		}
		request(t, s.Connect(t, userInfo("app")), "$JS.API.INFO", "")
		m := next(t, sub, nil)
		if (m.Header.Get("Session") == "secret") != sees || strings.Contains(fmt.Sprint(m), "secret") != sees {
			t.Errorf("%s must see the sealed header only with permission for it; it sees %v", user, m.Header)
		}
	}
}

// A header that is bound to subjects is stamped according to the published subject. A mapping may take the header to another
// subject, but does not add it to a message that was published on a subject that is not listed.
func TestBoundHeadersGoByTheSubjectAsPublished(t *testing.T) {
	s := harness.Start(t, `accounts { APP {
		mappings { "api.moved": "t.moved", "t.into": "api.into" }
		users: [{user: sub, password: sub}, {user: pub, password: pub, headers: {Token: {value: secret, subjects: ["api.>"]}}}]
	} }`)
	sub, pub := harness.Client(t, s, password("sub")), harness.Client(t, s, password("pub"))
	sub.Sub(">", "1")
	for _, tt := range []struct{ published, want string }{
		{"api.x", block("Token: secret")}, {"api.moved", block("Token: secret")}, {"t.into", ""}, {"t.x", ""},
	} {
		pub.Pub(tt.published, "payload")
		expectMsg(t, sub, tt.published, tt.want)
	}
}
