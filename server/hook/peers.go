package hook

import (
	"errors"
	"fmt"
	"sync"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

var errPeer = errors.New("headers.require_stamping_peers is set, and the server does not stamp")

// peers remembers who was reported, so that a peer with many connections, or one that
// connects again and again, is named once.
type peers struct {
	mu    sync.Mutex
	named map[peer]bool
}

type peer struct {
	server *natsserver.Server
	id     string
}

// Peer implements natsserver.InboundPeerHook.
func (h *Hook) Peer(p natsserver.InboundPeer) error {
	if p.Release != "" {
		return nil
	}
	require := rules(p.Options).RequiresStampingPeers()
	if h.peers.first(peer{p.Server, p.ID}) {
		what := "its clients can forge stamped headers, and read sealed ones"
		if require {
			what = "it is refused"
		}
		p.Server.Warnf("%s connection with server %q (%s), which does not stamp: %s", p.Kind, p.Name, p.ID, what)
	}
	if require {
		return fmt.Errorf("%s connection with server %q refused: %w", p.Kind, p.Name, errPeer)
	}
	return nil
}

// maxPeers is how many are remembered. Servers that are started again have new ids.
const maxPeers = 4096

func (p *peers) first(key peer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.named[key] {
		return false
	}
	if p.named == nil || len(p.named) >= maxPeers {
		p.named = map[peer]bool{}
	}
	p.named[key] = true
	return true
}
