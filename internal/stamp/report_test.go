package stamp

import (
	"fmt"
	"strings"
	"testing"
)

// A report names each spelling once, MaxReported at most, and counts all lines.
func TestReportNamesAllThatWasRemoved(t *testing.T) {
	set, err := NewNameSet("*")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Compile(nil, Options{Strip: []*NameSet{set}})
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for i := range 3 * MaxReported {
		fmt.Fprintf(&lines, "N%d: x\r\nN%d: y\r\n", i, i)
	}
	var r Report
	if _, err := s.AppendReport(nil, nil, []byte("NATS/1.0\r\nA: x\r\na: y\r\nA: z\r\nB: x\r\n\r\n"), &r); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s", r.Names()); r.Stripped != 4 || got != "[A a B]" {
		t.Errorf("the report counts %d lines and names %s, want 4 and [A a B]", r.Stripped, got)
	}
	if _, err := s.Strip(nil, []byte("NATS/1.0\r\n"+lines.String()+"\r\n"), &r); err != nil {
		t.Fatal(err)
	}
	if r.Stripped != 6*MaxReported || len(r.Names()) != MaxReported {
		t.Errorf("the report counts %d lines and has %d names", r.Stripped, len(r.Names()))
	}
}
