package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/natsmsg"
	"stamp/test/harness"
)

// replayConf: victim and attacker may publish to chat, which a stream stores, and may use
// some of JetStream's API. The service subscribes to admin, where only victim may publish.
const replayConf = `
	headers { %s }
	accounts { APP { jetstream: enabled, users: [
		{user: owner, password: owner}
		{user: victim, password: victim, headers: {X-User: victim}, permissions: {publish: ["chat.>", "admin.>"], subscribe: "_INBOX.>"}}
		{user: attacker, password: attacker, headers: {X-User: attacker}
			permissions: {publish: ["chat.>", "plan.>", "$JS.API.DIRECT.GET.>", "$JS.API.STREAM.MSG.GET.>", "$JS.API.CONSUMER.>"], subscribe: "_INBOX.attacker.>"}}
	] } }
	jetstream { store_dir: %q }`

// accounts are trusted, each on its subjects.
type accounts = map[string][]string

// judged returns why a message is nobody's for a receiver that believes its provenance, or nil. user is the header of the user. handled are the
// subjects on which messages for the handler are published, if the message arrives on another one.
func judged(m *nats.Msg, user string, trusted accounts, handled ...string) error {
	trust := must(stamp.NewTrust(stamp.Options{User: user, Accounts: trusted, MaxAge: time.Minute}))
	if len(handled) > 0 {
		trust = must(trust.ForSubjects(handled...))
	}
	_, err := stamp.Identify(natsmsg.Msg(m), trust)
	return err
}

// replay is an attack that makes JetStream deliver victim's message on chat.1 to admin.do.
type replay struct {
	name   string
	attack func(t *testing.T, attacker *nats.Conn)
}

var replays = []replay{
	{"direct get", func(t *testing.T, nc *nats.Conn) {
		publishRequest(t, nc, "$JS.API.DIRECT.GET.CHAT.chat.1", "admin.do", "")
	}},
	{"pull", func(t *testing.T, nc *nats.Conn) {
		request(t, nc, "$JS.API.CONSUMER.CREATE.CHAT.pull", `{"stream_name":"CHAT","config":{"name":"pull","ack_policy":"none","mem_storage":true}}`)
		publishRequest(t, nc, "$JS.API.CONSUMER.MSG.NEXT.CHAT.pull", "admin.do", "1")
	}},
	{"push consumer", func(t *testing.T, nc *nats.Conn) {
		_, _ = nc.Request("$JS.API.CONSUMER.CREATE.CHAT.push", []byte(`{"stream_name":"CHAT","config":{"name":"push","deliver_subject":"admin.do","ack_policy":"none","mem_storage":true}}`), time.Second)
	}},
	{"durable push consumer", func(t *testing.T, nc *nats.Conn) {
		_, _ = nc.Request("$JS.API.CONSUMER.DURABLE.CREATE.CHAT.push", []byte(`{"stream_name":"CHAT","config":{"durable_name":"push","deliver_subject":"admin.do","ack_policy":"none","mem_storage":true}}`), time.Second)
	}},
}

