package claim

import (
	"errors"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	// NATS/1.0 CRLF, "A: " value CRLF, CRLF: 17 bytes beside the value.
	block := func(n int) *Claim { return one("A", strings.Repeat("x", n-17)) }
	headers := func(n int) *Claim {
		c := &Claim{}
		for i := range n {
			c.Headers = append(c.Headers, Header{Name: "H" + strings.Repeat("x", i), Values: []string{"v", "v"}})
		}
		return c
	}
	tests := []struct {
		name  string
		claim *Claim
		l     Limits
		want  error
	}{
		{"default bytes", block(16384), Limits{}, nil},
		{"default bytes and one", block(16385), Limits{}, ErrTooManyBytes},
		{"set bytes", block(100), Limits{MaxBytes: 100}, nil},
		{"set bytes and one", block(101), Limits{MaxBytes: 100}, ErrTooManyBytes},
		{"JetStream", block(65535), Limits{MaxBytes: 1 << 20}, nil},
		{"JetStream and one", block(65536), Limits{MaxBytes: 1 << 20}, ErrBlockTooLarge},
		{"below zero", block(16385), Limits{MaxBytes: -1}, ErrTooManyBytes},
		{"blanks do not count", one("A", " "+strings.Repeat("x", 83)+"\t\t"), Limits{MaxBytes: 100}, nil},
		{"default headers", headers(64), Limits{}, nil},
		{"default headers and one", headers(65), Limits{}, ErrTooManyHeaders},
		{"set headers", headers(2), Limits{MaxHeaders: 2}, nil},
		{"set headers and one", headers(3), Limits{MaxHeaders: 2}, ErrTooManyHeaders},
		{"nothing", &Claim{}, Limits{}, nil},
	}
	for _, tt := range tests {
		err := tt.claim.Check(tt.l)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: Check returned error %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestBlockLen(t *testing.T) {
	c := &Claim{Headers: []Header{
		{Name: "A", Values: []string{" x ", "y"}},
		{Name: "Bc", Values: []string{"é"}, Subjects: []string{"a"}},
	}}
	if got, want := c.BlockLen(), len("NATS/1.0\r\nA: x\r\nA: y\r\nBc: é\r\n\r\n"); got != want {
		t.Errorf("block of %d bytes, want %d", got, want)
	}
	if got := (&Claim{Publish: []string{"A"}}).BlockLen(); got != 0 {
		t.Errorf("no headers: block of %d bytes", got)
	}
}
