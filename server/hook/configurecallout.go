package hook

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout"
)

// configureCallout completes the options of a server that runs the callout handler inside: it adds
// the auth_callout block, the handler's account and its users. Each step reports all the faults that
// it finds.
func configureCallout(o *natsserver.Options, cfg *callout.Config) error {
	issuer, xkey, err := keys.handlerKeys()
	if err != nil {
		return err
	}
	if err := checkServer(o, cfg); err != nil {
		return err
	}
	if err := cfg.Complete(issuer, xkey); err != nil {
		return fmt.Errorf("callout: generated keys: %w", err)
	}
	if o.AuthCallout == nil {
		o.SetExtensionCallout(defaultAuthCallout(o, cfg))
	} else if err := checkAuthCallout(o.AuthCallout, cfg); err != nil {
		return err
	}
	if cfg.Account == "" {
		cfg.Account = o.AuthCallout.Account
	}
	exists := func(name string) bool {
		return name == cfg.Account || isBuiltIn(name) || findAccount(o, name) != nil
	}
	printCalloutWarnings(o, cfg)
	holdsBuckets := func(name string) bool {
		return name == cfg.Account || name == globalAccount || findAccount(o, name) != nil
	}
	err = errors.Join(cfg.CheckAccount(cfg.Account), cfg.CheckAccountsExist(exists), cfg.CheckSourceAccounts(holdsBuckets), checkLimits(o, cfg))
	if findAccount(o, cfg.Account) == nil && cfg.Account != globalAccount {
		err = errors.Join(err, cfg.CheckBuckets(cfg.Account))
		o.AddExtensionAccount(cfg.Account)
	}
	return errors.Join(err, addUsers(o, cfg))
}

// printCalloutWarnings prints the warnings of nats-server -t. A server that starts or reloads logs them.
func printCalloutWarnings(o *natsserver.Options, cfg *callout.Config) {
	if !o.CheckConfig {
		return
	}
	for _, text := range calloutWarnings(o, cfg) {
		fmt.Fprintf(os.Stderr, "nats-server: warning: %s\n", text)
	}
}

// calloutWarnings returns warnings about settings of the callout block that are allowed but seldom
// intended.
func calloutWarnings(o *natsserver.Options, cfg *callout.Config) []string {
	warnings := slices.Clone(cfg.Warnings())
	if o.SystemAccount != natsserver.DEFAULT_SYSTEM_ACCOUNT { // of which Warnings says it
		warnings = append(warnings, cfg.WarnSystem(o.SystemAccount)...)
	}
	warnings = append(warnings, cfg.WarnBuckets(func(account string) bool {
		a := findAccount(o, account)
		return a == nil || a.ConfiguredJetStream() // of accounts that are not in the configuration nothing is known
	})...)
	if source, longest := cfg.SlowestSource(); longest > cfg.CalloutTimeout(authTimeout(o)) {
		warnings = append(warnings, fmt.Sprintf("callout: the server waits %s for an answer (callout.timeout), and a look-up in the session source %s may take %s", cfg.CalloutTimeout(authTimeout(o)), source, longest))
	}
	if o.Websocket.Port != 0 && cfg.AcceptsCookies() {
		for _, text := range cfg.CookieWarnings(o.Websocket.TokenCookie) {
			warnings = append(warnings, "callout: "+text)
		}
	}
	return warnings
}

// CalloutTimeout implements natsserver.Extension. The server calls it when it begins a callout. Other
// authentications have authorization.timeout.
func (h *Hook) CalloutTimeout(s *natsserver.Server) time.Duration {
	o := s.RunningOptions()
	timeout := authTimeout(o)
	if cfg := calloutConfig(o); cfg != nil {
		timeout = cfg.CalloutTimeout(timeout)
	}
	h.renewer(s).sessions.outlive(timeout)
	return timeout
}

// authTimeout returns authorization.timeout, or its default.
func authTimeout(o *natsserver.Options) time.Duration {
	switch {
	case o.AuthTimeout != 0: // if it is negative, every callout fails
		return time.Duration(o.AuthTimeout * float64(time.Second))
	case o.TLSConfig != nil: // upstream, getDefaultAuthTimeout
		return time.Duration((cmp.Or(o.TLSTimeout, natsserver.TLS_TIMEOUT.Seconds()) + 1) * float64(time.Second))
	}
	return natsserver.AUTH_TIMEOUT
}

// addUsers adds the handler's own users: one in the handler's account, and one in each account that
// a session source uses.
func addUsers(o *natsserver.Options, cfg *callout.Config) error {
	for _, name := range cfg.Accounts() {
		account := findAccount(o, name)
		if account == nil && name != globalAccount {
			continue // CheckSourceAccounts reports it
		}
		kp, err := keys.user(name)
		if err != nil {
			return err
		}
		o.AddExtensionUser(&natsserver.NkeyUser{Nkey: public(kp), Account: account})
	}
	return nil
}

// defaultAuthCallout returns the auth_callout block for a configuration without one. Users of the
// configuration file are authenticated without a callout, as before.
func defaultAuthCallout(o *natsserver.Options, cfg *callout.Config) *natsserver.AuthCallout {
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

// checkAuthCallout refuses an auth_callout block of the configuration file that does not fit the
// handler.
func checkAuthCallout(ac *natsserver.AuthCallout, cfg *callout.Config) error {
	issuer, xkey := cfg.PublicKeys()
	errs := []error{
		checkAuthCalloutKey("issuer", ac.Issuer, issuer, cfg.Issuer != ""),
		checkAuthCalloutKey("xkey", ac.XKey, xkey, cfg.XKey != ""),
	}
	if cfg.Account != "" && ac.Account != cfg.Account {
		errs = append(errs, fmt.Errorf("callout: account is %q, but auth_callout.account is %q; they must be the same", cfg.Account, ac.Account))
	}
	return errors.Join(errs...)
}

// checkAuthCalloutKey returns an error unless a public key of the auth_callout block (configured) is
// the one of the handler. isSet says whether the callout block contains the handler's key. If not, the
// server has generated it, so the configuration cannot contain its public key.
func checkAuthCalloutKey(field, configured, handlers string, isSet bool) error {
	switch {
	case isSet && configured == handlers:
		return nil
	case !isSet && configured == "":
		return fmt.Errorf("callout: an auth_callout block needs the same %[1]s as the callout block: set %[1]s_file in callout, and auth_callout.%[1]s to its public key\nhint: nats-callout keys make creates the keys, and nats-callout keys show prints the blocks", field)
	case !isSet:
		return fmt.Errorf("callout: field %[1]q is missing: auth_callout.%[1]s is %[2]s, so set %[1]s_file in callout to a file with the seed of that key", field, configured)
	case configured == "":
		return fmt.Errorf("callout: auth_callout has no %[1]s, but callout has one: add auth_callout { %[1]s: %[2]s }", field, handlers)
	}
	return fmt.Errorf("callout: %[1]s is the seed of %[2]s; auth_callout.%[1]s is %[3]s", field, handlers, configured)
}