func publishRequest(t *testing.T, nc *nats.Conn, subject, reply, body string) {
	t.Helper()
	if err := nc.PublishRequest(subject, reply, []byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// chatting starts a server with victim's message in the stream. It returns the owner's connection too.
func chatting(t *testing.T, headers string, stream jetstream.StreamConfig) (*harness.Server, *nats.Conn) {
	t.Helper()
	s := harness.Start(t, fmt.Sprintf(replayConf, headers, t.TempDir()))
	owner := s.Connect(t, userInfo("owner"))
	ctx, cancel := context.WithTimeout(context.Background(), harness.Timeout)
	defer cancel()
	if _, err := newJetStream(t, owner).CreateStream(ctx, stream); err != nil {
		t.Fatal(err)
	}
	if _, err := newJetStream(t, s.Connect(t, userInfo("victim"))).Publish(ctx, "chat.1", []byte("delete everything")); err != nil {
		t.Fatal(err)
	}
	return s, owner
}

// replayed starts a server, runs the attack, and returns what the service gets from
// victim: the replay, or nil if a message that was sent after it comes first.
func replayed(t *testing.T, headers string, r replay) (*nats.Msg, *harness.Server) {
	t.Helper()
	s, owner := chatting(t, headers, chat)
	ctx, cancel := context.WithTimeout(context.Background(), harness.Timeout)
	defer cancel()
	service, err := owner.SubscribeSync("admin.do")
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Flush(); err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 10)
	attacker := s.Connect(t, userInfo("attacker"), nats.CustomInboxPrefix("_INBOX.attacker"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	r.attack(t, attacker)
	// A refused attack is over when the client gets the error, any other when the message
	// has arrived.
	for {
		m, err := service.NextMsg(50 * time.Millisecond)
		if err == nil {
			return m, s
		}
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Fatal(err)
			}
			return nil, s
		case <-ctx.Done():
			return nil, s
		default:
		}
	}
}

var chat = jetstream.StreamConfig{Name: "CHAT", Subjects: []string{"chat.>"}, AllowDirect: true, Storage: jetstream.MemoryStorage}

// check_replies refuses requests that would make JetStream deliver another user's message to a subject of the attacker's
// choice.
func TestReplay(t *testing.T) {
	for _, r := range replays {
		t.Run(r.name, func(t *testing.T) {
			m, _ := replayed(t, "", r)
			if m == nil || m.Header.Get("X-User") != "victim" {
				t.Fatal("the attack does not work without the option, so that this test shows nothing")
			}
			m, s := replayed(t, "check_replies: true", r)
			if m != nil {
				t.Error("the attack works with check_replies")
			}
			s.WaitLog(t, "its answer would go to a subject that the connection may not subscribe to")

			m, _ = replayed(t, "provenance: true", r)
			if m == nil || m.Header.Get("Stamp-Subject") != "chat.1" {
				t.Fatal("the replay does not tell where it was published")
			}
			if err := judged(m, "X-User", accounts{"APP": {"admin.do"}}); stamp.VerdictOf(err) != stamp.WrongSubject {
				t.Errorf("expected the receiver to refuse the replay with the verdict subject; found %v", err)
			}
		})
	}
}

// A schedule makes the server publish into the stream, and subscribers of that subject get the message.
func TestReplayBySchedule(t *testing.T) {
	stream := chat
	stream.Subjects = []string{"chat.>", "plan.>", "admin.>"}
	stream.AllowMsgSchedules = true
	m := scheduled(t, "", stream)
	if m == nil || m.Header.Get("X-User") != "victim" {
		t.Fatal("the attack does not work without the option, so that this test shows nothing")
	}
	if scheduled(t, `protected: ["Nats-Schedule*"]`, stream) != nil {
		t.Error("the attack works where Nats-Schedule* is protected")
	}
	if m = scheduled(t, "provenance: true", stream); m == nil {
		t.Fatal("expected the replayed message, so that the receiver can judge it; none came")
	}
	if err := judged(m, "X-User", accounts{"APP": {"admin.do"}}); stamp.VerdictOf(err) != stamp.WrongSubject {
		t.Errorf("expected the receiver to refuse the replay with the verdict subject; found %v", err)
	}
}

// scheduled lets attacker schedule victim's message for admin.do. It returns the
// message, or nil if the stored message is not a schedule.
func scheduled(t *testing.T, headers string, stream jetstream.StreamConfig) (m *nats.Msg) {
	t.Helper()
	s, owner := chatting(t, headers, stream)
	attacker := s.Connect(t, userInfo("attacker"), nats.CustomInboxPrefix("_INBOX.attacker"))
	plan := &nats.Msg{Subject: "plan.x", Header: nats.Header{
		"Nats-Schedule": {"@at " + time.Now().UTC().Format(time.RFC3339)}, "Nats-Schedule-Target": {"admin.do"}, "Nats-Schedule-Source": {"chat.1"},
	}}
	if _, err := attacker.RequestMsg(plan, harness.Timeout); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the plan to be carried out, or to be none", func() bool {
		if m = request(t, owner, "$JS.API.DIRECT.GET.CHAT.admin.do", ""); isStored(m) {
			return true
		}
		m = nil
		stored := request(t, owner, "$JS.API.DIRECT.GET.CHAT.plan.x", "")
		return isStored(stored) && stored.Header.Get("Nats-Schedule") == ""
	})
	return m
}

// check_replies does not disturb a client that has JetStream send messages to the client's own inbox.
func TestCheckRepliesLetsHonestRequestsThrough(t *testing.T) {
	s := harness.Start(t, fmt.Sprintf(replayConf, "check_replies: true", t.TempDir()))
	ctx, cancel := context.WithTimeout(context.Background(), harness.Timeout)
	defer cancel()
	if _, err := newJetStream(t, s.Connect(t, userInfo("owner"))).CreateStream(ctx, chat); err != nil {
		t.Fatal(err)
	}
	if _, err := newJetStream(t, s.Connect(t, userInfo("victim"))).Publish(ctx, "chat.1", nil); err != nil {
		t.Fatal(err)
	}
	nc := s.Connect(t, userInfo("attacker"), nats.CustomInboxPrefix("_INBOX.attacker"))
	request(t, nc, "$JS.API.DIRECT.GET.CHAT.chat.1", "")
	inbox := nc.NewInbox()
	answer := request(t, nc, "$JS.API.CONSUMER.CREATE.CHAT.push",
		`{"stream_name":"CHAT","config":{"name":"push","deliver_subject":"`+inbox+`","ack_policy":"none","mem_storage":true}}`)
	if strings.Contains(string(answer.Data), `"error"`) {
		t.Errorf("a push consumer to the own inbox was refused: %s", answer.Data)
	}
	sub, err := nc.SubscribeSync(inbox)
	next(t, sub, err)
}

