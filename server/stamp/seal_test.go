package stamp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

var sealed = []string{"Session", "X-Auth-*"}

func mustSeal(t testing.TB, patterns ...string) *Seal {
	t.Helper()
	set, err := NewNameSet(patterns...)
	if err != nil {
		t.Fatal(err)
	}
	return NewSeal(set)
}

func TestCut(t *testing.T) {
	tests := []struct {
		name, block, want string
		cut               int
	}{
		{"none hidden", "NATS/1.0\r\nA: b\r\n\r\n", "", 0},
		{"one", "NATS/1.0\r\nA: b\r\nSession: s\r\n\r\n", "NATS/1.0\r\nA: b\r\n\r\n", 1},
		{"in the middle, an alias, a pattern", "NATS/1.0\r\nA: b\r\nsession: s\r\nB:c\r\nx_auth.user:\ts\r\nC: d\r\n\r\n", "NATS/1.0\r\nA: b\r\nB:c\r\nC: d\r\n\r\n", 2},
		{"nothing remains", "NATS/1.0\r\nSession: s\r\n\r\n", "", 1},
		{"a status remains", "NATS/1.0 503 No Responders\r\nSession: s\r\n\r\n", "NATS/1.0 503 No Responders\r\n\r\n", 1},
		{"a status without a text", "NATS/1.0 204\r\n\r\n", "", 0},
		{"a status without a text, and lines", "NATS/1.0 503\r\nSession: s\r\nA: b\r\n\r\n", "NATS/1.0 503\r\nA: b\r\n\r\n", 1},
		{"values that a publisher may not send", "NATS/1.0\r\nNats-Subject: \xff\x01\r\nSession: s\r\n\r\n", "NATS/1.0\r\nNats-Subject: \xff\x01\r\n\r\n", 1},
		{"malformed, nothing hidden", "NATS/1.0\r\nA b\r\n\r\n", "", 0},
		{"malformed, hidden", "NATS/1.0\r\nA b\r\nSession: s\r\n\r\n", "", 1},
		{"malformed, hidden, a status", "NATS/1.0 503 x\r\nA b\r\nSession: s\r\n\r\n", "NATS/1.0 503 x\r\n\r\n", 1},
		{"a bare line feed", "NATS/1.0\r\nA: b\nSession: s\r\n\r\n", "", 1},
		{"a bare carriage return", "NATS/1.0\r\nA: b\rSession: s\r\n\r\n", "", 1},
		{"folded", "NATS/1.0\r\nA: b\r\n Session: s\r\n\r\n", "", 1},
		{"a space before the colon", "NATS/1.0\r\nSession : s\r\n\r\n", "", 1},
		{"behind the blank line", "NATS/1.0\r\n\r\nSession: s\r\n\r\n", "", 1},
		{"no end", "NATS/1.0\r\nSession: s", "", 1},
		{"another version", "NATS/1.1\r\nSession: s\r\n\r\n", "", 1},
		{"empty", "", "", 0},
	}
	s := mustSeal(t, sealed...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, cut := s.Cut([]byte("before"), []byte(tt.block))
			if string(got) != "before"+tt.want || cut != tt.cut {
				t.Errorf("got %q and %d lines, want %q and %d", got, cut, tt.want, tt.cut)
			}
		})
	}
}

// No reader sees a hidden name, and each sees of the rest what it saw before.
func FuzzCut(f *testing.F) {
	for _, block := range nasties {
		f.Add([]byte(block))
	}
	f.Add([]byte("NATS/1.0 204\r\nX-Auth-: s\r\n\r\n"))
	hidden := strings.Join(sealed, " ")
	s := mustSeal(f, sealed...)
	f.Fuzz(func(t *testing.T, block []byte) {
		out, cut := s.Cut(nil, block)
		if cut == 0 {
			if out != nil {
				t.Fatalf("nothing is cut, and yet %q", out)
			}
			out = block
		}
		for _, r := range readers {
			if len(out) == 0 {
				break
			}
			got := reads(r.read, out)
			for _, l := range got {
				if matches(hidden, l.name) {
					t.Errorf("%s sees %q in %q of %q", r.name, l.name, out, block)
				}
			}
			if !fitsGrammar(block) {
				continue
			}
			before := reads(r.read, block)
			before = slices.DeleteFunc(before, func(l line) bool { return matches(hidden, l.name) })
			if !slices.Equal(group(before), group(got)) {
				t.Errorf("%s saw %q in %q, and sees %q in %q", r.name, before, block, got, out)
			}
		}
	})
}

