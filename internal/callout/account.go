package callout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"stamp/internal/conf"
)

// This file is about the callout account: the account in which servers send authorization requests.
// No grant may put a user into it. In operator mode an account is named by its public key,
// otherwise by its name.

// DefaultAccount is the callout account of a handler inside the server if the configuration names
// none.
const DefaultAccount = "CALLOUT"

// knownAccount returns the callout account, or an empty text if the configuration does not say
// which it is.
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

// listedAccounts returns all accounts that grants may name. If it is empty, they may name any
// account.
func (c *Config) listedAccounts() []string { return slices.Sorted(maps.Keys(c.keys.accounts)) }

// CheckAccount returns an error, with places, if grants can put a user into the callout account.
func (c *Config) CheckAccount(account string) error {
	var faults conf.Faults
	c.checkAccount(account, &faults)
	return faults.Err()
}

// CheckAccountsExist returns an error, with places, if grants name accounts that do not exist.
func (c *Config) CheckAccountsExist(exists func(account string) bool) error {
	var faults conf.Faults
	if c.grants != nil {
		c.grants.CheckAccountsExist(exists, &faults)
	}
	return faults.Err()
}

// CheckSourceAccounts returns an error, with its place, for each session source whose account does not exist.
func (c *Config) CheckSourceAccounts(exists func(account string) bool) error {
	var faults conf.Faults
	for _, s := range c.sources {
		if a, ok := s.Opener.(inAccount); ok && a.InAccount() != "" && !exists(a.InAccount()) {
			faults.Add(placeOf(s.block, "account"), "session source %s: account %q is not in the configuration", s.Common().Name, a.InAccount())
		}
	}
	return faults.Err()
}

// WarnSystem returns a warning, with its place, for each grant that can put users into the system
// account. Only the server's configuration says which account that is.
func (c *Config) WarnSystem(account string) []string {
	if c.grants == nil {
		return nil
	}
	return c.grants.WarnSystem(account)
}

// CheckBuckets returns an error for each session source whose bucket would be in account, which the
// server makes without JetStream.
func (c *Config) CheckBuckets(account string) error {
	var faults conf.Faults
	for _, s := range c.localBuckets() {
		if cmp.Or(s.account, account) == account {
			faults.Add(s.place, "session source %s: expected the account that has the bucket in the field account; found the account %s, which the server makes without JetStream", s.name, account)
		}
	}
	return faults.Err()
}

// WarnBuckets returns a warning, with its place, for each session source whose bucket is in an account without
// JetStream. Another server of the cluster may have the account with it, so this is no error.
func (c *Config) WarnBuckets(hasJetStream func(account string) bool) []string {
	var warnings []string
	for _, s := range c.localBuckets() {
		if account := cmp.Or(s.account, c.Account); !hasJetStream(account) {
			warnings = append(warnings, fmt.Sprintf("%s: session source %s: the account %s, which has the bucket, has no jetstream in this configuration; unless another server of the cluster has it, the bucket cannot be read", s.place.Place(), s.name, account))
		}
	}
	return warnings
}

// localBucket is a bucket that is on this server or in its cluster.
type localBucket struct {
	name    string // of the session source
	account string // empty: the handler's
	place   conf.Node
}

// localBuckets returns the buckets of session sources. A bucket of another JetStream domain is on another
// server, of which nothing is known.
func (c *Config) localBuckets() []localBucket {
	var buckets []localBucket
	for _, s := range c.sources {
		if a, ok := s.Opener.(inAccount); ok && s.block.Get("domain").IsZero() && s.block.Get("api_prefix").IsZero() {
			buckets = append(buckets, localBucket{s.Common().Name, a.InAccount(), placeOf(s.block, "account")})
		}
	}
	return buckets
}

// checkConnection checks that the handler is connected in the callout account of the configuration.
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

// needsSigningKeys is a fault in operator mode: there the account that signs a user JWT is the
// user's account, whatever the grant says.
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

// GrantAccounts returns the accounts into which the grants can put users.
func (c *Config) GrantAccounts() []string {
	return slices.Sorted(maps.Keys(c.grants.Accounts(c.listedAccounts())))
}
