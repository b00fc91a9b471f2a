package hook

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout"
)

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
