// Package redis is a session source that reads Redis, or a server with the same
// protocol. The key is made from the credential. The value is a string with a JSON
// object (as connect-redis writes it for Express and Fastify), a hash whose fields are
// those of the session, or a hash of Spring Session.
//
// A session ends when its key is deleted or its TTL is over. The Redis user needs the
// commands get, hgetall, pttl and ping, and read access to the keys. The source asks one
// server; it supports neither Redis Cluster nor Sentinel.
package redis

import (
	"unicode/utf8"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/conf"
)

// Config is the block of a redis source.
type Config struct {
	session.Settings
	// URL is redis://[user:password@]host[:port][/database], rediss:// for TLS, or
	// unix:///path/of/socket[?db=database].
	URL      conf.Secret `conf:"url,required"`
	Username string      `conf:"username"` // default: that of the URL
	Password conf.Secret `conf:"password"` // default: that of the URL
	TLS      *conf.TLS   `conf:"tls"`

	Key string `conf:"key"` // template of the key in Redis; default: DefaultKey
	// Decode is how the credential is encoded: "" for not at all, "percent" (cookies of
	// Express), or "base64" (cookies of Spring Session).
	Decode       string  `conf:"decode"`
	SignedCookie *Signed `conf:"signed_cookie"` // default: the credential is not signed

	Form       string `conf:"form"`        // of the value: JSON, Hash, Spring or Auto; default: Auto
	JSONFields bool   `conf:"json_fields"` // decode those fields of a hash that are JSON; default: false
	Expires    string `conf:"expires"`     // field of the session, or path, with its end; default: stored.DefaultExpiresField

	server   server
	template stored.Template
}

// Signed says how the credential is signed, and with which secrets.
type Signed struct {
	Format string `conf:"format"` // "express" for s:ID.HMAC, or "fastify" for ID.HMAC; default: express
	// Secret and Secrets are the accepted secrets, usually the current one and older ones.
	Secret  conf.Secret `conf:"secret"`
	Secrets []string    `conf:"secrets"`

	keys   [][]byte
	prefix string
}

// DefaultKey is the default of Config.Key, with the prefix that connect-redis writes.
const DefaultKey = "sess:" + stored.CredentialKey

// Forms of a value.
const (
	JSON   = "json"   // a string with a JSON object
	Hash   = "hash"   // a hash; its fields are those of the session
	Spring = "spring" // a hash of Spring Session; its attributes are the fields of the session
	Auto   = "auto"   // JSON or Hash, by the type of the value
)

// Parse reads and checks the block of a source.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{Settings: session.Defaults(), Key: DefaultKey, Form: Auto, Expires: stored.DefaultExpiresField}
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
		faults.Add(n.Get("form"), "form: expected one of json, hash, spring, auto; found %q", cfg.Form)
	}
	switch cfg.Decode {
	case "", "percent", "base64":
	default:
		faults.Add(n.Get("decode"), "decode: expected one of percent, base64; found %q", cfg.Decode)
	}
	if cfg.JSONFields && cfg.Form == JSON {
		faults.Add(n.Get("json_fields"), "json_fields: expected form hash, spring or auto, because only hashes have fields; found form json")
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
		faults.Add(n.Get("format"), "signed_cookie: format: expected one of express, fastify; found %q", s.Format)
	}
	for _, secret := range append([]string{s.Secret.Reveal()}, s.Secrets...) {
		if secret != "" {
			s.keys = append(s.keys, []byte(secret))
		}
	}
	s.Secrets = nil
	if len(s.keys) == 0 {
		faults.Add(n, "signed_cookie: expected secret, secret_file or secrets; found none of them")
	}
}

// key returns the key in Redis for a credential. ok is false if the credential has a
// wrong signature, or characters that no session id has. The colon is one of these,
// because it separates the parts of keys: with it a client could choose other keys than
// those of sessions.
func (c *Config) key(credential string) (key string, ok bool) {
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
