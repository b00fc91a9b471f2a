package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
)

// Ports below those that a system gives by itself, to listeners and to connections of any
// process (from 32768 on Linux, from 49152 elsewhere): one of these could have ours before we listen on it.
const (
	firstPort = 20000
	ports     = 12000
)

// nextPort counts. Each process begins elsewhere.
var nextPort atomic.Uint32

func init() { nextPort.Store(rand.Uint32N(ports)) }

// FreeAddr is an address, host:port, that is free now, for who must know it before it is
// listened on. It is given once.
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
