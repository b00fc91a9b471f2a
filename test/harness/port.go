package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
)

// The ports that FreeAddr gives are below those that a system assigns by itself to listeners and connections of any
// process (from 32768 on Linux, from 49152 elsewhere). A port from there could be taken before the test listens on it.
const (
	firstPort = 20000
	ports     = 12000
)

// nextPort is the port to try next. Each process begins with another one.
var nextPort atomic.Uint32

func init() { nextPort.Store(rand.Uint32N(ports)) }

// FreeAddr returns an address, host:port, on which nobody listens now, for a test that must know an address before
// something listens on it. It returns no address twice.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range ports {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+nextPort.Add(1)%ports)
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}
