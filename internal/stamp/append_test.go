package stamp

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func mustCompile(t testing.TB, headers []Header, strip ...*NameSet) *Stamp {
	t.Helper()
	s, err := Compile(headers, Options{Strip: strip})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustNames(t testing.TB, patterns ...string) *NameSet {
	t.Helper()
	set, err := NewNameSet(patterns...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestAppend(t *testing.T) {
	two := []Header{{Name: "Session", Values: []string{"1"}}, {Name: "Roles", Values: []string{" a ", "b"}}}
	scoped := []Header{
		{Name: "First", Values: []string{"1"}, Subjects: []string{"api.*"}},
		{Name: "Second", Values: []string{"2"}},
		{Name: "Third", Values: []string{"3"}, Subjects: []string{"api.>", "x"}},
		{Name: "Fourth", Values: []string{"4"}, Subjects: []string{"api.>", "x"}},
	}
	only := []Header{{Name: "Session", Values: []string{"1"}, Subjects: []string{"api.>"}}}
	const n, e = "NATS/1.0\r\n", "\r\n"
	tests := []struct {
		name           string
		headers        []Header
		strip          []string
		subject, block string
		want           string
		stripped       int
	}{
		{"no block", two, nil, "s", "", n + "Session: 1\r\nRoles: a\r\nRoles: b\r\n" + e, 0},
		{"empty block", two, nil, "s", n + e, n + "Session: 1\r\nRoles: a\r\nRoles: b\r\n" + e, 0},
		{"kept as it is", two, nil, "s", n + "b:  B \r\nA:a\r\nb:\t\r\n" + e, n + "b:  B \r\nA:a\r\nb:\t\r\nSession: 1\r\nRoles: a\r\nRoles: b\r\n" + e, 0},
		{"every spelling goes", two, nil, "s", n + "sEssIon: x\r\nA: a\r\nROLES:x\r\nRoles:\r\nB: b\r\n" + e, n + "A: a\r\nB: b\r\nSession: 1\r\nRoles: a\r\nRoles: b\r\n" + e, 3},
		{"aliases go", []Header{{Name: "X-User.Id", Values: []string{"1"}}}, nil, "s", n + "x_user-id: x\r\nX.USER_ID: x\r\nXUserId: x\r\nX-User-Id2: x\r\n" + e, n + "XUserId: x\r\nX-User-Id2: x\r\nX-User.Id: 1\r\n" + e, 2},
		{"status kept", two[:1], nil, "s", "NATS/1.0 503 No Responders\r\nSession: x\r\n" + e, "NATS/1.0 503 No Responders\r\nSession: 1\r\n" + e, 1},
		{"all on the subject", scoped, nil, "api.a", "", n + "First: 1\r\nSecond: 2\r\nThird: 3\r\nFourth: 4\r\n" + e, 0},
		{"some on the subject", scoped, nil, "api.a.b", n + "A: a\r\nFirst: x\r\n" + e, n + "A: a\r\nSecond: 2\r\nThird: 3\r\nFourth: 4\r\n" + e, 1},
		{"fewest on the subject", scoped, nil, "y", "", n + "Second: 2\r\n" + e, 0},
		{"second subject", scoped, nil, "x", "", n + "Second: 2\r\nThird: 3\r\nFourth: 4\r\n" + e, 0},
		{"nothing to say", only, nil, "y", "", "", 0},
		{"stripped, not stamped", only, nil, "y", n + "Session: x\r\n" + e, n + e, 1},
		{"stripped, not stamped, status", only, nil, "y", "NATS/1.0 100 Idle\r\nSession: x\r\n" + e, "NATS/1.0 100 Idle\r\n" + e, 1},
		{"stamp nothing, strip nothing", nil, nil, "s", n + "A: a\r\n" + e, n + "A: a\r\n" + e, 0},
		{"stamp nothing, no block", nil, []string{"A"}, "s", "", "", 0},
		{"strip alone", nil, []string{"X-Auth-*", "Session"}, "s", n + "A: a\r\nx_auth.user: x\r\nSESSION: x\r\nX-Auth: kept\r\nX-Auth-: x\r\n" + e, n + "A: a\r\nX-Auth: kept\r\n" + e, 3},
		{"strip alone, nothing there", nil, []string{"X-Auth-*", "Session"}, "s", n + "A: a\r\nB:\r\n" + e, n + "A: a\r\nB:\r\n" + e, 0},
		{"strip all", two[:1], []string{"*"}, "s", n + "A: a\r\nB: b\r\n" + e, n + "Session: 1\r\n" + e, 2},
		{"stamp wins over strip", two[:1], []string{"Session"}, "s", n + "Session: x\r\n" + e, n + "Session: 1\r\n" + e, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustCompile(t, tt.headers, mustNames(t, tt.strip...))
			var report Report
			got, err := s.AppendReport([]byte("before"), []byte(tt.subject), []byte(tt.block), &report)
			stripped := report.Stripped
			if err != nil || string(got) != "before"+tt.want || stripped != tt.stripped {
				t.Errorf("got %q, %d stripped, error %v\nwant %q, %d", got, stripped, err, "before"+tt.want, tt.stripped)
			}
			if added := len(got) - len("before") - len(tt.block); added > s.MaxLen() {
				t.Errorf("the block grew by %d bytes, MaxLen is %d", added, s.MaxLen())
			}
		})
	}
}

func TestAppendRefuses(t *testing.T) {
	protected, err := Compile(nil, Options{Strip: []*NameSet{mustNameSet("Session")}})
	if err != nil {
		t.Fatal(err)
	}
	const n = "NATS/1.0\r\n"
	tests := []struct {
		block string
		line  int
		want  error
	}{
		{"\r\n", 1, ErrVersion},
		{"A: b\r\n\r\n", 1, ErrVersion},
		{"NATS/1", 1, ErrVersion},
		{"nats/1.0\r\n\r\n", 1, ErrVersion},
		{"NATS/1.0x\r\n\r\n", 1, ErrVersion},
		{"NATS/1.0\t503 x\r\n\r\n", 1, ErrVersion},
		{" NATS/1.0\r\n\r\n", 1, ErrVersion},
		{"NATS/1.0", 1, ErrNoEnd},
		{"NATS/1.0\r", 1, ErrNoEnd},
		{"NATS/1.0\n\n", 1, ErrLineEnd},
		{"NATS/1.0\rA: b\r\n\r\n", 1, ErrLineEnd},
		{"NATS/1.0 \r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 50\r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 503\r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 503 \r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 503  x\r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 503x y\r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 5033 y\r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 003 y\r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 5/3 y\r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 53: y\r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 5:3 y\r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 503 a\tb\r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 503 \u00e9\r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 503 a\x7f\r\n\r\n", 1, ErrStatus},
		{"NATS/1.0 503 a", 1, ErrNoEnd},
		{"NATS/1.0 503 a\nB: c\r\n\r\n", 1, ErrLineEnd},
		{n, 2, ErrNoEnd},
		{n + "\r", 2, ErrNoEnd},
		{n + "\rX", 2, ErrLineEnd},
		{n + "\n", 2, ErrLineEnd},
		{n + "A: b\r\n", 3, ErrNoEnd},
		{n + "A: b\r\n\r", 3, ErrNoEnd},
		{n + "A: b\r", 2, ErrNoEnd},
		{n + "A: b", 2, ErrNoEnd},
		{n + "A", 2, ErrNoEnd},
		{n + "A\r", 2, ErrNoEnd},
		{n + "A: b\r\n\r\nx", 3, ErrTrailing},
		{n + "A: b\r\n\r\n\r", 3, ErrTrailing},
		{n + "A: b\r\n\r\n\r\n\r\n", 3, ErrTrailing},
		{n + "A: b\r\n\r\nB: c\r\n\r\n", 3, ErrTrailing},
		{n + "A: b\nB: c\r\n\r\n", 2, ErrLineEnd},
		{n + "A: b\rB: c\r\n\r\n", 2, ErrLineEnd},
		{n + "A: b\r\n\nB: c\r\n\r\n", 3, ErrLineEnd},
		{n + "A: b\r\n B: c\r\n\r\n", 3, ErrFolded},
		{n + "A: b\r\n\tB: c\r\n\r\n", 3, ErrFolded},
		{n + "Session : x\r\n\r\n", 2, ErrName},
		{n + "Session\t: x\r\n\r\n", 2, ErrName},
		{n + "Session\x00: x\r\n\r\n", 2, ErrControl},
		{n + ": x\r\n\r\n", 2, ErrName},
		{n + "Session\r\n\r\n", 2, ErrName},
		{n + "Session\n\r\n", 2, ErrLineEnd},
		{n + "Gr\u00f6\u00dfe: x\r\n\r\n", 2, ErrName},
		{n + "A(b): x\r\n\r\n", 2, ErrName},
		{n + "A: b\x00\r\n\r\n", 2, ErrControl},
		{n + "A: b\x1b\r\n\r\n", 2, ErrControl},
		{n + "A: b\x7f\r\n\r\n", 2, ErrControl},
		{n + "A: \xff\r\n\r\n", 2, ErrUTF8},
		{n + "A: \xc3\r\nB: \xa9\r\n\r\n", 2, ErrUTF8},
		{n + "A: \xed\xa0\x80\r\n\r\n", 2, ErrUTF8},
	}
	for name, s := range map[string]*Stamp{"stamped": mustCompile(t, claims[0]), "protected": protected} {
		for i, tt := range tests {
			if name == "protected" && isBareStatus([]byte(tt.block)) {
				continue // of a service, which has no stamp that it could spoil
			}
			dst := []byte("before")
			got, err := s.Append(dst, []byte("s"), []byte(tt.block))
			if !errors.Is(err, tt.want) || string(got) != "before" {
				t.Errorf("%s, case %d, %q: error %v, want %v; dst changed %t", name, i, tt.block, err, tt.want, string(got) != "before")
				continue
			}
			if text := err.Error(); text != fmt.Sprintf("header line %d: %v", tt.line, tt.want) || strings.ContainsAny(text, "'\"`") {
				t.Errorf("%s, case %d, %q: text %q, want line %d and no quotes", name, i, tt.block, text, tt.line)
			}
		}
	}
}

// TestAppendControls tries every byte at every offset of a value, and so in each
// lane of the loop over words and in its tail.
func TestAppendControls(t *testing.T) {
	s := mustCompile(t, claims[0])
	for size := 1; size <= 20; size++ {
		for at := range size {
			for c := range 256 {
				value := bytes.Repeat([]byte{'v'}, size)
				value[at] = byte(c)
				block := append(append([]byte("NATS/1.0\r\nA:"), value...), "\r\n\r\n"...)
				_, err := s.Append(nil, nil, block)
				want := c == '\t' || c >= ' ' && c < 0x7f
				if (err == nil) != want {
					t.Fatalf("byte %#x at %d in a value of %d bytes: error %v, want it accepted: %t", c, at, size, err, want)
				}
			}
		}
	}
}

// TestAppendUTF8 does the same for characters outside ASCII, up to the length at
// which values are read in larger steps.
func TestAppendUTF8(t *testing.T) {
	s := mustCompile(t, claims[0])
	for size := 2; size <= 80; size++ {
		for at := range size - 1 {
			value := bytes.Repeat([]byte{'v'}, size)
			block := func() []byte {
				return append(append([]byte("NATS/1.0\r\nA:"), value...), "\r\n\r\n"...)
			}
			copy(value[at:], "ü")
			if _, err := s.Append(nil, nil, block()); err != nil {
				t.Fatalf("a letter at %d in a value of %d bytes was refused: %v", at, size, err)
			}
			value[at+1] = 'v'
			if _, err := s.Append(nil, nil, block()); !errors.Is(err, ErrUTF8) {
				t.Fatalf("half a letter at %d in a value of %d bytes: expected ErrUTF8; found %v", at, size, err)
			}
			value[at] = '\n'
			if _, err := s.Append(nil, nil, block()); !errors.Is(err, ErrLineEnd) {
				t.Fatalf("a line break at %d in a value of %d bytes: expected ErrLineEnd; found %v", at, size, err)
			}
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	set := mustNames(t, "X-Auth-*", "Other", "B", "C", "D", "E", "F")
	block := []byte("NATS/1.0\r\nA: b\r\nSession: x\r\nx-auth-a: x\r\nLong: " + strings.Repeat("v", 500) + "\r\n\r\n")
	dst := make([]byte, 0, 4096)
	var report Report
	for i, headers := range append(claims, nil) {
		s := mustCompile(t, headers, set)
		for _, b := range [][]byte{nil, block} {
			n := testing.AllocsPerRun(100, func() {
				if _, err := s.AppendReport(dst, []byte("api.a.b"), b, &report); err != nil {
					t.Fatal(err)
				}
			})
			if n != 0 {
				t.Errorf("claim %d, block of %d bytes: %v allocations", i, len(b), n)
			}
		}
	}
}

// TestReaders checks the invariant of the package: every client library sees
// exactly the stamp, or the message is refused.
func TestReaders(t *testing.T) {
	accepted := 0
	for i, headers := range claims {
		s := mustCompile(t, headers)
		for _, subject := range []string{"api.a", "other"} {
			for j, block := range hostileBlocks {
				out, err := s.Append(nil, []byte(subject), []byte(block))
				if err != nil {
					continue
				}
				accepted++
				for _, fault := range checkReaders(out, wanted(headers, subject)) {
					t.Errorf("headers of claim %d on block %d: a client library reads something else: %v", i, j, fault)
				}
			}
		}
	}
	if accepted < 2*len(claims)*10 {
		t.Errorf("only %d blocks were accepted, so that this test shows little", accepted)
	}
}

// wanted returns headers with the values that a reader must see on subject.
func wanted(headers []Header, subject string) []Header {
	out := make([]Header, len(headers))
	for i, h := range headers {
		out[i] = Header{Name: h.Name}
		if len(h.Subjects) == 0 || matchesAny(h.Subjects, subject) {
			out[i].Values = h.Values
		}
	}
	return out
}

func matchesAny(filters []string, subject string) bool {
	for _, f := range filters {
		if matchBySplitting(f, subject) {
			return true
		}
	}
	return false
}

// matchBySplitting is the oracle for filter.match.
func matchBySplitting(filter, subject string) bool {
	want, have := strings.Split(filter, "."), strings.Split(subject, ".")
	for _, token := range have {
		if token == "" {
			return false
		}
	}
	for i, token := range want {
		switch {
		case token == ">":
			return i < len(have)
		case i >= len(have), token != "*" && token != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}
