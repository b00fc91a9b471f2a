package callout

import (
	"errors"
	"reflect"
	"slices"

	"github.com/nats-io/nkeys"
)

// The part of a configuration that a handler inside the server needs: there, what
// the server knows already can be left out.

// inAccount is a source that keeps its sessions in an account of the server.
type inAccount interface{ InAccount() string }

// CheckInside tells what a handler inside the server has no use for.
func (c *Config) CheckInside() []error {
	var errs []error
	if c.Connect != nil {
		errs = append(errs, errors.New("callout: connect is for nats-callout; a handler inside the server is connected"))
	}
	if len(c.SigningKeys) > 0 || c.IssuerAccount != "" {
		errs = append(errs, errors.New("callout: signing_keys and issuer_account are for servers with operators, and so for nats-callout"))
	}
	return errs
}

// Complete gives the keys that the configuration does not have.
func (c *Config) Complete(issuer, xkey nkeys.KeyPair) (err error) {
	if c.keys.issuer == nil {
		c.keys.issuer, err = quick(issuer)
	}
	if c.keys.xkey == nil && err == nil {
		c.keys.xkey, err = quick(xkey)
	}
	return err
}

// PublicKeys returns the public keys for the server's auth_callout; that of the
// xkey is empty when there is none.
func (c *Config) PublicKeys() (issuer, xkey string) {
	if c.keys.issuer != nil {
		issuer = public(c.keys.issuer)
	}
	if c.keys.xkey != nil {
		xkey = public(c.keys.xkey)
	}
	return issuer, xkey
}

// Accounts names the accounts that the handler connects in, its own first.
func (c *Config) Accounts() []string {
	accounts := []string{c.Account}
	for _, source := range c.sources {
		if a, ok := source.(inAccount); ok && a.InAccount() != "" && !slices.Contains(accounts, a.InAccount()) {
			accounts = append(accounts, a.InAccount())
		}
	}
	return accounts
}

// Equal tells whether the other configuration means the same, wherever it
// stands in its file.
func (c *Config) Equal(other any) bool {
	o, ok := other.(*Config)
	if !ok || o == nil || c == nil {
		return ok && c == o
	}
	a, b := c.fields, o.fields
	ak, bk := [2]string{}, [2]string{}
	ak[0], ak[1] = c.PublicKeys()
	bk[0], bk[1] = o.PublicKeys()
	if ak != bk || !reflect.DeepEqual(c.block.Plain(), o.block.Plain()) {
		return false
	}
	// What came from files: their content may differ under the same path.
	return a.Issuer == b.Issuer && a.XKey == b.XKey && a.Account == b.Account && reflect.DeepEqual(c.sources, o.sources)
}
