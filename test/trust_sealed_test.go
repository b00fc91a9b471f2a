package test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/test/harness"
)

// base64Part is what may be base64 of something, as JSON has it in strings.
var base64Part = regexp.MustCompile(`[A-Za-z0-9+/]{16,}={0,2}`)

// exposes reports whether text has the secret, as it is or within base64, at any depth: an
// answer of the stored-message API has a payload in base64, which may be such an answer.
func exposes(text, secret string) bool {
	if strings.Contains(text, secret) {
		return true
	}
	for _, part := range base64Part.FindAllString(text, -1) {
		if b, err := base64.StdEncoding.DecodeString(part); err == nil && exposes(string(b), secret) {
			return true
		}
	}
	return false
}

// exposes finds a value in nested base64. Otherwise the tests of sealed values would show nothing.
func TestExposesSeesNestedBase64(t *testing.T) {
	text := "a value, top-secret, that stands somewhere"
	for depth := range 3 {
		if !exposes(text, "top-secret") {
			t.Errorf("the value was not found in base64 of depth %d", depth)
		}
		text = fmt.Sprintf(`{"data":%q}`, base64.StdEncoding.EncodeToString([]byte(text)))
	}
}

// sealedStream is a server with a message of pub in the stream S, js.a.
func sealedStream(t *testing.T) *harness.Server {
	t.Helper()
	s := harness.Start(t, sealedConf+fmt.Sprintf("\njetstream { store_dir: %q }", t.TempDir()))
	store(t, s)
	return s
}

// If the reply subject of a request to the stored-message API is a stream's, the answer is stored as a payload. Readers of that
// stream must not find in it what they may not read.
func TestSealedAnswerThatIsStored(t *testing.T) {
	s := sealedStream(t)
	reader := s.Connect(t, userInfo("reader"))
	ask := func(subject, body, reply string) {
		t.Helper()
		if err := reader.PublishRequest(subject, reply, []byte(body)); err != nil {
			t.Fatal(err)
		}
		direct(t, reader, "$JS.API.DIRECT.GET.S."+reply, "")
	}
	ask("$JS.API.STREAM.MSG.GET.S", `{"last_by_subj":"js.a"}`, "js.once")
	ask("$JS.API.STREAM.MSG.GET.S", `{"last_by_subj":"js.once"}`, "js.twice")
	for _, subject := range []string{"js.once", "js.twice"} {
		for name, m := range map[string]*nats.Msg{
			"direct get":         request(t, reader, "$JS.API.DIRECT.GET.S."+subject, ""),
			"stored-message API": request(t, reader, "$JS.API.STREAM.MSG.GET.S", `{"last_by_subj":"`+subject+`"}`),
			"pull":               pulled(t, reader, subject),
		} {
			if exposes(string(m.Data), "top-secret") {
				t.Errorf("%s of the answer that is stored on %s shows the sealed value", name, subject)
			}
		}
	}
	// A reader who may see the value still does.
	trusted := s.Connect(t, userInfo("trusted"))
	if m := request(t, trusted, "$JS.API.STREAM.MSG.GET.S", `{"last_by_subj":"js.once"}`); !exposes(string(m.Data), "top-secret") {
		t.Error("the trusted reader does not see the value either, so that this test shows nothing")
	}
}

// The account may have traces of sampled messages sent to a subject of its choice. They show
// the headers of what a trusted forwarder published, to readers who are not trusted.
func TestSealedInTraceOfTheAccount(t *testing.T) {
	s := harness.Start(t, `
		headers { sealed: [Session], protected: [Session] }
		accounts { APP {
			msg_trace: {dest: "trace.app", sampling: 100}
			users: [
				{user: forwarder, password: forwarder, header_permissions: {publish: {allow: [Session]}}}
				{user: reader, password: reader} ] } }`)
	traces := subscribedTo(t, s.Connect(t, userInfo("reader")), "trace.app")
	messages := subscribed(t, s, userInfo("reader"))
	forwarder := s.Connect(t, userInfo("forwarder"))
	m := colored("t.x")
	m.Header.Set("Session", "top-secret")
	m.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if err := forwarder.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	expectSeen(t, next(t, messages, nil), true)
	if e := next(t, traces, nil); exposes(string(e.Data), "top-secret") {
		t.Error("the trace shows the sealed value")
	}
}

