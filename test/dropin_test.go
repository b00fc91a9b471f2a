package test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/command"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"stamp/internal/release"
	"stamp/server/hook"
	"stamp/test/harness"
)

// run runs the binary to its end and returns what it wrote and its exit code.
func run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	out, err := exec.Command(harness.Binary(t), args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		return string(out), exit.ExitCode()
	}
	return string(out), 0
}

// Flags, output and exit codes are those of nats-server, and -t checks our blocks.
func TestCommandLine(t *testing.T) {
	file := func(name, text string) string {
		name = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := file("good.conf", "port: -1\nheaders { max_headers: 3 }\nauthorization { users: [ {user: u, password: u, headers: {A: x}} ] }")
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"version", []string{"--version"}, 0, "nats-server: v" + release.Version + "\n"},
		{"help", []string{"--help"}, 0, command.Usage() + "\n"},
		{"unknown flag", []string{"--nonsense"}, 0, "flag provided but not defined: -nonsense"}, // as stock: its usage ends with 0
		{"valid configuration", []string{"-t", "-c", good}, 0, "is valid"},
		{"no such file", []string{"-c", good + "x"}, 1, "no such file"},
		{"unknown field", []string{"-t", "-c", file("a", "header: 1")}, 1, `unknown field "header"`},
		{"unknown field of the block", []string{"-t", "-c", file("b", "port: 1\nheaders { max: 1 }")}, 1, `:2:11: unknown field "max"`},
		{"user with an invalid header", []string{"-t", "-c", file("c", "authorization { users: [\n{user: u, password: u, headers: {Nats-A: x, B: 1}} ] }")}, 1, `:2:24: error parsing headers: header "B"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, code := run(t, tt.args...)
			if code != tt.code || !strings.Contains(out, tt.want) {
				t.Errorf("exit code %d, want %d; output %q", code, tt.code, out)
			}
		})
	}
}

// Clients and operators can tell that the server stamps; the version on the wire
// is upstream's.
func TestCapability(t *testing.T) {
	s := harness.Start(t, waysConf)
	raw := harness.Client(t, s, password("sub"))
	if raw.Info.Stamp != release.Version {
		t.Errorf("INFO tells the release %q", raw.Info.Stamp)
	}
	var v struct {
		Version string
		Headers hook.Varz
	}
	if err := json.Unmarshal(s.Get(t, "/varz"), &v); err != nil {
		t.Fatal(err)
	}
	if v.Version != release.Upstream || v.Headers.Release != release.Version || !v.Headers.Stamping {
		t.Errorf("expected /varz to tell upstream's version, our release and that the server stamps; found %+v", v)
	}
	s.WaitLog(t, "Stamp "+strings.ReplaceAll(release.Version, "+", `\+`))
	s.Signal(t, syscall.SIGTERM)
	if code := s.Exit(t); code != 0 {
		t.Errorf("expected exit code 0 after SIGTERM; found %d", code)
	}
}

// A Go program that runs the server in its own process gets stamps too.
func TestInProcess(t *testing.T) {
	hook.Install()
	opts := natsserver.Options{DontListen: true, MaxPayload: 2 << 20, NoSigs: true}
	err := opts.ProcessConfigString(`authorization { users: [
		{user: pub, password: pub, headers: {Session: real, Roles: [x, y]}}, {user: sub, password: sub}] }`)
	if err != nil {
		t.Fatal(err)
	}
	hook.Extend(&opts)
	s, err := natsserver.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	connect := func(user string) *nats.Conn {
		nc, err := nats.Connect("", nats.InProcessServer(s), userInfo(user))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	nc := connect("sub")
	sub, err := nc.SubscribeSync("t.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	publishAndExpect(t, connect("pub"), sub)
}
