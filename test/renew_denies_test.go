package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"stamp.example/claim"
	"stamp/internal/callout/forwarded"
	"stamp/test/harness"
)

// permissionChanges are renewals that change permissions: before is what the first user JWT allows, after what the others
// allow.
var permissionChanges = []struct {
	name          string
	before, after func(p *jwt.Permissions)
}{
	{"none to everything", func(*jwt.Permissions) {}, everything},
	{"everything to none", everything, func(*jwt.Permissions) {}},
	{"everything to a deny", everything, func(p *jwt.Permissions) { p.Pub.Deny.Add("never"); p.Sub.Deny.Add("never") }},
	{"a deny to another one", func(p *jwt.Permissions) { p.Sub.Deny.Add("never") }, func(p *jwt.Permissions) { p.Sub.Deny.Add("ever") }},
}

func everything(p *jwt.Permissions) {
	p.Pub.Allow.Add(">")
	p.Sub.Allow.Add(">")
}

func (v *service) changePermissions(before, after func(p *jwt.Permissions)) {
	v.set(func(a asked, uc *jwt.UserClaims) error {
		if a.number > 1 {
			after(&uc.Permissions)
		} else {
			before(&uc.Permissions)
		}
		return nil
	})
}

// Upstream denies the subjects of auth callouts to the users that a callout has put into its own
// account: they could read everybody's credentials, and answer for the handler. A renewal that
// replaces the permissions keeps these denies.
func TestRenewalKeepsTheDeniesOfCalloutUsers(t *testing.T) {
	for _, change := range permissionChanges {
		t.Run("configuration, "+change.name, func(t *testing.T) {
			issuer := harness.NewAccountKey(t)
			v := &service{counts: map[uint64]int{}}
			v.conf = fmt.Sprintf(renewConf, t.TempDir(), harness.Public(t, issuer), "") + "\ncallout { request {} }"
			v.Server = harness.Start(t, v.conf)
			callout := harness.Callout{Issuer: issuer, Answer: v.answer("AUTH", issuer)}
			callout.Serve(t, v.Connect(t, userInfo("auth")))
			v.changePermissions(change.before, change.after)
			owner := password("auth")
			mallory := harness.Client(t, v.Server, silent(named(password("mallory"), "mallory")))
			expectCalloutsHidden(t, v, mallory, owner, "before", password("before"))
			renew := func() {
				if n := ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, "mallory")}); n != 1 {
					t.Fatalf("the request to renew concerned %d connections, want 1", n)
				}
				harness.Eventually(t, "the renewal", func() bool { return varzHeaders(t, v.Server)["renewals"] == 1 })
			}
			renew()
			expectCalloutsHidden(t, v, mallory, owner, "after", password("after"))
			v.Reload(t, v.conf+"\ndebug: true")
			expectCalloutsHidden(t, v, mallory, owner, "reload", password("reload"))
		})
		t.Run("operator, "+change.name, func(t *testing.T) {
			o := newCalloutOperator(t, nil)
			o.auth.Claims.Authorization.AllowedAccounts.Add(o.auth.ID())
			authKey := o.auth.SigningKey(t)
			v := &service{Server: harness.Start(t, o.Conf(t)), counts: map[uint64]int{}}
			callout := harness.Callout{Issuer: authKey, IssuerAccount: o.auth.ID(), Answer: v.answer("", o.auth.Key)}
			callout.Serve(t, v.Connect(t, o.service.Options()...))
			v.changePermissions(change.before, change.after)
			mallory := harness.Client(t, v.Server, silent(named(o.sentinel(t, nil, "mallory"), "mallory")))
			expectCalloutsHidden(t, v, mallory, o.service.Credential, "before", o.sentinel(t, nil, "before"))
			sys := v.Connect(t, o.Sys.User(t, "sys", nil).Options()...)
			request(t, sys, "$SYS.REQ.SERVER."+v.ID(t)+".RENEW", fmt.Sprintf(`{"cid":%d}`, cid(t, v.Server, "mallory")))
			harness.Eventually(t, "the renewal", func() bool { return varzHeaders(t, v.Server)["renewals"] == 1 })
			expectCalloutsHidden(t, v, mallory, o.service.Credential, "after", o.sentinel(t, nil, "after"))
		})
	}
}

// A renewal that changes permissions, but not allow_responses, keeps the right to answer a request
// that came before it.
func TestRenewalKeepsTheRightToAnswer(t *testing.T) {
	v := startService(t, nil)
	v.set(func(a asked, uc *jwt.UserClaims) error {
		uc.Sub.Allow.Add("req.>")
		uc.Pub.Allow.Add("t.>")
		if a.renewal {
			uc.Pub.Allow.Add("more")
		}
		uc.Resp = &jwt.ResponsePermission{MaxMsgs: 10, Expires: time.Hour}
		return nil
	})
	svc := harness.Client(t, v.Server, password("svc"))
	svc.Sub("back.>", "1")
	raw := harness.Client(t, v.Server, named(password("alice"), "alice"))
	raw.Sub("req.>", "1")
	svc.Send("PUB req.1 back.1 7\r\nrequest\r\n")
	if m := raw.Msg(); m.Reply != "back.1" {
		t.Fatalf("the request has the reply %q", m.Reply)
	}
	ask(t, v.Server, forwarded.Renew{CID: cid(t, v.Server, "alice")})
	harness.Eventually(t, "the renewal", func() bool { return varzHeaders(t, v.Server)["renewals"] == 1 })
	raw.Pub("more", "")
	raw.Pub("back.1", "answer")
	if errs := untilPong(t, raw); len(errs) != 0 {
		t.Fatalf("after the renewal, the answer was refused: %q", errs)
	}
	if m := svc.Msg(); m.Payload != "answer" {
		t.Errorf("the requestor got the answer %q", m.Payload)
	}
}

