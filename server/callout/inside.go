package callout

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nkeys"

	"stamp/server/callout/session"
	"stamp/server/conf"
)

// The part of a configuration that a handler inside the server needs: there, what
// the server knows already can be left out.

// inAccount is a source that keeps its sessions in an account of the server.
type inAccount interface{ InAccount() string }

// CheckInside tells what a handler inside the server has no use for, and which cookies never come to it.
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

// Complete gives the keys that the configuration does not have.
func (c *Config) Complete(issuer, xkey nkeys.KeyPair) (err error) {
	if c.keys.issuer == nil {
		c.keys.issuer, err = quick(issuer)
	}
	if c.keys.xkey == nil && err == nil {
		c.keys.xkey, err = quick(xkey)
	}
	return err
}

// PublicKeys returns the public keys for the server's auth_callout; that of the
// xkey is empty when there is none.
func (c *Config) PublicKeys() (issuer, xkey string) {
	if c.keys.issuer != nil {
		issuer = public(c.keys.issuer)
	}
	if c.keys.xkey != nil {
		xkey = public(c.keys.xkey)
	}
	return issuer, xkey
}

// Accounts names the accounts that the handler connects in, its own first.
func (c *Config) Accounts() []string {
	accounts := []string{c.Account}
	for _, source := range c.sources {
		if a, ok := source.Opener.(inAccount); ok && a.InAccount() != "" && !slices.Contains(accounts, a.InAccount()) {
			accounts = append(accounts, a.InAccount())
		}
	}
	return accounts
}

// SourcesIn is how many sources keep their sessions in each account that the handler connects in.
func (c *Config) SourcesIn() map[string]int {
	in := map[string]int{c.Account: 0}
	for _, source := range c.sources {
		if a, ok := source.Opener.(inAccount); ok {
			in[cmp.Or(a.InAccount(), c.Account)]++
		}
	}
	return in
}

// SlowestSource is the session source whose look-ups may take longest, and how long.
func (c *Config) SlowestSource() (name string, timeout time.Duration) {
	for _, source := range c.sources {
		if settings := source.Common(); settings.Timeout > timeout {
			name, timeout = settings.Name, settings.Timeout
		}
	}
	return name, timeout
}

// CheckGuests refuses a no_auth_user, the server's own or that of websocket or mqtt, that would take connections which
// the handler knows. The server makes a guest of whoever presents nothing in CONNECT, before it asks the handler; a
// cookie that is only forwarded, and without operators a user JWT, are nothing to it.
func (c *Config) CheckGuests(server, websocket, mqtt string) error {
	const hint = "hint: remove no_auth_user, and admit guests with a session source of kind anonymous"
	var errs []error
	for _, guest := range []struct{ block, user string }{{"", server}, {"websocket.", websocket}, {"mqtt.", mqtt}} {
		if taken := c.takenByGuests(guest.block == "mqtt."); guest.user != "" && taken != "" {
			errs = append(errs, fmt.Errorf("callout: %sno_auth_user would make a guest of a connection that brings %s\n%s", guest.block, taken, hint))
		}
	}
	return errors.Join(errs...)
}

// takenByGuests says what of what the handler accepts a server with a no_auth_user would overlook; empty: nothing.
// Over MQTT a user JWT comes as a password. A block without session sources is for a handler elsewhere, of which
// nothing is known.
func (c *Config) takenByGuests(mqtt bool) string {
	accepts := func(kind session.Kind) bool { return len(c.kinds) == 0 || c.kinds[kind] }
	if !c.Serves() && len(c.Request.Cookies) > 0 {
		return "a cookie of request.cookies alone"
	}
	if !c.Serves() && !mqtt {
		return "a user JWT, which the server tells a handler elsewhere"
	}
	for _, source := range c.sources {
		switch settings := source.Common(); {
		case settings.Cookie != "" && accepts(session.Cookie):
			return fmt.Sprintf("the cookie of the session source %s alone", settings.Name)
		case settings.Kind == "jwt" && !mqtt && accepts(session.JWT):
			return fmt.Sprintf("a user JWT for the session source %s", settings.Name)
		}
	}
	return ""
}

// Equal tells whether the other configuration means the same, wherever it
// stands in its file.
func (c *Config) Equal(other any) bool {
	o, ok := other.(*Config)
	if !ok || o == nil || c == nil {
		return ok && c == o
	}
	issuer, xkey := c.PublicKeys()
	otherIssuer, otherXKey := o.PublicKeys()
	return issuer == otherIssuer && xkey == otherXKey && c.files == o.files && c.Account == o.Account &&
		reflect.DeepEqual(c.block.Plain(), o.block.Plain())
}

// fileFields are the fields of all blocks that hold the path of a file, beside
// those whose name ends in _file.
var fileFields = []string{"file", "ca", "cert", "key", "creds"}

// hashFiles hashes what is in the files that a block names, and so changes under
// the same configuration. A field that turns out to name none (a key may be one of Redis)
// is left out.
func hashFiles(n conf.Node, into hash.Hash) {
	fields := n.Fields()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		item := fields[name]
		path, isText := item.Plain().(string)
		if isText && (slices.Contains(fileFields, name) || strings.HasSuffix(name, "_file")) {
			if content, err := conf.ReadFile(path); err == nil {
				sum := sha256.Sum256(content)
				into.Write(sum[:])
			}
		}
		for _, inner := range item.Items() {
			if inner.Fields() != nil {
				hashFiles(inner, into)
			}
		}
	}
}
