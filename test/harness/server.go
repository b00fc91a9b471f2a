// Package harness runs the built nats-server for end-to-end tests.
//
// A test starts servers with Start, which gives them free ports, and connects to
// them with nats.go (Server.Connect) or with a raw client (Dial), which shows the
// exact bytes. Operator mode has Operator, Account and User; an auth callout
// service is ServeCallout. Tests wait for conditions (Server.WaitLog, Eventually),
// never for a time.
//
// Further servers of a cluster, a gateway or a leafnode are started after the
// first, with its address in their configuration: Server.Route, Gateway, Leaf.
package harness

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Timeout is how long anything in a test may take. It is generous: machines that
// run tests are slow, and only a test that fails waits for it.
const Timeout = 60 * time.Second

// Server is a running nats-server.
type Server struct {
	*Process
	conf string // file
}

// common stands before every configuration.
const common = `
listen: "127.0.0.1:-1"
http: "127.0.0.1:-1"
`

// Start runs a server with the configuration conf and the arguments args until the
// test ends. Every further listener in conf must listen on "127.0.0.1:-1".
func Start(t testing.TB, conf string, args ...string) *Server {
	t.Helper()
	s := Launch(t, common+conf, args...)
	s.WaitLog(t, "Server is ready")
	return s
}

// StartIn is Start in a network namespace, which must exist. Listeners of conf must be given
// addresses of it.
func StartIn(t testing.TB, namespace, conf string) *Server {
	t.Helper()
	s := &Server{conf: filepath.Join(t.TempDir(), "server.conf")}
	s.write(t, conf)
	s.Process = Run(t, "ip", "netns", "exec", namespace, Binary(t), "-c", s.conf)
	s.WaitLog(t, "Server is ready")
	return s
}

// Launch runs a server with exactly the configuration conf, without waiting for
// it to be ready: see Exit.
func Launch(t testing.TB, conf string, args ...string) *Server {
	t.Helper()
	return LaunchBinary(t, Binary(t), conf, args...)
}

// StartStock is Start for the server of upstream, which does not stamp. scripts/test
// builds it; if it is not there, the test is skipped.
func StartStock(t testing.TB, conf string, args ...string) *Server {
	t.Helper()
	return StartBinary(t, Tool(t, "stock-nats-server"), conf, args...)
}

// StartBinary is Start for another build of the server.
func StartBinary(t testing.TB, binary, conf string, args ...string) *Server {
	t.Helper()
	s := LaunchBinary(t, binary, common+conf, args...)
	s.WaitLog(t, "Server is ready")
	return s
}

// LaunchBinary is Launch for another build of the server.
func LaunchBinary(t testing.TB, binary, conf string, args ...string) *Server {
	t.Helper()
	s := &Server{conf: filepath.Join(t.TempDir(), "server.conf")}
	s.write(t, conf)
	s.Process = Run(t, binary, append([]string{"-c", s.conf}, args...)...)
	return s
}

// Tool returns a program that `scripts/test tools` installs; without it, the test is skipped.
func Tool(t testing.TB, name string) string {
	t.Helper()
	file := filepath.Join("..", ".cache", "bin", name)
	if _, err := os.Stat(file); err != nil {
		if os.Getenv("STAMP_TEST_ALL") != "" {
			t.Fatalf("there is no %s; `scripts/test tools` installs it", name)
		}
		t.Skipf("there is no %s; `scripts/test tools` installs it", name)
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// Reload gives the server a new configuration, as Start does, and waits until it
// is in force.
func (s *Server) Reload(t testing.TB, conf string) {
	t.Helper()
	if line := s.TryReload(t, conf); strings.Contains(line, "Failed") {
		t.Fatalf("the server refused the reload: %s", line)
	}
}

// TryReload is Reload for a configuration that may be refused. It returns the line
// of the log that says which.
func (s *Server) TryReload(t testing.TB, conf string) string {
	t.Helper()
	return s.BeginReload(t, conf).WaitLog(t, reloadEnd)
}

// BeginReload is TryReload for a test that does something while the server reloads. What it
// returns is the place in the log before the reload: see EndReload.
func (s *Server) BeginReload(t testing.TB, conf string) Mark {
	t.Helper()
	s.write(t, common+conf)
	mark := s.Mark()
	s.Signal(t, syscall.SIGHUP)
	return mark
}

// EndReload waits until a reload has come into force.
func (m Mark) EndReload(t testing.TB) {
	t.Helper()
	if line := m.WaitLog(t, reloadEnd); strings.Contains(line, "Failed") {
		t.Fatalf("the server refused the reload: %s", line)
	}
}

const reloadEnd = "Reloaded server configuration|Failed to reload"

func (s *Server) write(t testing.TB, conf string) {
	t.Helper()
	if err := os.WriteFile(s.conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The addresses that the server listens on, host:port, as its log says. They end
// the test when the configuration has no such listener.
func (s *Server) Addr(t testing.TB) string      { return s.listener(t, "client connections on ") }
func (s *Server) Route(t testing.TB) string     { return s.listener(t, "route connections on ") }
func (s *Server) Leaf(t testing.TB) string      { return s.listener(t, "leafnode connections on ") }
func (s *Server) Gateway(t testing.TB) string   { return s.listener(t, "gateways connections on ") }
func (s *Server) Websocket(t testing.TB) string { return s.listener(t, "websocket clients on wss?://") }
func (s *Server) MQTT(t testing.TB) string      { return s.listener(t, "MQTT clients on (?:mqtt|tls)://") }
func (s *Server) Monitor(t testing.TB) string   { return s.listener(t, "http monitor on ") }

func (s *Server) listener(t testing.TB, what string) string {
	t.Helper()
	re := regexp.MustCompile(what + `(\S+:\d+)`)
	return re.FindStringSubmatch(s.WaitLog(t, re.String()))[1]
}

// Connect returns a connection of nats.go that is closed when the test ends. It
// does not reconnect unless an option says so.
func (s *Server) Connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := s.TryConnect(t, opts...)
	if err != nil {
		t.Fatalf("cannot connect: %v", err)
	}
	return nc
}

// TryConnect is Connect for a connection that may be refused.
func (s *Server) TryConnect(t testing.TB, opts ...nats.Option) (*nats.Conn, error) {
	t.Helper()
	all := append([]nats.Option{nats.Timeout(Timeout), nats.NoReconnect()}, opts...)
	nc, err := nats.Connect("nats://"+s.Addr(t), all...)
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return nc, err
}

// Eventually calls ok again and again until it returns true. It is for conditions that show neither in the log nor
// on a connection.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(Timeout); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain for: %s", Timeout, what)
		}
	}
}
