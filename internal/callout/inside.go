package callout

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nkeys"

	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

// This file is the part of a configuration that a handler inside the server needs. There, fields
// that the server knows anyway can be left out.

// inAccount is a source that stores its sessions in an account of the server.
type inAccount interface{ InAccount() string }

// CheckInside returns errors for fields that a handler inside the server does not use, and for
// cookies that it would never get.
func (c *Config) CheckInside() []error {
	var errs []error
	if c.Connect != nil {
		errs = append(errs, &conf.Fault{Place: c.block.Get("connect").Place(), Text: "connect is for nats-callout only: the handler inside the server uses connections of its own. Remove it"})
	}
	if len(c.SigningKeys) > 0 || c.IssuerAccount != "" {
		errs = append(errs, errors.New("callout: signing_keys and issuer_account are for servers with operators, and so for nats-callout"))
	}
	return append(errs, c.CheckForwarded())
}

// Complete sets the keys that the configuration does not have.
func (c *Config) Complete(issuer, xkey nkeys.KeyPair) (err error) {
	if c.keys.issuer == nil {
		c.keys.issuer, err = fastKeyPair(issuer)
	}
	if c.keys.xkey == nil && err == nil {
		c.keys.xkey, err = fastKeyPair(xkey)
	}
	return err
}

// PublicKeys returns the public keys for the auth_callout block of the server. The xkey is empty if
// there is none.
func (c *Config) PublicKeys() (issuer, xkey string) {
	if c.keys.issuer != nil {
		issuer = public(c.keys.issuer)
	}
	if c.keys.xkey != nil {
		xkey = public(c.keys.xkey)
	}
	return issuer, xkey
}

// Accounts returns the accounts in which the handler connects, its own first.
func (c *Config) Accounts() []string {
	accounts := []string{c.Account}
	for _, source := range c.sources {
		if a, ok := source.Opener.(inAccount); ok && a.InAccount() != "" && !slices.Contains(accounts, a.InAccount()) {
			accounts = append(accounts, a.InAccount())
		}
	}
	return accounts
}

// SourcesIn returns how many sources store their sessions in each account in which the handler
// connects.
func (c *Config) SourcesIn() map[string]int {
	in := map[string]int{c.Account: 0}
	for _, source := range c.sources {
		if a, ok := source.Opener.(inAccount); ok {
			in[cmp.Or(a.InAccount(), c.Account)]++
		}
	}
	return in
}

// SlowestSource returns the name and the timeout of the session source with the longest timeout.
func (c *Config) SlowestSource() (name string, timeout time.Duration) {
	for _, source := range c.sources {
		if settings := source.Common(); settings.Timeout > timeout {
			name, timeout = settings.Name, settings.Timeout
		}
	}
	return name, timeout
}

// answerMargin is how much longer than a look-up the server waits by default: the handler stops half a
// second before the server does, and the callout takes a moment by itself.
const answerMargin = time.Second

// CalloutTimeout returns how long the server waits for the answer to a callout. By default a look-up in
// each source has the time that it may take, up to the longest timeout that can be configured, and it is not
// shorter than authorization.timeout.
func (c *Config) CalloutTimeout(authorization time.Duration) time.Duration {
	if c.Timeout > 0 || !c.Serves() {
		return cmp.Or(c.Timeout, authorization)
	}
	_, longest := c.SlowestSource()
	return max(authorization, min(longest+answerMargin, maxTimeout))
}

// CheckGuests returns an error if a no_auth_user, of the server or of its websocket or mqtt block,
// would get connections that the handler knows. The server gives no_auth_user to whoever presents
// nothing in CONNECT, before it asks the handler. It ignores a cookie that is only forwarded and,
// without operators, a user JWT.
func (c *Config) CheckGuests(server, websocket, mqtt string) error {
	const hint = "hint: remove no_auth_user, and admit guests with a session source of kind anonymous"
	var errs []error
	for _, guest := range []struct{ block, user string }{{"", server}, {"websocket.", websocket}, {"mqtt.", mqtt}} {
		if taken := c.takenByGuests(guest.block == "mqtt."); guest.user != "" && taken != "" {
			errs = append(errs, fmt.Errorf("callout: %sno_auth_user would admit as a guest, without asking the handler, a connection whose only credential is %s\n%s", guest.block, taken, hint))
		}
	}
	return errors.Join(errs...)
}

// takenByGuests returns the credentials that the handler accepts and a server with a no_auth_user
// would ignore. Over MQTT a user JWT comes as a password. A block without session sources is for a
// handler elsewhere, of which nothing is known.
func (c *Config) takenByGuests(mqtt bool) string {
	accepts := func(kind session.Kind) bool { return len(c.kinds) == 0 || c.kinds[kind] }
	if !c.Serves() && len(c.Request.Cookies) > 0 {
		return "a cookie of request.cookies"
	}
	if !c.Serves() && !mqtt {
		return "a user JWT, which a handler elsewhere may accept"
	}
	for _, source := range c.sources {
		switch settings := source.Common(); {
		case settings.Cookie != "" && accepts(session.Cookie):
			return fmt.Sprintf("the cookie of session source %q", settings.Name)
		case settings.Kind == "jwt" && !mqtt && accepts(session.JWT):
			return fmt.Sprintf("a user JWT for session source %q", settings.Name)
		}
	}
	return ""
}
