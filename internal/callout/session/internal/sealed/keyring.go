// Package sealed encrypts what a session source stores or hands out, with keys from the configuration.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"stamp/internal/conf"
)

// Keyring encrypts with its first key and decrypts with each of its keys, so that keys can be
// replaced. A sealed value is
//
//	version (1) | first 4 bytes of the key's SHA-256 | nonce (12 bytes) | ciphertext and tag of AES-256-GCM
//
// It is bound to a name: it cannot be opened under another name.
type Keyring []sealingKey

type sealingKey struct {
	id   [idSize]byte
	aead cipher.AEAD
}

// Sizes in bytes, except for the version.
const (
	version   = 1
	idSize    = 4
	keySize   = 32
	nonceSize = 12
	tagSize   = 16
)

var (
	// ErrNotOpened is returned for values that were changed, or that none of the keys has sealed.
	ErrNotOpened = errors.New("entry cannot be decrypted: its key is not among those of the configuration, or the entry was changed")
	errNoKeys    = errors.New("no key is configured")
)

// ParseKeys reads keys, one per line, 32 bytes in base64 each. Empty lines and lines that begin with #
// are comments. n is the block whose field key, or key_file, holds text.
func ParseKeys(n conf.Node, text conf.Secret, faults *conf.Faults) Keyring {
	at := n.Get("key")
	if at.IsZero() {
		at = n.Get("key_file")
	}
	var keys Keyring
	for line := range strings.Lines(text.Reveal()) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		secret, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(secret) != keySize {
			faults.Add(at, "key: a line is not %d bytes in base64\nhint: openssl rand -base64 %d", keySize, keySize)
			return nil
		}
		block, err := aes.NewCipher(secret)
		if err != nil {
			faults.Add(at, "key: %v", err)
			return nil
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			faults.Add(at, "key: %v", err)
			return nil
		}
		sum := sha256.Sum256(secret)
		keys = append(keys, sealingKey{[idSize]byte(sum[:idSize]), aead})
	}
	if text != "" && len(keys) == 0 {
		faults.Add(at, "key: there is none\nhint: openssl rand -base64 %d", keySize)
	}
	return keys
}

// ID returns a text that only keyrings with the same keys have. It tells nothing of the keys that a sealed
// value would not tell.
func (k Keyring) ID() string {
	ids := make([]string, len(k))
	for i, key := range k {
		ids[i] = string(key.id[:])
	}
	slices.Sort(ids)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(ids), "")))
	return hex.EncodeToString(sum[:8])
}

// Seal encrypts a text and binds it to a name.
func (k Keyring) Seal(name string, text []byte) ([]byte, error) {
	if len(k) == 0 {
		return nil, errNoKeys
	}
	key := k[0]
	out := append([]byte{version}, key.id[:]...)
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	return key.aead.Seal(append(out, nonce...), nonce, text, []byte(name)), nil
}

// Open decrypts a value that was sealed under the name. Otherwise it returns ErrNotOpened.
func (k Keyring) Open(name string, value []byte) ([]byte, error) {
	if !IsSealed(value) {
		return nil, ErrNotOpened
	}
	id, rest := [idSize]byte(value[1:1+idSize]), value[1+idSize:]
	for _, key := range k {
		if key.id != id {
			continue
		}
		if text, err := key.aead.Open(nil, rest[:nonceSize], rest[nonceSize:], []byte(name)); err == nil {
			return text, nil
		}
	}
	return nil, ErrNotOpened
}

// IsSealed reports whether a value has the form of a sealed one. No JSON does.
func IsSealed(value []byte) bool {
	return len(value) >= 1+idSize+nonceSize+tagSize && value[0] == version
}
