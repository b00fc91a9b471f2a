package proof

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/nats-io/nkeys"
)

// id is the id of a key: the first bytes of the SHA-256 of the public key.
type id [idSize]byte

func idOf(public []byte) id {
	sum := sha256.Sum256(public)
	return id(sum[:idSize])
}

// ID returns the id that proofs have of a public key (X... or N...), in hexadecimal, or an empty text if it is no such key.
func ID(public string) string {
	for _, prefix := range []nkeys.PrefixByte{nkeys.PrefixByteCurve, nkeys.PrefixByteServer} {
		if raw, err := nkeys.Decode(prefix, []byte(public)); err == nil {
			return fmt.Sprintf("%x", idOf(raw))
		}
	}
	return ""
}

// Faults of keys. No error of this package quotes a line of a key file.
var (
	ErrNoKeys       = errors.New("expected the seed of a curve key (SX...), of a server key (SN...), or both; found none")
	ErrNoExchange   = errors.New("expected the seed of a curve key (SX...), which proofs for receivers need; found none")
	ErrNoSigning    = errors.New("expected the seed of a server key (SN...), which signatures need; found none")
	ErrReceiver     = errors.New("expected the public curve key of a receiver (X...)")
	ErrReceiverSeed = errors.New("expected the public curve key of a receiver (X...); found a seed, which the receiver alone may have")
	ErrReceiverOwn  = errors.New("expected the public curve key of a receiver (X...); found the key of this server, which the receiver would need the seed of")
)

// Keys are the keys of a server. They are immutable.
type Keys struct {
	exchange   *ecdh.PrivateKey // nil: there is none
	exchangeID id
	signing    ed25519.PrivateKey // nil: there is none
	signingID  id
}

// ParseKeys reads a key file: the seed of a curve key (SX...), of a server key (SN...),
// or both, each on a line of its own. Empty lines and those that begin with # are
// comments.
func ParseKeys(text []byte) (*Keys, error) {
	k := &Keys{}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := k.add(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if k.exchange == nil && k.signing == nil {
		return nil, ErrNoKeys
	}
	return k, nil
}

// add adds the key of a seed.
func (k *Keys) add(seed []byte) error {
	prefix, raw, err := nkeys.DecodeSeed(seed)
	if err != nil {
		if nkeys.IsValidPublicKey(string(seed)) || nkeys.IsValidPublicCurveKey(string(seed)) {
			return errors.New("expected a seed (SX... or SN...); found a public key")
		}
		return errors.New("expected a seed (SX... or SN...); found something else")
	}
	defer clear(raw)
	if len(raw) != ed25519.SeedSize {
		return errors.New("expected a seed of 32 bytes (SX... or SN...); found another length")
	}
	switch prefix {
	case nkeys.PrefixByteCurve:
		if k.exchange != nil {
			return errors.New("expected one seed of a curve key (SX...); found a second one")
		}
		if k.exchange, err = ecdh.X25519().NewPrivateKey(raw); err != nil {
			return fmt.Errorf("curve key (SX...): %w", err)
		}
		k.exchangeID = idOf(k.exchange.PublicKey().Bytes())
	case nkeys.PrefixByteServer:
		if k.signing != nil {
			return errors.New("expected one seed of a server key (SN...); found a second one")
		}
		k.signing = ed25519.NewKeyFromSeed(raw)
		k.signingID = idOf(k.signing.Public().(ed25519.PublicKey))
	default:
		return fmt.Errorf("expected the seed of a curve key (SX...) or of a server key (SN...); found the seed of a key of type %s", prefix)
	}
	return nil
}

// Public returns the public keys: X... for receivers, and N... for signatures. A key that is absent is empty.
func (k *Keys) Public() (exchange, signing string) {
	if k.exchange != nil {
		exchange = encode(nkeys.PrefixByteCurve, k.exchange.PublicKey().Bytes())
	}
	if k.signing != nil {
		signing = encode(nkeys.PrefixByteServer, k.signing.Public().(ed25519.PublicKey))
	}
	return exchange, signing
}

func encode(prefix nkeys.PrefixByte, public []byte) string {
	text, err := nkeys.Encode(prefix, public)
	if err != nil {
		panic(fmt.Sprintf("proof: encode a public key: %v", err)) // the prefix is a valid one
	}
	return string(text)
}

// Signs reports whether there is a key for signatures.
func (k *Keys) Signs() bool { return k.signing != nil }

// Equal reports whether both have the same keys.
func (k *Keys) Equal(other *Keys) bool {
	x, n := k.Public()
	otherX, otherN := other.Public()
	return x == otherX && n == otherN
}

// sign returns the signature of a message.
func (k *Keys) sign(message []byte) []byte { return ed25519.Sign(k.signing, message) }

// Receiver is a receiver of proofs, with the secret that it shares with a server. It is immutable.
type Receiver struct {
	public string // X...
	id     id
	secret []byte
	info   string // of the derivation of keys
}

// Receiver returns the receiver with a public key (X...).
func (k *Keys) Receiver(public string) (*Receiver, error) {
	if k.exchange == nil {
		return nil, ErrNoExchange
	}
	raw, err := nkeys.Decode(nkeys.PrefixByteCurve, []byte(public))
	if err != nil {
		if _, _, err := nkeys.DecodeSeed([]byte(public)); err == nil {
			return nil, ErrReceiverSeed
		}
		return nil, ErrReceiver
	}
	key, err := ecdh.X25519().NewPublicKey(raw)
	// nkeys ignores a character that follows the key.
	if err != nil || encode(nkeys.PrefixByteCurve, raw) != public {
		return nil, ErrReceiver
	}
	if key.Equal(k.exchange.PublicKey()) {
		return nil, ErrReceiverOwn
	}
	r := &Receiver{public: public, id: idOf(raw), info: label + string(k.exchange.PublicKey().Bytes()) + string(raw)}
	if r.secret, err = k.exchange.ECDH(key); err != nil { // it is all zeros
		return nil, fmt.Errorf("%w; found a key that no seed has", ErrReceiver)
	}
	// What could fail with a message fails here.
	if _, err := r.aead(make([]byte, saltSize)); err != nil {
		return nil, err
	}
	return r, nil
}

// Public returns the public key.
func (r *Receiver) Public() string { return r.public }

// aead returns AES-256-GCM with the key for a salt.
func (r *Receiver) aead(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, r.secret, salt, r.info, 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key of a proof: %w", err)
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("derive the key of a proof: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("derive the key of a proof: %w", err)
	}
	return aead, nil
}
