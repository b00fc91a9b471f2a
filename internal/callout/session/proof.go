package session

import (
	"encoding/base64"

	"github.com/nats-io/nkeys"
)

// Signed reports whether the credential's nkey signed the server's nonce. Clients
// encode the signature in base64, URL-safe or standard, and the server accepts both
// (upstream, auth.go). Without a nonce the result is false, because the signature of
// an empty nonce could be replayed on any connection.
func (c *Credential) Signed() bool { return c.SignedBy(c.Nkey) }

// SignedBy is Signed for the given public key.
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
