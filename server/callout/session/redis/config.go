// Package redis finds sessions in Redis, or what speaks its protocol: under the
// credential's key is a JSON object in a string (connect-redis, which Express and Fastify use), a
// hash of fields, or a hash as Spring Session writes it.
//
// A session ends when its key is deleted or its TTL is over. The user of Redis
// needs the commands get, hgetall, pttl and ping, and read access to the keys. One server is
// asked: a client of Redis Cluster or Sentinel this is not.
package redis

import (
	"unicode/utf8"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/stored"
	"stamp/server/conf"
)

// Config is the block of a redis source.
type Config struct {
	session.Settings
	// URL is redis://[user:password@]host[:port][/database], rediss:// for TLS, or
	// unix:///path/of/socket[?db=database].
	URL      conf.Secret `conf:"url,required"`
	Username string      `conf:"username"`
	Password conf.Secret `conf:"password"`
	TLS      *TLS        `conf:"tls"`

	Key string `conf:"key"` // a text with {{ credential }} in it
	// Decode is how the credential is encoded: empty, "percent" (cookies of Express), or
	// "base64" (cookies of Spring Session).
	Decode       string  `conf:"decode"`
	SignedCookie *Signed `conf:"signed_cookie"`

	Form       string `conf:"form"`        // of the value: see Forms
	JSONFields bool   `conf:"json_fields"` // fields of a hash that are JSON are decoded
	Expires    string `conf:"expires"`     // field of the session, maybe a path: Unix seconds or RFC 3339

	server   server
	template stored.Template
}

// Signed is a credential that is signed as Express does, s:ID.HMAC, or as Fastify does, ID.HMAC.
type Signed struct {
	Format string `conf:"format"` // express, which is the default, or fastify
	// Secret and Secrets are what it may be signed with: the newest, and older ones.
	Secret  conf.Secret `conf:"secret"`
	Secrets []string    `conf:"secrets"`

	keys   [][]byte
	prefix string
}

// Forms of a value.
const (
	JSON   = "json"   // a string with a JSON object
	Hash   = "hash"   // a hash: its fields are the session's
	Spring = "spring" // a hash of Spring Session: its attributes are the session's fields
	Auto   = "auto"   // json or hash, whichever it is
)

// Parse reads and checks the block of a source; nothing is contacted.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{Settings: session.Defaults(), Key: "sess:" + stored.Whole, Form: Auto, Expires: "expires"}
	n.Decode(&cfg, faults)
	cfg.Check(n, faults)
	cfg.checkServer(n, faults)
	var err error
	if cfg.template, err = stored.ParseTemplate(cfg.Key); err != nil {
		faults.Add(n.Get("key"), "key: %v", err)
	}
	switch cfg.Form {
	case JSON, Hash, Spring, Auto:
	default:
		faults.Add(n.Get("form"), "form: unknown %q; expected one of json, hash, spring, auto", cfg.Form)
	}
	switch cfg.Decode {
	case "", "percent", "base64":
	default:
		faults.Add(n.Get("decode"), "decode: unknown %q; expected one of percent, base64", cfg.Decode)
	}
	if cfg.JSONFields && cfg.Form == JSON {
		faults.Add(n.Get("json_fields"), "json_fields is for hashes; form is json")
	}
	if cfg.SignedCookie != nil {
		cfg.SignedCookie.check(n.Get("signed_cookie"), faults)
	}
	return &cfg
}

func (s *Signed) check(n conf.Node, faults *conf.Faults) {
	switch s.Format {
	case "", "express":
		s.prefix = "s:"
	case "fastify":
	default:
		faults.Add(n.Get("format"), "signed_cookie: unknown format %q; expected one of express, fastify", s.Format)
	}
	for _, secret := range append([]string{s.Secret.Reveal()}, s.Secrets...) {
		if secret != "" {
			s.keys = append(s.keys, []byte(secret))
		}
	}
	s.Secrets = nil
	if len(s.keys) == 0 {
		faults.Add(n, "signed_cookie: secret is missing")
	}
}

// key returns the key for a credential. It is not ok when the credential cannot be
// one: its signature is wrong, or it has characters that no session id has. A colon is
// one of those: it separates the parts of keys, and would lead to other keys.
func (c *Config) key(credential string) (string, bool) {
	if len(credential) > stored.MaxCredential {
		return "", false
	}
	id, ok := decode(c.Decode, credential)
	if ok && c.SignedCookie != nil {
		id, ok = c.SignedCookie.unsign(id)
	}
	if !ok || id == "" {
		return "", false
	}
	for _, r := range id {
		if r <= ' ' || r >= utf8.RuneSelf || r == 0x7f || r == ':' {
			return "", false
		}
	}
	return c.template.Key(id), true
}
