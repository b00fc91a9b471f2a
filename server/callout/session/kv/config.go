// Package kv finds sessions in a JetStream key-value bucket: the entry under the
// credential's key is a JSON object, the content of the session. The
// application writes it at login and deletes it at logout.
//
// A session ends when its entry is deleted or purged, when the entry's own or the
// bucket's TTL is over, or at the time in its field "expires", whichever is first. The
// bucket is watched, so that a change is known here within milliseconds.
//
// The connection needs these permissions to publish, for a bucket named b, and to
// subscribe to its inbox:
//
//	$JS.API.INFO
//	$JS.API.STREAM.INFO.KV_b
//	$JS.API.DIRECT.GET.KV_b.>      $JS.API.STREAM.MSG.GET.KV_b  where direct get is off
//	$JS.API.CONSUMER.CREATE.KV_b.>
//	$JS.API.CONSUMER.DELETE.KV_b.>
//	$JS.API.CONSUMER.MSG.NEXT.KV_b.>
//
// With a domain d, $JS.d.API stands for $JS.API.
package kv

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/server/callout/session"
	"stamp/server/callout/session/internal/stored"
	"stamp/server/conf"
)

// Config is the block of a kv source.
type Config struct {
	session.Settings
	Bucket  string `conf:"bucket,required"`
	Account string `conf:"account"` // whose bucket it is
	Place
	Key string `conf:"key"` // of an entry: a text with {{ credential }} in it
	// Hash is empty, or SHA256: the entry is under the hash of the credential, so that
	// who can read the bucket cannot use what is in it.
	Hash    string `conf:"hash"`
	Expires string `conf:"expires"` // field of the session, maybe a path: Unix seconds or RFC 3339

	template stored.Template
	// decode makes the JSON object of an entry, which is read before its fields are; nil: it is one.
	decode func(key string, content []byte) ([]byte, error)
}

// Place is where the JetStream is that has a bucket, when it is not that of the servers that the handler
// is connected to: a leaf node reaches the JetStream of its hub by the hub's domain.
type Place struct {
	Domain    string `conf:"domain"`
	APIPrefix string `conf:"api_prefix"` // such as an import of $JS.API has; instead of domain
}

// CheckPlace adds what is wrong with the fields in the block n.
func (p *Place) CheckPlace(n conf.Node, faults *conf.Faults) {
	if p.Domain != "" && p.APIPrefix != "" {
		faults.Add(n.Get("api_prefix"), "api_prefix: use it or domain")
	}
	if p.Domain != "" && !validToken(p.Domain) {
		faults.Add(n.Get("domain"), "domain: expected the name of a JetStream domain, which has no spaces, dots and wildcards")
	}
	if p.APIPrefix != "" && slices.ContainsFunc(strings.Split(p.APIPrefix, "."), func(t string) bool { return !validToken(t) }) {
		faults.Add(n.Get("api_prefix"), `api_prefix: expected a subject without wildcards, such as "$JS.hub.API"`)
	}
}

// JetStream returns the API there.
func (p *Place) JetStream(nc *nats.Conn) (js jetstream.JetStream, err error) {
	switch {
	case p.Domain != "":
		js, err = jetstream.NewWithDomain(nc, p.Domain)
	case p.APIPrefix != "":
		js, err = jetstream.NewWithAPIPrefix(nc, p.APIPrefix)
	default:
		js, err = jetstream.New(nc)
	}
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return js, nil
}

// validToken tells whether text is one literal token of a subject.
func validToken(text string) bool {
	return text != "" && !strings.ContainsAny(text, ".*> ") && stored.Printable(text)
}

// SHA256 is the value of hash for keys made of hex(sha256(credential)).
const SHA256 = "sha256"

var validBucket = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// Parse reads and checks the block of a source; nothing is contacted.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{Settings: session.Defaults(), Key: stored.Whole, Expires: "expires"}
	n.Decode(&cfg, faults)
	cfg.Check(n, faults)
	cfg.CheckPlace(n, faults)
	if cfg.Bucket != "" && !validBucket.MatchString(cfg.Bucket) {
		faults.Add(n.Get("bucket"), "bucket: a name has letters, digits, - and _ only")
	}
	if cfg.Hash != "" && cfg.Hash != SHA256 {
		faults.Add(n.Get("hash"), "hash: unknown kind %q; known is %s", cfg.Hash, SHA256)
	}
	var err error
	if cfg.template, err = stored.ParseTemplate(cfg.Key); err != nil {
		faults.Add(n.Get("key"), "key: %v", err)
	} else if !validKey(cfg.template.Key("x")) {
		faults.Add(n.Get("key"), "key: not a valid key of a bucket: letters, digits, - / _ = and . inside only")
	}
	return &cfg
}

// Derived is a source for others that keep their sessions in a bucket, under the hashes of
// credentials, in a form of their own that decode knows.
func Derived(at conf.Node, settings session.Settings, bucket, account string, place Place, decode func(key string, content []byte) ([]byte, error), faults *conf.Faults) *Config {
	cfg := &Config{Settings: settings, Bucket: bucket, Account: account, Place: place, Hash: SHA256, Key: stored.Whole, Expires: "expires", decode: decode}
	cfg.template, _ = stored.ParseTemplate(stored.Whole)
	if !validBucket.MatchString(bucket) {
		faults.Add(at, "bucket: a name has letters, digits, - and _ only")
	}
	return cfg
}

// InAccount is the account whose bucket it is; empty: that of the handler's
// own connection.
func (c *Config) InAccount() string { return c.Account }

// KeyOf returns the key of the entry for a credential, by the fields key and hash
// of the configuration; an empty template is the credential itself. It is not ok when
// the credential cannot be one, or template or hash are not valid.
func KeyOf(template, hash, credential string) (key string, ok bool) {
	if template == "" {
		template = stored.Whole
	}
	t, err := stored.ParseTemplate(template)
	if err != nil {
		return "", false
	}
	return keyOf(t, hash, credential)
}

func keyOf(t stored.Template, hash, credential string) (string, bool) {
	if credential == "" || len(credential) > stored.MaxCredential {
		return "", false
	}
	switch hash {
	case "":
	case SHA256:
		sum := sha256.Sum256([]byte(credential))
		credential = hex.EncodeToString(sum[:])
	default:
		return "", false
	}
	key := t.Key(credential)
	// Both: "a.{{ credential }}.b" would turn a bad credential such as "*" or "." into
	// something else.
	if !validKey(credential) || !validKey(key) {
		return "", false
	}
	return key, true
}

// SessionKey returns the printable name of the session whose entry has the key:
// what session.Session.Key holds.
func SessionKey(key string) string { return stored.SessionKey(key) }

// validKey tells whether key may be one of a bucket, by the rules of NATS
// clients. It is a part of a subject, so wildcards and empty tokens must not pass.
func validKey(key string) bool {
	if key == "" || key[0] == '.' || key[len(key)-1] == '.' || strings.Contains(key, "..") {
		return false
	}
	for i := range len(key) {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '/', c == '_', c == '=', c == '.':
		default:
			return false
		}
	}
	return true
}
