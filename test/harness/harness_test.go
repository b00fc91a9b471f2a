package harness_test

import (
	"crypto/tls"
	"net"
	"os"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"stamp.example/claim"
	"stamp/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func TestFreeAddrIsGivenOnce(t *testing.T) {
	given := map[string]bool{}
	for range 100 {
		addr := harness.FreeAddr(t)
		if given[addr] {
			t.Fatalf("FreeAddr returned %s twice", addr)
		}
		given[addr] = true
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
}

// The server's listeners are found in its log.
func TestListeners(t *testing.T) {
	a := harness.Start(t, `
		server_name: A
		accounts { SYS { users: [{user: sys, password: sys}] }, APP { users: [{user: any, password: any}] } }
		system_account: SYS
		no_auth_user: any
		cluster { name: C, listen: "127.0.0.1:-1" }
		leafnodes { listen: "127.0.0.1:-1" }
		gateway { name: C, listen: "127.0.0.1:-1" }
		websocket { listen: "127.0.0.1:-1", no_tls: true }`)
	mqtt := harness.Start(t, `
		server_name: M
		mqtt { listen: "127.0.0.1:-1" }
		jetstream { store_dir: "`+t.TempDir()+`" }`)
	for _, addr := range []string{a.Addr(t), a.Route(t), a.Leaf(t), a.Gateway(t), a.Websocket(t), mqtt.MQTT(t), a.Monitor(t)} {
		if addr == "" {
			t.Error("the server has no address for a listener")
		}
	}
	b := harness.Start(t, `cluster { name: C, listen: "127.0.0.1:-1", routes: ["nats://`+a.Route(t)+`"] }`)
	leaf := harness.Start(t, `leafnodes { remotes: [{url: "nats://`+a.Leaf(t)+`"}] }`)
	harness.Eventually(t, "a route and a leafnode", func() bool {
		return b.Varz(t).Routes > 0 && len(leaf.Leafz(t).Leafs) == 1
	})
}

func TestTLS(t *testing.T) {
	ca := harness.NewCA(t)
	cert, key := ca.Issue(t, "server")
	s := harness.Start(t, `tls { cert_file: "`+cert+`", key_file: "`+key+`", ca_file: "`+ca.File+`", verify: true }`)
	nc := s.Connect(t, nats.Secure(ca.Client(t, "client")))
	if nc.TLSRequired() != true {
		t.Error("the connection is not over TLS")
	}
	if _, err := s.TryConnect(t, nats.Secure(&tls.Config{RootCAs: ca.Pool})); err == nil {
		t.Error("a client without a certificate could connect")
	}
}

func TestOperator(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	key := acc.ScopedKey(t, map[string]any{"X": "{{name()}}"})
	s := harness.Start(t, op.PushConf(t))
	acc.Claims.Tags.Add("a:b")
	acc.Push(t, s)
	for _, u := range []*harness.User{
		acc.User(t, "direct", &claim.Claim{Headers: []claim.Header{{Name: "X", Values: []string{"y"}}}}),
		acc.UserBy(t, key, "scoped", nil, harness.Scoped),
	} {
		s.Connect(t, u.Options()...)
		s.Connect(t, nats.UserCredentials(u.Creds(t)))
		harness.Client(t, s, u.Credential)
	}
}

func TestCallout(t *testing.T) {
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	s := harness.Start(t, `
		accounts { AUTH { users: [{user: auth, password: auth}] }, APP {} }
		authorization { auth_callout { issuer: `+harness.Public(t, issuer)+`, account: AUTH, auth_users: [auth], xkey: `+harness.Public(t, xkey)+` } }`)
	callout := harness.Callout{Issuer: issuer, XKey: xkey, Answer: func(req *jwt.AuthorizationRequestClaims) (string, error) {
		uc := jwt.NewUserClaims(req.UserNkey)
		uc.Audience = "APP"
		return uc.Encode(issuer)
	}}
	callout.Serve(t, s.Connect(t, nats.UserInfo("auth", "auth")))
	harness.Client(t, s, harness.Password("anybody", "x"))
}

func TestReload(t *testing.T) {
	s := harness.Start(t, `debug: false`)
	raw := harness.Client(t, s, harness.Nobody)
	s.Reload(t, `debug: true`)
	raw.Sub("a", "1")
	raw.Hpub("a", "NATS/1.0\r\nA: b\r\n\r\n", "x")
	if m := raw.Msg(); m.Payload != "x" || len(m.Lines()) != 1 || m.Lines()[0] != "A: b" {
		t.Error("the message is not what was sent")
	}
}
