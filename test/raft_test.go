package test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// ownerTraffic are three servers whose account APP carries the raft traffic of its own streams.
func ownerTraffic(t *testing.T) []*harness.Server {
	t.Helper()
	var at []string
	for range 3 {
		at = append(at, harness.FreeAddr(t))
	}
	var servers []*harness.Server
	for i := range 3 {
		servers = append(servers, harness.Start(t, fmt.Sprintf(`
			server_name: S%d
			jetstream { store_dir: %q }
			cluster { name: C, listen: %q, routes: ["nats://%s"] }
			accounts {
				APP {
					jetstream: {cluster_traffic: owner}
					imports: [{stream: {account: EVIL, subject: "evil.>"}, to: "$NRG.>"}]
					users: [
						{user: pub, password: pub, headers: {Session: "top-secret"}}
						{user: reader, password: reader}
						{user: trusted, password: trusted, header_permissions: {subscribe: {allow: [Session]}}}
					]
				}
				EVIL { exports: [{stream: "evil.>"}], users: [{user: evil, password: evil}] }
				SYS { users: [{user: sys, password: sys}] }
			}
			system_account: SYS
			leafnodes { listen: "127.0.0.1:-1", authorization { users: [
				{user: site, password: site, account: APP}, {user: stamped, password: stamped, account: APP, headers: {Site: s}}
			] } }
			headers { sealed: [Session], protected: [Session] }`,
			i, t.TempDir(), at[i], strings.Join(at, "\", \"nats://"))))
	}
	return servers
}

// raftGroup is the group of servers that replicate the stream S.
func raftGroup(t *testing.T, nc *nats.Conn) string {
	t.Helper()
	var info struct {
		Cluster struct {
			RaftGroup string `json:"raft_group"`
		} `json:"cluster"`
	}
	if err := json.Unmarshal(request(t, nc, "$JS.API.STREAM.INFO.S", "").Data, &info); err != nil || info.Cluster.RaftGroup == "" {
		t.Fatalf("the stream has no raft group: error %v", err)
	}
	return info.Cluster.RaftGroup
}

