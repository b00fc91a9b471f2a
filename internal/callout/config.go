// Package callout is an auth callout handler (NATS ADR-26). It tells the server who connects and
// what the connection may do. A session source (the packages below session) finds the session of a
// credential. The first matching grant (package grant) decides what the session gets. The answer is
// a user JWT with a headers claim.
//
// If the handler cannot establish who connects, it refuses the connection. No error and no log line
// contains a credential, or a value of a session.
package callout

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/grant"
	"stamp/internal/callout/session"
	"stamp/internal/callout/session/login"
	"stamp/internal/conf"
)

// Config is a valid callout block.
type Config struct {
	fields

	block    conf.Node
	files    [sha256.Size]byte // hash of the files that the block names
	keys     *keys
	sources  []source
	grants   *grant.Grants
	kinds    map[session.Kind]bool // accepted kinds of credentials; empty: all
	warnings []string
}

// fields is the callout block as it is written.
type fields struct {
	Issuer        conf.Secret          `conf:"issuer"`         // seed of an account key or of a signing key
	IssuerAccount string               `conf:"issuer_account"` // operator mode: public key of the account whose signing key Issuer is
	XKey          conf.Secret          `conf:"xkey"`           // seed of a curve key; default: requests are not encrypted
	XKeys         []string             `conf:"xkeys"`          // seeds of older xkeys, while servers get the new one
	XKeysFile     conf.Node            `conf:"xkeys_file"`     // path of a file with such seeds, one per line
	Account       string               `conf:"account"`        // callout account; not in operator mode
	SigningKeys   map[string]conf.Node `conf:"signing_keys"`
	Connect       *Connect             `conf:"connect"`
	Request       forwarded.List       `conf:"request"`
	Credential    []string             `conf:"credential"`
	HTTP          string               `conf:"http"`
	Queue         int                  `conf:"queue"`
	Timeout       time.Duration        `conf:"timeout"`     // how long the server waits for an answer; see CalloutTimeout
	QueueGroup    string               `conf:"queue_group"` // of the handlers that share the callouts; default: DefaultQueueGroup
	OnlyFrom      []string             `conf:"only_from"`   // names of clusters and servers that are answered; default: all
	UserKey       string               `conf:"user_key"`    // session or user: what can be revoked by a key; default: neither
	Sessions      []conf.Node          `conf:"sessions"`
	Grants        conf.Node            `conf:"grants"`
}

// How long the server may wait for an answer. On a busy machine even a callout that is answered from a
// cache takes longer than minTimeout. Each connection that waits takes memory.
const (
	minTimeout = 100 * time.Millisecond
	maxTimeout = 5 * time.Minute
)

// DefaultQueue is how many callouts may wait for a worker if queue is not set. maxQueue is its
// greatest value.
const (
	DefaultQueue = 65536
	maxQueue     = 1 << 20
)

