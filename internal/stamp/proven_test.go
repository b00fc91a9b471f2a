package stamp

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stamp/internal/proof"
	"stamp/test/proven"
)

// provenStamp is a stamp with a prover, and the keys to check its proofs.
type provenStamp struct {
	*Stamp
	*proof.Prover
	keys *proven.Keys
}

func mustProve(t testing.TB, headers []Header, p Proof) *provenStamp {
	t.Helper()
	keys, err := proven.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	own, err := proof.ParseKeys([]byte(keys.ServerSeeds))
	if err != nil {
		t.Fatal(err)
	}
	var receiver *proof.Receiver
	if p.ForReceiver {
		if receiver, err = own.Receiver(keys.Receiver); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Compile(headers, Options{Provenance: true, Account: "APP", Proof: &p})
	if err != nil {
		t.Fatal(err)
	}
	return &provenStamp{s, proof.NewProver(own, receiver), keys}
}

// prove stamps a message, checks its proof, and returns what it proves with the header block.
func (s *provenStamp) prove(t testing.TB, subject, block string, payload []byte, sign bool) (*proven.Proven, string) {
	t.Helper()
	var r Report
	const before = "before"
	out, err := s.AppendProven([]byte(before), &Published{[]byte(subject), []byte(block), payload, sign}, s.Prover, &r)
	if err != nil {
		t.Fatalf("cannot prove a message on %.80q: %v", subject, err)
	}
	text, ok := strings.CutPrefix(string(out), before)
	if !ok {
		t.Fatalf("the bytes before the block were changed: %.40q", out)
	}
	if grown := len(text) - len(block); grown > s.MaxLen()+max(0, len(subject)-MaxProvenanceSubject) {
		t.Errorf("the block grew by %d bytes, MaxLen is %d", grown, s.MaxLen())
	}
	if r.Proof == proof.None {
		return nil, text
	}
	p, err := s.keys.Check(proven.Parse([]byte(text)), payload)
	if err != nil {
		t.Fatalf("the proof on %.80q does not hold, in block %.200q: %v", subject, text, err)
	}
	if p.Kind != byte(r.Proof) {
		t.Errorf("the report has kind %d, the proof kind %d", r.Proof, p.Kind)
	}
	if p.Subject != subject || p.Account != "APP" {
		t.Errorf("proven are the subject %q and the account %q", p.Subject, p.Account)
	}
	return p, text
}

func encryptAll(t testing.TB, names ...string) *NameSet {
	t.Helper()
	if len(names) == 0 {
		return nil
	}
	return mustNames(t, names...)
}

func TestAppendProven(t *testing.T) {
	headers := []Header{
		{Name: "Roles", Values: []string{"admin", "", "ops"}},
		{Name: "Authorization", Values: []string{"Bearer eyJhbGciOi"}},
		{Name: "X_User", Values: []string{"ålice ü 日本"}},
		{Name: "Empty", Values: []string{""}},
		{Name: "a.b", Values: []string{" trimmed ", strings.Repeat("x", 3000)}},
	}
	want := map[string][]string{}
	for _, h := range headers {
		for _, v := range h.Values {
			want[h.Name] = append(want[h.Name], strings.TrimSpace(v))
		}
	}
	for _, encrypt := range [][]string{nil, {"Authorization"}, {"authorization", "Empty", "a-b"}, {"*"}} {
		for _, forReceiver := range []bool{true, false} {
			if !forReceiver && encrypt != nil {
				continue
			}
			s := mustProve(t, headers, Proof{Encrypt: encryptAll(t, encrypt...), ForReceiver: forReceiver, Signed: true})
			for _, subject := range []string{"a", "orders.ü.日本", strings.Repeat("s", 4096)} {
				for _, block := range []string{"", opening + "Own: 1\r\nstamp.proof: forged\r\nSTAMP_PROOF: x\r\nauthorization: y\r\nroles: z\r\n\r\n"} {
					sizes := []int{0, 1, 15, 16, 17, 300}
					if len(subject) == 1 {
						sizes = append(sizes, 64<<10, 1<<20)
					}
					for _, size := range sizes {
						for _, sign := range []bool{false, true} {
							payload := bytes.Repeat([]byte{0xff, 0, '\r', '\n'}, size/4+1)[:size]
							p, text := s.prove(t, subject, block, payload, sign)
							if p == nil {
								if forReceiver || sign {
									t.Errorf("the message on %q has no proof", subject)
								}
								continue
							}
							if !reflect.DeepEqual(p.Stamped, want) {
								t.Errorf("encrypt %q: proven are %.300q, which is not what was stamped", encrypt, p.Stamped)
							}
							if strings.Contains(text, "forged") || strings.Count(text, "Stamp-Proof") != 1 || block != "" && !strings.Contains(text, "Own: 1") {
								t.Errorf("the block has a forged line, more than one proof, or not the publisher's own line: %.300q", text)
							}
							kind := proof.ForReceiver
							switch {
							case sign && len(encrypt) > 0:
								kind = proof.SignedForReceiver
							case sign:
								kind = proof.Signed
							}
							if p.Kind != byte(kind) {
								t.Errorf("encrypt %q, sign %v: the proof is of kind %d", encrypt, sign, p.Kind)
							}
							if len(encrypt) > 0 && strings.Contains(text, "eyJhbGciOi") {
								t.Error("an encrypted value is readable")
							}
						}
					}
				}
			}
		}
	}
}

// TestProvenSubjects proves headers that are bound to subjects: the proof has those that the message has.
func TestProvenSubjects(t *testing.T) {
	headers := []Header{
		{Name: "Token", Values: []string{"t1", "t2"}, Subjects: []string{"api.>"}},
		{Name: "User", Values: []string{"u"}},
		{Name: "Roles", Values: []string{"r1", ""}, Subjects: []string{"api.*", "jobs"}},
		{Name: "Aaa", Values: []string{"secret"}, Subjects: []string{"api.>"}},
		{Name: "Session", Values: []string{"0af3"}, Subjects: []string{"nowhere"}},
	}
	for _, encrypt := range [][]string{nil, {"Aaa", "Roles"}, {"Token", "Session"}} {
		s := mustProve(t, headers, Proof{Encrypt: encryptAll(t, encrypt...), ForReceiver: true, Signed: true})
		for subject, names := range map[string][]string{
			"other": {"User"}, "api.x": {"Token", "User", "Roles", "Aaa"}, "api.x.y": {"Token", "User", "Aaa"}, "jobs": {"User", "Roles"}, "nowhere": {"User", "Session"},
		} {
			for _, sign := range []bool{false, true} {
				p, _ := s.prove(t, subject, "", []byte("payload"), sign)
				want := map[string][]string{}
				hidden := false
				for _, h := range headers {
					if slices.Contains(names, h.Name) {
						want[h.Name] = h.Values
						hidden = hidden || slices.Contains(encrypt, h.Name)
					}
				}
				if !reflect.DeepEqual(p.Stamped, want) {
					t.Errorf("subject %s: proven are %q, expected %q", subject, p.Stamped, want)
				}
				if sign && (p.Kind == 3) != hidden {
					t.Errorf("subject %s: the proof is of kind %d, want 3: %t", subject, p.Kind, hidden)
				}
			}
		}
	}
}

// TestProofSize counts the bytes of a proof for a receiver.
func TestProofSize(t *testing.T) {
	for n := 1; n <= 10; n++ {
		s := mustProve(t, benchHeaders(n, 8), Proof{ForReceiver: true})
		if p, _ := s.prove(t, "a", "", nil, false); p.Size > 110 {
			t.Errorf("%d names: the line has %d bytes", n, p.Size)
		}
	}
}

// TestProvenShared tells stamps apart that differ only in encrypted values, which their blocks do not show.
func TestProvenShared(t *testing.T) {
	compile := func(value string, p Proof) *Stamp {
		s, err := Compile([]Header{{Name: "Session", Values: []string{value}}}, Options{Provenance: true, Account: "APP", Proof: &p})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	encrypted := Proof{Encrypt: mustNames(t, "Session"), ForReceiver: true}
	a := compile("aaaa", encrypted)
	if a == compile("bbbb", encrypted) {
		t.Error("two users share a stamp")
	}
	if a != compile("aaaa", encrypted) {
		t.Error("equal stamps are not shared")
	}
	if signed := (Proof{Encrypt: encrypted.Encrypt, ForReceiver: true, Signed: true}); a == compile("aaaa", signed) {
		t.Error("a stamp that may be signed is shared with one that may not")
	}
	if strings.Contains(a.block, "aaaa") {
		t.Error("the block has the value that is encrypted")
	}
}

// TestProvenClock refuses a message that has no provable time.
func TestProvenClock(t *testing.T) {
	s := mustProve(t, benchHeaders(1, 8), Proof{ForReceiver: true})
	at(t, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
	var r Report
	out, err := s.AppendProven([]byte("x"), &Published{Subject: []byte("a")}, s.Prover, &r)
	if !errors.Is(err, ErrClock) || string(out) != "x" {
		t.Errorf("expected ErrClock, and nothing appended; found %q, error %v", out, err)
	}
}

// TestProvenRace uses one prover from many goroutines: no two messages have the same salt and counter.
func TestProvenRace(t *testing.T) {
	s := mustProve(t, benchHeaders(3, 8), Proof{Encrypt: mustNames(t, "X-Stamp-1"), ForReceiver: true})
	const goroutines, messages = 8, 200
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range messages {
				payload := sha256.Sum256(fmt.Append(nil, g, i))
				p, _ := s.prove(t, "a.b", "", payload[:], false)
				mu.Lock()
				seen[fmt.Sprintf("%x %d", p.Salt, p.Counter)] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != goroutines*messages {
		t.Errorf("%d messages have %d different nonces", goroutines*messages, len(seen))
	}
}

func TestProvenAllocations(t *testing.T) {
	for name, s := range provenCases(t) {
		for _, size := range []int{16, 256, 64 << 10} {
			m := &Published{Subject: []byte("orders.new"), Payload: make([]byte, size)}
			dst := make([]byte, 0, s.MaxLen())
			var r Report
			allocs := testing.AllocsPerRun(100, func() {
				if _, err := s.AppendProven(dst, m, s.Prover, &r); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 && !raceEnabled {
				t.Errorf("%s with %d bytes: %v allocations, want none", name, size, allocs)
			}
		}
	}
}

// provenCases are what is measured.
func provenCases(t testing.TB) map[string]*provenStamp {
	bound := benchHeaders(4, 32)
	bound[1].Subjects = []string{"orders.*"}
	return map[string]*provenStamp{
		"MAC":                          mustProve(t, benchHeaders(4, 32), Proof{ForReceiver: true}),
		"MAC and two encrypted values": mustProve(t, benchHeaders(4, 32), Proof{ForReceiver: true, Encrypt: mustNames(t, "X-Stamp-1", "X-Stamp-3")}),
		"MAC, bound to subjects":       mustProve(t, bound, Proof{ForReceiver: true, Encrypt: mustNames(t, "X-Stamp-1", "X-Stamp-3")}),
	}
}

func BenchmarkProven(b *testing.B) {
	cases := provenCases(b)
	cases["signed"] = mustProve(b, benchHeaders(4, 32), Proof{Signed: true})
	stamped, err := Compile(benchHeaders(4, 32), Options{Provenance: true, Account: "APP"})
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{16, 256, 4 << 10, 64 << 10, 1 << 20} {
		m := &Published{Subject: []byte("orders.new"), Payload: make([]byte, size)}
		b.Run(fmt.Sprintf("stamp alone/%d", size), func(b *testing.B) {
			dst := make([]byte, 0, stamped.MaxLen())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := stamped.Append(dst, m.Subject, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		for _, name := range []string{"MAC", "MAC and two encrypted values", "MAC, bound to subjects", "signed"} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				s := cases[name]
				signed := *m
				signed.Sign = name == "signed"
				dst := make([]byte, 0, s.MaxLen())
				var r Report
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.AppendProven(dst, &signed, s.Prover, &r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
