package stamp

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// plainGrammar is what plainLine reads, over bytes as Latin-1.
var plainGrammar = regexp.MustCompile(`\A([A-Za-z0-9-]+):[\x20-\x7e]*\r\n`)

// checkPlainLine compares plainLine with a regular expression, and with the functions whose fast path it is.
func checkPlainLine(t *testing.T, text []byte) {
	t.Helper()
	latin1 := make([]rune, len(text))
	for i, c := range text {
		latin1[i] = rune(c)
	}
	wantColon, wantSize := 0, 0
	if found := plainGrammar.FindSubmatchIndex([]byte(string(latin1))); found != nil {
		wantColon, wantSize = found[3], found[1]
	}
	colon, size := plainLine(text)
	if size == 0 && len(text) < wantColon+8 {
		return // too near to the end
	}
	if colon != wantColon || size != wantSize {
		t.Fatalf("%q: colon %d, size %d; want %d and %d", text, colon, size, wantColon, wantSize)
	}
	if size == 0 {
		return
	}
	if c, s, err := anyLine(text); c != colon || s != size || err != nil {
		t.Fatalf("%q: plainLine found colon %d and size %d; anyLine found %d, %d, error %v", text, colon, size, c, s, err)
	}
	if c, s := anyDeliveredLine(text); c != colon || s != size {
		t.Fatalf("%q: plainLine found colon %d and size %d; anyDeliveredLine found %d, %d", text, colon, size, c, s)
	}
}

func FuzzPlainLine(f *testing.F) {
	for _, block := range hostileBlocks {
		for _, line := range strings.SplitAfter(block, "\n") {
			f.Add([]byte(line))
		}
	}
	f.Add([]byte("X-User: " + strings.Repeat("v", 100) + "\r\nX-Next: v\r\n\r\n"))
	f.Fuzz(checkPlainLine)
}

// Each byte, at each place of a line of each length, with what could hide behind a borrow or a carry after it.
func TestPlainLineHasEveryByteEverywhere(t *testing.T) {
	for _, line := range []string{"Name: 0123456789abcdef0123456789\r\nNext: x\r\n\r\n", "Long-Name-Of-20-Chars: v\r\n\r\n", "A:\r\n", "A:b"} {
		for at := range len(line) {
			for c := range 256 {
				text := []byte(line)
				text[at] = byte(c)
				checkPlainLine(t, text)
				for _, second := range []byte{0, 0x1f, ' ', '/', ':', '@', '[', '`', '{', 0x7f, 0x80, 0xff} {
					if at+1 < len(text) {
						text[at+1] = second
						checkPlainLine(t, text)
					}
				}
			}
		}
		for n := range len(line) {
			checkPlainLine(t, bytes.Clone([]byte(line)[:n]))
		}
	}
}

// The fast path of strips leaves out no name that a set has, in any spelling.
func FuzzStrips(f *testing.F) {
	f.Add("Session", "X-Auth-* Tenant", "*", "x_auth.user")
	f.Add("Session", "X-Auth-*", "", "session")
	f.Add("A", "", strings.Repeat("a", 70), strings.Repeat("A", 70))
	f.Fuzz(func(t *testing.T, header, patterns, more, name string) {
		o := Options{}
		for _, p := range []string{patterns, more} {
			set, err := NewNameSet(strings.Fields(p)...)
			if err != nil {
				return
			}
			o.Strip = append(o.Strip, set)
		}
		s, err := Compile([]Header{{Name: header, Values: []string{"v"}}}, o)
		if err != nil {
			return
		}
		want := matches(header+" "+patterns+" "+more, name)
		if strings.ContainsAny(header, "*") {
			want = sameName(header, name) || matches(patterns+" "+more, name)
		}
		if got := s.Strips(name); got != want {
			t.Errorf("name %q, stamped %q, protected %q and %q: stripped is %t, want %t", name, header, patterns, more, got, want)
		}
	})
}
