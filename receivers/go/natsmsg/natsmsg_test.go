package natsmsg_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	stamp "stamp.example/receivers/go"
	"stamp.example/receivers/go/natsmsg"
	"stamp.example/receivers/go/stamptest"
)

// request is a request to a service, as micro makes it.
type request struct {
	micro.Request
	message stamp.Message
	subject string // on which it arrived
	reply   string
	code    string
	text    string
}

func (r *request) Headers() micro.Headers { return r.message.Header }
func (r *request) Reply() string          { return r.reply }
func (r *request) Subject() string        { return r.subject }
func (r *request) Data() []byte           { return r.message.Payload }
func (r *request) Error(code, text string, _ []byte, _ ...micro.RespondOpt) error {
	r.code, r.text = code, text
	return nil
}

func newTrust(t *testing.T, s *stamptest.Server) *stamp.Trust {
	t.Helper()
	trust, err := stamp.NewTrust(stamp.Options{
		User: "X-User", Many: []string{"Roles"}, Accounts: map[string][]string{s.Account: {"orders.>"}}, Servers: s.Servers(), Keys: s.Keys(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func TestHandle(t *testing.T) {
	server := stamptest.NewServer()
	trust := newTrust(t, server)
	var users []string
	handler := natsmsg.Handle(trust, func(id stamp.Identity, r micro.Request) { users = append(users, id.User) })
	good := &request{message: server.Stamp(map[string][]string{"X-User": {"alice"}}, "orders.new", []byte("1")), subject: "orders.new"}
	handler.Handle(good)
	bad := &request{message: server.Stamp(map[string][]string{"X-User": {"alice"}}, "orders.new", []byte("1")), subject: "orders.new"}
	bad.message.Payload = []byte("2")
	handler.Handle(bad)
	none := &request{}
	handler.Handle(none)
	if len(users) != 1 || users[0] != "alice" || good.code != "" {
		t.Errorf("expected the handler to be called for alice only; it was called for %q", users)
	}
	if bad.code != "401" || bad.text != "proof-wrong" || none.code != "401" || none.text != "anonymous" {
		t.Errorf("expected 401 proof-wrong and 401 anonymous; the answers are %q %q and %q %q", bad.code, bad.text, none.code, none.text)
	}
}

// Whoever has read a message can publish it again on the subject of another handler, and whoever holds the seed of the receiver can make
// a proof that says another subject than that to which he publishes it.
func TestHandleOfAnotherSubject(t *testing.T) {
	server := stamptest.NewServer()
	trust := newTrust(t, server)
	var subjects []string
	handler := natsmsg.Handle(trust, func(id stamp.Identity, r micro.Request) { subjects = append(subjects, id.Subject) })
	for _, subject := range []string{"orders.show", "orders.delete", "orders.*", ">"} {
		r := &request{message: server.Stamp(map[string][]string{"X-User": {"alice"}}, "orders.show", nil), subject: subject}
		handler.Handle(r)
		if want := map[bool]string{true: "", false: "misdirected"}[subject == "orders.show"]; r.text != want {
			t.Errorf("the answer to a message that was published on orders.show and arrived on %s: %q, expected %q", subject, r.text, want)
		}
	}
	// JetStream delivers with the subject of the stored message, to any subject that is asked for. An answer would
	// acknowledge the message.
	r := &request{message: server.Stamp(map[string][]string{"X-User": {"alice"}}, "orders.show", nil), subject: "orders.show", reply: "$JS.ACK.ALL.C.1.1.1.1.0"}
	if handler.Handle(r); r.text != "" {
		t.Errorf("the answer to a message that JetStream delivers: %q, expected none", r.text)
	}
	if len(subjects) != 1 {
		t.Errorf("the handler was called for messages on %q", subjects)
	}
}

// With Trust.ForSubjects, what arrives on another subject is taken.
func TestForSubjects(t *testing.T) {
	server := stamptest.NewServer()
	earlier, err := newTrust(t, server).ForSubjects("orders.us.>")
	if err != nil {
		t.Fatal(err)
	}
	trust, err := earlier.ForSubjects("orders.*", "orders.eu.>") // instead of the other ones
	if err != nil {
		t.Fatal(err)
	}
	for subject, want := range map[string]stamp.Verdict{"orders.new": stamp.OK, "orders.eu.new.1": stamp.OK, "orders.us.new": stamp.Misdirected, "stock.take": stamp.WrongSubject} {
		m := server.Stamp(map[string][]string{"X-User": {"alice"}}, subject, nil)
		_, err := stamp.Identify(natsmsg.Msg(&nats.Msg{Subject: "svc.orders", Header: m.Header}), trust)
		if got := stamp.VerdictOf(err); got != want {
			t.Errorf("a message that was published on %s: %v, expected %s", subject, err, want)
		}
	}
	for _, bad := range [][]string{nil, {""}, {"a..b"}, {"a b"}, {">.a"}, {"a\xff"}} {
		if _, err := newTrust(t, server).ForSubjects(bad...); err == nil {
			t.Errorf("ForSubjects(%q): expected an error", bad)
		}
	}
	plain, err := stamp.NewTrust(stamp.Options{User: "X-User"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.ForSubjects("a"); err == nil {
		t.Error("ForSubjects of a trust without accounts: expected an error")
	}
}

func TestForward(t *testing.T) {
	server := stamptest.NewServer()
	trust := newTrust(t, server)
	received := server.Stamp(map[string][]string{"X-User": {"alice"}, "Roles": {"a", "b"}}, "orders.new", []byte("1"))
	ask := &nats.Msg{Subject: "stock.take", Header: nats.Header{"stamp-forwarded-proof": {"x"}}} // which a client has sent
	if err := natsmsg.Forward(ask, received, trust); err != nil {
		t.Fatal(err)
	}
	id, err := stamp.Forwarded(natsmsg.Msg(ask), trust)
	if err != nil || id.User != "alice" || id.Subject != "orders.new" || len(id.Values("roles")) != 2 || !id.Proven {
		t.Errorf("expected the proven identity of alice in the forwarded message; found %+v, error %v", id, err)
	}
	if _, err := stamp.Identify(natsmsg.Msg(ask), trust); !errors.Is(err, stamp.ErrAnonymous) {
		t.Errorf("a message with a forwarded proof alone: %v", err)
	}
	// If nobody sent the message, nothing is forwarded, and an earlier forwarded proof is removed.
	received.Payload = nil
	ask.Header["STAMP_forwarded.proof"] = []string{"x"}
	if err := natsmsg.Forward(ask, received, trust); stamp.VerdictOf(err) != stamp.ProofWrong || len(ask.Header) != 0 {
		t.Errorf("forwarded although the payload changed: %v, %q", err, ask.Header)
	}
}
