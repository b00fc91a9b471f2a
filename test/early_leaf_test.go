package test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"stamp/test/harness"
)

// fakeHub is the hub of a leafnode connection. The test writes its protocol lines.
type fakeHub struct {
	*testing.T
	conn net.Conn
	r    *bufio.Reader
}

const fakeHubInfo = `INFO {"server_id":"HUB","server_name":"hub","version":"2.15.3","proto":1,"host":"127.0.0.1","port":1,"headers":true,"max_payload":1048576,"client_id":7,"leafnode_urls":["127.0.0.1:1"],%s}` + "\r\n"

// earlyLeaf starts a server that connects to a fakeHub as a leafnode. The server has the given headers block, and a user
// svc for clients. The leafnode connection waits for the hub's first line.
func earlyLeaf(t *testing.T, headers, user string) (*harness.Server, *fakeHub) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := harness.Start(t, fmt.Sprintf(`
		server_name: spoke
		headers { %s }
		accounts { APP { users: [{user: svc, password: svc %s}] } }
		leafnodes { remotes: [{url: "nats://%s", account: APP, first_info_timeout: "60s"}] }`, headers, user, l.Addr()))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(harness.Timeout)); err != nil {
		t.Fatal(err)
	}
	return s, &fakeHub{t, conn, bufio.NewReader(conn)}
}

func (h *fakeHub) send(format string, args ...any) {
	h.Helper()
	if _, err := fmt.Fprintf(h.conn, format, args...); err != nil {
		h.Fatal(err)
	}
}

// until reads lines to the first that starts with begin, and returns all of them.
func (h *fakeHub) until(begin string) string {
	h.Helper()
	var all strings.Builder
	for {
		line, err := h.r.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			h.Fatalf("wait for %q: %v", begin, err)
		}
		if strings.HasPrefix(line, begin) {
			return all.String()
		}
	}
}

// A hub cannot forge headers by sending messages before the leafnode has connected completely. Protected names are
// removed from these as from later ones.
func TestMessagesOfAHubBeforeTheLeafnodeIsConnected(t *testing.T) {
	s, hub := earlyLeaf(t, `protected: [Session]`, "")
	sub := subscriber(t, s, password("svc"))
	forged := block("Session: forged")
	message := func(subject string) {
		hub.send("HMSG %s %d %d\r\n%spayload\r\n", subject, len(forged), len(forged)+len("payload"), forged)
	}
	hub.send(fakeHubInfo, `"info_on_connect":true,"nonce":"abc"`)
	hub.until("CONNECT")
	message("t.early")
	hub.send("LMSG t.early 7\r\npayload\r\nPING\r\n")
	hub.until("PONG")
	hub.send(fakeHubInfo, `"connect_info":true,"remote_account":"$G"`)
	message("t.late")
	for {
		m := sub.Msg()
		if strings.Contains(m.Header, "forged") {
			t.Errorf("the message on %s has a forged header: %q", m.Subject, m.Header)
		}
		if m.Subject == "t.late" {
			return
		}
	}
}

// Sealed values are not delivered to such a hub either.
func TestSealedBeforeTheLeafnodeIsConnected(t *testing.T) {
	s, hub := earlyLeaf(t, `sealed: [Session], protected: [Session]`, `, headers: {Session: SECRET}`)
	pub := harness.Client(t, s, password("svc"))
	hub.send(fakeHubInfo, `"info_on_connect":true,"nonce":"abc"`)
	hub.until("CONNECT")
	hub.send("LS+ t.>\r\nPING\r\n")
	hub.until("PONG")
	pub.Pub("t.x", "payload")
	if got := hub.until("payload"); strings.Contains(got, "SECRET") {
		t.Errorf("the hub gets the sealed value: %q", got)
	}
}

// Messages that a hub sends before its INFO are without protected names, or refused.
func TestMessagesOfAHubBeforeItsInfo(t *testing.T) {
	s, hub := earlyLeaf(t, `protected: [Session]`, "")
	sub := subscriber(t, s, password("svc"))
	forged := block("Session: forged")
	hub.send("LMSG t.x 1\r\nx\r\nHMSG t.x %d %d\r\n%sx\r\n", len(forged), len(forged)+1, forged)
	hub.send(fakeHubInfo, `"info_on_connect":true,"nonce":"abc"`)
	for { // until the server has accepted or refused them
		if line, err := hub.r.ReadString('\n'); err != nil || strings.HasPrefix(line, "CONNECT") {
			break
		}
	}
	end := harness.Client(t, s, password("svc"))
	end.Pub("t.end", "")
	for {
		m := sub.Msg()
		if m.Subject == "t.end" {
			return
		}
		if strings.Contains(m.Header, "forged") {
			t.Errorf("the message on %s has a forged header: %q", m.Subject, m.Header)
		}
	}
}