// reads is what a reader sees. nats.go panics on some blocks ("NATS/1.0 " and a line
// break), of which it then sees nothing.
func reads(read func([]byte) ([]line, error), block []byte) (seen []line) {
	defer func() { _ = recover() }()
	seen, _ = read(block)
	return seen
}

func TestCutAllocatesNothing(t *testing.T) {
	s := mustSeal(t, sealed...)
	dst := make([]byte, 0, 4096)
	for _, block := range []string{"NATS/1.0\r\nA: b\r\n\r\n", "NATS/1.0\r\nA: b\r\nSession: s\r\nB: c\r\n\r\n", "NATS/1.0\r\n\r\nSession: s\r\n"} {
		block := []byte(block)
		if n := testing.AllocsPerRun(100, func() { s.Cut(dst, block) }); n != 0 {
			t.Errorf("%q: %v allocations", block, n)
		}
	}
}

func TestSealsAreShared(t *testing.T) {
	if NewSeal(nil) != nil || mustSeal(t) != nil {
		t.Error("a seal that hides nothing")
	}
	a := mustSeal(t, "Session", "X-*")
	if a != mustSeal(t, "x-*", "session") || a == mustSeal(t, "Session") {
		t.Error("equal seals are two, or two are one")
	}
	all, err := NewNameSet("Session", "X-*")
	if err != nil {
		t.Fatal(err)
	}
	some, err := NewNameSet("X-A")
	if err != nil {
		t.Fatal(err)
	}
	b := NewSeal(all.Without(some))
	if b == a || b != NewSeal(all.Without(some)) {
		t.Error("exceptions are not told apart, or not shared")
	}
	runtime.KeepAlive(a)
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

func TestCutStored(t *testing.T) {
	s := mustSeal(t, sealed...)
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
			out, cut := s.CutStored(payload)
			if cut != tt.cut || !bytes.Equal(payload, before) {
				t.Fatalf("%d lines, want %d", cut, tt.cut)
			}
			if cut == 0 {
				if out != nil {
					t.Errorf("nothing is cut, and yet %s", out)
				}
				return
			}
			if want := stored(t, odd, tt.want); !bytes.Equal(out, want) {
				t.Errorf("got  %s\nwant %s", out, want)
			}
		})
	}
	if out, cut := s.CutStored([]byte(`{"message":{"hdrs":"TkFUUw=="}}`)); cut != 0 || out != nil {
		t.Error("a payload that is no answer is changed")
	}
	broken := []byte(storedType + `,"message":{"hdrs":"!!!"}}`)
	out, cut := s.CutStored(broken)
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

