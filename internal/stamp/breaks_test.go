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
			t.Errorf("a value with %q must be refused; found %q, error %v", c, out, err)
		}
	}
	for _, c := range []string{"\u00a0", "ü", "\u2027", "\u202a", "\t"} {
		if _, err := s.Append(nil, nil, []byte("NATS/1.0\r\nColor: blue"+c+"x\r\n\r\n")); err != nil {
			t.Errorf("a value with %q was refused: %v", c, err)
		}
	}
}

// A server can deliver such characters all the same, such as in the subject that it puts into Nats-Subject. No client library breaks
// a line at them, so what follows is a part of the value, which its publisher chose, and Seal leaves it. If one did, this test
// would fail, and Seal would have to cut there.
func TestNoReaderBreaksLinesWithinAValue(t *testing.T) {
	set, err := NewNameSet("Session")
	if err != nil {
		t.Fatal(err)
	}
	seal := NewSeal(set)
	for _, c := range []string{"\u0080", "\u0085", "\u009f", "\u2028", "\u2029", "\v", "\f", "\x1c", "\x1d", "\x1e", "\u200b", "\ufeff", "\x00"} {
		block := []byte("NATS/1.0\r\nNats-Subject: a" + c + "Session: s\r\nB: b\r\n\r\n")
		if out, cut := seal.Cut(nil, block); cut != 0 || len(out) != 0 {
			t.Errorf("a value with %q: %d lines were cut, the result is %q; want none", c, cut, out)
		}
		for _, r := range readers {
			seen, err := r.read(block)
			if err != nil {
				continue // its program gets no headers
			}
			for _, l := range seen {
				if set.Has([]byte(l.name)) {
					t.Errorf("%s reads %q with %q as a header %s", r.name, l.name, c, l.value)
				}
			}
		}
	}
}
