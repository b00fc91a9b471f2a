package stamp

import (
	"runtime"
	"slices"
	"strings"
	"testing"
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

// No reader sees a hidden name, and every reader sees the other headers as before.
func FuzzCut(f *testing.F) {
	for _, block := range hostileBlocks {
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
					t.Errorf("%s reads the hidden name %q in %q, which was cut from %q", r.name, l.name, out, block)
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

// A block that begins like another one, and is cut from a mark of that one on, gets the same as if all of it were cut.
func FuzzCutFrom(f *testing.F) {
	for _, block := range hostileBlocks {
		f.Add([]byte(block), []byte(block), 5)
		f.Add([]byte("NATS/1.0\r\nSession: s\r\nA: b\r\n\r\n"), []byte(block), 30)
		f.Add([]byte("NATS/1.0\r\nA: b\r\nX-Auth-U: u\r\nB: c\r\n\r\n"), []byte("NATS/1.0\r\nA: b\r\nX-Auth-U: u\r\nSession: s\r\n\r\n"), 34)
	}
	f.Add([]byte("NATS/1.0\r\nSession: s\r\n\r\n"), []byte("NATS/1.0\r\nSession: s\r\nA: b\r\n\r\n"), 22)
	s := mustSeal(f, sealed...)
	f.Fuzz(func(t *testing.T, before, tail []byte, same int) {
		if same < 0 || same > len(before) {
			return
		}
		cut, _, mark := s.CutFrom([]byte("before"), before, Mark{}, same)
		if mark.In > same || mark.Out > mark.In || mark.Lines == 0 && mark.Out != 0 {
			t.Fatalf("the mark %+v in the first %d bytes of %q", mark, same, before)
		}
		block := append(slices.Clone(before[:same]), tail...)
		want, lines := s.Cut([]byte("before"), block)
		// What was appended before the mark is still there, even if the cut returned less.
		got, gotLines, next := s.CutFrom(cut[:len("before")+mark.Out], block, mark, mark.In)
		if string(got) != string(want) || gotLines != lines {
			t.Errorf("from %+v on, %q and %d lines are cut of %q, not %q and %d", mark, got, gotLines, block, want, lines)
		}
		if next != mark && next != (Mark{}) {
			t.Errorf("the mark %+v became %+v", mark, next)
		}
	})
}

// reads returns what a reader sees. nats.go panics on some blocks ("NATS/1.0 " and a
// line break); it then sees nothing.
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
			t.Errorf("Cut of %q allocates %v times, want none", block, n)
		}
	}
}

func TestSealsAreShared(t *testing.T) {
	if NewSeal(nil) != nil || mustSeal(t) != nil {
		t.Error("there is a seal that hides nothing")
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

func BenchmarkCut(b *testing.B) {
	s := mustSeal(b, sealed...)
	for _, bm := range []struct{ name, block string }{
		{"none hidden", "NATS/1.0\r\nA: 0123456789abcdef0123456789abcdef\r\nB: c\r\n\r\n"},
		{"one hidden, 8 stamped lines", "NATS/1.0\r\nDeployment: blue-7f9c\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef0123456789abcdef\r\nRoles: reader,writer\r\n" +
			"Session: 0123456789abcdef0123456789abcdef\r\nX-User: u-48151623\r\nStamp-Account: $G\r\nStamp-Subject: bench.subject\r\nStamp-Time: 2026-01-02T15:04:05.000000000Z\r\n\r\n"},
		{"one hidden", "NATS/1.0\r\nA: b\r\nSession: 0123456789abcdef0123456789abcdef\r\nB: c\r\n\r\n"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			dst, block := make([]byte, 0, 1024), []byte(bm.block)
			b.ReportAllocs()
			for b.Loop() {
				s.Cut(dst, block)
			}
		})
	}
}
