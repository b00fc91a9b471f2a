package test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"stamp/test/harness"
)

// slowHash is a hash of a password that takes a server long enough to check that a reload can happen meanwhile. The tests hold
// also if it does not.
func slowHash(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 14)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// pendingConf has a user dev whose password is slow, in APP or in OTHER.
func pendingConf(app, other string) string {
	return fmt.Sprintf(`
		accounts { APP { users: [{user: sub, password: sub}, %s] }, OTHER { users: [{user: osub, password: osub}, %s] } }
		authorization { timeout: 60 }`, app, other)
}

func pendingUser(hash, value string) string {
	return fmt.Sprintf("{user: dev, password: %q, headers: {X-User: %s}}", hash, value)
}

// A connection that publishes after a reload has the stamp and the account of the new configuration, even if the reload came
// while the connection was being authenticated. Otherwise it is refused, or closed.
func TestReloadDuringAnAuthentication(t *testing.T) {
	hash := slowHash(t, "dev")
	before := pendingConf(pendingUser(hash, "old"), "")
	for _, test := range []struct {
		name, after string
		stamp       string // "": nothing of the connection may arrive
	}{
		{"headers changed", pendingConf(pendingUser(hash, "new"), ""), "X-User: new"},
		{"account moved", pendingConf("", pendingUser(hash, "new")), "X-User: new"},
		{"user removed", pendingConf("", ""), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := harness.Start(t, before)
			app, other := subscriber(t, s, password("sub")), subscriber(t, s, password("osub"))
			raw := harness.Dial(t, s)
			raw.Connect(password("dev"))
			s.Reload(t, test.after)
			own := app // the account that it belongs to now
			if test.name == "account moved" {
				own = other
			}
			alive := pings(raw, "SUB secret.> 1\r\nPUB t.x 7\r\npayload\r\n")
			secret := harness.Client(t, s, password("sub"))
			secret.Pub("secret.x", "of APP")
			secret.Pub("t.end", "")
			secret.Flush()
			last := harness.Client(t, s, password("osub"))
			last.Pub("t.end", "")
			last.Flush()
			for sub, name := range map[*harness.Raw]string{app: "APP", other: "OTHER"} {
				for {
					m := sub.Msg()
					if m.Subject == "t.end" {
						break
					}
					if sub != own || !slices.Equal(m.Lines(), []string{test.stamp}) {
						t.Errorf("after the reload a message arrives in %s, with %q", name, m.Lines())
					}
				}
			}
			switch {
			case alive && test.stamp == "":
				raw.ExpectClosed()
			case alive && own == other:
				raw.Send("PING\r\n")
				if line, err := raw.Line(); err == nil && line != "PONG" {
					t.Errorf("the connection is in OTHER, and gets %q", line)
				}
			}
		})
	}
}

// pings sends text and a PING. It reports whether the server answered with PONG, and did not close the connection.
func pings(raw *harness.Raw, text string) bool {
	raw.Send("%sPING\r\n", text)
	for {
		line, err := raw.Line()
		if err != nil {
			return false
		}
		if line == "PONG" {
			return true
		}
	}
}

// mqttConnect sends a CONNECT of MQTT 3.1.1.
func mqttConnect(t *testing.T, s *harness.Server, user, id string) net.Conn {
	t.Helper()
	return mqttConnectAs(t, s, user, id, "\xC2") // name, password, clean session
}

func mqttConnectAs(t *testing.T, s *harness.Server, user, id, flags string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.MQTT(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	text := func(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }
	body := text("MQTT") + "\x04" + flags + "\x00\x00" + text(id) + text(user) + text(user)
	mqttSend(t, conn, "\x10"+string(rune(len(body)))+body)
	return conn
}

func mqttSend(t *testing.T, conn net.Conn, packet string) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(harness.Timeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, packet); err != nil {
		t.Fatal(err)
	}
}

