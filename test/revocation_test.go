package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// With user_key, an account can revoke one user whom a callout lets in: its live connections are closed on each server, and
// older answers about it are not accepted any more.
func TestRevocationOfACalloutsUser(t *testing.T) {
	o := newCalloutOperator(t, nil)
	servers := operatorCluster(t, o.Operator)
	sentinel := o.auth.User(t, "sentinel", nil)
	for _, s := range servers[:2] {
		harness.StartCallout(t, strings.ReplaceAll(handlerConf(t, s, fmt.Sprintf("creds: %q", o.service.Creds(t)),
			fmt.Sprintf("user_key: user\nissuer: %s\nsigning_keys { APP: {account: %s, seed: %s} }", harness.Seed(t, o.auth.Key), o.app.ID(), harness.Seed(t, o.app.Key)), "APP"),
			`, X-Team: "{{ session.team }}"}`, `}, user: "{{ session.user }}"`))
	}
	cred := func(user string) harness.Credential {
		return func(nonce string) map[string]any {
			fields := sentinel.Credential(nonce)
			fields["user"], fields["pass"] = user, "open"
			return fields
		}
	}
	var alice, bob []*harness.Raw
	for _, s := range servers {
		alice, bob = append(alice, harness.Client(t, s, named(cred("alice"), "alice"))), append(bob, harness.Client(t, s, cred("bob")))
	}
	key := ""
	for _, s := range servers {
		for _, c := range s.Connz(t, "auth=1").Conns {
			if c.Name == "alice" {
				found, ok := forwarded.UserKeyOf(c.Tags)
				if !ok || key != "" && found != key {
					t.Fatalf("alice has the keys %q and %q", key, found)
				}
				key = found
			}
		}
	}
	revoke := func(at time.Time) {
		t.Helper()
		o.app.Claims.RevokeAt(key, at)
		pushToAll(t, o.Operator, o.app, servers[1], len(servers))
	}
	revoke(time.Now())
	for i := range servers {
		alice[i].ExpectClosed()
		bob[i].Flush()
	}
	// A user JWT that is issued later is accepted, as usual in NATS. A revocation until a time to come accepts none.
	harness.Eventually(t, "alice is let in again", func() bool {
		raw := harness.Dial(t, servers[0])
		defer raw.Close()
		raw.Connect(cred("alice"))
		raw.Send("PING\r\n")
		for {
			line, err := raw.Line()
			if err != nil || strings.HasPrefix(line, "PONG") {
				return err == nil
			}
		}
	})
	revoke(time.Now().Add(time.Hour))
	for _, s := range servers {
		expectRefused(t, s, cred("alice"))
		harness.Client(t, s, cred("bob")).Flush()
	}
	servers[0].WaitLog(t, "the user key is revoked in the account")
}
