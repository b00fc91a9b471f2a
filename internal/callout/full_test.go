package callout

import (
	"errors"
	"net"
	"testing"

	"github.com/nats-io/nats.go"
)

// A server that is full says so and closes the connection. The handler understands that before and after CONNECT, in whatever
// pieces the bytes arrive.
func TestFullServer(t *testing.T) {
	const info, full = "INFO {\"server_id\":\"N\",\"max_payload\":1}\r\n", "-ERR 'maximum connections exceeded'\r\n"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	answers := make(chan []string, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			for _, part := range <-answers {
				_, _ = c.Write([]byte(part))
			}
			c.Close()
		}
	}()
	connect := &Connect{URLs: []string{"nats://" + l.Addr().String()}}
	for at := range len(full) {
		for _, before := range []string{"", info} {
			answers <- []string{before, full[:at], full[at:]}
			if _, err := connect.Probe(t.Context(), "token"); !errors.Is(err, nats.ErrMaxConnectionsExceeded) {
				t.Fatalf("%q and the error cut at byte %d: expected ErrMaxConnectionsExceeded; found %v", before, at, err)
			}
		}
	}
	answers <- []string{info}
	if _, err := connect.Probe(t.Context(), "token"); err == nil || isFull(err) {
		t.Errorf("a connection that was closed without an error: expected an error, but not that the server is full; found %v", err)
	}
	if isFull(errors.New("nats: maximum account active connections exceeded")) || !isFullAccount(errors.New("nats: Maximum account active connections exceeded")) {
		t.Error("an account that is full was taken for a server that is full")
	}
}
