package stamp

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// at stops the clock at a time.
func at(t *testing.T, when time.Time) {
	set := func(clock func() time.Time) {
		now = clock
		lastReading.Store(nil)
	}
	set(func() time.Time { return when })
	t.Cleanup(func() { set(time.Now) })
}

func TestProvenance(t *testing.T) {
	at(t, time.Date(2026, 1, 2, 3, 4, 5, 600, time.FixedZone("", 3600)))
	const lines = "Stamp-Account: APP\r\nStamp-Subject: app.a\r\nStamp-Time: 2026-01-02T02:04:05.000000600Z\r\n"
	for _, tt := range []struct {
		name    string
		headers []Header
		block   string
		want    string
	}{
		{"alone", claims[0], "", "NATS/1.0\r\nSession: 0af3\r\n" + lines + "\r\n"},
		{"with a block", claims[0], "NATS/1.0\r\nA: b\r\n\r\n", "NATS/1.0\r\nA: b\r\nSession: 0af3\r\n" + lines + "\r\n"},
		{"forged", claims[0], "NATS/1.0\r\nstamp_account: z\r\nstamp_subject: x\r\nSTAMP.TIME: y\r\n\r\n", "NATS/1.0\r\nSession: 0af3\r\n" + lines + "\r\n"},
		{"on a subject that no header is for", claims[3], "", "NATS/1.0\r\n" + lines + "\r\n"},
		{"no headers", nil, "", "NATS/1.0\r\n" + lines + "\r\n"},
		{"no headers, a block", nil, "NATS/1.0 100 x\r\nA: b\r\n\r\n", "NATS/1.0 100 x\r\nA: b\r\n" + lines + "\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Compile(tt.headers, Options{Provenance: true, Account: "APP"})
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Append(nil, []byte("app.a"), []byte(tt.block))
			if err != nil || string(got) != tt.want {
				t.Errorf("the block is %q, error %v; want %q", got, err, tt.want)
			}
			if grows := len(got) - len(tt.block); !s.Adds() || grows > s.MaxLen() {
				t.Errorf("grows by %d, said at most %d", grows, s.MaxLen())
			}
		})
	}
}

func TestProvenanceRefusesSubjectsThatCannotBeHeaders(t *testing.T) {
	s, err := Compile(claims[0], Options{Provenance: true, Account: "APP"})
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"a\rb", "a\nb", "a\x00b", "a\x7f", "a.\xff", "a.\u2028b", "a.\u0085b"} {
		if out, err := s.Append([]byte("x"), []byte(subject), nil); !errors.Is(err, ErrProvenance) || string(out) != "x" {
			t.Errorf("subject %q must be refused; found %q, error %v", subject, out, err)
		}
	}
	for _, subject := range []string{"a.b", "grüße.✓", strings.Repeat("a", 4000)} {
		if _, err := s.Append(nil, []byte(subject), nil); err != nil {
			t.Errorf("subject %q was refused: %v", subject, err)
		}
	}
}

func TestProvenanceAllocatesNothing(t *testing.T) {
	s, err := Compile(claims[0], Options{Provenance: true, Account: "APP"})
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, 4096)
	block, subject := []byte("NATS/1.0\r\nA: b\r\n\r\n"), []byte("app.a")
	if n := testing.AllocsPerRun(100, func() { _, _ = s.Append(dst, subject, block) }); n != 0 {
		t.Errorf("provenance allocates %v times, want none", n)
	}
}

func TestProvenanceTellsStampsApart(t *testing.T) {
	with, err := Compile(claims[0], Options{Provenance: true, Account: "APP"})
	if err != nil {
		t.Fatal(err)
	}
	if with == mustCompile(t, claims[0]) {
		t.Error("a stamp with provenance is one without")
	}
}

func TestProvenanceRefusesAccountsThatCannotBeHeaders(t *testing.T) {
	for _, account := range []string{"", " A", "a\r\nX-User: admin", "a\u2028b", "\xff"} {
		if _, err := Compile(claims[0], Options{Provenance: true, Account: account}); !errors.Is(err, ErrProvenanceAccount) {
			t.Errorf("account %q must be refused; found error %v", account, err)
		}
	}
	a, errA := Compile(claims[0], Options{Provenance: true, Account: "A"})
	b, errB := Compile(claims[0], Options{Provenance: true, Account: "B"})
	if errA != nil || errB != nil || a == b {
		t.Error("stamps of two accounts are one")
	}
}
