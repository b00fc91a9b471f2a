package stamp

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"stamp.example/claim/field"
)

func TestCompileRefuses(t *testing.T) {
	ok := Header{Name: "Ok", Values: []string{"v"}}
	tests := []struct {
		header Header
		want   error
	}{
		{Header{Name: "", Values: []string{"v"}}, field.ErrNameEmpty},
		{Header{Name: "A B", Values: []string{"v"}}, field.ErrNameToken},
		{Header{Name: "Nats-Msg-Id", Values: []string{"v"}}, field.ErrNameReserved},
		{Header{Name: "oK", Values: []string{"v"}}, field.ErrNameTwice},
		{Header{Name: "A"}, ErrNoValues},
		{Header{Name: "A", Values: []string{"v", "planted\r\nB: c"}}, field.ErrValueControl},
		{Header{Name: "A", Values: []string{"planted\xff"}}, field.ErrValueUTF8},
		{Header{Name: "A", Values: []string{"planted\u3000"}}, field.ErrValueSpace},
		{Header{Name: "A", Values: []string{"v"}, Subjects: []string{"a..b"}}, field.ErrSubject},
	}
	for i, tt := range tests {
		_, err := Compile([]Header{ok, tt.header}, Options{})
		if !errors.Is(err, tt.want) {
			t.Errorf("header %d of the test: found error %v, want %v", i, err, tt.want)
			continue
		}
		if text := err.Error(); strings.Contains(text, "planted") || !strings.Contains(text, "header 2 of 2") {
			t.Errorf("case %d: the error has no place, or a value", i)
		}
	}
	if _, err := Compile([]Header{{Name: "A-B", Values: []string{"v"}}, {Name: "a_b", Values: []string{"v"}}}, Options{}); !errors.Is(err, field.ErrNameTwice) {
		t.Errorf("two spellings of one name: found error %v, want %v", err, field.ErrNameTwice)
	}
}

func TestCompileCopies(t *testing.T) {
	headers := []Header{
		{Name: "A", Values: []string{"1"}, Subjects: []string{"x"}},
		{Name: "B", Values: []string{"2"}},
	}
	s := mustCompile(t, headers)
	headers[0].Name, headers[0].Values[0], headers[0].Subjects[0] = "C", "3", "y"
	got, err := s.Append(nil, []byte("x"), nil)
	if want := "NATS/1.0\r\nA: 1\r\nB: 2\r\n\r\n"; err != nil || string(got) != want {
		t.Errorf("the block is %q, error %v; want %q, of the headers as they were", got, err, want)
	}
	if names := s.Names(); !slices.Equal(names, []string{"A", "B"}) || s.MaxLen() != len(got) {
		t.Errorf("the stamp has the names %q and adds at most %d bytes, want A and B, and as much as above", names, s.MaxLen())
	}
}

func TestCompileNothing(t *testing.T) {
	s := mustCompile(t, nil)
	if s.MaxLen() != 0 || len(s.Names()) != 0 {
		t.Errorf("a stamp of no headers has %d bytes and the names %q, want none", s.MaxLen(), s.Names())
	}
}

// Equal stamps share their memory.
func TestEqualStampsAreOne(t *testing.T) {
	set, same, other := mustNames(t, "A", "B*"), mustNames(t, "b*", "a", "A"), mustNames(t, "A", "B")
	base := Header{Name: "Session", Values: []string{"1", "2"}, Subjects: []string{"a", "b"}}
	variants := [][]Header{
		{base},
		{{Name: "session", Values: base.Values, Subjects: base.Subjects}},
		{{Name: base.Name, Values: []string{"2", "1"}, Subjects: base.Subjects}},
		{{Name: base.Name, Values: base.Values, Subjects: []string{"a"}}},
		{{Name: base.Name, Values: base.Values, Subjects: []string{"a.b"}}},
		{{Name: base.Name, Values: base.Values}},
		{base, {Name: "B", Values: []string{"1"}}},
		{base, {Name: "B", Values: []string{"1"}, Subjects: base.Subjects}},
		{base, {Name: "B", Values: []string{"1"}, Subjects: base.Subjects}, {Name: "C", Values: []string{"1"}, Subjects: []string{"c"}}},
		{base, {Name: "B", Values: []string{"1"}, Subjects: []string{"c"}}, {Name: "C", Values: []string{"1"}, Subjects: []string{"c"}}},
		nil,
	}
	seen := map[*Stamp]string{}
	for i, v := range variants {
		for j, sets := range [][]*NameSet{nil, {set}, {other}, {set, other}} {
			s := mustCompile(t, v, sets...)
			if first, ok := seen[s]; ok {
				t.Errorf("variant %d with sets %d is the stamp of %s", i, j, first)
			}
			seen[s] = fmt.Sprintf("variant %d with sets %d", i, j)
			if mustCompile(t, slices.Clone(v), append([]*NameSet{nil}, sets...)...) != s {
				t.Errorf("variant %d with sets %d: equal stamps are two", i, j)
			}
		}
	}
	padded := Header{Name: "Session", Values: []string{" 1", "2\t"}, Subjects: base.Subjects}
	if mustCompile(t, []Header{padded}, same) != mustCompile(t, []Header{base}, set) {
		t.Error("stamps that differ in nothing but spaces, with equal sets, are two")
	}
	runtime.KeepAlive(seen)
}

func (p *pool[T]) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.shared)
}

// A stamp that no connection uses is removed from the pool.
func TestStampsAreCollected(t *testing.T) {
	const n = 100
	inUse := make([]*Stamp, n)
	for i := range inUse {
		inUse[i] = mustCompile(t, []Header{{Name: "Collected", Values: []string{fmt.Sprint(i)}}})
	}
	if stamps.len() < n {
		t.Fatalf("%d stamps are in the pool", stamps.len())
	}
	full := stamps.len()
	clear(inUse)
	for deadline := time.Now().Add(10 * time.Second); stamps.len() > full-n; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d stamps are still in the pool", stamps.len(), full)
		}
		runtime.GC()
		runtime.Gosched() // to the cleanups
	}
}

// TestForgetKeepsANewStamp: an equal stamp may be compiled after a stamp was
// collected and before its cleanup ran. The cleanup must keep the new one.
func TestForgetKeepsANewStamp(t *testing.T) {
	s := mustCompile(t, []Header{{Name: "Anew", Values: []string{"1"}}})
	stamps.forget(s.digest())
	if mustCompile(t, []Header{{Name: "Anew", Values: []string{"1"}}}) != s {
		t.Error("the stamp in use was forgotten")
	}
}
