package test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// slowSite is a site of the source http that takes a while for each answer, and lets in whoever comes.
func slowSite(t *testing.T, takes time.Duration) string {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(takes):
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"user":"alice"}`))
	}))
	t.Cleanup(site.Close)
	return site.URL
}

// The server waits for a callout as long as the handler's sources may take, with each protocol, and sends the client nothing
// meanwhile. It does not wait longer than before for a client that sends no CONNECT.
func TestCalloutTimeout(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(`
		server_name: S
		accounts { AUTH {}, APP { jetstream: enabled } }
		jetstream { store_dir: %q }
		websocket { listen: "127.0.0.1:-1", no_tls: true }
		mqtt { listen: "127.0.0.1:-1" }
		leafnodes { listen: "127.0.0.1:-1" }
		authorization { timeout: 1 }
		callout {
			account: AUTH, issuer: %s
			sessions: [{kind: http, url: %q, timeout: "20s"}]
			grants: [{account: APP, publish: ">", subscribe: ">"}]
		}`, t.TempDir(), harness.Seed(t, harness.NewAccountKey(t)), slowSite(t, 4*time.Second)))
	for protocol, connect := range map[string]func(t *testing.T) error{
		"TCP": func(t *testing.T) error {
			_, err := s.TryConnect(t, nats.Token("tcp"))
			return err
		},
		"websocket": func(t *testing.T) error {
			nc, err := nats.Connect("ws://"+s.Websocket(t), nats.Timeout(harness.Timeout), nats.NoReconnect(), nats.Token("websocket"))
			if err == nil {
				nc.Close()
			}
			return err
		},
		"MQTT": func(t *testing.T) error {
			_, err := deviceOnTCP(t, s, "alice", "mqtt")
			return err
		},
		"leafnode": func(t *testing.T) error {
			leaf := harness.Start(t, fmt.Sprintf(`leafnodes { remotes: [{url: "nats://leaf@%s"}] }`, s.Leaf(t)))
			harness.Eventually(t, "the leafnode", func() bool { return len(s.Leafz(t).Leafs) == 1 })
			if strings.Contains(leaf.Text(), "Authorization Violation") {
				return errors.New("it was refused first")
			}
			return nil
		},
		"no CONNECT": func(t *testing.T) error {
			harness.Dial(t, s).Expect("-ERR 'Authentication Timeout'")
			return nil
		},
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			if err := connect(t); err != nil {
				t.Error(err)
			}
		})
	}
}

// If callout.timeout is set, the server waits exactly that long.
func TestCalloutTimeoutIsSet(t *testing.T) {
	conf := fmt.Sprintf(`
		accounts { AUTH {}, APP {} }
		authorization { timeout: 60 }
		callout {
			timeout: "1s"
			account: AUTH, issuer: %s
			sessions: [{kind: http, url: %q, timeout: "20s"}]
			grants: [{account: APP, publish: ">", subscribe: ">"}]
		}`, harness.Seed(t, harness.NewAccountKey(t)), slowSite(t, harness.Timeout))
	s := harness.Start(t, conf)
	if err := letIn(s.Addr(t), "t"); err == nil {
		t.Error("a client was let in")
	}
}