// Load reads a configuration file. It contains a callout block, or the fields of that block at its
// top level. The error has one line for each fault.
func Load(file string) (*Config, error) {
	n, err := conf.ParseFile(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var faults conf.Faults
	if block := n.Get("callout"); !block.IsZero() {
		const outside = "%q is outside the callout block, so nats-callout does not read it; move it into callout { }"
		n.AddUnlisted([]string{"callout"}, &faults, outside)
		n = block
	}
	cfg := Parse(n, &faults)
	if CheckFIPS() != nil {
		return nil, faults.Err()
	}
	switch sessions := n.Get("sessions"); {
	case sessions.IsZero():
		faults.Add(n, "field %q is missing: without a session source every connection is refused", "sessions")
	case len(sessions.Items()) == 0:
		faults.Add(sessions, "sessions: expected at least one session source; found an empty list")
	}
	if !cfg.Serves() && cfg.Grants.IsZero() {
		faults.Add(n, missingGrants)
	}
	cfg.checkStandalone(n, &faults)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// Parse reads the block n and adds what is wrong to faults.
func Parse(n conf.Node, faults *conf.Faults) *Config {
	if err := CheckFIPS(); err != nil {
		faults.Add(n, "%v", err)
		return &Config{}
	}
	if !n.CheckBlock("callout", faults) {
		return &Config{}
	}
	n.AddRepeated("callout", faults)
	cfg := &Config{block: n, fields: fields{Queue: DefaultQueue, QueueGroup: DefaultQueueGroup}}
	n.Decode(&cfg.fields, faults)
	files := sha256.New()
	hashFiles(n, files)
	files.Sum(cfg.files[:0])
	cfg.keys = parseKeys(n, &cfg.fields, faults)
	if cfg.IssuerAccount != "" && len(cfg.SigningKeys) == 0 {
		faults.Add(n.Get("issuer_account"), needsSigningKeys)
	}
	cfg.parseKinds(n, faults)
	if cfg.UserKey != "" && cfg.UserKey != keyOfSession && cfg.UserKey != keyOfUser {
		faults.Add(n.Get("user_key"), "user_key: expected %q or %q; found %q", keyOfSession, keyOfUser, cfg.UserKey)
	}
	if cfg.UserKey != "" && len(cfg.SigningKeys) == 0 {
		faults.Add(n.Get("user_key"), "user_key is for servers with operators, whose accounts have revocations: signing_keys is missing")
	}
	if cfg.Queue < 1 || cfg.Queue > maxQueue {
		faults.Add(n.Get("queue"), "queue: expected 1 to %d; found %d", maxQueue, cfg.Queue)
		cfg.Queue = DefaultQueue
	}
	if at := n.Get("timeout"); !at.IsZero() && (cfg.Timeout < minTimeout || cfg.Timeout > maxTimeout) {
		faults.Add(at, "timeout: expected %s to %s; found %s", minTimeout, maxTimeout, cfg.Timeout)
	}
	if !isGroup(cfg.QueueGroup) {
		faults.Add(n.Get("queue_group"), "queue_group: expected 1 to 64 letters, digits, - and _; found %q", cfg.QueueGroup)
	}
	if at := n.Get("only_from"); !at.IsZero() && len(at.Items()) == 0 {
		faults.Add(at, "only_from: expected at least one name of a cluster or server; found an empty list; to answer all, leave the field out")
	}
	if len(cfg.OnlyFrom) > 0 && cfg.QueueGroup == DefaultQueueGroup {
		faults.Add(n.Get("only_from"), "only_from needs a queue_group of its own, since what it leaves out is not given to another handler of the group")
	}
	if cfg.HTTP != "" && !conf.IsListenAddress(cfg.HTTP) {
		faults.Add(n.Get("http"), `http: expected an address such as "127.0.0.1:8223"; found %q`, cfg.HTTP)
	}
	cfg.checkRequest(n.Get("request"), faults)
	cfg.Connect.check(n.Get("connect"), faults)
	cfg.sources = parseSources(n.Get("sessions"), faults)
	cfg.checkAddresses(faults)
	cfg.checkLogins(faults)
	cfg.checkCredentials(n.Get("credential"), faults)
	cfg.warnPlainHTTP()
	if !cfg.Serves() {
		if !cfg.Grants.IsZero() {
			faults.Add(cfg.Grants, "there are grants, but no sessions")
		}
		cfg.warnServesNot(n)
		return cfg
	}
	if cfg.Grants.IsZero() {
		faults.Add(n, missingGrants)
		return cfg
	}
	cfg.grants = grant.Parse(cfg.Grants, faults)
	if cfg.grants != nil && cfg.grants.Scoped() && len(cfg.SigningKeys) == 0 {
		// Without a scope, nothing would limit what its users may do.
		faults.Add(cfg.Grants, "scoped is for signing_keys, of servers with operators")
	}
	cfg.grants.CheckLists(cfg.listedAccounts(), faults)
	cfg.checkAccount(cfg.knownAccount(), faults)
	if cfg.grants != nil && faults.Err() == nil {
		cfg.warnings = append(cfg.warnings, cfg.grants.Warnings()...)
		cfg.warnings = append(cfg.warnings, cfg.WarnSystem("$SYS")...)
	}
	return cfg
}

const missingGrants = `field "grants" is missing: without a grant every connection is refused`

// warnServesNot warns of a block that starts no handler, unless it says what the server forwards to another one.
func (c *Config) warnServesNot(n conf.Node) {
	for name := range n.Fields() {
		if !strings.EqualFold(name, "request") {
			c.warnings = append(c.warnings, "callout: there are no sessions, so the server runs no handler; for one, add sessions and grants, and for a handler elsewhere leave only request in the block")
			return
		}
	}
	if len(n.Fields()) == 0 {
		c.warnings = append(c.warnings, "callout: the block is empty, so the server runs no handler")
	}
}

// isGroup reports whether a name can be a queue group and a token of a subject.
func isGroup(name string) bool {
	odd := func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, odd)
}

// Serves reports whether the block starts a handler. Without session sources, it only says what the
// server forwards to another handler.
func (c *Config) Serves() bool { return len(c.Sessions) > 0 }

// Warnings returns warnings of settings that are allowed but rarely intended.
func (c *Config) Warnings() []string { return c.warnings }

// kinds are the values of the field credential.
var kinds = []session.Kind{session.Cookie, session.Token, session.Password, session.Nkey, session.JWT, session.None}

// AcceptsCookies reports whether the handler accepts cookies as credentials.
func (c *Config) AcceptsCookies() bool { return len(c.kinds) == 0 || c.kinds[session.Cookie] }

func (c *Config) parseKinds(n conf.Node, faults *conf.Faults) {
	c.kinds = map[session.Kind]bool{}
	const expected = "cookie, token, password, nkey, jwt, none"
	list := n.Get("credential")
	if !list.IsZero() && len(list.Items()) == 0 {
		faults.Add(list, "credential: expected at least one of %s; found an empty list; to accept all kinds, leave the field out", expected)
	}
	for i, item := range list.Items() {
		if i >= len(c.Credential) {
			return
		}
		kind := session.Kind(c.Credential[i])
		if kind == "user_password" {
			kind = session.Password
		}
		if !slices.Contains(kinds, kind) {
			faults.Add(item, "credential: unknown kind %q; expected one of %s", kind, expected)
		}
		c.kinds[kind] = true
	}
}

// checkStandalone checks what a handler in a process of its own needs.
func (c *Config) checkStandalone(n conf.Node, faults *conf.Faults) {
	if !n.Has("issuer") {
		faults.Add(n, "field %q is missing: the seed of the account key that signs answers", "issuer")
	}
	if c.Account != "" && len(c.SigningKeys) > 0 {
		faults.Add(n.Get("account"), "account is not for servers with operators; here, the issuer tells it")
	}
	if len(c.Request.Cookies)+len(c.Request.Headers) > 0 {
		faults.Add(n.Get("request"), "request: belongs in the callout block of nats-server, which forwards the cookies and headers")
	}
	if n.Has("timeout") {
		faults.Add(n.Get("timeout"), "timeout: belongs in the callout block of nats-server, which waits for the answer; a session source has a timeout of its own")
	}
	for _, source := range c.sources {
		if a, ok := source.Opener.(inAccount); ok && a.InAccount() != "" && !c.Connect.hasAccount(a.InAccount()) {
			faults.Add(source.block.Get("account"), "account: connect has no login of account %q; add accounts { %q: { creds: ... } } to connect, or leave account out where the bucket is in the account of the handler", a.InAccount(), a.InAccount())
		}
	}
}

// pages is a source that listens for browsers.
type pages interface{ ListensAt() string }

// checkAddresses checks that no address is used twice, because the second listener would fail at
// the start.
func (c *Config) checkAddresses(faults *conf.Faults) {
	type taken struct{ by, at string }
	var all []taken
	if c.HTTP != "" {
		all = append(all, taken{"http", c.HTTP})
	}
	for _, source := range c.sources {
		p, ok := source.Opener.(pages)
		if !ok {
			continue
		}
		for _, other := range all {
			if conf.ListenersConflict(other.at, p.ListensAt()) {
				faults.Add(source.block.Get("listen"), "listen: the address of %s too", other.by)
			}
		}
		all = append(all, taken{"session source " + source.Common().Name, p.ListensAt()})
	}
}

// CheckListens returns an error if the block uses an address on which the server itself listens.
// taken is these addresses, by what listens there.
func (c *Config) CheckListens(taken map[string]string) error {
	var errs []error
	check := func(what, at string) {
		for _, by := range slices.Sorted(maps.Keys(taken)) {
			if conf.ListenersConflict(taken[by], at) {
				errs = append(errs, fmt.Errorf("callout: %s %q is the address of the server's %s too", what, at, by))
			}
		}
	}
	if c.HTTP != "" {
		check("http", c.HTTP)
	}
	for _, source := range c.sources {
		if p, ok := source.Opener.(pages); ok {
			check("session source "+source.Common().Name+": listen", p.ListensAt())
		}
	}
	return errors.Join(errs...)
}

// checkLogins checks that no two login sources share what each needs for itself.
func (c *Config) checkLogins(faults *conf.Faults) {
	for i, source := range c.sources {
		this, ok := source.Opener.(*login.Config)
		if !ok {
			continue
		}
		for _, before := range c.sources[:i] {
			other, ok := before.Opener.(*login.Config)
			if !ok {
				continue
			}
			for _, clash := range this.Clashes(other, c.Account) {
				at, theirs := placeOf(source.block, clash.Field), placeOf(before.block, clash.Field)
				faults.Add(at, "%s: %s of session source %s (%s) too; each login source needs its own", clash.Field, clash.What, other.Name, theirs.Place())
			}
		}
	}
}

// checkCredentials checks that each login source can be used with the accepted kinds of
// credentials.
func (c *Config) checkCredentials(list conf.Node, faults *conf.Faults) {
	accepts := func(kind session.Kind) bool { return len(c.kinds) == 0 || c.kinds[kind] }
	for _, source := range c.sources {
		l, ok := source.Opener.(*login.Config)
		if !ok {
			continue
		}
		cookies, tickets := l.Worker == nil && accepts(session.Cookie), l.Ticket > 0 && accepts(session.Token)
		switch {
		case l.Ticket > 0 && !tickets && !cookies:
			faults.Add(list, "credential: the tickets of session source %s come as tokens; add token", l.Name)
		case l.Ticket > 0 && !tickets:
			c.warnings = append(c.warnings, fmt.Sprintf("credential has no token: the tickets of session source %s open no connection", l.Name))
		case !tickets && !cookies:
			faults.Add(list, "credential: session source %s takes cookies alone; add cookie here, or ticket there", l.Name)
		}
	}
}

// placeOf returns a field of a block, or the block itself if it does not contain the field.
func placeOf(block conf.Node, field string) conf.Node {
	if n := block.Get(field); !n.IsZero() {
		return n
	}
	return block
}

// checkRequest checks the names of cookies and header fields in the block request.
func (c *Config) checkRequest(n conf.Node, faults *conf.Faults) {
	for _, list := range []struct {
		field string
		names []string
	}{{"cookies", c.Request.Cookies}, {"headers", c.Request.Headers}} {
		for _, name := range list.names {
			if !session.IsToken(name) {
				faults.Add(n.Get(list.field), "request: %s: %q cannot be a name", list.field, name)
			}
		}
	}
}
