package login

import (
	"fmt"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"stamp/internal/callout/session/internal/sourcetest"
)

// TestDomain: the handler is at a leaf node without JetStream, and keeps its sessions at the hub.
func TestDomain(t *testing.T) {
	hub := sourcetest.ServerOf(t, fmt.Sprintf(`listen: "127.0.0.1:-1", server_name: hub
		jetstream { store_dir: %q, domain: hub }
		leafnodes { listen: "127.0.0.1:-1" }`, t.TempDir()))
	varz, err := hub.Varz(&natsserver.VarzOptions{})
	if err != nil {
		t.Fatal(err)
	}
	leaf := sourcetest.ServerOf(t, fmt.Sprintf(`listen: "127.0.0.1:-1", server_name: leaf
		leafnodes { remotes: [{ url: "nats-leaf://127.0.0.1:%d" }] }`, varz.LeafNode.Port))
	eventually(t, "the leaf node", func() bool { return leaf.NumLeafNodes() == 1 })
	nc, err := nats.Connect(leaf.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	p := newProvider(t)
	s := startSite(t, p, nc, newKey(), "domain: hub")
	b := newBrowser(t, s)
	b.logIn()
	if found := b.mustFind(); found.Data["sub"] == nil {
		t.Errorf("the session holds %d fields, and no sub", len(found.Data))
	}
}
