package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp/test/harness"
)

// If a handler has another xkey or issuer than the server expects, and another handler has the right one, connections are
// disturbed only until the first handler notices. It says that it is not ready, even if the other handler answers its probes,
// and does not come back by itself.
func TestHandlerWithOtherKeysBesideAnother(t *testing.T) {
	issuer, xkey := harness.NewAccountKey(t), harness.NewXKey(t)
	keys := func(issuer, xkey nkeys.KeyPair) string {
		return fmt.Sprintf("issuer: %s\nxkey: %s", harness.Seed(t, issuer), harness.Seed(t, xkey))
	}
	for name, other := range map[string]string{"xkey": keys(issuer, harness.NewXKey(t)), "issuer": keys(harness.NewAccountKey(t), xkey)} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, fmt.Sprintf(calloutConf, harness.Public(t, issuer), "xkey: "+harness.Public(t, xkey)))
			harness.StartCallout(t, handlerConf(t, s, "user: auth, password: auth", keys(issuer, xkey), "APP"))
			wrong := harness.StartCallout(t, handlerConf(t, s, "user: auth, password: auth", other, "APP"))
			harness.Eventually(t, "that it leaves", func() bool {
				if nc, err := s.TryConnect(t, nats.UserInfo("alice", "open")); err == nil {
					nc.Close()
				}
				return strings.Contains(wrong.Text(), "leaves the callouts to the other handlers")
			})
			mark := wrong.Mark()
			for range 30 {
				harness.Client(t, s, harness.Password("alice", "open")).Flush()
			}
			expectReady(t, wrong, 503)
			if strings.Contains(mark.Text(), "can judge again") {
				t.Error("the handler with other keys came back by itself")
			}
		})
	}
}
