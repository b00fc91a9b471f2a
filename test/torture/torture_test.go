package torture

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// No command imports this package.
func TestNoReleaseHasIt(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "stamp/cmd/...").CombinedOutput()
	if err != nil {
		t.Fatalf("cannot list the packages of the commands: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "stamp/test") {
		t.Error("a command imports packages of tests")
	}
}

// Servers of a test binary do what the modes say.
func TestInstall(t *testing.T) {
	for mode, want := range map[string]int{"upstream": 0, "stamped": 1, "sealed": 0} {
		t.Run(mode, func(t *testing.T) {
			s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true, CustomInterceptor: Install(mode)()})
			if err != nil {
				t.Fatal(err)
			}
			s.Start()
			defer s.Shutdown()
			nc, err := nats.Connect(s.ClientURL())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			sub, err := nc.SubscribeSync("t")
			if err == nil {
				err = nc.Publish("t", nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			m, err := sub.NextMsg(20 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Header.Values(Name); len(got) != want {
				t.Errorf("%d values of the header, expected %d", len(got), want)
			}
		})
	}
}
