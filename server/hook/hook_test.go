package hook

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp.example/claim"
	"stamp/internal/conf"
	"stamp/internal/policy"
	"stamp/internal/release"
)

// inert returns a server that is never started.
func inert(t *testing.T) *natsserver.Server {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{ServerName: "inert", NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// parsed returns a headers block as the server's options contain it.
func parsed(t *testing.T, text string) natsserver.ConfigValue {
	t.Helper()
	n, err := conf.ParseString(text)
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	r := policy.ParseRules(n.Get("headers"), &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return headersBlock{r}
}

func user(t *testing.T, headers, permissions any) natsserver.ConfigValue {
	t.Helper()
	u, err := parser{}.ParseUser(headers, permissions)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// rewrite returns the header block of a message that a client sent with the block hdr.
func rewrite(att natsserver.Attachment, hdr string) ([]byte, error) {
	return att.Rewriter.Rewrite(nil, &natsserver.PublishedMessage{Subject: []byte("foo"), Header: []byte(hdr)})
}

// hidden returns a header block as the trace log shows it.
func hidden(h *Hook, hdr string) string {
	shown, _ := h.HideMessage([]byte(hdr), nil)
	return string(shown)
}

// A claim becomes a rewriter, and the counters count its work.
func TestAttach(t *testing.T) {
	h := New()
	s := inert(t)
	att, err := h.Attach(&natsserver.AttachInfo{Server: s})
	if att.Rewriter != nil || att.Filter != nil || att.CheckReplies || att.Private || err != nil {
		t.Fatalf("without a claim, expected no rewriter, filter or checks; found %+v, error %v", att, err)
	}
	stamped := user(t, map[string]any{"A": "x"}, nil)
	att, err = h.Attach(&natsserver.AttachInfo{Server: s, UserHeaders: stamped})
	if err != nil {
		t.Fatal(err)
	}
	out, err := rewrite(att, "NATS/1.0\r\na: y\r\nB: z\r\n\r\n")
	if want := "NATS/1.0\r\nB: z\r\nA: x\r\n\r\n"; err != nil || string(out) != want {
		t.Errorf("the rewritten block is %q, error %v; want %q", out, err, want)
	}
	if n := att.Rewriter.Growth(); n < len("NATS/1.0\r\nA: x\r\n\r\n") {
		t.Errorf("Growth returned %d, which is less than the stamp adds", n)
	}
	if !slices.Equal(att.Rewriter.Names(), []string{"A"}) {
		t.Errorf("the rewriter's names are %q, want A only", att.Rewriter.Names())
	}
	if _, err := rewrite(att, "nonsense"); err == nil {
		t.Error("a malformed block was accepted")
	}
	_, err = h.Attach(&natsserver.AttachInfo{Server: s, AttachedAccount: natsserver.AttachedAccount{System: true}, UserHeaders: stamped})
	if err == nil {
		t.Error("a user of the system account was accepted")
	}
	got := *h.Varz().(*Varz)
	want := Varz{
		Release: release.Version, Stamping: true, StampedConnections: 1, StampedMessages: 1, StampedBytes: uint64(len(out)),
		StrippedLines: 1, RefusedConnections: 1, RefusedMessages: 1,
	}
	if got != want {
		t.Errorf("varz has %+v, want %+v", got, want)
	}
}

func TestRewriteAllocatesNothing(t *testing.T) {
	h := New()
	s := inert(t)
	for _, block := range []string{"headers { metrics: \"127.0.0.1:1\" }", `headers { protected: ["X-*"], provenance: true, all: {C: x} }`} {
		att, err := h.Attach(&natsserver.AttachInfo{
			Server: s, Headers: parsed(t, block), AttachedAccount: natsserver.AttachedAccount{Account: "A"}, UserHeaders: user(t, map[string]any{"A": "x"}, nil),
		})
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]byte, 0, 4096)
		for _, hdr := range []string{"", "NATS/1.0\r\nB: z\r\nTraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n"} {
			m := &natsserver.PublishedMessage{Subject: []byte("foo"), Header: []byte(hdr)}
			n := testing.AllocsPerRun(100, func() {
				if _, err := att.Rewriter.Rewrite(dst, m); err != nil {
					t.Fatal(err)
				}
			})
			if n != 0 {
				t.Errorf("%s, header block of %d bytes: %v allocations", block, len(hdr), n)
			}
		}
	}
}

// A connection gets the rules of the headers block.
func TestAttachTakesTheBlock(t *testing.T) {
	h := New()
	s := inert(t)
	options := parsed(t, `headers { protected: [P], sealed: [S], check_replies: true, all: {C: "{{client-ip()}}"} }`)
	att, err := h.Attach(&natsserver.AttachInfo{Server: s, Headers: options, Host: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := rewrite(att, "NATS/1.0\r\np: y\r\nc: z\r\nB: z\r\n\r\n")
	if want := "NATS/1.0\r\nB: z\r\nC: 192.0.2.1\r\n\r\n"; err != nil || string(out) != want {
		t.Errorf("the rewritten block is %q, error %v; want %q", out, err, want)
	}
	if out, lines, _ := att.Filter.Cut(nil, []byte("NATS/1.0\r\ns: y\r\nB: z\r\n\r\n"), natsserver.CutMark{}, 0); lines != 1 || string(out) != "NATS/1.0\r\nB: z\r\n\r\n" {
		t.Errorf("expected the filter to cut the line s; found %q and %d lines cut", out, lines)
	}
	answer := []byte(`{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{"hdrs":""}}`)
	if out, lines := att.Filter.CutPayload(answer); lines != 0 || string(out) != string(answer) {
		t.Errorf("an answer that holds nothing sealed: %q, %d lines", out, lines)
	}
	if out, lines := att.Filter.CutPayload([]byte("no answer")); lines != 0 || out != nil {
		t.Errorf("a payload that is no answer: %q, %d lines", out, lines)
	}
	other, err := h.Attach(&natsserver.AttachInfo{Server: s, Headers: options})
	if err != nil || other.Filter != att.Filter {
		t.Errorf("connections with the same seal have different filters, error %v", err)
	}
	if !att.CheckReplies {
		t.Error("the replies of the connection are not checked")
	}
	trusted := user(t, nil, map[string]any{"publish": map[string]any{"allow": []any{"*"}}, "subscribe": map[string]any{"allow": []any{"*"}}})
	att, err = h.Attach(&natsserver.AttachInfo{Server: s, Headers: options, UserHeaders: trusted})
	if err != nil || att.Filter != nil {
		t.Errorf("a connection that may read sealed headers has a filter, error %v", err)
	}
	out, err = rewrite(att, "NATS/1.0\r\nP: y\r\n\r\n")
	if err != nil || string(out) != "NATS/1.0\r\nP: y\r\n\r\n" {
		t.Errorf("the header of a permitted publisher became %q, error %v", out, err)
	}
}

// Templates of the configuration get the user that the server verified, and not the name that the client gave itself.
func TestTemplatesGetTheVerifiedUser(t *testing.T) {
	h := New()
	s := inert(t)
	options := parsed(t, `headers { all: {U: "{{name()}}", T: "{{connection-type()}}"} }`)
	for _, test := range []struct {
		name string
		info *natsserver.AttachInfo
		want string
	}{
		{"no user", &natsserver.AttachInfo{Name: "alice, says the client", Type: "nats"}, "T: nats"},
		{"configured", &natsserver.AttachInfo{User: "alice", Type: "websocket"}, "U: alice|T: websocket"},
		{"JWT", &natsserver.AttachInfo{User: "UX", UserClaims: &jwt.UserClaims{ClaimsData: jwt.ClaimsData{Name: "bob"}}, Kind: natsserver.LEAF}, "U: bob|T: leafnode"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.info.Server, test.info.Headers = s, options
			att, err := h.Attach(test.info)
			if err != nil {
				t.Fatal(err)
			}
			out, err := rewrite(att, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(test.want, "|") {
				if !bytes.Contains(out, []byte("\r\n"+line+"\r\n")) {
					t.Errorf("block %q lacks %q", out, line)
				}
			}
			if n := bytes.Count(out, []byte("\r\n")); n != 2+len(strings.Split(test.want, "|")) {
				t.Errorf("block %q has more lines than wanted", out)
			}
		})
	}
}

func TestParseBlockReportsEachFault(t *testing.T) {
	_, err := parser{}.ParseBlock("headers", map[string]any{"max_header": int64(2), "max_bytes": int64(70000), "sealed": "x y"})
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 3 {
		t.Errorf("expected 3 faults in one error; found %v", err)
	}
}

// check_replies finds the subjects to which a request to JetStream has it send something.
func TestReplies(t *testing.T) {
	for _, test := range []struct {
		subject, payload, want string
		err                    error
	}{
		{"foo", "{", "", nil},
		{"$JS.API.CONSUMER.CREATE.S.C", `{"config":{"deliver_subject":"victim"}}`, "victim", nil},
		{"$JS.API.CONSUMER.DURABLE.CREATE.S.C", `{"config":{"deliver_subject":"victim"}}`, "victim", nil},
		{"$JS.API.CONSUMER.CREATE.S", `{"config":{"Deliver_Subject":"victim"}}`, "victim", nil}, // as encoding/json has it
		{"$JS.API.CONSUMER.CREATE.S", `{"config":{}}{"config":{"deliver_subject":"victim"}}`, "", errRequest},
		{"$JS.API.STREAM.SNAPSHOT.S", `{"deliver_subject":"victim"}`, "victim", nil},
		{"$JS.API.STREAM.SNAPSHOT.S", `[]`, "", errRequest},
		{"shop.CONSUMER.CREATED", `plain text`, "", nil},
		{"$JS.API.CONSUMER.CREATE.S.C", `{"config":{"deliver_subject":"mine"},"config":{"deliver_subject":"victim"}}`, "victim", nil},
		{"$JS.API.CONSUMER.CREATE.S.C", `{"config":{}}`, "", nil},
		{"$JS.API.CONSUMER.CREATE.S.C", `{"config":`, "", errRequest},
		{"$JS.API.CONSUMER.INFO.S.C", ``, "", nil},
	} {
		got, err := New().AnswerSubjects(test.subject, []byte(test.payload))
		if strings.Join(got, " ") != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s with payload %s: the answer goes to %q, error %v; want %q, error %v", test.subject, test.payload, got, err, test.want, test.err)
		}
	}
}

func TestPeersAreReportedOnce(t *testing.T) {
	h := New()
	s := inert(t)
	if !h.peers.markReported("A") || h.peers.markReported("A") || !h.peers.markReported("B") {
		t.Error("a server is not reported exactly once")
	}
	strict := parsed(t, `headers { require_stamping_peers: true }`)
	for _, test := range []struct {
		release string
		options natsserver.ConfigValue
		refused bool
	}{
		{"", nil, false}, {"", strict, true}, {release.Version, strict, false},
	} {
		err := h.Peer(&natsserver.ConnPeer{Server: s, Kind: "Router", ID: "A", Release: test.release, Headers: test.options})
		if (err != nil) != test.refused {
			t.Errorf("peer %+v: unexpected error %v", test, err)
		}
	}
}

// The log hides the values of headers, except those that upstream itself acts on.
func TestRedact(t *testing.T) {
	h := New()
	if got := hidden(h, "NATS/1.0\r\nSession: secret\r\nNats-Msg-Id: 7\r\n\r\n"); strings.Contains(got, "secret") || !strings.Contains(got, "Session") || !strings.Contains(got, "Nats-Msg-Id: 7") {
		t.Errorf("expected names, and values of upstream's headers only; shown is %q", got)
	}
	for name, want := range map[string]bool{"Session": true, "Nats-Trace-Dest": false, "traceparent": false, "Accept-Encoding": false, "": true, "not a token": true} {
		if h.HideValue(nil, name, false) != want {
			t.Errorf("HideValue(%q) = %t, want %t", name, !want, want)
		}
	}
	options := parsed(t, `headers { sealed: [Session, traceparent] }`)
	if !h.HideValue(options, "traceparent", false) {
		t.Error("the value of a sealed reserved name is shown")
	}
	for name, want := range map[string]bool{"Session": true, "session": true, "Color": false, "Nats-Trace-Dest": false} {
		if h.HideValue(options, name, true) != want || h.HideValue(nil, name, true) {
			t.Errorf("HideValue(%q) = %t of what a client sent", name, !want)
		}
	}
}

// The limits of the headers block apply to users, even if the block follows after them in the file.
func TestOptionsReachUsers(t *testing.T) {
	h := New()
	options := parsed(t, `headers { max_headers: 1 }`)
	two := user(t, map[string]any{"A": "x", "B": "y"}, nil)
	_, err := h.Attach(&natsserver.AttachInfo{Server: inert(t), UserHeaders: two, Headers: options})
	if !errors.Is(err, claim.ErrTooManyHeaders) {
		t.Errorf("expected the error %v; found %v", claim.ErrTooManyHeaders, err)
	}
}

func TestParseUser(t *testing.T) {
	if got, err := (parser{}).ParseUser(nil, nil); got != nil || err != nil {
		t.Errorf("ParseUser without fields returned %v, error %v; want neither", got, err)
	}
	_, err := parser{}.ParseUser(map[string]any{"Nats-Rollup": "all", "B": int64(1)}, nil)
	if err == nil || !strings.Contains(err.Error(), "Nats-Rollup") || !strings.Contains(err.Error(), `"B"`) {
		t.Errorf("expected an error that names both faults; found %v", err)
	}
	if _, err = (parser{}).ParseUser(map[string]any{"A": "{{nam()}}"}, nil); !errors.Is(err, policy.ErrTemplateFunction) {
		t.Errorf("an unknown function: expected ErrTemplateFunction; found %v", err)
	}
}

// The error of a refused reload shows a remote's permissions, and no value.
func TestUserHeadersAreShownWithoutValues(t *testing.T) {
	u := user(t, map[string]any{"Session": "hunter2"}, map[string]any{"publish": map[string]any{"allow": []any{"X"}}})
	if shown := fmt.Sprintf("%v %+v", u, u); shown != `{headers: ["Session"], publish.allow: ["X"], subscribe.allow: []} {headers: ["Session"], publish.allow: ["X"], subscribe.allow: []}` {
		t.Errorf("expected names without values; shown is %s", shown)
	}
}

// Messages on subjects on which servers talk to each other get no stamp, but headers that only the server may write are
// removed there, too.
func TestUnstampedSubjects(t *testing.T) {
	s := inert(t)
	options := parsed(t, `headers { all: {A: x} }`)
	systemInfo := natsserver.AttachInfo{AttachedAccount: natsserver.AttachedAccount{System: true}}
	for _, tt := range []struct {
		subject string
		info    natsserver.AttachInfo
		added   bool
	}{
		{"foo", natsserver.AttachInfo{}, true},
		{"$JS.SNAPSHOT.RESTORE.x", natsserver.AttachInfo{}, false},
		{"$NRG.AE.x", natsserver.AttachInfo{}, false},
		{"$JS.M.x", natsserver.AttachInfo{}, true},
		{"_INBOX.x", natsserver.AttachInfo{}, true},
		{"$JS.M.x", natsserver.AttachInfo{Kind: natsserver.LEAF}, false},
		{"$JS.S.x", natsserver.AttachInfo{Kind: natsserver.LEAF}, false},
		{"$NRG.AE.x", natsserver.AttachInfo{Kind: natsserver.LEAF}, false},
		{"$JS.MX.x", natsserver.AttachInfo{Kind: natsserver.LEAF}, true},
		{"foo", systemInfo, true},
		{"$SYS.x", systemInfo, false},
		{"_INBOX.x", systemInfo, false},
		{"_R_.x", systemInfo, false},
		{"_GR_.x", systemInfo, false},
	} {
		tt.info.Server, tt.info.Headers = s, options
		att, err := New().Attach(&tt.info)
		if err != nil {
			t.Fatal(err)
		}
		for sent, want := range map[string][2]string{
			"":                                 {"", "NATS/1.0\r\nA: x\r\n\r\n"},
			"NATS/1.0\r\nB: y\r\na: z\r\n\r\n": {"NATS/1.0\r\nB: y\r\n\r\n", "NATS/1.0\r\nB: y\r\nA: x\r\n\r\n"},
		} {
			out, err := att.Rewriter.Rewrite(nil, &natsserver.PublishedMessage{Subject: []byte(tt.subject), Header: []byte(sent)})
			expected := want[0]
			if tt.added {
				expected = want[1]
			}
			if err != nil || string(out) != expected {
				t.Errorf("subject %s: block %q became %q, error %v; expected %q", tt.subject, sent, out, err, expected)
			}
		}
	}
}
