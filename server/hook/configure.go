package hook

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout"
	"stamp/server/policy"
)

// configureHeaders checks what the headers block says of accounts, and whether all users could connect with it.
func configureHeaders(o *natsserver.Options) error {
	r := rulesOf(o.ExtensionBlock("headers"))
	if o.CheckConfig {
		for _, text := range r.Warnings() {
			fmt.Fprintf(os.Stderr, "nats-server: warning: %s\n", text)
		}
	}
	operator := isOperatorMode(o)
	known := func(name string) bool { return isBuiltIn(name) || findAccount(o, name) != nil }
	users := configuredUsers(o)
	if o.NoHeaderSupport && (r.StampsAll() || slices.ContainsFunc(users, policy.User.Stamped)) {
		return errNoHeaders
	}
	if len(users) == 0 && !operator {
		users = []policy.User{{Account: globalAccount}}
	}
	return errors.Join(r.CheckAccounts(known, operator), r.CheckUsers(users, maxPayload(o)))
}

// maxPayload is that of the server, in bytes.
func maxPayload(o *natsserver.Options) int {
	return cmp.Or(int(o.MaxPayload), natsserver.MAX_PAYLOAD_SIZE)
}

func isOperatorMode(o *natsserver.Options) bool {
	return len(o.TrustedOperators)+len(o.TrustedKeys) > 0
}

var errNoHeaders = errors.New("no_header_support is set, so nobody could connect who has headers\nhint: take it out, or the headers of users and headers.all")

