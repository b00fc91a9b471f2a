package grant

import (
	"slices"

	"stamp/internal/conf"
)

// Authorization requests are sent in the account of the callout. A user in that account
// with wide permissions could answer the requests of others, or read the answers. So
// no grant may put a user there.

const (
	inCallouts = "account %q is where servers send authorization requests, so a connection there could answer those of others; name another account"
	needsList  = `account is a template, so it needs a list of the accounts that it may name, such as accounts: ["APP"]`
	noTemplate = "accounts: expected a template in account, because accounts lists what the template may name; found an account without {{ }}"
)

// CheckLists adds a fault for each grant whose account is a template without a list of
// the accounts that it may name. listed is a list for all grants without one of their
// own; it may be empty.
func (g *Grants) CheckLists(listed []string, faults *conf.Faults) {
	for _, one := range g.list {
		at := one.node.Get("accounts")
		switch {
		case one.account == nil: // reported
		case !one.account.static() && len(one.accounts) == 0 && len(listed) == 0:
			faults.Add(one.node.Get("account"), needsList)
		case one.account.static() && !at.IsZero():
			faults.Add(at, noTemplate)
		}
	}
}

// CheckAccountsExist adds a fault for each account that a grant names and that does not exist.
func (g *Grants) CheckAccountsExist(exists func(account string) bool, faults *conf.Faults) {
	for _, one := range g.list {
		at, names := one.node.Get("accounts"), one.accounts
		if one.account != nil && one.account.static() {
			at, names = one.node.Get("account"), one.account.fixed
		}
		for _, name := range names {
			if !exists(name) {
				faults.Add(at, "account %q is not in the configuration", name)
			}
		}
	}
}

// CheckCallouts adds a fault for each grant that can put a user into an account in which
// authorization requests are sent. forCallouts reports whether an account is such a
// one; listed is as for CheckLists.
func (g *Grants) CheckCallouts(forCallouts func(account string) bool, listed []string, faults *conf.Faults) {
	for _, one := range g.list {
		if one.account == nil {
			continue // reported
		}
		at, names := one.node.Get("account"), listed
		switch {
		case one.account.static():
			names = one.account.fixed
		case len(one.accounts) > 0:
			at, names = one.node.Get("accounts"), one.accounts
		}
		if i := slices.IndexFunc(names, forCallouts); i >= 0 {
			faults.Add(at, inCallouts, names[i])
		}
	}
}

// Accounts returns the accounts into which the grants can put users. The value is true
// if a grant for the account is scoped, so that its users need a scoped signing key.
// listed is as for CheckLists.
func (g *Grants) Accounts(listed []string) map[string]bool {
	scoped := map[string]bool{}
	for _, one := range g.list {
		names := listed
		switch {
		case one.account == nil:
			continue // reported
		case one.account.static():
			names = one.account.fixed
		case len(one.accounts) > 0:
			names = one.accounts
		}
		for _, name := range names {
			scoped[name] = scoped[name] || one.scoped
		}
	}
	return scoped
}
