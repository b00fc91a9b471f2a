package test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"stamp.example/claim"
	"stamp/test/harness"
)

// header is a claim of one header with these values.
func header(name string, values ...string) *claim.Claim {
	return &claim.Claim{Headers: []claim.Header{{Name: name, Values: values}}}
}

// block is the header block with these lines, "" without any.
func block(lines ...string) string {
	if len(lines) == 0 {
		return ""
	}
	return "NATS/1.0\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// expectStamp checks that messages of pub reach sub with exactly the stamped lines: a message without a header, one with a
// header of its own, and one that forges the stamp. Without lines, every message must arrive as it was sent.
func expectStamp(t testing.TB, pub, sub *harness.Raw, lines ...string) {
	t.Helper()
	pub.Pub("t.plain", "payload")
	expectMsg(t, sub, "a plain message", block(lines...))
	pub.Hpub("t.own", block("Own: 1", "Other:2"), "payload")
	expectMsg(t, sub, "a message with a header", block(append([]string{"Own: 1", "Other:2"}, lines...)...))
	if len(lines) == 0 {
		// Messages of users without a stamp may have malformed blocks.
		odd := "NATS/1.0\r\nno colon\r\n folded\r\n\r\n"
		pub.Hpub("t.odd", odd, "payload")
		expectMsg(t, sub, "an odd message", odd)
		return
	}
	name, _, _ := strings.Cut(lines[0], ":")
	alias := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	pub.Hpub("t.forged", block("Own: 1", name+": forged", alias+":forged"), "payload")
	expectMsg(t, sub, "a forged message", block(append([]string{"Own: 1"}, lines...)...))
}

func expectMsg(t testing.TB, sub *harness.Raw, what, wantBlock string) {
	t.Helper()
	m := sub.Msg()
	if m.Payload != "payload" {
		t.Fatalf("%s: the payload has %d bytes and is not what was sent", what, len(m.Payload))
	}
	if m.Header != wantBlock {
		t.Fatalf("%s: got the header %q, expected %q", what, m.Header, wantBlock)
	}
}

// subscriber is a client that gets all messages on subjects below t.
func subscriber(t testing.TB, s *harness.Server, cred harness.Credential) *harness.Raw {
	t.Helper()
	sub := harness.Client(t, s, cred)
	sub.Sub("t.>", "1")
	return sub
}

// expectRefused checks that the server refuses a connection with Authorization Violation and nothing more, or, if it cannot
// tell now, without an error. It returns everything that the client saw.
func expectRefused(t testing.TB, s *harness.Server, cred harness.Credential) string {
	t.Helper()
	raw := harness.Dial(t, s)
	raw.Connect(cred)
	lines := raw.ExpectClosed()
	// Without an error: the session cannot be looked up now.
	if len(lines) > 0 && !slices.Contains(lines, "-ERR 'Authorization Violation'") {
		t.Errorf("the connection is not refused with Authorization Violation; got %d lines", len(lines))
	}
	return strings.Join(lines, "\n")
}

// answers makes the Answer of a callout service from claims by the name, or the
// token, of the user that asks: a user of the account, signed by key.
func answers(account string, key nkeys.KeyPair, claims map[string]*claim.Claim, edit ...func(*jwt.UserClaims)) func(*jwt.AuthorizationRequestClaims) (string, error) {
	return func(req *jwt.AuthorizationRequestClaims) (string, error) {
		uc := jwt.NewUserClaims(req.UserNkey)
		uc.Audience = account
		for _, e := range edit {
			e(uc)
		}
		return claim.Encode(uc, claims[cmp.Or(req.ConnectOptions.Username, req.ConnectOptions.Token)], key)
	}
}

func userInfo(user string) nats.Option { return nats.UserInfo(user, user) }

func password(user string) harness.Credential { return harness.Password(user, user) }
