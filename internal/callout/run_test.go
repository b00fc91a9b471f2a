package callout

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"stamp/internal/callout/announce"
	"stamp/internal/callout/forwarded"
)

// If a session ends while the connection of the system account is away, servers are told when it is back, with the age of the
// end. A request that waited in a buffer would close connections of a session that was begun anew.
func TestAnnouncesWithItsAge(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	start := func() *natsserver.Server {
		s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: port, NoSigs: true})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		if !s.ReadyForConnections(20 * time.Second) {
			t.Fatal("the server does not start")
		}
		return s
	}
	s := start()
	p := &Process{options: Options{Log: slog.New(slog.DiscardHandler)}}
	p.announcer = announce.New(p.announce)
	defer p.announcer.Close()
	c := &Connect{System: &Connect{URLs: []string{s.ClientURL()}}}
	nc, err := c.dialSystem(t.Context(), p.options.Log, p.announcer.RepeatAll)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := p.listen(nc.Conn); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a connection", nc.IsConnected)
	s.Shutdown()
	eventually(t, "no connection", func() bool { return !nc.IsConnected() })
	if err := p.announcer.Tell(forwarded.Renew{Session: "kv/a", Kick: true}); !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("expected ErrDisconnected while the connection is away; found %v", err)
	}
	s = start()
	defer s.Shutdown()
	system, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer system.Close()
	messages, err := system.SubscribeSync(forwarded.RenewAll)
	if err == nil {
		err = system.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m, err := messages.NextMsgWithContext(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var q forwarded.Renew
	if err := json.Unmarshal(m.Data, &q); err != nil {
		t.Fatal(err)
	}
	if len(q.Again) != 1 || q.Again[0].Session != "kv/a" || !q.Again[0].Kick || q.Again[0].Ago <= 0 {
		t.Errorf("expected the end of kv/a with its age; the server was told %s", m.Data)
	}
}