// configuredUsers are the users of the configuration, as policy knows them.
func configuredUsers(o *natsserver.Options) []policy.User {
	var users []policy.User
	add := func(name string, account *natsserver.Account, headers natsserver.ConfigValue) {
		u := policy.User{Name: name, Account: globalAccount}
		if account != nil {
			u.Account = account.Name
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

const globalAccount = "$G"

// configureCallout completes the options of a server whose handler is inside. All
// that is wrong is reported at once.
func configureCallout(o *natsserver.Options, cfg *callout.Config) error {
	issuer, xkey, err := keys.handlerKeys()
	if err != nil {
		return err
	}
	if err := checkServer(o, cfg); err != nil {
		return err
	}
	if err := cfg.Complete(issuer, xkey); err != nil {
		return fmt.Errorf("callout: made keys: %w", err)
	}
	if o.AuthCallout == nil {
		o.SetExtensionCallout(authCallout(o, cfg))
	} else if err := checkAuthCallout(o.AuthCallout, cfg); err != nil {
		return err
	}
	if cfg.Account == "" {
		cfg.Account = o.AuthCallout.Account
	}
	known := func(name string) bool {
		return name == cfg.Account || isBuiltIn(name) || findAccount(o, name) != nil
	}
	if o.CheckConfig {
		for _, text := range calloutWarnings(o, cfg) {
			fmt.Fprintf(os.Stderr, "nats-server: warning: %s\n", text)
		}
	}
	err = errors.Join(cfg.CheckAccount(cfg.Account), cfg.CheckKnown(known), checkLimits(o, cfg))
	if findAccount(o, cfg.Account) == nil && cfg.Account != globalAccount {
		o.AddExtensionAccount(cfg.Account)
	}
	return errors.Join(err, addUsers(o, cfg))
}

// calloutWarnings are what the callout block allows, but is seldom meant.
func calloutWarnings(o *natsserver.Options, cfg *callout.Config) []string {
	warnings := slices.Clone(cfg.Warnings())
	if source, longest := cfg.SlowestSource(); longest > authTimeout(o) {
		warnings = append(warnings, fmt.Sprintf("callout: the server waits %s for an answer (authorization.timeout), and a look-up in the session source %s may take %s", authTimeout(o), source, longest))
	}
	if o.Websocket.Port != 0 && cfg.AcceptsCookies() {
		for _, text := range cfg.CookieWarnings(o.Websocket.TokenCookie) {
			warnings = append(warnings, "callout: "+text)
		}
	}
	return warnings
}

// authTimeout is how long the server waits for the answer to a callout.
func authTimeout(o *natsserver.Options) time.Duration {
	switch {
	case o.AuthTimeout != 0: // below 0, every callout is too late
		return time.Duration(o.AuthTimeout * float64(time.Second))
	case o.TLSConfig != nil: // upstream, getDefaultAuthTimeout
		return time.Duration((cmp.Or(o.TLSTimeout, natsserver.TLS_TIMEOUT.Seconds()) + 1) * float64(time.Second))
	}
	return natsserver.AUTH_TIMEOUT
}

// addUsers adds the handler's own users: one in its account, and one in each account
// that a session source names.
func addUsers(o *natsserver.Options, cfg *callout.Config) error {
	var errs []error
	for _, name := range cfg.Accounts() {
		account := findAccount(o, name)
		if account == nil && name != globalAccount {
			errs = append(errs, fmt.Errorf("callout: account %q of a session source is not in the configuration", name))
			continue
		}
		kp, err := keys.user(name)
		if err != nil {
			return err
		}
		o.AddExtensionUser(&natsserver.NkeyUser{Nkey: public(kp), Account: account})
	}
	return errors.Join(errs...)
}

func findAccount(o *natsserver.Options, name string) *natsserver.Account {
	for _, a := range o.Accounts {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// Faults of a server whose handler is inside.
var (
	errOperator        = errors.New("callout: not inside a server with operators\nhint: run nats-callout as a process of its own")
	errToken           = errors.New("callout: authorization.token cannot be used beside the handler, which gets all tokens\nhint: make it a user with a password")
	errCluster         = errors.New("callout: servers of a cluster need the same issuer and xkey\nhint: nats-callout keys make")
	errTimeout         = fmt.Errorf("callout: authorization.timeout is too short for any callout\nhint: at least %g", minAuthTimeout.Seconds())
	errLine            = errors.New("callout: max_control_line is too small for the handler's own connection\nhint: at least 1024")
	errNoHeaderSupport = errors.New("callout: no_header_support is set, and a callout has the server's key in a header\nhint: take it out")
	errNoSystem        = errors.New("callout: no_system_account is set, and the server asks the handler by way of the system account\nhint: take it out")
	errOrigin          = errors.New("callout: the websocket takes a credential from a cookie without an allow-list of origins, so any page could use it\nhint: set websocket.allowed_origins or same_origin")
)

// minAuthTimeout is less than a callout takes that is answered from a cache, on a machine with other work.
const minAuthTimeout = 100 * time.Millisecond

// minControlLine is more than the CONNECT of the handler has, in bytes.
const minControlLine = 1024

// isBuiltIn tells whether the server itself has an account of that name.
func isBuiltIn(name string) bool {
	return name == globalAccount || name == natsserver.DEFAULT_SYSTEM_ACCOUNT
}

// checkServer tells what of the server's configuration does not go with a
// handler inside.
func checkServer(o *natsserver.Options, cfg *callout.Config) error {
	var errs []error
	if len(o.TrustedOperators)+len(o.TrustedKeys) > 0 {
		errs = append(errs, errOperator)
	}
	if o.Authorization != "" || o.Websocket.Token != "" || o.MQTT.Token != "" {
		errs = append(errs, errToken)
	}
	if (o.Cluster.Port != 0 || o.Gateway.Name != "") && (cfg.Issuer == "" || cfg.XKey == "") {
		errs = append(errs, errCluster)
	}
	if authTimeout(o) < minAuthTimeout {
		errs = append(errs, errTimeout)
	}
	if o.NoHeaderSupport {
		errs = append(errs, errNoHeaderSupport)
	}
	if o.NoSystemAccount && o.SystemAccount == "" {
		errs = append(errs, errNoSystem)
	}
	if o.MaxControlLine > 0 && o.MaxControlLine < minControlLine {
		errs = append(errs, errLine)
	}
	if own := len(cfg.Accounts()); o.MaxConn > 0 && o.MaxConn <= own {
		errs = append(errs, fmt.Errorf("callout: max_connections: %d lets nobody in: the handler itself has %d of them\nhint: at least %d", o.MaxConn, own, own+1))
	}
	if cookieWithoutOrigin(o, cfg) {
		errs = append(errs, errOrigin)
	}
	errs = append(errs, cfg.CheckListens(listens(o)))
	return errors.Join(append(errs, cfg.CheckInside()...)...)
}

// listens are the addresses that the server listens on, by the names of their blocks.
func listens(o *natsserver.Options) map[string]string {
	all := map[string]string{}
	add := func(name, host string, port int) {
		if port > 0 {
			all[name] = net.JoinHostPort(host, strconv.Itoa(port))
		}
	}
	if !o.DontListen {
		add("listen", o.Host, cmp.Or(o.Port, natsserver.DEFAULT_PORT))
	}
	add("http", cmp.Or(o.HTTPHost, o.Host), o.HTTPPort)
	add("https", cmp.Or(o.HTTPHost, o.Host), o.HTTPSPort)
	add("prof_port", o.Host, o.ProfPort)
	add("websocket.listen", o.Websocket.Host, o.Websocket.Port)
	add("mqtt.listen", o.MQTT.Host, o.MQTT.Port)
	add("leafnodes.listen", o.LeafNode.Host, o.LeafNode.Port)
	add("cluster.listen", o.Cluster.Host, o.Cluster.Port)
	add("gateway.listen", o.Gateway.Host, o.Gateway.Port)
	return all
}

// checkGuests refuses a no_auth_user that would take connections which the handler knows.
func checkGuests(o *natsserver.Options, cfg *callout.Config) error {
	return errors.Join(cfg.CheckGuests(o.NoAuthUser, o.Websocket.NoAuthUser, o.MQTT.NoAuthUser), checkMQTTGuests(o, cfg))
}

// cookieWithoutOrigin tells whether a page of any origin may use a visitor's
// cookies.
func cookieWithoutOrigin(o *natsserver.Options, cfg *callout.Config) bool {
	w := &o.Websocket
	cookies := w.TokenCookie != "" || w.JWTCookie != "" || w.UsernameCookie != "" || w.PasswordCookie != ""
	if cfg != nil && len(cfg.Request.Cookies) > 0 {
		cookies = true
	}
	return w.Port != 0 && cookies && !w.SameOrigin && len(w.AllowedOrigins) == 0
}

// authCallout is the auth_callout block that nobody wrote. The users of the
// configuration log in as they did before.
func authCallout(o *natsserver.Options, cfg *callout.Config) *natsserver.AuthCallout {
	issuer, xkey := cfg.PublicKeys()
	ac := &natsserver.AuthCallout{Issuer: issuer, XKey: xkey, Account: cfg.Account}
	if ac.Account == "" {
		ac.Account = callout.DefaultAccount
	}
	for _, name := range []string{o.Username, o.Websocket.Username, o.MQTT.Username} {
		if name != "" {
			ac.AuthUsers = append(ac.AuthUsers, name)
		}
	}
	for _, u := range o.Users {
		ac.AuthUsers = append(ac.AuthUsers, u.Username)
	}
	for _, u := range o.Nkeys {
		ac.AuthUsers = append(ac.AuthUsers, u.Nkey)
	}
	return ac
}

// checkAuthCallout compares the auth_callout block that somebody wrote with the
// handler.
func checkAuthCallout(ac *natsserver.AuthCallout, cfg *callout.Config) error {
	issuer, xkey := cfg.PublicKeys()
	errs := []error{
		checkAuthCalloutKey("issuer", ac.Issuer, issuer, cfg.Issuer != ""),
		checkAuthCalloutKey("xkey", ac.XKey, xkey, cfg.XKey != ""),
	}
	if cfg.Account != "" && ac.Account != cfg.Account {
		errs = append(errs, errors.New("callout: account and auth_callout.account differ"))
	}
	return errors.Join(errs...)
}

// checkAuthCalloutKey compares a public key of an auth_callout block with the key of the handler. If the callout block
// has none (isSet is false), the handler's was made by the server, and nobody has seen it.
func checkAuthCalloutKey(field, written, handlers string, isSet bool) error {
	switch {
	case isSet && written == handlers:
		return nil
	case !isSet && written == "":
		return fmt.Errorf("callout: with an auth_callout block of your own, both need the same %[1]s: set %[1]s_file in callout, and auth_callout.%[1]s to its public key\nhint: nats-callout keys make makes the keys, and keys show prints the blocks", field)
	case !isSet:
		return fmt.Errorf("callout: field %[1]q is missing: auth_callout.%[1]s is %[2]s, so set %[1]s_file in callout to a file with the seed of that key", field, written)
	case written == "":
		return fmt.Errorf("callout: auth_callout has no %[1]s, and callout has one: add auth_callout { %[1]s: %[2]s }", field, handlers)
	}
	return fmt.Errorf("callout: %[1]s is the seed of %[2]s; auth_callout.%[1]s is %[3]s", field, handlers, written)
}