// Only the server can write the headers of provenance.
func TestProvenance(t *testing.T) {
	s := harness.Start(t, `
		headers { provenance: true }
		authorization { users: [ {user: pub, password: pub, headers: {Session: real}}
			{user: plain, password: plain, header_permissions: {publish: {allow: ["*"]}}} ] }`)
	sub := subscribed(t, s, userInfo("plain"))
	forged := nats.Header{"stamp.account": {"$G"}, "Stamp-Subject": {"t.forged"}, "stamp_time": {"2030-01-01T00:00:00Z"}}
	pub := s.Connect(t, userInfo("pub"))
	if err := pub.PublishMsg(&nats.Msg{Subject: "t.x", Header: forged}); err != nil {
		t.Fatal(err)
	}
	m := next(t, sub, nil)
	if err := judged(m, "Session", accounts{"$G": {"t.>"}}); err != nil || m.Header.Get("Session") != "real" || len(m.Header) != 4 {
		t.Errorf("expected the server's own headers of provenance; found %v, error %v", m.Header, err)
	}
	if err := judged(m, "Session", accounts{"$G": {"t.y"}}); stamp.VerdictOf(err) != stamp.WrongSubject {
		t.Errorf("Check with another subject: error %v, want the verdict %s", err, stamp.WrongSubject)
	}
	plain := s.Connect(t, userInfo("plain"))
	if err := plain.PublishMsg(&nats.Msg{Subject: "t.x", Header: forged}); err != nil {
		t.Fatal(err)
	}
	if m := next(t, sub, nil); stamp.VerdictOf(judged(m, "Session", accounts{"$G": {">"}})) != stamp.Anonymous || len(m.Header) != 0 {
		t.Errorf("expected no provenance on a message of a user without a stamp; the headers are %v", m.Header)
	}
	// At the max_payload that was announced, and with a subject that is longer than the
	// server has room for.
	raw := harness.Client(t, s, password("pub"))
	long := "t." + strings.Repeat("s", 1000)
	raw.Pub(long, strings.Repeat("p", raw.Info.MaxPayload))
	raw.Expect("-ERR 'Permissions Violation for Publish to")
	raw.Pub("t."+strings.Repeat("s", 250), strings.Repeat("p", raw.Info.MaxPayload))
	if m := next(t, sub, nil); len(m.Data) != raw.Info.MaxPayload {
		t.Errorf("expected a payload of the largest allowed size; got %d bytes", len(m.Data))
	}
	raw.Pub(long, "payload")
	if err := judged(next(t, sub, nil), "Session", accounts{"$G": {long}}); err != nil {
		t.Errorf("the receiver refuses a message on a long subject: %v", err)
	}
}

// A receiver must check the account too, because an import renames subjects.
func TestProvenanceOfAnImport(t *testing.T) {
	s := harness.Start(t, `
		headers { provenance: true }
		accounts {
			APP { users: [{user: svc, password: svc}], exports: [{service: "public.>"}] }
			OTHER { users: [{user: other, password: other, headers: {X-User: other}}]
				imports: [{service: {account: APP, subject: "public.>"}, to: "admin.>"}] }
		}`)
	nc := s.Connect(t, userInfo("svc"))
	sub, err := nc.SubscribeSync("public.>")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	forged := nats.Header{"Stamp-Account": {"APP"}, "stamp_account": {"APP"}}
	if err := s.Connect(t, userInfo("other")).PublishMsg(&nats.Msg{Subject: "admin.delete", Header: forged}); err != nil {
		t.Fatal(err)
	}
	m := next(t, sub, nil)
	if m.Subject != "public.delete" || m.Header.Get("Stamp-Subject") != "admin.delete" || fmt.Sprint(m.Header["Stamp-Account"]) != "[OTHER]" {
		t.Errorf("expected the subject and the account from before the import; got %s with %v", m.Subject, m.Header)
	}
	if err := judged(m, "X-User", accounts{"APP": {"admin.>"}}); stamp.VerdictOf(err) != stamp.WrongAccount {
		t.Errorf("expected the receiver to refuse another account with the verdict account; found %v", err)
	}
	if err := judged(m, "X-User", accounts{"OTHER": {"admin.>"}}); stamp.VerdictOf(err) != stamp.Misdirected {
		t.Errorf("a handler of the subject on which the message arrived: %v, want the verdict %s", err, stamp.Misdirected)
	}
	if err := judged(m, "X-User", accounts{"OTHER": {"admin.>"}}, "admin.delete"); err != nil {
		t.Errorf("a receiver that expects the account OTHER refuses the message: %v", err)
	}
	if err := judged(m, "X-User", accounts{"APP": {"public.>"}, "OTHER": {"admin.>"}}, "admin.*", "public.*"); err != nil {
		t.Errorf("a receiver that expects both accounts refuses the message: %v", err)
	}
	if err := judged(m, "X-User", accounts{"APP": {"admin.>"}, "OTHER": {"public.>"}}); stamp.VerdictOf(err) != stamp.WrongSubject {
		t.Errorf("under the name of another account: expected the receiver to refuse the message; found %v", err)
	}
}

