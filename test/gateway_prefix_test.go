package test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// nothingComes is how long a test waits before it assumes that no message comes.
const nothingComes = 500 * time.Millisecond

// gatewayHash is how a gateway names a cluster in the prefix of a reply (gateway.go, getGWHash).
func gatewayHash(name string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(name))
	var out strings.Builder
	for _, b := range sum[:6] {
		out.WriteByte(digits[int(b)%len(digits)])
	}
	return out.String()
}

// A leafnode may publish the answer to a request of another cluster, under a subject with a prefix. Behind that prefix too, it
// cannot reach raft's subjects.
func TestRaftIsNotReachedByAGatewaysPrefix(t *testing.T) {
	const shared = `
		accounts {
			APP { jetstream: {cluster_traffic: owner}, users: [{user: pub, password: pub}] }
			SYS { users: [{user: sys, password: sys}] }
		}
		system_account: SYS
		leafnodes { listen: "127.0.0.1:-1", authorization { users: [
			{user: site, password: site, account: APP}, {user: stamped, password: stamped, account: APP, headers: {Site: s}}
		] } }
		headers { sealed: [Session], protected: [Session], provenance: true }
	`
	at := []string{harness.FreeAddr(t), harness.FreeAddr(t)}
	var cluster []*harness.Server
	for i := range at {
		cluster = append(cluster, harness.Start(t, fmt.Sprintf(`%s
			server_name: J%d
			jetstream { store_dir: %q }
			cluster { name: C2, listen: %q, routes: ["nats://%s", "nats://%s"] }
			gateway { name: C2, listen: "127.0.0.1:-1" }`, shared, i, t.TempDir(), at[i], at[0], at[1])))
	}
	edge := harness.Start(t, fmt.Sprintf(`%s
		server_name: L
		gateway { name: C1, listen: "127.0.0.1:-1", gateways: [{name: C2, url: "nats://%s"}] }`, shared, cluster[0].Gateway(t)))
	pub := cluster[0].Connect(t, userInfo("pub"))
	js := newJetStream(t, pub)
	mustStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"stored.>"}, Replicas: 2})
	group := raftGroup(t, pub)
	// The leafnode reaches the other cluster by such a prefix.
	heard := subscribedTo(t, pub, "t.answer")
	prefix := "_GR_." + gatewayHash("C2") + ".AAAAAA."
	for _, user := range []string{"site", "stamped"} {
		leaf := rawLeaf(t, edge, user)
		harness.Eventually(t, "an answer over the gateway", func() bool {
			leaf.Send("LMSG %st.answer 2\r\nhi\r\n", prefix)
			untilPong(t, leaf)
			_, err := heard.NextMsg(nothingComes)
			return err == nil
		})
		for _, subject := range []string{"P", "RP", "AE", "V"} {
			for _, wrapped := range []string{prefix, prefix + prefix} {
				leaf.Send("LMSG %s$NRG.%s.%s 4\r\njunk\r\n", wrapped, subject, group)
			}
		}
		// Nor can it by the answer to a request, whose prefix each cluster removes.
		other := "_GR_." + gatewayHash("C1") + ".BBBBBB."
		for at, chain := range map[*harness.Raw][]string{leaf: {prefix, other + prefix, prefix + other + prefix}, rawLeaf(t, cluster[1], user): {prefix, other + prefix}} {
			for _, reply := range chain {
				for _, request := range []string{"$JS.API.INFO", "$SYS.REQ.USER.INFO"} {
					at.Send("LMSG %s %s$NRG.P.%s 0\r\n\r\n", request, reply, group)
				}
			}
			untilPong(t, at)
		}
		leaf.Send("LMSG %st.answer 2\r\nhi\r\n", prefix) // behind the others
		untilPong(t, leaf)
		next(t, heard, nil)
	}
	before := must(must(js.Stream(t.Context(), "S")).Info(t.Context())).State.Msgs
	if _, err := js.Publish(t.Context(), "stored.x", []byte("honest")); err != nil {
		t.Fatalf("the stream takes no more messages: %v", err)
	}
	if after := must(must(js.Stream(t.Context(), "S")).Info(t.Context())).State.Msgs; after != before+1 {
		t.Errorf("the stream has %d messages, expected one more than %d", after, before)
	}
	for _, s := range cluster {
		if log := s.Text(); strings.Contains(log, "unknown stream entry") || strings.Contains(log, "critical write error") {
			t.Error("a message of the leafnode reached raft")
		}
	}
}

// A gateway's prefix that a client writes itself is a part of its subject, also where a mapping lets it pass.
func TestMappedGatewayPrefix(t *testing.T) {
	s := harness.Start(t, `
		accounts { APP {
			mappings: { ">": "acme.>" }
			users: [{user: svc, password: svc}, {user: m, password: m, headers: {X: a, Auth: {value: tok, subjects: ["admin.>"]}}, permissions: {publish: {deny: ["admin.>", "acme.admin.>"]}}}]
		} }
		headers { provenance: true }`)
	heard := subscribedTo(t, s.Connect(t, userInfo("svc")), "acme.>")
	const subject = "_GR_.AAAAAA.BBBBBB.admin.delete"
	if err := s.Connect(t, userInfo("m")).PublishMsg(&nats.Msg{Subject: subject}); err != nil {
		t.Fatal(err)
	}
	if m := next(t, heard, nil); m.Header.Get("Stamp-Subject") != subject || m.Header.Get("Auth") != "" || m.Header.Get("X") != "a" {
		t.Errorf("expected the stamps of %s on its message; got a message on %s with %v", subject, m.Subject, m.Header)
	}
}
