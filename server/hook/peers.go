package hook

import (
	"errors"
	"fmt"
	"sync"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

var errPeer = errors.New("headers.require_stamping_peers is set, and the server does not stamp")

// peers remembers which servers without Stamp were reported, so that a server is reported
// once, even if it has many connections or reconnects often.
type peers struct {
	mu       sync.Mutex
	reported map[string]bool // by server id
}

// Peer implements natsserver.Extension.
func (h *Hook) Peer(p *natsserver.ConnPeer) error {
	h.peerConnected(p.Server)
	if p.Release != "" {
		return nil
	}
	require := rulesOf(p.Headers).RequiresStampingPeers()
	if h.peers.markReported(p.ID) {
		consequence := "its clients can forge stamped headers, and read sealed ones"
		if require {
			consequence = "it is refused"
		}
		p.Server.Warnf("%s connection with server %q (%s), which does not stamp: %s", p.Kind, p.Name, p.ID, consequence)
	}
	if require {
		return fmt.Errorf("%s connection with server %q refused: %w", p.Kind, p.Name, errPeer)
	}
	return nil
}

// maxPeers is how many servers are remembered. A server gets a new id at each start.
const maxPeers = 4096

// markReported marks a server as reported, and returns whether it is the first time.
func (p *peers) markReported(id string) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reported[id] {
		return false
	}
	if p.reported == nil || len(p.reported) >= maxPeers {
		p.reported = map[string]bool{}
	}
	p.reported[id] = true
	return true
}