// A renewal may lower the limit of payloads. The limit is that of the message without the stamp, whatever the length of the
// stamp before.
func TestRenewalToASmallerPayload(t *testing.T) {
	issuer := harness.NewAccountKey(t)
	s := harness.Start(t, fmt.Sprintf(renewConf, t.TempDir(), harness.Public(t, issuer), "")+"\ncallout { request {} }")
	v := &service{counts: map[uint64]int{}}
	callout := harness.Callout{Issuer: issuer, Answer: func(req *jwt.AuthorizationRequestClaims) (string, error) {
		uc := jwt.NewUserClaims(req.UserNkey)
		uc.Audience = "APP"
		if a, _ := v.note(req); a.renewal {
			uc.Limits.Payload = 100
			return claim.Encode(uc, header("N", "short"), issuer)
		}
		return claim.Encode(uc, header("N", strings.Repeat("long", 150)), issuer)
	}}
	callout.Serve(t, s.Connect(t, userInfo("auth")))
	sub := subscriber(t, s, password("svc"))
	raw := harness.Client(t, s, named(password("alice"), "alice"))
	ask(t, s, forwarded.Renew{CID: cid(t, s, "alice")})
	awaitStamp(t, raw, sub, "N: short")
	raw.Send("PUB t.big 400\r\n%s\r\n", strings.Repeat("b", 400))
	raw.ExpectClosed()
	end := harness.Client(t, s, password("svc"))
	end.Pub("t.end", "")
	if m := sub.Msg(); m.Subject != "t.end" {
		t.Errorf("a message of %d bytes goes through", len(m.Payload))
	}
}

// silent keeps a connection from getting its own messages.
func silent(cred harness.Credential) harness.Credential {
	return func(nonce string) map[string]any {
		m := cred(nonce)
		m["echo"] = false
		return m
	}
}

// expectCalloutsHidden checks that mallory, who is in the callout's account, can neither subscribe to a subject of callouts nor
// get one by a wider subject, while a callout about another connection is under way. owner is the credential of another user of
// that account, who is not the callout's. step must differ between calls; it is a part of subjects.
func expectCalloutsHidden(t *testing.T, v *service, mallory *harness.Raw, owner harness.Credential, step string, visitor harness.Credential) {
	t.Helper()
	mallory.Flush()
	for i, subject := range []string{"$SYS.REQ.USER.AUTH", "$SYS.REQ.USER.AUTH stamp-callout", "$SYS._INBOX.>", "$SYS._INBOX.x.y"} {
		mallory.Send("SUB %s %s%d\r\n", subject, step, i)
		got := untilPong(t, mallory)
		if len(got) != 1 || !strings.HasPrefix(got[0], "-ERR 'Permissions Violation for Subscription") {
			t.Errorf("%s: SUB %s: got %q, expected a permissions violation", step, subject, got)
		}
		mallory.Send("UNSUB %s%d\r\n", step, i)
	}
	for _, subject := range []string{"$SYS.REQ.USER.AUTH", "$SYS._INBOX.x.y"} {
		mallory.Send("PUB %s 1\r\nx\r\n", subject)
		if got := untilPong(t, mallory); len(got) != 1 || !strings.HasPrefix(got[0], "-ERR 'Permissions Violation for Publish") {
			t.Errorf("%s: PUB %s: got %q, expected a permissions violation", step, subject, got)
		}
	}
	for i, wide := range []string{">", "$SYS.>", "$SYS.REQ.USER.*", "*.REQ.USER.AUTH", "$SYS.*.>", "> some-queue"} {
		mallory.Send("SUB %s wide%s%d\r\n", wide, step, i)
	}
	untilPong(t, mallory) // upstream may refuse those that it can tell to be within a denied subject
	before := len(v.seen())
	harness.Client(t, v.Server, visitor).Close()
	if len(v.seen()) == before {
		t.Fatal("nobody was asked about the visitor, so that this test shows nothing")
	}
	// A message that mallory may get comes behind those that it may not get.
	end := harness.Client(t, v.Server, owner)
	end.Pub("end."+step, "x")
	end.Flush()
	for {
		m := mallory.Msg()
		if m.Subject == "end."+step {
			break
		}
		if m.Subject == "$SYS.REQ.USER.AUTH" || strings.HasPrefix(m.Subject, "$SYS._INBOX.") {
			t.Errorf("%s: subscription %s gets a message on %s, of %d bytes", step, m.SID, m.Subject, len(m.Payload))
		}
	}
	// The rest of the copies of that message.
	for i := range 6 {
		mallory.Send("UNSUB wide%s%d\r\n", step, i)
	}
	mallory.Send("PING\r\n")
	for {
		line, err := mallory.Line()
		if err != nil {
			t.Fatal(err)
		}
		if line == "PONG" {
			return
		}
	}
}

// seen are the callouts so far.
func (v *service) seen() []asked {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.all[:len(v.all):len(v.all)]
}