// mqttRead reads a packet with a header of two bytes. It returns "" if the server has closed the connection.
func mqttRead(t *testing.T, conn net.Conn) string {
	t.Helper()
	head := make([]byte, 2)
	_, err := io.ReadFull(conn, head)
	if err == nil {
		body := make([]byte, head[1])
		if _, err = io.ReadFull(conn, body); err == nil {
			return string(head) + string(body)
		}
	}
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatalf("the server neither answers nor closes the connection in %s", harness.Timeout)
	}
	return ""
}

// The same over MQTT.
func TestReloadDuringAnAuthenticationOverMQTT(t *testing.T) {
	hash := slowHash(t, "dev")
	dir := t.TempDir()
	conf := func(user string) string {
		return fmt.Sprintf(`
			server_name: S
			jetstream { store_dir: %q }
			mqtt { listen: "127.0.0.1:-1" }`, dir) + strings.Replace(pendingConf(user, ""), "APP {", "APP { jetstream: enabled,", 1)
	}
	for _, test := range []struct{ name, user, stamp string }{
		{"headers changed", pendingUser(hash, "new"), "X-User: new"},
		{"user removed", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := harness.Start(t, conf(pendingUser(hash, "old")))
			defer s.Stop()
			sub := subscriber(t, s, password("sub"))
			conn := mqttConnect(t, s, "dev", "pending")
			s.Reload(t, conf(test.user))
			ack := mqttRead(t, conn)
			if ack == "\x20\x02\x00\x00" {
				mqttSend(t, conn, "\x30\x06\x00\x03t/xp"+"\xC0\x00") // PUBLISH, PINGREQ
				if mqttRead(t, conn) != "" && test.stamp == "" {
					t.Error("the connection of a removed user goes on")
				}
			}
			end := harness.Client(t, s, password("sub"))
			end.Pub("t.end", "")
			end.Flush()
			for {
				m := sub.Msg()
				if m.Subject == "t.end" {
					break
				}
				if test.stamp == "" || !slices.Contains(m.Lines(), test.stamp) {
					t.Errorf("after the reload a message arrives with %q", m.Lines())
				}
			}
		})
	}
}

// If a grant changes while a callout is under way, the connection gets the new grant, even if the old handler has answered.
func TestReloadInsideOfAGrantDuringALogin(t *testing.T) {
	app := startApplication(t)
	conf := liveConf{url: app.url}
	s := harness.Start(t, conf.String())
	sub := subscriber(t, s, password("svc"))
	release := app.block()
	raw := harness.Dial(t, s)
	raw.Connect(named(token("pending"), "pending"))
	harness.Eventually(t, "the source is asked", func() bool { return app.asked.Load() > 0 })
	conf.grant = `publish: "t.>", subscribe: "t.>", headers: {X-Name: "{{ session.user }}"}`
	s.Reload(t, conf.String())
	s.WaitLog(t, "Reloaded: callout")
	release()
	raw.Flush()
	awaitStamp(t, raw, sub, "X-Name: pending")
}

// The same for a connection whose renewal is under way.
func TestReloadInsideOfAGrantDuringARenewal(t *testing.T) {
	app := startApplication(t)
	conf := liveConf{url: app.url}
	s := harness.Start(t, conf.String())
	sub := subscriber(t, s, password("svc"))
	l := connectLive(t, s, 1)
	release := app.block()
	asked := app.asked.Load()
	request(t, s.Connect(t, userInfo("sys")), "$SYS.REQ.SERVER."+s.ID(t)+".RENEW", fmt.Sprintf(`{"cid":%d}`, l.cids["live0"]))
	harness.Eventually(t, "the source is asked", func() bool { return app.asked.Load() > asked })
	conf.grant = `publish: "t.>", subscribe: "t.>", headers: {X-Name: "{{ session.user }}"}`
	s.Reload(t, conf.String())
	release()
	awaitStamp(t, l.conns["live0"], sub, "X-Name: live0")
	l.expectAlive()
}

// awaitStamp waits until what pub publishes has exactly these lines.
func awaitStamp(t *testing.T, pub, sub *harness.Raw, lines ...string) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("the stamp %q", lines), func() bool {
		pub.Pub("t.await", "payload")
		return slices.Equal(sub.Msg().Lines(), lines)
	})
}
