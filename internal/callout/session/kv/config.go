// Package kv is a session source that reads a JetStream key-value bucket. The key of
// an entry is made from the credential; its value is a JSON object, the content of the
// session. The application writes the entry at login and deletes it at logout.
//
// A session ends when its entry is deleted or purged, when the TTL of the entry or of
// the bucket is over, or at the time in its field "expires", whichever is first. The
// source watches the bucket and sees a change within milliseconds.
//
// For a bucket named b, the user of the handler needs permission to subscribe to its
// inbox, and to publish to:
//
//	$JS.API.INFO
//	$JS.API.STREAM.INFO.KV_b
//	$JS.API.DIRECT.GET.KV_b.>
//	$JS.API.STREAM.MSG.GET.KV_b
//	$JS.API.CONSUMER.CREATE.KV_b.>
//	$JS.API.CONSUMER.DELETE.KV_b.>
//	$JS.API.CONSUMER.MSG.NEXT.KV_b.>
//
// With a domain d, these subjects begin with $JS.d.API instead of $JS.API.
package kv

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
	"stamp/internal/conf"
)

// Config is the block of a kv source.
type Config struct {
	session.Settings
	Bucket  string `conf:"bucket,required"`
	Account string `conf:"account"` // that has the bucket; default: the account of the handler's connection
	Place
	Key string `conf:"key"` // template of an entry's key; default: stored.CredentialKey
	// Hash is empty, or SHA256: then {{ credential }} in Key stands for the hash of the
	// credential. Whoever can read the bucket then cannot learn credentials from its keys.
	Hash    string `conf:"hash"`
	Expires string `conf:"expires"` // field of the session, or path, with its end; default: stored.DefaultExpiresField

	template stored.Template
	// decode, if not nil, makes the JSON object of a session from the value of an entry.
	decode func(key string, content []byte) ([]byte, error)
}

// Place says which JetStream has the bucket, if it is not that of the servers that the
// handler is connected to. A leaf node, for instance, reaches the JetStream of its hub
// by the hub's domain. At most one of the fields is set.
type Place struct {
	Domain    string `conf:"domain"`
	APIPrefix string `conf:"api_prefix"` // instead of $JS.API, for instance with an import of another account's API
}

// CheckPlace adds the faults of the fields in the block n.
func (p *Place) CheckPlace(n conf.Node, faults *conf.Faults) {
	if p.Domain != "" && p.APIPrefix != "" {
		faults.Add(n.Get("api_prefix"), "api_prefix: expected api_prefix or domain; found both")
	}
	if p.Domain != "" && !validToken(p.Domain) {
		faults.Add(n.Get("domain"), "domain: expected the name of a JetStream domain, which has no spaces, dots or wildcards; found %q", p.Domain)
	}
	if p.APIPrefix != "" && slices.ContainsFunc(strings.Split(p.APIPrefix, "."), func(t string) bool { return !validToken(t) }) {
		faults.Add(n.Get("api_prefix"), `api_prefix: expected a subject without wildcards, such as "$JS.hub.API"`)
	}
}

// JetStream returns the JetStream API at this place.
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

// validToken reports whether text is one literal token of a subject.
func validToken(text string) bool {
	return text != "" && !strings.ContainsAny(text, ".*> ") && stored.Printable(text)
}

// SHA256 is the value of Hash for keys with hex(sha256(credential)).
const SHA256 = "sha256"

var validBucket = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

const badBucket = "bucket: expected a name of letters, digits, - and _; found %q"

// Parse reads and checks the block of a source.
func Parse(n conf.Node, faults *conf.Faults) session.Opener {
	cfg := Config{Settings: session.Defaults(), Key: stored.CredentialKey, Expires: stored.DefaultExpiresField}
	n.Decode(&cfg, faults)
	cfg.Check(n, faults)
	cfg.CheckPlace(n, faults)
	if cfg.Bucket != "" && !validBucket.MatchString(cfg.Bucket) {
		faults.Add(n.Get("bucket"), badBucket, cfg.Bucket)
	}
	if cfg.Hash != "" && cfg.Hash != SHA256 {
		faults.Add(n.Get("hash"), "hash: expected %s; found %q", SHA256, cfg.Hash)
	}
	var err error
	if cfg.template, err = stored.ParseTemplate(cfg.Key); err != nil {
		faults.Add(n.Get("key"), "key: %v", err)
	} else if !validKey(cfg.template.Key("x")) {
		faults.Add(n.Get("key"), "key: expected letters, digits and - / _ = . without a dot at an end and without two dots in a row")
	}
	return &cfg
}

// Derived returns the configuration of a source for another kind of source that keeps
// its sessions in a bucket. The keys are hashes of credentials. decode makes the JSON
// object of a session from the value of its entry.
func Derived(at conf.Node, settings session.Settings, bucket, account string, place Place, decode func(key string, content []byte) ([]byte, error), faults *conf.Faults) *Config {
	cfg := &Config{Settings: settings, Bucket: bucket, Account: account, Place: place, Hash: SHA256, Key: stored.CredentialKey, Expires: stored.DefaultExpiresField, decode: decode}
	cfg.template, _ = stored.ParseTemplate(stored.CredentialKey)
	if !validBucket.MatchString(bucket) {
		faults.Add(at, badBucket, bucket)
	}
	return cfg
}

// InAccount returns the account that has the bucket; "" is the account of the handler's
// own connection.
func (c *Config) InAccount() string { return c.Account }

// KeyOf returns the key of the entry for a credential. template and hash are the
// fields key and hash of the configuration, where an empty template means the default.
// If the template, the hash or the resulting key is not valid, ok is false.
func KeyOf(template, hash, credential string) (key string, ok bool) {
	if template == "" {
		template = stored.CredentialKey
	}
	t, err := stored.ParseTemplate(template)
	if err != nil {
		return "", false
	}
	return keyOf(t, hash, credential)
}

// CheckKeyTemplate returns an error if the value of the field key is not valid. The empty one is the default.
func CheckKeyTemplate(template string) error {
	if template == "" {
		return nil
	}
	_, err := stored.ParseTemplate(template)
	return err
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
	// The credential is checked too: the template "a.{{ credential }}b" would make a valid
	// key from the invalid credential ".".
	if !validKey(credential) || !validKey(key) {
		return "", false
	}
	return key, true
}

// Expires returns the end of a session in one of its fields, as the source reads it; zero
// if the field has none. The error does not quote the value.
func Expires(data map[string]any, field string) (time.Time, error) {
	return stored.Expires(data, field)
}

// SessionKey returns the name of the session whose entry has the given key, which is
// also in session.Session.Key.
func SessionKey(key string) string { return stored.SessionKey(key) }

// validKey reports whether NATS clients accept the key of an entry. The key becomes
// part of a subject, so it must not have wildcards or empty tokens.
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
