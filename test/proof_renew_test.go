package test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"stamp.example/claim"
	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// TestProofsOverRenewals renews connections again and again while they publish. A receiver takes each message, with the headers of one
// of the claims that its connection had, in their order. No two messages have the same salt and counter, since a nonce would then be
// used twice. Every second renewal changes nothing.
func TestProofsOverRenewals(t *testing.T) {
	keys, file := proofKeys(t)
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(renewConf, t.TempDir(), harness.Public(t, issuer), "")+fmt.Sprintf(`
		callout { request {} }
		headers { proof { key_file: %q, receivers: {APP: %q}, encrypt: [Version], sign: ["t.signed"] } }`, file, keys.Receiver))
	var mu sync.Mutex
	answers := map[uint64]int{} // by connection
	callout := harness.Callout{Issuer: issuer, Answer: func(req *jwt.AuthorizationRequestClaims) (string, error) {
		uc := jwt.NewUserClaims(req.UserNkey)
		uc.Audience = "APP"
		mu.Lock()
		defer mu.Unlock()
		id := req.ClientInformation.ID
		answers[id]++
		return claim.Encode(uc, header("Version", fmt.Sprintf("%d %d", id, answers[id]/2)), issuer)
	}}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	sub := subscribedTo(t, s.Connect(t, userInfo("svc")), "t.>")

	const connections, versions, each = 2, 4, 20
	var publishers []*nats.Conn
	for range connections {
		publishers = append(publishers, s.Connect(t, userInfo("ann")))
	}
	latest := map[int]int{}        // versions by connection
	nonces := map[string]bool{}    // salts and counters
	salts := map[[16]byte]string{} // the version of each
	take := func() {
		t.Helper()
		m := next(t, sub, nil)
		p := proves(t, keys, m, map[string]byte{"t.x": 1, "t.signed": 3}[m.Subject])
		version := p.Stamped["Version"][0]
		var id, n int
		if _, err := fmt.Sscan(version, &id, &n); err != nil || n < latest[id] {
			t.Errorf("the version %q after %d", version, latest[id])
		}
		latest[id] = n
		nonce := fmt.Sprintf("%x %d", p.Salt, p.Counter)
		if nonces[nonce] {
			t.Errorf("two messages have the salt and the counter %s", nonce)
		}
		nonces[nonce] = true
		if before, found := salts[p.Salt]; found && before != version {
			t.Errorf("the versions %q and %q have one salt", before, version)
		}
		salts[p.Salt] = version
	}
	harness.Eventually(t, "the last version of each connection", func() bool {
		var publishing sync.WaitGroup
		for _, nc := range publishers {
			publishing.Go(func() {
				for n := range each {
					_ = nc.Publish([]string{"t.x", "t.signed"}[n%2], fmt.Append(nil, n))
					_ = nc.Flush() // so that renewals come between the messages
				}
			})
		}
		if n := ask(t, s, forwarded.Renew{User: "ann"}); n != connections {
			t.Fatalf("%d connections are renewed", n)
		}
		publishing.Wait()
		for range connections * each {
			take()
		}
		done := len(latest) == connections
		for _, n := range latest {
			done = done && n >= versions
		}
		return done
	})
	t.Log(len(nonces), "messages,", len(salts), "salts")
	if len(salts) < connections*versions {
		t.Errorf("%d salts", len(salts))
	}
}
