package session

import (
	"encoding/base64"

	"github.com/nats-io/nkeys"
)

// Signed tells whether the holder of the credential's nkey signed the server's nonce, which
// upstream's clients write in base64 of either kind (auth.go). Without a nonce nothing is proved:
// the signature of an empty one would be good for ever.
func (c *Credential) Signed() bool { return c.SignedBy(c.Nkey) }

// SignedBy tells the same of another public key.
func (c *Credential) SignedBy(public string) bool {
	if c.Nonce == "" || c.Signature == "" {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(c.Signature)
	if err != nil {
		if signature, err = base64.StdEncoding.DecodeString(c.Signature); err != nil {
			return false
		}
	}
	key, err := nkeys.FromPublicKey(public)
	return err == nil && key.Verify([]byte(c.Nonce), signature) == nil
}
