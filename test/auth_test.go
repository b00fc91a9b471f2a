package test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp.example/claim"
	"stamp/test/harness"
)

// topLevel moves the headers claim out of the "nats" object.
func topLevel(t *testing.T, u *harness.User, acc *harness.Account) *harness.User {
	t.Helper()
	u.JWT = harness.Resign(t, u.JWT, acc.Key, func(payload map[string]any) {
		nats := payload["nats"].(map[string]any)
		payload["headers"] = nats["headers"]
		delete(nats, "headers")
	})
	return u
}

// The headers claim of a user JWT is stamped on the user's messages, whichever key of the account signed the JWT.
func TestUserJWT(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	key := acc.SigningKey(t)
	s := harness.Start(t, op.Conf(t))
	roles := &claim.Claim{Headers: []claim.Header{
		{Name: "Session", Values: []string{"s1"}},
		{Name: "Roles", Values: []string{"admin", "ops"}},
		{Name: "Authorization", Values: []string{"Bearer x"}, Subjects: []string{"api.>"}},
	}}
	sub := subscriber(t, s, acc.User(t, "sub", nil).Credential)
	sub.Sub("api.>", "2")
	for _, tc := range []struct {
		name string
		user *harness.User
		want []string
	}{
		{"nats object", acc.User(t, "u", header("X-Session", "s1")), []string{"X-Session: s1"}},
		{"top level", topLevel(t, acc.User(t, "u", header("Session", "s2")), acc), []string{"Session: s2"}},
		{"several", acc.User(t, "u", roles), []string{"Session: s1", "Roles: admin", "Roles: ops"}},
		{"signing key without a scope", acc.UserBy(t, key, "u", header("Session", "s3")), []string{"Session: s3"}},
		{"bearer", acc.User(t, "u", header("Session", "s4"), harness.Bearer), []string{"Session: s4"}},
		{"no claim", acc.User(t, "u", nil), nil},
		{"empty claim", acc.User(t, "u", &claim.Claim{}), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expectStamp(t, harness.Client(t, s, tc.user.Credential), sub, tc.want...)
		})
	}
	t.Run("subjects", func(t *testing.T) {
		pub := harness.Client(t, s, acc.User(t, "u", roles).Credential)
		pub.Pub("api.x", "payload")
		expectMsg(t, sub, "a message on api.x", block("Session: s1", "Roles: admin", "Roles: ops", "Authorization: Bearer x"))
	})
}

// nats.go reads the stamped headers beside the publisher's own.
func TestNatsGoReceivesTheStamp(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	s := harness.Start(t, op.Conf(t))
	nc := s.Connect(t, acc.User(t, "sub", nil).Options()...)
	sub, err := nc.SubscribeSync("t")
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.Flush()
	msg := nats.NewMsg("t")
	msg.Header = nats.Header{"Session": {"forged"}, "session": {"forged"}, "Own": {"1"}}
	pub := s.Connect(t, nats.UserCredentials(acc.User(t, "u", header("Session", "a", "b")).Creds(t)))
	if err := pub.PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
	got, err := sub.NextMsg(harness.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Header) != 2 || strings.Join(got.Header.Values("Session"), " ") != "a b" || got.Header.Get("Own") != "1" {
		t.Errorf("expected two values of Session and the own header; the message has %v", got.Header)
	}
}

// A second CONNECT replaces the stamp by that of the new user.
func TestSecondConnect(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	s := harness.Start(t, op.Conf(t))
	sub := subscriber(t, s, acc.User(t, "sub", nil).Credential)
	one := acc.User(t, "one", header("Session", "1"))
	two := acc.User(t, "two", header("Second", "a longer value"))
	none := acc.User(t, "none", nil)

	raw := harness.Client(t, s, one.Credential)
	full := raw.Info.MaxPayload
	for _, step := range []struct {
		user *harness.User
		want []string
	}{
		{one, []string{"Session: 1"}}, {two, []string{"Second: a longer value"}}, {none, nil},
		{one, []string{"Session: 1"}}, {none, nil},
	} {
		raw.Connect(step.user.Credential)
		raw.Flush()
		expectStamp(t, raw, sub, step.want...)
	}
	if raw.Info.MaxPayload <= full {
		t.Errorf("max_payload is %d without a stamp, %d with one", raw.Info.MaxPayload, full)
	}
	bad := acc.User(t, "bad", header("Session", "1"))
	bad.JWT = harness.Resign(t, bad.JWT, acc.Key, func(p map[string]any) {
		p["nats"].(map[string]any)["headers"] = 1
	})
	raw.Connect(bad.Credential)
	if lines := raw.ExpectClosed(); len(lines) != 1 || lines[0] != "-ERR 'Authorization Violation'" {
		t.Errorf("an invalid claim in a second CONNECT: got %d lines", len(lines))
	}
}

// A headers claim of a user of the system account is refused. The account's services still answer.
func TestSystemAccount(t *testing.T) {
	op := harness.NewOperator(t)
	s := harness.Start(t, op.Conf(t))
	mark := s.Mark()
	expectRefused(t, s, op.Sys.User(t, "u", header("Session", "1")).Credential)
	mark.WaitLog(t, "Headers Refused.*system account")

	nc := s.Connect(t, op.Sys.User(t, "admin", nil).Options()...)
	for _, subject := range []string{"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.ACCOUNT." + op.Sys.ID() + ".CONNZ"} {
		if _, err := nc.Request(subject, nil, harness.Timeout); err != nil {
			t.Errorf("the system account got no answer to a request on %s: %v", subject, err)
		}
	}
}

// A stamped user's requests reach services of the server, which take raw bytes.
func TestServerServicesForAStampedUser(t *testing.T) {
	op := harness.NewOperator(t)
	acc := op.Account(t, "APP")
	acc.Claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	s := harness.Start(t, op.Conf(t)+`jetstream { store_dir: "`+t.TempDir()+`" }`)
	nc := s.Connect(t, acc.User(t, "u", header("Session", "1")).Options()...)
	for subject, data := range map[string]string{
		"$SYS.REQ.USER.INFO": "", "$SYS.REQ.ACCOUNT.PING.CONNZ": `{"auth":true}`, "$SYS.REQ.ACCOUNT.PING.STATZ": `{}`,
	} {
		resp, err := nc.Request(subject, []byte(data), harness.Timeout)
		var body struct{ Error any }
		if err != nil || json.Unmarshal(resp.Data, &body) != nil || body.Error != nil {
			t.Errorf("a stamped user's request on %s was not answered: error %v, error in the answer %v", subject, err, body.Error)
		}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	st, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "s.1", []byte("payload")); err != nil {
		t.Fatal(err)
	}
	m, err := st.GetMsg(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Header) != 1 || m.Header.Get("Session") != "1" || string(m.Data) != "payload" {
		t.Errorf("stored with the headers %v and %d bytes", m.Header, len(m.Data))
	}
}
