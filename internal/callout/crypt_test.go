package callout

import (
	"bytes"
	"testing"

	"github.com/nats-io/nkeys"
)

// Whatever our code encrypts, nkeys can decrypt, and the reverse.
func FuzzCurveIsNkeys(f *testing.F) {
	theirs, other := newKey(f, nkeys.CreateCurveKeys), newKey(f, nkeys.CreateCurveKeys)
	ours, err := newCurve(newKey(f, nkeys.CreateCurveKeys))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("x"))
	f.Add(bytes.Repeat([]byte("long "), 1000))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return // nkeys refuses an empty one
		}
		for range 2 { // the second time from what is remembered
			sealed, err := ours.Seal(data, public(theirs))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := theirs.Open(sealed, public(ours)); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("nkeys cannot decrypt what we encrypted: %v", err)
			}
			if sealed, err = theirs.Seal(data, public(ours)); err != nil {
				t.Fatal(err)
			}
			if got, err := ours.Open(sealed, public(theirs)); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("we cannot decrypt what nkeys encrypted: %v", err)
			}
			if _, err := ours.Open(sealed, public(other)); err == nil {
				t.Fatal("a box decrypts as if another sender had made it")
			}
			sealed[len(sealed)-1] ^= 1
			if _, err := ours.Open(sealed, public(theirs)); err == nil {
				t.Fatal("a box decrypts although it was changed")
			}
		}
		// Anything at all.
		_, wantErr := theirs.Open(data, public(ours))
		if _, err := ours.Open(data, public(theirs)); (err == nil) != (wantErr == nil) {
			t.Fatalf("nkeys decrypts arbitrary bytes with error %v, we with %v", wantErr, err)
		}
	})
}

func TestCurveRefusesOtherKeys(t *testing.T) {
	ours, err := newCurve(newKey(t, nkeys.CreateCurveKeys))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "X", public(newKey(t, nkeys.CreateAccount)), public(ours)[:55] + "="} {
		if _, err := ours.Seal([]byte("x"), key); err == nil {
			t.Errorf("%d characters were accepted as a key", len(key))
		}
	}
}

func TestSignerIsNkeys(t *testing.T) {
	kp := newKey(t, nkeys.CreateAccount)
	s, err := newSigner(kp)
	if err != nil {
		t.Fatal(err)
	}
	a, errA := kp.Sign([]byte("input"))
	b, errB := s.Sign([]byte("input"))
	if errA != nil || errB != nil || !bytes.Equal(a, b) || public(kp) != public(s) {
		t.Errorf("signatures or public keys differ: %v, %v", errA, errB)
	}
}
