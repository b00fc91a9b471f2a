package redact

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/stamp"
)

// mustSeal returns a seal that hides Session and all names that begin with X-Auth-.
func mustSeal(t testing.TB) *stamp.Seal {
	t.Helper()
	set, err := stamp.NewNameSet("Session", "X-Auth-*")
	if err != nil {
		t.Fatal(err)
	}
	return stamp.NewSeal(set)
}

// blocks are seeds for fuzzing: well-formed ones, and those that client libraries read differently.
var blocks = []string{
	"",
	"NATS/1.0\r\n\r\n",
	"NATS/1.0 503 No Responders\r\n\r\n",
	"NATS/1.0\r\nA: b\r\nx_auth.user: u\r\n\r\n",
	"NATS/1.0\r\nA: b\n Session: s\r\n\r\n",
	"NATS/1.0\r\n\r\nSession: s\r\n\r\n",
	"NATS/1.0 404\r\nSession : s\r\n\r\n",
	"Session: s",
}

// stored is an answer as the server writes it.
func stored(t *testing.T, subject, hdrs string) []byte {
	t.Helper()
	return storedData(t, subject, hdrs, []byte(`,"hdrs":"`))
}

func storedData(t *testing.T, subject, hdrs string, data []byte) []byte {
	t.Helper()
	b, err := json.Marshal(natsserver.JSApiMsgGetResponse{
		ApiResponse: natsserver.ApiResponse{Type: natsserver.JSApiMsgGetResponseType},
		Message: &natsserver.StoredMsg{
			Subject: subject, Sequence: 7, Header: []byte(hdrs), Data: data, Time: time.Unix(0, 0).UTC(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStoredAnswer(t *testing.T) {
	seal := mustSeal(t)
	const odd = `a\","hdrs":"b`
	for _, tt := range []struct {
		name, hdrs, want string
		cut              int
	}{
		{"none", "", "", 0},
		{"nothing hidden", "NATS/1.0\r\nA: b\r\n\r\n", "", 0},
		{"one", "NATS/1.0\r\nA: b\r\nSession: s\r\n\r\n", "NATS/1.0\r\nA: b\r\n\r\n", 1},
		{"all", "NATS/1.0\r\nSession: s\r\n\r\n", "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			payload := stored(t, odd, tt.hdrs)
			before := bytes.Clone(payload)
			out, cut := StoredAnswer(seal, payload)
			if cut != tt.cut || !bytes.Equal(payload, before) {
				t.Fatalf("%d lines were cut, want %d, or the answer itself was changed", cut, tt.cut)
			}
			if cut == 0 {
				if out != nil {
					t.Errorf("nothing is cut, and yet %s", out)
				}
				return
			}
			if want := stored(t, odd, tt.want); !bytes.Equal(out, want) {
				t.Errorf("the answer became\n%s\nwant\n%s", out, want)
			}
		})
	}
	if out, cut := StoredAnswer(seal, []byte(`{"message":{"hdrs":"TkFUUw=="}}`)); cut != 0 || out != nil {
		t.Error("a payload that is no answer is changed")
	}
	broken := []byte(answerStart + `,"message":{"hdrs":"!!!"}}`)
	out, cut := StoredAnswer(seal, broken)
	var answer natsserver.JSApiMsgGetResponse
	if err := json.Unmarshal(out, &answer); err != nil || cut == 0 || answer.Error == nil || answer.Message != nil {
		t.Errorf("an answer that cannot be read: %s, %v", out, err)
	}
}

// nested is an answer with an answer in it, depth times.
func nested(t *testing.T, hdrs string, depth int) []byte {
	t.Helper()
	b := stored(t, "foo", hdrs)
	for range depth {
		b = storedData(t, `a","data":"`, hdrs, b)
	}
	return b
}

func TestNestedStoredAnswer(t *testing.T) {
	seal := mustSeal(t)
	for depth := range 4 {
		out, cut := StoredAnswer(seal, nested(t, "NATS/1.0\r\nA: b\r\nSession: s\r\n\r\n", depth))
		if want := nested(t, "NATS/1.0\r\nA: b\r\n\r\n", depth); cut != depth+1 || !bytes.Equal(out, want) {
			t.Errorf("answer with %d others inside: %d lines were cut, left is %s", depth, cut, out)
		}
	}
	for name, inner := range map[string]string{
		"not base64": `,"message":{"hdrs":"!!!"}}`,
		"cut off":    `,"message":{"hdrs":"TkFUUw`,
	} {
		out, cut := StoredAnswer(seal, storedData(t, "foo", "", []byte(answerStart+inner)))
		if want := storedData(t, "foo", "", []byte(unreadable)); cut == 0 || !bytes.Equal(out, want) {
			t.Errorf("answer that is %s: the data is not hidden: %s", name, out)
		}
	}
}

// The cut answer is still a valid answer, and has no hidden name.
func FuzzStoredAnswer(f *testing.F) {
	for _, block := range blocks {
		f.Add("foo", []byte(block))
	}
	f.Add(`","hdrs":"`, []byte("NATS/1.0\r\nSession: s\r\n\r\n"))
	seal := mustSeal(f)
	f.Fuzz(func(t *testing.T, subject string, block []byte) {
		payload := stored(t, subject, string(block))
		out, cut := StoredAnswer(seal, payload)
		want, lines := seal.Cut(nil, block)
		if cut != lines {
			t.Fatalf("%d lines were cut, want %d", cut, lines)
		}
		if cut == 0 {
			return
		}
		if !bytes.Equal(out, stored(t, subject, string(want))) {
			t.Errorf("%s is not what the seal leaves of %s", out, payload)
		}
	})
}
