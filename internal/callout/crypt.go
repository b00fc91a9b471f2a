package callout

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nkeys"
	"golang.org/x/crypto/nacl/box"
)

// The two key pairs in this file keep what nkeys computes anew for each use, which was more than
// half of the cost of a callout: the shared key of two curve keys, and the expanded form of a
// signing key.

// curve encrypts like a curve key of nkeys (xkeys.go): "xkv1", a nonce of 24 bytes, and a NaCl box.
type curve struct {
	nkeys.KeyPair
	seed   [32]byte
	shared *lru.Cache[string, *[32]byte] // by the server's public key
}

const (
	boxVersion = nkeys.XKeyVersionV1
	boxHeader  = len(boxVersion) + nonceLen
	nonceLen   = 24
	// sharedKeys is the number of servers whose shared key is kept.
	sharedKeys = 1024
)

var (
	errNotBox      = errors.New("not encrypted as xkv1")
	errDecrypt     = errors.New("not encrypted with this xkey, or changed on the way")
	errNotCurveKey = errors.New("not the public key of a curve key pair")
)

func newCurve(kp nkeys.KeyPair) (*curve, error) {
	raw, err := rawSeed(kp)
	if err != nil {
		return nil, err
	}
	c := &curve{KeyPair: kp}
	copy(c.seed[:], raw)
	c.shared, err = lru.New[string, *[32]byte](sharedKeys)
	return c, err
}

// rawSeed returns the 32 bytes of a key pair's seed.
func rawSeed(kp nkeys.KeyPair) ([]byte, error) {
	seed, err := kp.Seed()
	if err != nil {
		return nil, err
	}
	_, raw, err := nkeys.DecodeSeed(seed)
	return raw, err
}

// with returns the key that is shared with the owner of a public key.
func (c *curve) with(key string) (*[32]byte, error) {
	if shared, ok := c.shared.Get(key); ok {
		return shared, nil
	}
	raw, err := nkeys.Decode(nkeys.PrefixByteCurve, []byte(key))
	if err != nil || len(raw) != 32 {
		return nil, errNotCurveKey
	}
	shared := new([32]byte)
	box.Precompute(shared, (*[32]byte)(raw), &c.seed)
	c.shared.Add(key, shared)
	return shared, nil
}

// Open decrypts what the owner of a public key has sent.
func (c *curve) Open(data []byte, from string) ([]byte, error) {
	if len(data) <= boxHeader || string(data[:len(boxVersion)]) != boxVersion {
		return nil, errNotBox
	}
	shared, err := c.with(from)
	if err != nil {
		return nil, err
	}
	nonce := (*[nonceLen]byte)(data[len(boxVersion):boxHeader])
	out, ok := box.OpenAfterPrecomputation(nil, data[boxHeader:], nonce, shared)
	if !ok {
		return nil, errDecrypt
	}
	return out, nil
}

// Seal encrypts for the owner of a public key.
func (c *curve) Seal(data []byte, to string) ([]byte, error) {
	shared, err := c.with(to)
	if err != nil {
		return nil, err
	}
	out := make([]byte, boxHeader, boxHeader+len(data)+box.Overhead)
	copy(out, boxVersion)
	var nonce [nonceLen]byte
	_, _ = rand.Read(nonce[:]) // never fails; it would end the process
	copy(out[len(boxVersion):], nonce[:])
	return box.SealAfterPrecomputation(out, data, &nonce, shared), nil
}

// signer signs like the nkeys key pair that it contains.
type signer struct {
	nkeys.KeyPair
	private ed25519.PrivateKey
	public  string
}

func newSigner(kp nkeys.KeyPair) (*signer, error) {
	raw, err := rawSeed(kp)
	if err != nil {
		return nil, err
	}
	key, err := kp.PublicKey()
	return &signer{kp, ed25519.NewKeyFromSeed(raw), key}, err
}

func (s *signer) Sign(input []byte) ([]byte, error) { return ed25519.Sign(s.private, input), nil }

func (s *signer) PublicKey() (string, error) { return s.public, nil }
