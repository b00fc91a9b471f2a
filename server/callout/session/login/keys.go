package login

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"stamp/server/conf"
)

// keyring encrypts with its first key, and decrypts with all. What is encrypted is
//
//	1 | first 4 bytes of the key's SHA-256 | nonce | AES-256-GCM
//
// and bound to a name, so that an entry cannot be put in the place of another.
type keyring []sealingKey

type sealingKey struct {
	id   [keyID]byte
	aead cipher.AEAD
}

const (
	sealVersion = 1
	keyID       = 4
	keySize     = 32
)

var (
	errSealed = errors.New("entry cannot be decrypted: its key is not among those of the configuration, or it was changed")
	errNoKeys = errors.New("no key is configured")
)

// parseKeys reads lines of base64.
func parseKeys(n conf.Node, text conf.Secret, faults *conf.Faults) keyring {
	at := n.Get("key")
	if at.IsZero() {
		at = n.Get("key_file")
	}
	var keys keyring
	for line := range strings.Lines(text.Reveal()) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != keySize {
			faults.Add(at, "key: a line is not %d bytes in base64\nhint: openssl rand -base64 %d", keySize, keySize)
			return nil
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			faults.Add(at, "key: %v", err)
			return nil
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			faults.Add(at, "key: %v", err)
			return nil
		}
		sum := sha256.Sum256(key)
		keys = append(keys, sealingKey{[keyID]byte(sum[:keyID]), aead})
	}
	if text != "" && len(keys) == 0 {
		faults.Add(at, "key: there is none\nhint: openssl rand -base64 %d", keySize)
	}
	return keys
}

// seal encrypts a text for a name.
func (k keyring) seal(name string, text []byte) ([]byte, error) {
	if len(k) == 0 {
		return nil, errNoKeys
	}
	key := k[0]
	out := append([]byte{sealVersion}, key.id[:]...)
	nonce := make([]byte, key.aead.NonceSize())
	rand.Read(nonce)
	return key.aead.Seal(append(out, nonce...), nonce, text, []byte(name)), nil
}

// sealNonce and sealTag are the sizes of AES-GCM's.
const (
	sealNonce = 12
	sealTag   = 16
)

// IsSealed tells whether the value of an entry has the form of a session of this source. No JSON begins so.
func IsSealed(value []byte) bool {
	return len(value) >= 1+keyID+sealNonce+sealTag && value[0] == sealVersion
}

// sourceKeys seal what is in no entry: states, tickets and passes. That is bound to a source and its provider, since
// sources may share keys: what was begun at one provider is nothing at another (mix-up, RFC 9700, section 4.4).
type sourceKeys struct {
	keyring
	source string // which one, as a part of names
}

// of returns the keys of a source.
func (k keyring) of(name, issuer, client string) sourceKeys {
	text, _ := json.Marshal([]string{name, issuer, client}) // strings have no errors
	return sourceKeys{k, string(text)}
}

func (k sourceKeys) seal(name string, text []byte) ([]byte, error) {
	return k.keyring.seal(name+" "+k.source, text)
}

func (k sourceKeys) open(name string, sealed []byte) ([]byte, error) {
	return k.keyring.open(name+" "+k.source, sealed)
}

// open decrypts what was sealed for the name.
func (k keyring) open(name string, sealed []byte) ([]byte, error) {
	if len(sealed) < 1+keyID || sealed[0] != sealVersion {
		return nil, errSealed
	}
	id, rest := [keyID]byte(sealed[1:1+keyID]), sealed[1+keyID:]
	for _, key := range k {
		if size := key.aead.NonceSize(); key.id == id && len(rest) >= size {
			if text, err := key.aead.Open(nil, rest[:size], rest[size:], []byte(name)); err == nil {
				return text, nil
			}
		}
	}
	return nil, errSealed
}
