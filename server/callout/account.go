package callout

import (
	"maps"
	"slices"

	"stamp/server/conf"
)

// The account that authorization requests are sent in, and that no grant may put a user into. In
// operator mode an account is known by its public key, elsewhere by its name.

// DefaultAccount is where a handler inside the server listens when the configuration names no account.
const DefaultAccount = "CALLOUT"

// knownAccount returns that account as far as the configuration tells; empty: it does not.
func (c *Config) knownAccount() string {
	switch {
	case len(c.SigningKeys) == 0:
		return c.Account
	case c.IssuerAccount != "":
		return c.IssuerAccount
	case c.keys.issuer != nil:
		return public(c.keys.issuer)
	}
	return ""
}

// listedAccounts are all that the grants may name; empty: any.
func (c *Config) listedAccounts() []string { return slices.Sorted(maps.Keys(c.keys.accounts)) }

// CheckAccount returns an error with the place of each grant that can put a user into the account
// that authorization requests are sent in.
func (c *Config) CheckAccount(account string) error {
	var faults conf.Faults
	c.checkAccount(account, &faults)
	return faults.Err()
}

// CheckKnown returns an error with the place of each grant that names an account which is not known.
func (c *Config) CheckKnown(known func(account string) bool) error {
	var faults conf.Faults
	if c.grants != nil {
		c.grants.CheckKnown(known, &faults)
	}
	return faults.Err()
}

// checkConnection compares the account of the handler's connection, which is where authorization
// requests are sent, with what the configuration says.
func (c *Config) checkConnection(account string) error {
	if c.Account != "" && c.Account != account {
		var faults conf.Faults
		faults.Add(c.block.Get("account"), "account is %q, but the user of connect is in account %q", c.Account, account)
		return faults.Err()
	}
	if len(c.SigningKeys) == 0 && c.keys.issuer != nil && account == public(c.keys.issuer) {
		var faults conf.Faults
		faults.Add(c.block, needsSigningKeys)
		return faults.Err()
	}
	return c.CheckAccount(account)
}

// needsSigningKeys: a server with operators puts a user into the account that signs it, whatever
// the grant says.
const needsSigningKeys = "signing_keys is missing: without it, a server with operators puts all users into the account where authorization requests are sent"

func (c *Config) checkAccount(account string, faults *conf.Faults) {
	if c.grants == nil || account == "" {
		return
	}
	c.grants.CheckCallouts(func(name string) bool {
		if key, ok := c.keys.accounts[name]; ok {
			return key.account == account
		}
		return name == account
	}, c.listedAccounts(), faults)
}