// The table of docs/security.md shows what a service sees of the tenants that import it.
func TestProvenanceOfTenants(t *testing.T) {
	user := func(name string) string {
		return fmt.Sprintf("users: [{user: %s, password: %[1]s, headers: {X-User: %[1]s}}]", name)
	}
	s := harness.Start(t, fmt.Sprintf(`
		headers { provenance: true }
		accounts {
			SVC { %s, exports: [ { service: "admin.>" } ] }
			ACME { %s, imports: [ { service: { account: SVC, subject: "admin.>" }, to: "billing.>" } ] }
			GLOBEX { %s, imports: [ { service: { account: SVC, subject: "admin.>" } } ] }
		}`, user("svc"), user("acme"), user("globex")))
	sub := subscribedTo(t, s.Connect(t, userInfo("svc")), "admin.>")
	tenants := accounts{"SVC": {"admin.>"}, "ACME": {"billing.>"}, "GLOBEX": {"admin.>"}}
	for _, row := range []struct{ user, subject, account string }{
		{"svc", "admin.invoice", "SVC"}, {"acme", "billing.invoice", "ACME"}, {"globex", "admin.invoice", "GLOBEX"},
	} {
		nc := s.Connect(t, userInfo(row.user))
		if err := nc.Publish(row.subject, nil); err != nil {
			t.Fatal(err)
		}
		m := next(t, sub, nc.Flush())
		if m.Subject != "admin.invoice" || m.Header.Get("Stamp-Account") != row.account || m.Header.Get("Stamp-Subject") != row.subject {
			t.Errorf("user %s: the service got a message on %s with %v", row.user, m.Subject, m.Header)
		}
		if err := judged(m, "X-User", tenants); (err == nil) != (row.subject == m.Subject) || err != nil && stamp.VerdictOf(err) != stamp.Misdirected {
			t.Errorf("user %s: a handler of the subject on which the message arrived: %v", row.user, err)
		}
		if err := judged(m, "X-User", tenants, "admin.invoice", "billing.invoice"); err != nil {
			t.Errorf("user %s: CheckAny refuses the message: %v", row.user, err)
		}
	}
}

// docs/security.md says what a mapping does: the permission applies to the subject after the mapping, Stamp-Subject is the
// subject before it, and a receiver refuses the message unless it lists that subject.
func TestProvenanceOfAMappedMessage(t *testing.T) {
	s := harness.Start(t, `
		headers { provenance: true }
		accounts { APP {
			mappings { "admin.v1.*": "pub.$1" }
			users: [{user: sub, password: sub}, {user: web, password: web, headers: {X-User: web}, permissions: {publish: "pub.>"}}]
		} }`)
	sub := subscribedTo(t, s.Connect(t, userInfo("sub")), ">")
	raw := harness.Client(t, s, password("web"))
	raw.Pub("admin.delete", "")
	raw.Expect(`-ERR 'Permissions Violation for Publish to "admin.delete"'`)
	raw.Pub("admin.v1.delete", "")
	m, err := sub.NextMsg(harness.Timeout)
	if err != nil || m.Subject != "pub.delete" || m.Header.Get("Stamp-Subject") != "admin.v1.delete" || m.Header.Get("X-User") != "web" {
		t.Fatalf("expected pub.delete of web with the subject before the mapping; got %+v, error %v", m, err)
	}
	m.Subject = "admin.delete" // where JetStream could bring it
	if err := judged(m, "X-User", accounts{"APP": {"admin.>"}}); stamp.VerdictOf(err) != stamp.Misdirected {
		t.Errorf("a handler of admin.delete takes the message: %v", err)
	}
	if err := judged(m, "X-User", accounts{"APP": {"admin.>"}}, "admin.>"); err != nil {
		t.Errorf("a receiver that lists the subject before the mapping refuses the message: %v", err)
	}
	if err := judged(m, "X-User", accounts{"APP": {"admin.*"}}); stamp.VerdictOf(err) != stamp.WrongSubject {
		t.Errorf("a receiver that does not list the subject before the mapping takes the message: %v", err)
	}
}
