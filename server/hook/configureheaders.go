package hook

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/policy"
)

// configureHeaders refuses a headers block that names unknown accounts, or with which a configured
// user could not connect.
func configureHeaders(o *natsserver.Options) error {
	r := rulesOf(o.ExtensionBlock("headers"))
	if o.CheckConfig {
		for _, text := range r.Warnings() {
			fmt.Fprintf(os.Stderr, "nats-server: warning: %s\n", text)
		}
	}
	operator := isOperatorMode(o)
	exists := func(name string) bool { return isBuiltIn(name) || findAccount(o, name) != nil }
	users := configuredUsers(o)
	if o.NoHeaderSupport && (r.StampsAll() || slices.ContainsFunc(users, policy.User.Stamped)) {
		return errNoHeaders
	}
	switch {
	case operator: // accounts and users are not known, but headers.all is for every user
		users = append(users, policy.User{Account: globalAccount})
	case len(users) == 0:
		users = []policy.User{{Account: globalAccount}}
	}
	return errors.Join(r.CheckAccounts(exists, operator), r.CheckUsers(users, maxPayload(o)), checkMetricsAddress(o))
}

var errNoHeaders = errors.New("no_header_support is set, so users with headers could not connect\nhint: remove no_header_support, or the headers of users and headers.all")

// configuredUsers returns the users of the configuration file for package policy.
func configuredUsers(o *natsserver.Options) []policy.User {
	var users []policy.User
	add := func(name string, account *natsserver.Account, headers natsserver.ConfigValue) {
		u := policy.User{Name: name, Account: globalAccount}
		if account != nil {
			u.Account = account.Name
			_, payload := account.ConfiguredLimits()
			u.MaxPayload = max(int(payload), 0)
		}
		u.System = u.Account == cmp.Or(o.SystemAccount, natsserver.DEFAULT_SYSTEM_ACCOUNT)
		if h, ok := headers.(userHeaders); ok {
			u.Claim = h.Claim
		}
		users = append(users, u)
	}
	for _, u := range o.Users {
		add(u.Username, u.Account, u.Headers)
	}
	for _, u := range o.Nkeys {
		add(u.Nkey, u.Account, u.Headers)
	}
	for _, u := range o.LeafNode.Users {
		add(u.Username, u.Account, u.Headers)
	}
	return users
}
