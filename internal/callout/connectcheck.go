package callout

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"stamp/internal/conf"
)

// Checks in this file find, when the configuration is read, what nats.go would reject when it
// connects. They also find what nats.go accepts but nobody intends, such as the URL of a website,
// which would be tried for ever.

func (c *Connect) check(n conf.Node, faults *conf.Faults) {
	if c == nil {
		return
	}
	checkURLs(n.Get("urls"), c.URLs, faults)
	c.checkLogin(n, faults)
	if y := c.System; y != nil {
		at := n.Get("system")
		if y.System != nil {
			faults.Add(at.Get("system"), "system: cannot have another in it")
		}
		if y.Sentinel != "" || len(y.Accounts) > 0 {
			faults.Add(at, "system: accounts and sentinel are fields of connect")
		}
		y.check(at, faults)
		if len(loginsIn(at)) == 0 {
			faults.Add(at, "system: expected one of creds, nkey, user and token; found none")
		}
	}
	c.checkAccounts(n, faults)
	c.TLS.Config(n.Get("tls"), faults) // only for its faults: nats.go reads the files again for each connection
	checkInboxPrefix(n.Get("inbox_prefix"), c.InboxPrefix, faults)
}

// checkLogin checks the fields that say which user logs in.
func (c *Connect) checkLogin(n conf.Node, faults *conf.Faults) {
	if found := loginsIn(n); len(found) > 1 {
		faults.Add(n, "connect: expected one of creds, nkey, user and token; found %s", strings.Join(found, " and "))
	}
	if c.Password != "" && c.User == "" {
		written, at := n.Written("password")
		faults.Add(at, "%s: field %q is missing beside it", written, "user")
	}
	if c.Nkey != "" {
		parseSeed(n, "nkey", c.Nkey, nkeys.PrefixByteUser, faults)
	}
	checkCreds(n.Get("creds"), "creds", c.Creds, faults)
	checkCreds(n.Get("sentinel"), "sentinel", c.Sentinel, faults)
}

// checkCreds checks a creds file. Faults do not quote its content.
func checkCreds(at conf.Node, name, path string, faults *conf.Faults) {
	if path == "" {
		return
	}
	text, err := conf.ReadFile(path)
	if err != nil {
		faults.Add(at, "%s: %v", name, err)
		return
	}
	token, err := nkeys.ParseDecoratedJWT(text)
	user, errUser := jwt.DecodeUserClaims(token)
	if err != nil || errUser != nil {
		faults.Add(at, "%s: %s has no user JWT; expected a creds file, as nsc makes it", name, path)
		return
	}
	seed, err := nkeys.ParseDecoratedUserNKey(text)
	switch {
	case err != nil:
		faults.Add(at, "%s: %s has no seed of a user (SU...) beside the user JWT", name, path)
	case public(seed) != user.Subject:
		faults.Add(at, "%s: the seed in %s is not the one of its user JWT", name, path)
	}
}

// checkURLs checks the URLs of servers. Faults do not quote them, because they may contain a
// password.
func checkURLs(list conf.Node, urls []string, faults *conf.Faults) {
	web := 0
	for i, at := range list.Items() {
		if i >= len(urls) {
			break // a value that is not a string has been reported
		}
		scheme, fault := checkURL(urls[i])
		if fault != "" {
			faults.Add(at, "urls: expected a URL such as nats://127.0.0.1:4222, with nats, tls, ws or wss; %s", fault)
		}
		if scheme == "ws" || scheme == "wss" {
			web++
		}
	}
	if web > 0 && web < len(urls) {
		faults.Add(list, "urls: websockets (ws, wss) and other connections cannot be mixed")
	}
}

// checkURL returns the scheme of a URL, and what is wrong with the URL.
func checkURL(text string) (scheme, fault string) {
	if strings.ContainsAny(text, ", \t\r\n") {
		return "", "found a space or a comma; each URL is an item of the list"
	}
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", "found what is no URL"
	}
	port, err := strconv.Atoi(u.Port())
	switch {
	case u.Scheme != "nats" && u.Scheme != "tls" && u.Scheme != "ws" && u.Scheme != "wss":
		fault = "found another scheme"
	case u.Hostname() == "":
		fault = "found no host"
	case !conf.IsHost(u.Hostname()):
		fault = "found what is no name of a host"
	case u.Port() != "" && (err != nil || port < 1 || port > 65535):
		fault = "found a port that is not from 1 to 65535"
	case u.RawQuery != "" || u.Fragment != "":
		fault = "found ? or #"
	}
	return u.Scheme, fault
}

// checkInboxPrefix checks the prefix of the subjects on which answers arrive.
func checkInboxPrefix(at conf.Node, prefix string, faults *conf.Faults) {
	if at.IsZero() {
		return
	}
	odd := func(r rune) bool { return r <= ' ' || r == '*' || r == '>' || r == 0x7f }
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" || strings.ContainsFunc(token, odd) {
			faults.Add(at, "inbox_prefix: expected the beginning of a subject, such as _INBOX.handler, without wildcards, spaces and empty tokens; found %q", prefix)
			return
		}
	}
}
