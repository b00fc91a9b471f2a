package stamp

import (
	"errors"
	"testing"
)

// A character that breaks lines for some readers could hide a forged line in the value of another.
func TestValuesThatBreakLinesAreRefused(t *testing.T) {
	set, err := NewNameSet("Session")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Compile(nil, Options{Strip: []*NameSet{set}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"\u0080", "\u0085", "\u009f", "\u2028", "\u2029"} {
		block := []byte("NATS/1.0\r\nColor: blue" + c + "Session: forged\r\n\r\n")
		if out, err := s.Append(nil, nil, block); !errors.Is(err, ErrControl) {
			t.Errorf("%q: %q, %v", c, out, err)
		}
	}
	for _, c := range []string{"\u00a0", "ü", "\u2027", "\u202a", "\t"} {
		if _, err := s.Append(nil, nil, []byte("NATS/1.0\r\nColor: blue"+c+"x\r\n\r\n")); err != nil {
			t.Errorf("%q: %v", c, err)
		}
	}
}