func TestCutStoredNested(t *testing.T) {
	s := mustSeal(t, sealed...)
	for depth := range 4 {
		out, cut := s.CutStored(nested(t, "NATS/1.0\r\nA: b\r\nSession: s\r\n\r\n", depth))
		if want := nested(t, "NATS/1.0\r\nA: b\r\n\r\n", depth); cut != depth+1 || !bytes.Equal(out, want) {
			t.Errorf("depth %d, %d lines: %s", depth, cut, out)
		}
	}
	for name, inner := range map[string]string{
		"not base64": `,"message":{"hdrs":"!!!"}}`,
		"cut off":    `,"message":{"hdrs":"TkFUUw`,
	} {
		out, cut := s.CutStored(storedData(t, "foo", "", []byte(storedType+inner)))
		if want := storedData(t, "foo", "", []byte(storedError)); cut == 0 || !bytes.Equal(out, want) {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// What comes out of an answer is an answer still, and holds no hidden name.
func FuzzCutStored(f *testing.F) {
	for _, block := range nasties {
		f.Add("foo", []byte(block))
	}
	f.Add(`","hdrs":"`, []byte("NATS/1.0\r\nSession: s\r\n\r\n"))
	s := mustSeal(f, sealed...)
	f.Fuzz(func(t *testing.T, subject string, block []byte) {
		payload := stored(t, subject, string(block))
		out, cut := s.CutStored(payload)
		want, lines := s.Cut(nil, block)
		if cut != lines {
			t.Fatalf("%d lines, want %d", cut, lines)
		}
		if cut == 0 {
			return
		}
		if !bytes.Equal(out, stored(t, subject, string(want))) {
			t.Errorf("got %s of %s", out, payload)
		}
	})
}

func TestMaskBlock(t *testing.T) {
	for _, tt := range []struct{ block, want string }{
		{"NATS/1.0\r\n\r\n", "NATS/1.0\r\n\r\n"},
		{"NATS/1.0 503 No Responders\r\n\r\n", "NATS/1.0 503 No Responders\r\n\r\n"},
		{"NATS/1.0\r\nSession: secret\r\nNats-Msg-Id: 7\r\ntraceparent: 00-1\r\n\r\n", "NATS/1.0\r\nSession: [REDACTED]\r\nNats-Msg-Id: 7\r\ntraceparent: 00-1\r\n\r\n"},
		{"NATS/1.0\r\nNats-Msg-Id: 7\n Session: secret\r\n\r\n", malformed},
		{"NATS/1.0\r\n\r\nSession: secret", malformed},
		{"secret", malformed},
		{"", malformed},
	} {
		if got := MaskBlock([]byte("x"), []byte(tt.block)); string(got) != "x"+tt.want {
			t.Errorf("%q is shown as %q", tt.block, got)
		}
	}
}

func TestMaskPayload(t *testing.T) {
	for payload, want := range map[string]string{
		"":                              "",
		"text\r\n\twith Grüße ✓":        "text\r\n\twith Grüße ✓",
		"cut off within ✓"[:17]:         "cut off within ✓"[:17],
		"\x00\x01":                      "[2 bytes]",
		"\xff text":                     "[6 bytes]",
		"a NATS/1.0\r\nSession: secret": "[27 bytes]",
		`{"type":"other"}`:              `{"type":"other"}`,
	} {
		if got := MaskPayload([]byte(payload)); string(got) != want {
			t.Errorf("%q is shown as %q", payload, got)
		}
	}
}

func TestMaskStoredPayload(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("NATS/1.0\r\nSession: secret\r\n\r\n"))
	whole := stored(t, "foo", "NATS/1.0\r\nSession: secret\r\n\r\n")
	for cut := range len(whole) + 1 {
		got := MaskPayload(whole[:cut])
		for i := range len(secret) - 4 {
			if bytes.Contains(got, []byte(secret[i:i+4])) && !bytes.Contains([]byte(storedType), []byte(secret[i:i+4])) {
				t.Fatalf("cut off at %d, shown: %s", cut, got)
			}
		}
	}
	if got := MaskPayload(nested(t, "", 1)); !bytes.Contains(got, []byte(`"seq":7,"data":"[REDACTED]",`)) {
		t.Errorf("an answer within is shown: %s", got)
	}
	if got := MaskPayload(whole); !bytes.Contains(got, []byte(`"seq":7,"hdrs":"[REDACTED]","data":`)) {
		t.Errorf("shown: %s", got)
	}
}

func BenchmarkCut(b *testing.B) {
	s := mustSeal(b, sealed...)
	for _, bm := range []struct{ name, block string }{
		{"none hidden", "NATS/1.0\r\nA: 0123456789abcdef0123456789abcdef\r\nB: c\r\n\r\n"},
		{"one hidden", "NATS/1.0\r\nA: b\r\nSession: 0123456789abcdef0123456789abcdef\r\nB: c\r\n\r\n"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			dst := make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				s.Cut(dst, []byte(bm.block))
			}
		})
	}
}
