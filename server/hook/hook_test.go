package hook

import (
	"errors"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/claim"
	"stamp/server/release"
)

func TestAttach(t *testing.T) {
	h := &Hook{}
	conn, err := h.Attach(natsserver.InboundInfo{})
	if conn != nil || err != nil {
		t.Fatalf("without a claim: %v, %v", conn, err)
	}
	parsed, err := h.ParseUserHeaders(map[string]any{"A": "x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err = h.Attach(natsserver.InboundInfo{UserHeaders: parsed})
	if err != nil {
		t.Fatal(err)
	}
	out, err := conn.Rewrite(nil, []byte("foo"), []byte("NATS/1.0\r\na: y\r\nB: z\r\n\r\n"))
	if want := "NATS/1.0\r\nB: z\r\nA: x\r\n\r\n"; err != nil || string(out) != want {
		t.Errorf("block %q, error %v", out, err)
	}
	if n := conn.Growth(); n < len("NATS/1.0\r\nA: x\r\n\r\n") {
		t.Errorf("growth %d", n)
	}
	if _, err := conn.Rewrite(nil, []byte("foo"), []byte("nonsense")); err == nil {
		t.Error("a malformed block was taken")
	}
	_, err = h.Attach(natsserver.InboundInfo{System: true, UserHeaders: parsed})
	if err == nil {
		t.Error("a user of the system account was taken")
	}
	v := h.Varz().(*Varz)
	if v.RefusedConnections != 1 || v.RefusedMessages != 1 || !v.Stamping || v.Release != release.Version {
		t.Errorf("varz %+v", v)
	}
}

func TestParseBlock(t *testing.T) {
	h := &Hook{}
	tests := []struct {
		name  string
		block any
		fault string
	}{
		{"both", map[string]any{"max_headers": int64(2), "max_bytes": int64(100)}, ""},
		{"empty", map[string]any{}, ""},
		{"no block", "x", "expected a block"},
		{"unknown", map[string]any{"max_header": int64(2)}, `unknown field "max_header"`},
		{"zero", map[string]any{"max_headers": int64(0)}, "max_headers must be"},
		{"too large", map[string]any{"max_bytes": int64(65536)}, "max_bytes must be"},
		{"text", map[string]any{"max_bytes": "1K"}, "max_bytes must be"},
	}
	for _, tt := range tests {
		got, err := h.ParseBlock("headers", tt.block)
		if (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s: error %v", tt.name, err)
		}
		if tt.fault == "" && got == nil {
			t.Errorf("%s: no rules", tt.name)
		}
	}
}

// The limits of the block hold for users, wherever in the file it stands.
func TestOptionsReachUsers(t *testing.T) {
	h := &Hook{}
	options, err := h.ParseBlock("headers", map[string]any{"max_headers": int64(1)})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := h.ParseUserHeaders(map[string]any{"A": "x", "B": "y"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Attach(natsserver.InboundInfo{UserHeaders: parsed, Options: options}); !errors.Is(err, claim.ErrTooManyHeaders) {
		t.Errorf("error %v", err)
	}
}

func TestParseUserHeaders(t *testing.T) {
	h := &Hook{}
	if got, err := h.ParseUserHeaders(nil, nil); got != nil || err != nil {
		t.Errorf("nothing: %v, %v", got, err)
	}
	_, err := h.ParseUserHeaders(map[string]any{"Nats-Rollup": "all", "B": int64(1)}, nil)
	if err == nil || !strings.Contains(err.Error(), "Nats-Rollup") || !strings.Contains(err.Error(), `"B"`) {
		t.Errorf("two faults: error %v", err)
	}
}
