package hook

import (
	"errors"
	"fmt"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"stamp/server/callout"
)

// configureHeaders checks what the headers block says of accounts.
func configureHeaders(o *natsserver.Options) error {
	if o.Inbound == nil {
		return nil
	}
	r := rules(o.Inbound.Parsed["headers"])
	operator := len(o.TrustedOperators)+len(o.TrustedKeys) > 0
	known := func(name string) bool { return name == globalAccount || findAccount(o, name) != nil }
	return r.Check(known, operator)
}

// defaultCalloutAccount is where a handler inside the server listens, when the
// configuration names no account.
const defaultCalloutAccount = "CALLOUT"

const globalAccount = "$G"

// configure completes the options of a server whose handler is inside. All
// that is wrong is reported at once.
func (c *calloutHook) configure(o *natsserver.Options, cfg *callout.Config) error {
	if err := c.makeKeys(); err != nil {
		return err
	}
	if err := checkServer(o, cfg); err != nil {
		return err
	}
	if err := cfg.Complete(c.issuer, c.xkey); err != nil {
		return fmt.Errorf("callout: made keys: %w", err)
	}
	if o.AuthCallout == nil {
		o.AuthCallout = authCallout(o, cfg)
	} else if err := checkAuthCallout(o.AuthCallout, cfg); err != nil {
		return err
	}
	if cfg.Account == "" {
		cfg.Account = o.AuthCallout.Account
	}
	if findAccount(o, cfg.Account) == nil && cfg.Account != globalAccount {
		o.Accounts = append(o.Accounts, natsserver.NewAccount(cfg.Account))
		o.Inbound.Account = cfg.Account
	}
	return c.addUsers(o, cfg)
}

// addUsers adds the handler's own users: one in its account, and one in each account
// that a session source names.
func (c *calloutHook) addUsers(o *natsserver.Options, cfg *callout.Config) error {
	var errs []error
	for _, name := range cfg.Accounts() {
		account := findAccount(o, name)
		if account == nil && name != globalAccount {
			errs = append(errs, fmt.Errorf("callout: account %q of a session source is not in the configuration", name))
			continue
		}
		kp, err := c.userOf(name)
		if err != nil {
			return err
		}
		user := public(kp)
		o.Nkeys = append(o.Nkeys, &natsserver.NkeyUser{Nkey: user, Account: account})
		o.AuthCallout.AuthUsers = append(o.AuthCallout.AuthUsers, user)
	}
	return errors.Join(errs...)
}

// makeKeys makes the keys of a handler that has none configured. They are of the process,
// so that a reload, which reads the configuration anew, changes nothing.
func (c *calloutHook) makeKeys() (err error) {
	c.keys.Lock()
	defer c.keys.Unlock()
	if c.issuer != nil {
		return nil
	}
	if c.xkey, err = nkeys.CreateCurveKeys(); err == nil {
		c.issuer, err = nkeys.CreateAccount()
	}
	if err != nil {
		return fmt.Errorf("callout: make keys: %w", err)
	}
	return nil
}

// userOf returns the key of the handler's user in an account.
func (c *calloutHook) userOf(account string) (nkeys.KeyPair, error) {
	c.keys.Lock()
	defer c.keys.Unlock()
	if kp := c.users[account]; kp != nil {
		return kp, nil
	}
	kp, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("callout: make keys: %w", err)
	}
	c.users[account], c.own[public(kp)] = kp, true
	return kp, nil
}

// isOwn tells whether a user is the handler's.
func (c *calloutHook) isOwn(user string) bool {
	c.keys.Lock()
	defer c.keys.Unlock()
	return c.own[user]
}

// public returns the public key of a pair that was made or read, and so has one.
func public(kp nkeys.KeyPair) string {
	key, err := kp.PublicKey()
	if err != nil {
		panic(fmt.Sprintf("hook: public key of a key pair: %v", err))
	}
	return key
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
	errOperator = errors.New("callout: not inside a server with operators\nhint: run nats-callout as a process of its own")
	errToken    = errors.New("callout: authorization.token cannot be used beside the handler, which gets all tokens\nhint: make it a user with a password")
	errCluster  = errors.New("callout: servers of a cluster need the same issuer and xkey\nhint: nats-callout keys make")
	errOrigin   = errors.New("callout: the websocket takes a credential from a cookie without an allow-list of origins, so any page could use it\nhint: set websocket.allowed_origins or same_origin")
)

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
	if cookieWithoutOrigin(o, cfg) {
		errs = append(errs, errOrigin)
	}
	return errors.Join(append(errs, cfg.CheckInside()...)...)
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
		ac.Account = defaultCalloutAccount
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
	var errs []error
	if ac.Issuer != issuer {
		errs = append(errs, errors.New("callout: issuer is not the seed of auth_callout.issuer"))
	}
	if ac.XKey != xkey {
		errs = append(errs, errors.New("callout: xkey is not the seed of auth_callout.xkey"))
	}
	if cfg.Account != "" && ac.Account != cfg.Account {
		errs = append(errs, errors.New("callout: account and auth_callout.account differ"))
	}
	return errors.Join(errs...)
}
