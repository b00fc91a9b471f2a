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
	named map[string]bool // by id
}

// Peer implements natsserver.Extension.
func (h *Hook) Peer(p *natsserver.ConnPeer) error {
	h.returned()
	if p.Release != "" {
		return nil
	}
	require := rulesOf(p.Headers).RequiresStampingPeers()
	if h.peers.report(p.ID) {
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

// report tells whether a peer is to be named, and remembers it.
func (p *peers) report(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.named[id] {
		return false
	}
	if p.named == nil || len(p.named) >= maxPeers {
		p.named = map[string]bool{}
	}
	p.named[id] = true
	return true
}