// Only servers read and write the messages by which they replicate a stream. In a tenant's account too, nobody else gets them,
// and nobody else can send them: neither as a message, nor as a reply, nor as the subject to which JetStream sends something.
func TestRaftIsBetweenServers(t *testing.T) {
	servers := ownerTraffic(t)
	servers[0].WaitLog(t, `\["APP"\] \(cluster_traffic: owner\)`)
	pub := servers[0].Connect(t, userInfo("pub"))
	js := newJetStream(t, pub)
	mustStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"t.>"}, Replicas: 3, AllowDirect: true})
	group := raftGroup(t, pub)
	var listeners []*harness.Raw
	for _, s := range servers {
		client := harness.Client(t, s, password("reader"))
		client.Sub(">", "1")
		client.Sub("$NRG.>", "2")
		listeners = append(listeners, client)
		for _, user := range []string{"site", "stamped"} {
			leaf := rawLeaf(t, s, user)
			leaf.Send("LS+ $NRG.>\r\nLS+ $NRG.AE.>\r\nLS+ >\r\n")
			untilPong(t, leaf)
			listeners = append(listeners, leaf)
		}
		sys := harness.Client(t, s, password("sys"))
		sys.Sub("$NRG.>", "1")
		listeners = append(listeners, sys)
	}
	publish := func(n int) {
		t.Helper()
		for range n {
			if _, err := js.Publish(t.Context(), "t.x", []byte("payload")); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(10)
	mallory := servers[1].Connect(t, userInfo("reader"))
	if err := mallory.Publish("t.end", nil); err != nil {
		t.Fatal(err)
	}
	const forged = "\x04entry"
	for _, s := range servers {
		client := harness.Client(t, s, password("reader"))
		for _, subject := range []string{"P", "RP", "AE", "V"} {
			client.Pub("$NRG."+subject+"."+group, forged)
		}
		client.Send("PUB $JS.API.INFO $NRG.P.%s 0\r\n\r\n", group)
		client.Send("PUB t.x $NRG.P.%s 1\r\nx\r\n", group)
		client.Send("PUB $JS.API.DIRECT.GET.S $NRG.P.%s 15\r\n{\"last_by\":\"t\"}\r\n", group)
		untilPong(t, client)
		for _, user := range []string{"site", "stamped"} {
			leaf := rawLeaf(t, s, user)
			for _, subject := range []string{"P", "RP", "AE", "V"} {
				leaf.Send("LMSG $NRG.%s.%s %d\r\n%s\r\n", subject, group, len(forged), forged)
			}
			for _, reply := range []string{"", "_GR_.AAAAAA.BBBBBB."} {
				leaf.Send("LMSG $JS.API.INFO %s$NRG.P.%s 0\r\n\r\n", reply, group)
				leaf.Send("LMSG t.x %s$NRG.P.%s 1\r\nx\r\n", reply, group)
			}
			untilPong(t, leaf)
		}
	}
	// A consumer's configuration makes JetStream itself send messages there.
	_, err := mallory.Request("$JS.API.CONSUMER.CREATE.S", fmt.Appendf(nil,
		`{"stream_name":"S","config":{"deliver_subject":"$NRG.P.%s","deliver_policy":"all","ack_policy":"none"}}`, group), harness.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	publish(20)
	info, err := must(js.Stream(t.Context(), "S")).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(10 + 1 + 20); info.State.Msgs != want {
		t.Errorf("the stream has %d messages, expected %d", info.State.Msgs, want)
	}
	for i, l := range listeners {
		untilQuiet(t, l, func(line string) {
			if f := strings.Fields(line); len(f) > 1 && strings.HasSuffix(f[0], "MSG") && strings.Contains(f[1], "$NRG.") || strings.Contains(line, "top-secret") {
				t.Errorf("listener %d got what servers say to each other: %.100q", i, line)
			}
		})
	}
	// An import may give another tenant's subjects such names, on whichever server they are published.
	for _, s := range servers {
		evil := harness.Client(t, s, password("evil"))
		for _, subject := range []string{"evil.P." + group, "evil.AE." + group, "evil.RP." + group} {
			evil.Pub(subject, string(raftMessage("t.forged", block("Session: forged", "Stamp-Account: OTHER"), "forged")))
		}
		untilPong(t, evil)
	}
	publish(5)
	if info, err = must(js.Stream(t.Context(), "S")).Info(t.Context()); err != nil || info.State.Msgs != 10+1+20+5 {
		t.Errorf("after messages of another tenant the stream has %d messages, expected 36; error %v", info.State.Msgs, err)
	}
	for seq := range info.State.LastSeq {
		m, err := must(newJetStream(t, servers[2].Connect(t, userInfo("trusted"))).Stream(t.Context(), "S")).GetMsg(t.Context(), seq+1)
		if err == nil && m.Header.Get("Session") != "" && m.Header.Get("Session") != "top-secret" {
			t.Errorf("message %d has a forged header", seq+1)
		}
	}
}

// raftMessage is an entry of a stream's raft group as upstream encodes it (jetstream_cluster.go,
// encodeStreamMsgAllowCompressAndBatch).
func raftMessage(subject, hdr, payload string) []byte {
	le := binary.LittleEndian
	buf := le.AppendUint64([]byte{4}, 10) // the last sequence
	buf = le.AppendUint64(buf, uint64(time.Now().UnixNano()))
	buf = append(le.AppendUint16(buf, uint16(len(subject))), subject...)
	buf = le.AppendUint16(buf, 0) // no reply
	buf = append(le.AppendUint16(buf, uint16(len(hdr))), hdr...)
	buf = append(le.AppendUint32(buf, uint32(len(payload))), payload...)
	return binary.AppendUvarint(buf, 0)
}

// untilQuiet shows each line that comes before the answer to a PING.
func untilQuiet(t *testing.T, raw *harness.Raw, see func(line string)) {
	t.Helper()
	raw.Send("PING\r\n")
	for {
		line, err := raw.Line()
		if err != nil {
			t.Fatalf("the connection ended before PONG: %v", err)
		}
		if line == "PONG" {
			return
		}
		see(line)
	}
}