func subscribedTo(t *testing.T, nc *nats.Conn, subject string) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// Further ways of reading a stored message, beside those in the table of sealed_test.go.
func TestSealedOtherStoredWays(t *testing.T) {
	s := sealedStream(t)
	owner := s.Connect(t, userInfo("pub"))
	js := newJetStream(t, owner)
	ctx, cancel := context.WithTimeout(context.Background(), harness.Timeout)
	defer cancel()
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "REPUBLISHED", Subjects: []string{"rp.>"}, RePublish: &jetstream.RePublish{Source: ">", Destination: "out.>"}, Storage: jetstream.MemoryStorage},
		{Name: "FILE", Subjects: []string{"file.>"}, AllowDirect: true, Compression: jetstream.S2Compression},
	} {
		if _, err := js.CreateStream(ctx, cfg); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"trusted", "reader"} {
		sealed := user == "reader"
		nc := s.Connect(t, userInfo(user))
		t.Run("republish "+user, func(t *testing.T) {
			sub := subscribedTo(t, nc, "out.>")
			if _, err := js.PublishMsg(ctx, colored("rp.a")); err != nil {
				t.Fatal(err)
			}
			expectSeen(t, next(t, sub, nil), sealed)
		})
		t.Run("compressed file "+user, func(t *testing.T) {
			if _, err := js.PublishMsg(ctx, colored("file.a")); err != nil {
				t.Fatal(err)
			}
			expectSeen(t, request(t, nc, "$JS.API.DIRECT.GET.FILE.file.a", ""), sealed)
		})
		t.Run("direct get by sequence "+user, func(t *testing.T) {
			expectSeen(t, request(t, nc, "$JS.API.DIRECT.GET.S", `{"seq":1}`), sealed)
			expectSeen(t, request(t, nc, "$JS.API.DIRECT.GET.S", `{"next_by_subj":"js.>"}`), sealed)
			expectSeen(t, storedMsg(t, request(t, nc, "$JS.API.STREAM.MSG.GET.S", `{"seq":1}`)), sealed)
			expectSeen(t, storedMsg(t, request(t, nc, "$JS.API.STREAM.MSG.GET.S", `{"next_by_subj":"js.>"}`)), sealed)
		})
		t.Run("headers only "+user, func(t *testing.T) {
			m := pushed(t, nc, "js.a", nats.DeliverAll(), nats.HeadersOnly())
			if got := m.Header.Get("Session"); m.Header.Get("Color") != "blue" || (got == "") != sealed || m.Header.Get("Nats-Msg-Size") != "7" {
				t.Errorf("expected Color, the size, and Session for the trusted reader alone; found %d headers, Session has %d bytes", len(m.Header), len(got))
			}
		})
		t.Run("a service's answer that is relayed "+user, func(t *testing.T) {
			// A pull that gives the message to a responder's inbox, then the reader's.
			sub := subscribedTo(t, nc, "inbox."+user)
			if err := s.Connect(t, userInfo("trusted")).PublishRequest("$JS.API.DIRECT.GET.S.js.a", "inbox."+user, nil); err != nil {
				t.Fatal(err)
			}
			expectSeen(t, next(t, sub, nil), sealed)
		})
	}
}

// A client whose CONNECT does not ask for headers gets none, sealed or not. In a stored message in JSON, sealed headers are
// removed all the same.
func TestSealedForReadersWithoutHeaders(t *testing.T) {
	s := sealedStream(t)
	raw := harness.Client(t, s, withoutHeaders("reader"))
	raw.Sub("t.>", "1")
	raw.Sub("in", "2")
	if err := s.Connect(t, userInfo("pub")).PublishMsg(colored("t.x")); err != nil {
		t.Fatal(err)
	}
	expectMsg(t, raw, "without headers", "")
	body := `{"last_by_subj":"js.a"}`
	raw.Send("PUB $JS.API.STREAM.MSG.GET.S in %d\r\n%s\r\n", len(body), body)
	answer := raw.Msg().Payload
	if exposes(answer, "top-secret") || !exposes(answer, "Color: blue") {
		t.Errorf("the answer of %d bytes shows the sealed value, or not the other header", len(answer))
	}
}

// The JSON of a stored message stays readable, and equal byte for byte except for the header block. If no header is left, the
// field is removed.
func TestSealedStoredMessageIsWellFormed(t *testing.T) {
	s := sealedStream(t)
	pub := s.Connect(t, userInfo("pub"))
	if _, err := mustJetStream(t, pub).Publish("js.bare", []byte("payload")); err != nil {
		t.Fatal(err)
	}
	for subject, fields := range map[string]string{"js.a": "[data hdrs seq subject time]", "js.bare": "[data seq subject time]"} {
		var answers [2]struct {
			Type    string
			Message map[string]any
		}
		for i, user := range []string{"trusted", "reader"} {
			m := request(t, s.Connect(t, userInfo(user)), "$JS.API.STREAM.MSG.GET.S", `{"last_by_subj":"`+subject+`"}`)
			if err := json.Unmarshal(m.Data, &answers[i]); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprint(sortedKeys(answers[1].Message)); got != fields {
			t.Errorf("stored message on %s: fields %s, want %s", subject, got, fields)
		}
		for _, a := range answers {
			delete(a.Message, "hdrs")
		}
		if fmt.Sprint(answers[0]) != fmt.Sprint(answers[1]) {
			t.Errorf("%s: more than the header differs", subject)
		}
	}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
