package hook

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/policy"
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
	users = append(users, unnamedUsers(o)...)
	return errors.Join(r.CheckAccounts(exists, operator), r.CheckUsers(users, policyServer(o)), checkRemotes(o), checkMetricsAddress(o))
}

var errNoHeaders = errors.New("no_header_support is set, so users with headers could not connect\nhint: remove no_header_support, or the headers of users and headers.all")

// policyServer describes the server for package policy.
func policyServer(o *natsserver.Options) policy.Server {
	s := policy.Server{Name: o.ServerName, MaxPayload: maxPayload(o)}
	// A name on the command line takes the place of the one in the file. The server puts it into o later.
	if flags := natsserver.FlagSnapshot; flags != nil && flags.ServerName != "" {
		s.Name = flags.ServerName
	}
	return s
}

// configuredUsers returns the users of the configuration file for package policy.
func configuredUsers(o *natsserver.Options) []policy.User {
	var users []policy.User
	add := func(name string, account *natsserver.Account, headers natsserver.ConfigValue, types map[string]struct{}) {
		u := userIn(o, name, account)
		u.ConnectionType = shortestType(types)
		u.Certificate = verifiesCertificates(o, types)
		if h, ok := headers.(userHeaders); ok {
			u.Claim = h.Claim
		}
		users = append(users, u)
	}
	for _, u := range o.Users {
		add(u.Username, u.Account, u.Headers, u.AllowedConnectionTypes)
	}
	for _, u := range o.Nkeys {
		add(u.Nkey, u.Account, u.Headers, u.AllowedConnectionTypes)
	}
	clients := len(users)
	for _, u := range o.LeafNode.Users {
		add(u.Username, u.Account, u.Headers, leafnodeTypes)
	}
	if leaf := o.LeafNode.Username + o.LeafNode.Nkey; leaf != "" {
		add(leaf, accountNamed(o, o.LeafNode.Account), nil, leafnodeTypes)
	}
	for i := range users[clients:] {
		users[clients+i].Leafnode = true
	}
	return users
}

// unnamedUsers returns users that stand for those whom the configuration file does not name: everybody, on a
// server without users; users of an operator or of an auth callout. headers.all is for them too.
func unnamedUsers(o *natsserver.Options) []policy.User {
	var users []policy.User
	if isOperatorMode(o) || len(o.Users)+len(o.Nkeys) == 0 {
		users = append(users, userIn(o, "", nil))
	}
	// Of a handler elsewhere it is not known into which accounts it puts users.
	if c := calloutConfig(o); c != nil && c.Serves() {
		for _, name := range c.GrantAccounts() {
			if a := findAccount(o, name); a != nil {
				users = append(users, userIn(o, "", a))
			}
		}
	}
	return users
}

// userIn returns a user of the account, which is nil for the global one.
func userIn(o *natsserver.Options, name string, account *natsserver.Account) policy.User {
	u := policy.User{Name: name, Account: globalAccount}
	if account != nil {
		u.Account = account.Name
	}
	u.System = u.Account == cmp.Or(o.SystemAccount, natsserver.DEFAULT_SYSTEM_ACCOUNT)
	// The account of a leafnode's user has a name alone, so its limits are looked up.
	if a := findAccount(o, u.Account); a != nil {
		_, payload := a.ConfiguredLimits()
		limit := int(payload)
		u.MaxPayload = &limit
	}
	return u
}

// accountNamed returns the account of that name, or nil for the global one.
func accountNamed(o *natsserver.Options, name string) *natsserver.Account {
	if name == "" {
		return nil
	}
	return cmp.Or(findAccount(o, name), natsserver.NewAccount(name))
}

// leafnodeTypes are the connection types of users in leafnodes.authorization.
var leafnodeTypes = map[string]struct{}{jwt.ConnectionTypeLeafnode: {}, jwt.ConnectionTypeLeafnodeWS: {}}

// shortestType returns the shortest value of {{connection-type()}} for a user that may have connections of these
// types only; without any, it may have all.
func shortestType(types map[string]struct{}) string {
	shortest := ""
	for t := range types {
		value := "nats"
		switch t {
		case jwt.ConnectionTypeMqtt, jwt.ConnectionTypeMqttWS:
			value = "mqtt"
		case jwt.ConnectionTypeWebsocket:
			value = "websocket"
		case jwt.ConnectionTypeLeafnode, jwt.ConnectionTypeLeafnodeWS:
			value = "leafnode"
		}
		if shortest == "" || len(value) < len(shortest) {
			shortest = value
		}
	}
	return shortest
}

// verifiesCertificates reports whether a listener verifies client certificates on which a user may have connections
// of these types only; without any, it may have all.
func verifiesCertificates(o *natsserver.Options, types map[string]struct{}) bool {
	if flags := natsserver.FlagSnapshot; flags != nil && flags.TLSCaCert != "" {
		return true // --tlsverify: the server puts its settings into o later
	}
	for _, listener := range []struct {
		tls   *tls.Config
		types []string
	}{
		{o.TLSConfig, []string{jwt.ConnectionTypeStandard}},
		{o.MQTT.TLSConfig, []string{jwt.ConnectionTypeMqtt}},
		{o.LeafNode.TLSConfig, []string{jwt.ConnectionTypeLeafnode}},
		{o.Websocket.TLSConfig, []string{jwt.ConnectionTypeWebsocket, jwt.ConnectionTypeMqttWS, jwt.ConnectionTypeLeafnodeWS}},
	} {
		verifies := listener.tls != nil && listener.tls.ClientAuth >= tls.VerifyClientCertIfGiven
		mayConnect := len(types) == 0 || slices.ContainsFunc(listener.types, func(t string) bool {
			_, ok := types[t]
			return ok
		})
		if verifies && mayConnect {
			return true
		}
	}
	return false
}

// checkRemotes refuses headers of leafnode remotes. The parser of the server takes the field, as for users. But what
// comes over a remote was published at the other server, which knows by whom.
func checkRemotes(o *natsserver.Options) error {
	var errs []error
	for _, r := range o.LeafNode.Remotes {
		h, ok := r.Headers.(userHeaders)
		if !ok || len(h.Claim.Headers) == 0 {
			continue
		}
		var hosts []string // not the URLs, which may have passwords and tokens
		for _, u := range r.URLs {
			hosts = append(hosts, u.Host)
		}
		errs = append(errs, fmt.Errorf("leafnodes.remotes: headers: a remote cannot have headers, since messages that come from the other server were published there; found headers of the remote to %s\nhint: remove them; give headers to the users of the other server, or to the user that this server logs in as there", strings.Join(hosts, ", ")))
	}
	return errors.Join(errs...)
}
