package sealed

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"stamp/internal/conf"
)

func newKey(fill byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, keySize))
}

func parse(t *testing.T, text string) (Keyring, error) {
	t.Helper()
	n, err := conf.ParseString("key: x")
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	keys := ParseKeys(n, conf.Secret(text), &faults)
	return keys, faults.Err()
}

// A value opens only under its own name, with one of the keys, and if no bit of it was changed.
func TestSealedValues(t *testing.T) {
	keys, err := parse(t, newKey(1))
	if err != nil {
		t.Fatal(err)
	}
	value, err := keys.Seal("name", []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := parse(t, "# the new key\n"+newKey(2)+"\n\n"+newKey(1)+"\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, ring := range map[string]Keyring{"its key": keys, "a new key before it": rotated} {
		if text, err := ring.Open("name", value); err != nil || string(text) != "text" {
			t.Errorf("%s: the value does not open: %q, error %v", name, text, err)
		}
	}
	refused := func(what string, k Keyring, name string, value []byte) {
		t.Helper()
		if text, err := k.Open(name, value); !errors.Is(err, ErrNotOpened) || text != nil {
			t.Errorf("%s: expected the value not to open; found %q, error %v", what, text, err)
		}
	}
	refused("another name", keys, "nam", value)
	refused("another key", rotated[:1], "name", value)
	refused("no key", nil, "name", value)
	for i := range value {
		refused("a shorter value", keys, "name", value[:i])
		changed := bytes.Clone(value)
		changed[i] ^= 1
		refused("a changed value", keys, "name", changed)
	}
	if _, err := (Keyring)(nil).Seal("name", nil); err == nil {
		t.Error("a keyring without keys seals")
	}
}

// Faults name what was expected, and quote nothing of a key.
func TestKeyFaults(t *testing.T) {
	for _, text := range []string{"# none", "c2hvcnQ=", "not base64 at all", newKey(1) + "\nc2hvcnQ="} {
		if keys, err := parse(t, text); err == nil || keys != nil || strings.Contains(err.Error(), "c2hvcnQ=") || strings.Contains(err.Error(), newKey(1)) {
			t.Errorf("key file %q: expected an error that quotes no key; found %d keys, error %v", text, len(keys), err)
		}
	}
}

// Two keyrings have the same id if they have the same keys, in any order.
func TestKeyringID(t *testing.T) {
	a, b := sealingKey{id: [idSize]byte{1}}, sealingKey{id: [idSize]byte{2}}
	if (Keyring{a, b}).ID() != (Keyring{b, a, b}).ID() {
		t.Error("the order of keys changes the id")
	}
	if (Keyring{a}).ID() == (Keyring{a, b}).ID() || (Keyring{a}).ID() == (Keyring{b}).ID() {
		t.Error("other keys have the same id")
	}
}
