package proof_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/nats-io/nkeys"

	"stamp/internal/proof"
	"stamp/test/proven"
)

func newKeys(t testing.TB) (*proven.Keys, *proof.Keys, *proof.Receiver) {
	t.Helper()
	made, err := proven.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := proof.ParseKeys([]byte(made.ServerSeeds))
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := keys.Receiver(made.Receiver)
	if err != nil {
		t.Fatal(err)
	}
	return made, keys, receiver
}

const (
	subject = "a.b"
	now     = "2026-01-02T03:04:05.000000006Z"
)

// prove proves a message with the header X-User, and returns what it proves.
func prove(t testing.TB, made *proven.Keys, p *proof.Prover, l *proof.Layout, payload string) *proven.Proven {
	t.Helper()
	const lines = "X-User: ann\r\n"
	block := "NATS/1.0\r\n" + lines + "Stamp-Account: APP\r\nStamp-Subject: " + subject + "\r\nStamp-Time: " + now + "\r\n"
	m := &proof.Message{Lines: len("NATS/1.0\r\n"), Subject: []byte(subject), Time: []byte(now)}
	out, kind, err := p.Append([]byte(block), l, m, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	got, err := made.Check(proven.Parse(append(out, "\r\n"...)), []byte(payload))
	if err != nil || got.Kind != byte(kind) {
		t.Fatalf("the proof of kind %d does not hold: %v", kind, err)
	}
	return got
}

func layout(t testing.TB) *proof.Layout {
	t.Helper()
	l, err := proof.NewLayout("APP", []proof.Header{{Name: "X-User", Values: []string{"ann"}, At: []int{len("X-User: ")}}}, true, false)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestCounterEnds uses up the counter, with many goroutines: a new salt begins, and no nonce is there twice.
func TestCounterEnds(t *testing.T) {
	made, keys, receiver := newKeys(t)
	p, l := proof.NewProver(keys, receiver), layout(t)
	first := prove(t, made, p, l, "")
	if first.Counter != 0 {
		t.Errorf("the first message has the counter %d, want 0", first.Counter)
	}
	const goroutines, messages, left = 8, 50, 30
	proof.SetCounter(p, math.MaxUint32-left+1)
	var mu sync.Mutex
	seen, salts := map[string]bool{}, map[[16]byte]int{}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range messages {
				got := prove(t, made, p, l, fmt.Sprint(g, i))
				mu.Lock()
				seen[fmt.Sprint(got.Salt, got.Counter)] = true
				salts[got.Salt]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != goroutines*messages {
		t.Errorf("%d messages have %d different nonces", goroutines*messages, len(seen))
	}
	if len(salts) != 2 || salts[first.Salt] != left {
		t.Errorf("%d salts; the first one has %d messages, expected %d", len(salts), salts[first.Salt], left)
	}
	if next := prove(t, made, p, l, ""); next.Salt == first.Salt || next.Counter != goroutines*messages-left {
		t.Errorf("the message after that has the counter %d, or the salt of the first one", next.Counter)
	}
}

// TestSalts: two provers of the same keys have different salts.
func TestSalts(t *testing.T) {
	made, keys, receiver := newKeys(t)
	l, seen := layout(t), map[[16]byte]bool{}
	for range 100 {
		seen[prove(t, made, proof.NewProver(keys, receiver), l, "").Salt] = true
	}
	if len(seen) != 100 {
		t.Errorf("100 provers have %d different salts", len(seen))
	}
}

// TestIdleProver: many connections never publish, so a prover is small until its first message.
func TestIdleProver(t *testing.T) {
	_, keys, receiver := newKeys(t)
	var p *proof.Prover
	if n := testing.AllocsPerRun(10, func() { p = proof.NewProver(keys, receiver) }); n > 1 {
		t.Errorf("a new prover allocates %v times, want once at most", n)
	}
	if size := unsafe.Sizeof(*p); size > 48 {
		t.Errorf("a prover takes %d bytes, want 48 or less", size)
	}
}

func TestParseKeys(t *testing.T) {
	seed := func(prefix nkeys.PrefixByte) string {
		kp, err := nkeys.CreatePair(prefix)
		if err != nil {
			t.Fatal(err)
		}
		text, err := kp.Seed()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	x, n := seed(nkeys.PrefixByteCurve), seed(nkeys.PrefixByteServer)
	for _, text := range []string{x, n, n + "\n" + x, "# a comment\r\n\r\n  " + x + "\t\r\n" + n + "\r\n"} {
		k, err := proof.ParseKeys([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		publicX, publicN := k.Public()
		if (publicX != "") != strings.Contains(text, x) || (publicN != "") != strings.Contains(text, n) || k.Signs() != (publicN != "") {
			t.Errorf("the public keys %q and %q are not those of the file", publicX, publicN)
		}
		if publicX != "" && publicX != public(t, x) || publicN != "" && publicN != public(t, n) {
			t.Error("other public keys than those of nkeys")
		}
	}
	for name, text := range map[string]string{
		"none": "", "comments": "# x\n", "twice": x + "\n" + x, "another X": x + "\n" + seed(nkeys.PrefixByteCurve), "another N": n + "\n" + n,
		"a user": seed(nkeys.PrefixByteUser), "an account": x + "\n" + seed(nkeys.PrefixByteAccount), "cut": x[:len(x)-1], "longer": n + "A",
		"changed": x[:20] + "A" + x[21:] + "7", "base64": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw", "two on a line": x + " " + n,
	} {
		_, err := proof.ParseKeys([]byte(text))
		if err == nil {
			t.Errorf("key file with %s was accepted", name)
			continue
		}
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); len(line) > 8 && strings.Contains(err.Error(), line[:8]) {
				t.Errorf("%s: the error shows the line", name)
			}
		}
	}
}

func public(t *testing.T, seed string) string {
	t.Helper()
	kp, err := nkeys.FromSeed([]byte(seed))
	if strings.HasPrefix(seed, "SX") {
		kp, err = nkeys.FromCurveSeed([]byte(seed))
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestReceiver(t *testing.T) {
	made, keys, _ := newKeys(t)
	zero, err := nkeys.Encode(nkeys.PrefixByteCurve, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	short, err := nkeys.Encode(nkeys.PrefixByteCurve, make([]byte, 31))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "X", made.ServerN, made.ServerX, made.ReceiverSeed, made.Receiver + "A", strings.ToLower(made.Receiver), string(zero), string(short)} {
		if _, err := keys.Receiver(bad); err == nil {
			t.Errorf("the key %.10s... was accepted as a receiver's", bad)
		} else if len(bad) > 10 && strings.Contains(err.Error(), bad[:10]) {
			t.Error("the error shows the key")
		}
	}
	seeds := strings.Fields(strings.TrimPrefix(made.ServerSeeds, "# of a test"))
	onlyN, err := proof.ParseKeys([]byte(seeds[1]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := onlyN.Receiver(made.Receiver); err != proof.ErrNoExchange {
		t.Error(err)
	}
}

// TestSameEntry refuses headers of which a receiver could not tell which one is meant.
func TestSameEntry(t *testing.T) {
	header := func(name string) proof.Header { return proof.Header{Name: name, Values: []string{"v"}, At: []int{0}} }
	first := map[[3]byte]string{}
	var a, b string
	for i := 0; a == ""; i++ {
		name := fmt.Sprintf("x-%d", i)
		e := proof.Entry(name)
		if other, found := first[e]; found {
			a, b = other, name
		}
		first[e] = name
	}
	for _, names := range [][]string{{a, b}, {b, "Other", a}} {
		headers := make([]proof.Header, len(names))
		for i, name := range names {
			headers[i] = header(name)
		}
		_, err := proof.NewLayout("APP", headers, true, true)
		if err == nil || !strings.Contains(err.Error(), a) || !strings.Contains(err.Error(), b) {
			t.Errorf("%q: expected an error that names both; found %v", names, err)
		}
	}
	for _, name := range []string{proof.Name, proof.AccountName} {
		if _, err := proof.NewLayout("APP", []proof.Header{header(strings.ToUpper(name))}, true, false); err == nil {
			t.Errorf("%s is taken for a stamped header", name)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	made, _, _ := newKeys(f)
	f.Add([]byte(made.ServerSeeds))
	f.Add([]byte("SX\nSN\n#"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := proof.ParseKeys(text)
		if (k == nil) == (err == nil) {
			t.Errorf("ParseKeys returned keys: %t, and error %v", k != nil, err)
		}
	})
}
