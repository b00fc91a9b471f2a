package field

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckName(t *testing.T) {
	tests := []struct {
		name string
		want error
	}{
		{"Session", nil},
		{"X-Auth_User.Id", nil},
		{"!#$%&'*+-.^_`|~09azAZ", nil},
		{strings.Repeat("a", 1000), nil},
		{"", ErrNameEmpty},
		{"A B", ErrNameToken},
		{" A", ErrNameToken},
		{"A:", ErrNameToken},
		{"A\r\nB", ErrNameToken},
		{"A\x00", ErrNameToken},
		{"A(b)", ErrNameToken},
		{"Größe", ErrNameToken},
		{"\xff", ErrNameToken},
		{"Nats-Msg-Id", ErrNameReserved},
		{"nAtS_Rollup", ErrNameReserved},
		{"nats.trace.dest", ErrNameReserved},
		{"Nats-", ErrNameReserved},
		{"Nats", nil},
		{"NatsUser", nil},
		{"Nmqtt-Pub", ErrNameReserved},
		{"STAMP-Subject", ErrNameReserved},
		{"X-B3-TraceId", ErrNameReserved},
		{"x_b3_sampled", ErrNameReserved},
		{"b3", ErrNameReserved},
		{"TraceState", ErrNameReserved},
		{"uberctx_a", ErrNameReserved},
		{"B3", ErrNameReserved},
		{"b3x", nil},
		{"TraceParent", ErrNameReserved},
		{"Uber_Trace.Id", ErrNameReserved},
		{"Accept-Encoding", ErrNameReserved},
		{"content_encoding", ErrNameReserved},
		{"KV-Operation", ErrNameReserved},
		{"Status", ErrNameReserved},
		{"Description", ErrNameReserved},
		{"Status-Code", nil},
		{"Content-Type", nil},
	}
	for _, tt := range tests {
		if err := CheckName(tt.name); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("CheckName(%q) = %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestCleanValue(t *testing.T) {
	tests := []struct {
		value, want string
		err         error
	}{
		{"plain", "plain", nil},
		{"", "", nil},
		{" \t ", "", nil},
		{"\t a b\t\t", "a b", nil},
		{"a\tb", "a\tb", nil},
		{"Grüße ✓ 𝄞", "Grüße ✓ 𝄞", nil},
		{"a: b; c=\"d\"", "a: b; c=\"d\"", nil},
		{"\ufffd", "\ufffd", nil},
		{"a\nb", "", ErrValueControl},
		{"a\r\nX: b", "", ErrValueControl},
		{"a\n", "", ErrValueControl},
		{"a\x00", "", ErrValueControl},
		{"a\x1f", "", ErrValueControl},
		{"a\x7f", "", ErrValueControl},
		{"a\u0085b", "", ErrValueControl},
		{"a\u2028b", "", ErrValueControl},
		{"a\u2029b", "", ErrValueControl},
		{"a\xffb", "", ErrValueUTF8},
		{"\xed\xa0\x80", "", ErrValueUTF8}, // a surrogate, as CESU-8 has it
		{"\xc0\x8d", "", ErrValueUTF8},     // an overlong CR
		{"\u00a0a", "", ErrValueSpace},
		{"a\u3000", "", ErrValueSpace},
		{"\ufeffa", "", ErrValueSpace},
		{"a\u00a0b", "a\u00a0b", nil},
	}
	for i, tt := range tests {
		got, err := CleanValue(tt.value)
		if got != tt.want || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("case %d: value as wanted: %t, error %v, want %v", i, got == tt.want, err, tt.err)
		}
	}
}

func TestFold(t *testing.T) {
	tests := []struct {
		a, b string
		same bool
	}{
		{"X-User", "x_uSER", true},
		{"X-User", "X.User", true},
		{"X--User", "X-User", false},
		{"XUser", "X-User", false},
		{"X-User", "X-User ", false},
		{"Kelvin", "\u212aelvin", false}, // no folding outside ASCII
		{"ſ", "s", false},
		{"[", "{", false}, // 0x5b and 0x7b: not letters
		{"@", "`", false},
		{"", "", true},
		{strings.Repeat("A", 100), strings.Repeat("a", 100), true},
	}
	for _, tt := range tests {
		if got := Fold(tt.a) == Fold(tt.b); got != tt.same {
			t.Errorf("Fold makes %q and %q the same: %t, want %t", tt.a, tt.b, got, tt.same)
		}
		if got := EqualFolded(Fold(tt.a), []byte(tt.b)); got != tt.same {
			t.Errorf("EqualFolded(%q, %q) = %t, want %t", tt.a, tt.b, got, tt.same)
		}
	}
}

// TestTokenBytes compares the table with RFC 9110's text.
func TestTokenBytes(t *testing.T) {
	const delimiters = "\"(),/:;<=>?@[\\]{}"
	for i := range 256 {
		c := byte(i)
		want := c > ' ' && c < 0x7f && strings.IndexByte(delimiters, c) < 0
		if IsTokenByte(c) != want || IsToken([]byte{c}) != want {
			t.Errorf("byte %#x is of a token: %t, want %t", c, IsTokenByte(c), want)
		}
	}
	if IsToken("") {
		t.Error("the empty name is a token")
	}
}

func FuzzField(f *testing.F) {
	for _, s := range []string{"X-User", "nats_x", " v\t", "a\r\nb", "\u2028", "\xff", "\ufeffa"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		folded := Fold(s)
		if Fold(folded) != folded || len(folded) != len(s) || !EqualFolded(folded, []byte(s)) {
			t.Errorf("fold of %q is not stable", s)
		}
		if CheckName(s) == nil && strings.ContainsAny(s, "\r\n: \x00") {
			t.Errorf("CheckName accepts %q", s)
		}
		if v, err := CleanValue(s); err == nil {
			again, err := CleanValue(v)
			if err != nil || again != v || !utf8.ValidString(v) || strings.ContainsAny(v, "\r\n\x00") {
				t.Errorf("CleanValue accepts %q, but its result is not clean", s)
			}
		}
	})
}
