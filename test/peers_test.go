package test

import (
	"fmt"
	"strings"
	"testing"

	"stamp/test/harness"
)

const peerConf = `
	server_name: %[1]s
	headers { require_stamping_peers: %[2]t }
	cluster { name: C, listen: "127.0.0.1:-1", pool_size: 3 }
	gateway { name: C, listen: "127.0.0.1:-1" }`

const (
	byRoute   = `server_name: %s, cluster { name: C, listen: "127.0.0.1:-1", pool_size: 3, routes: ["nats://%s"] }`
	byGateway = `server_name: %s, gateway { name: D, listen: "127.0.0.1:-1", gateways: [ {name: C, urls: ["nats://%s"]} ] }`
)

// The log warns once of each connected server that does not stamp.
func TestPeersThatDoNotStampAreNamedOnce(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(peerConf, "ours", false))
	route := harness.StartStock(t, fmt.Sprintf(byRoute, "stock_route", s.Route(t))+"\ngateway { name: C, listen: \"127.0.0.1:-1\" }")
	gateway := harness.StartStock(t, fmt.Sprintf(byGateway, "stock_gateway", s.Gateway(t)))
	s.WaitLog(t, `\[WRN\] Router connection with server "stock_route" .*does not stamp: its clients can forge`)
	s.WaitLog(t, `\[WRN\] Gateway connection with server "stock_gateway" .*does not stamp`)
	// They are connected all the same: messages go from one to the other.
	sub := subscribed(t, s)
	for _, peer := range []*harness.Server{route, gateway} {
		reach(t, peer.Connect(t), sub)
	}
	for _, name := range []string{"stock_route", "stock_gateway"} {
		if n := strings.Count(s.Text(), fmt.Sprintf("with server %q", name)); n != 1 {
			t.Errorf("the log names %s %d times, want once", name, n)
		}
	}
}

// With require_stamping_peers, servers that do not stamp are refused as routes and gateways.
func TestPeersThatDoNotStampAreRefused(t *testing.T) {
	for name, peer := range map[string]string{"Router": byRoute, "Gateway": byGateway} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, fmt.Sprintf(peerConf, "ours", true))
			at := s.Gateway(t)
			if name == "Router" {
				at = s.Route(t)
			}
			stock := harness.StartStock(t, fmt.Sprintf(peer, "stock", at))
			s.WaitLog(t, name+` connection with server "stock" refused: headers.require_stamping_peers is set, and the server does not stamp`)
			stock.WaitLog(t, "require_stamping_peers")
			if n := s.Varz(t).Routes; n != 0 {
				t.Errorf("expected no route to a stock server; found %d", n)
			}
		})
	}
}

// The same if the stamping server makes the connection.
func TestPeersThatDoNotStampAreRefusedWhenAsked(t *testing.T) {
	stock := harness.StartStock(t, `server_name: stock, cluster { name: C, listen: "127.0.0.1:-1" }, gateway { name: C, listen: "127.0.0.1:-1" }`)
	for name, conf := range map[string]string{"Router": fmt.Sprintf(byRoute, "ours", stock.Route(t)), "Gateway": fmt.Sprintf(byGateway, "ours", stock.Gateway(t))} {
		s := harness.Start(t, conf+"\nheaders { require_stamping_peers: true }")
		s.WaitLog(t, name+` connection with server "stock" refused`)
	}
}

// With require_stamping_peers, servers that stamp are accepted.
func TestStampingPeersJoin(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(peerConf, "ours", true))
	route := harness.Start(t, fmt.Sprintf(byRoute, "a_route", s.Route(t))+"\ngateway { name: C, listen: \"127.0.0.1:-1\" }\nheaders { require_stamping_peers: true }")
	gateway := harness.Start(t, fmt.Sprintf(byGateway, "a_gateway", s.Gateway(t))+"\nheaders { require_stamping_peers: true }")
	sub := subscribed(t, s)
	for _, peer := range []*harness.Server{route, gateway} {
		reach(t, peer.Connect(t), sub)
		if strings.Contains(peer.Text()+s.Text(), "does not stamp") {
			t.Error("a server that stamps is taken for one that does not")
		}
	}
}

// After a reload, require_stamping_peers applies to servers that are connected already, too.
func TestReloadRefusesPeersThatDoNotStamp(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(peerConf, "ours", false))
	route := harness.StartStock(t, fmt.Sprintf(byRoute, "stock_route", s.Route(t))+"\ngateway { name: C, listen: \"127.0.0.1:-1\" }")
	gateway := harness.StartStock(t, fmt.Sprintf(byGateway, "stock_gateway", s.Gateway(t)))
	sub := subscribed(t, s)
	for _, peer := range []*harness.Server{route, gateway} {
		reach(t, peer.Connect(t), sub)
	}
	mark := s.Mark()
	s.Reload(t, fmt.Sprintf(peerConf, "ours", true))
	mark.WaitLog(t, `Router connection with server "stock_route" .*refused`)
	mark.WaitLog(t, `Gateway connection with server "stock_gateway" .*refused`)
	harness.Eventually(t, "the routes are gone", func() bool { return s.Varz(t).Routes == 0 })
	got := harness.Client(t, s, harness.Nobody)
	got.Sub("leak.>", "1")
	for _, peer := range []*harness.Server{route, gateway} {
		c := harness.Client(t, peer, harness.Nobody)
		c.Pub("leak.x", "")
		c.Flush()
	}
	end := harness.Client(t, s, harness.Nobody)
	end.Pub("leak.end", "")
	if m := got.Msg(); m.Subject != "leak.end" {
		t.Errorf("a message of a server that does not stamp arrives on %s", m.Subject)
	}
}
