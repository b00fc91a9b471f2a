package redact

import (
	"bytes"
	"encoding/base64"
	"testing"
)

func TestTraceBlock(t *testing.T) {
	for _, tt := range []struct{ block, want string }{
		{"NATS/1.0\r\n\r\n", "NATS/1.0\r\n\r\n"},
		{"NATS/1.0 503 No Responders\r\n\r\n", "NATS/1.0 503 No Responders\r\n\r\n"},
		{"NATS/1.0\r\nSession: secret\r\nNats-Msg-Id: 7\r\ntraceparent: 00-1\r\n\r\n", "NATS/1.0\r\nSession: [REDACTED]\r\nNats-Msg-Id: 7\r\ntraceparent: 00-1\r\n\r\n"},
		{"NATS/1.0\r\nNats-Msg-Id: 7\n Session: secret\r\n\r\n", malformed},
		{"NATS/1.0\r\n\r\nSession: secret", malformed},
		{"secret", malformed},
		{"", malformed},
	} {
		if got := TraceBlock([]byte("x"), []byte(tt.block)); string(got) != "x"+tt.want {
			t.Errorf("TraceBlock shows %q as %q, want %q", tt.block, got, "x"+tt.want)
		}
	}
}

func TestTracePayload(t *testing.T) {
	for payload, want := range map[string]string{
		"":                              "",
		"text\r\n\twith Grüße ✓":        "text\r\n\twith Grüße ✓",
		"cut off within ✓"[:17]:         "cut off within ✓"[:17],
		"\x00\x01":                      "[2 bytes]",
		"\xff text":                     "[6 bytes]",
		"a NATS/1.0\r\nSession: secret": "[27 bytes]",
		`{"type":"other"}`:              `{"type":"other"}`,
	} {
		if got := TracePayload([]byte(payload)); string(got) != want {
			t.Errorf("TracePayload shows %q as %q, want %q", payload, got, want)
		}
	}
}

func TestTracePayloadOfAnAnswer(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("NATS/1.0\r\nSession: secret\r\n\r\n"))
	whole := stored(t, "foo", "NATS/1.0\r\nSession: secret\r\n\r\n")
	for cut := range len(whole) + 1 {
		got := TracePayload(whole[:cut])
		for i := range len(secret) - 4 {
			if bytes.Contains(got, []byte(secret[i:i+4])) && !bytes.Contains([]byte(answerStart), []byte(secret[i:i+4])) {
				t.Fatalf("an answer that is cut off at byte %d shows part of the secret: %s", cut, got)
			}
		}
	}
	if got := TracePayload(nested(t, "", 1)); !bytes.Contains(got, []byte(`"seq":7,"data":"[REDACTED]",`)) {
		t.Errorf("an answer within is shown: %s", got)
	}
	if got := TracePayload(whole); !bytes.Contains(got, []byte(`"seq":7,"hdrs":"[REDACTED]","data":`)) {
		t.Errorf("the trace shows a header block: %s", got)
	}
}
