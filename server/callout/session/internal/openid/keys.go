package openid

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// staleKeys is how long keys are used when the provider does not answer.
const staleKeys = 24 * time.Hour

// maxKeys is how many keys of a set are used: a token that names none is tried with each.
const maxKeys = 64

var errManyWait = unavailable("too many tokens wait for the provider's keys")

var errNoKeys = errors.New("the provider has no key that signs with an algorithm known here")

// Key is a key of the provider. Issuer is the only one whose tokens it may sign; empty: that of the
// configuration. Providers with many tenants say so in the member issuer of the key.
type Key struct {
	jose.JSONWebKey
	Issuer string
}

// tooEarly is the error of a token with a key that was not among the provider's when they were last asked for, which
// is too short a time ago to ask again: it may be a new one.
type tooEarly struct {
	*Unavailable
	until time.Time
}

func newTooEarly(until time.Time) *tooEarly {
	return &tooEarly{&Unavailable{
		reason: errors.New("the token's key may be a new one of the provider, whose keys were asked for just now"), RetryAfter: time.Until(until),
	}, until}
}

// Unwrap is for errors.As.
func (e *tooEarly) Unwrap() error { return e.Unavailable }

// find returns the keys that a token with that key id may be signed with; an empty id is any. None is
// an answer too: the provider, which was asked since, has no such key.
func (p *Provider) find(ctx context.Context, id string) ([]Key, error) {
	began := time.Now()
	have := p.heldKeys(id)
	if len(have.keys) > 0 && (have.fresh || have.failing && have.usable) {
		return have.keys, nil
	}
	// Made-up tokens must not take all look-ups while the provider is slow.
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > int64(p.cfg.Waiting) {
		return nil, errManyWait
	}
	err := p.keys.refresh(ctx)
	have = p.heldKeys(id)
	switch {
	case len(have.keys) > 0 && have.usable:
		return have.keys, nil
	case err != nil:
		return nil, err
	}
	if held := p.keys.held(); held.age > time.Since(began) {
		return nil, newTooEarly(held.next)
	}
	return nil, nil
}

// heldKeys are keys, and how far they are to be trusted.
type heldKeys struct {
	keys    []Key
	fresh   bool // not old yet
	usable  bool // old maybe, but good while the provider is away
	failing bool // newer ones were asked for, and did not come: follow goes on with that
}

func (p *Provider) heldKeys(id string) heldKeys {
	held := p.keys.held()
	h := heldKeys{
		fresh: held.age < p.cfg.KeysRefresh, usable: held.age < max(staleKeys, p.cfg.KeysRefresh), failing: held.failure != nil,
	}
	for _, key := range held.value {
		if id == "" || key.KeyID == id {
			h.keys = append(h.keys, key)
		}
	}
	return h
}

// parseKeys returns the keys of a set that signatures can be checked with, and how many are odd: not
// understood, though they are for signatures. One that is not understood does not spoil the others
// (RFC 7517, section 5): providers have keys for encryption, and of kinds newer than this.
func parseKeys(body []byte) (keys []Key, odd int, err error) {
	var list []json.RawMessage
	if members := object(body); members == nil || members["keys"] == nil || json.Unmarshal(members["keys"], &list) != nil || list == nil {
		return nil, 0, unavailable("get the provider's keys: the answer is not a set of keys")
	}
	for _, raw := range list {
		key, ok := parseKey(raw)
		switch {
		case ok && len(keys) < maxKeys:
			keys = append(keys, key)
		case forSignatures(raw):
			odd++
		}
	}
	if len(keys) == 0 {
		return nil, odd, errNoKeys
	}
	return keys, odd, nil
}

// certificates are the members of a key that are about its certificate. It is not used here, and one
// that cannot be read must not spoil the key.
var certificates = []string{"x5c", "x5t", "x5t#S256", "x5u"}

func parseKey(raw []byte) (key Key, ok bool) {
	members := object(raw)
	if members == nil {
		return key, false
	}
	for _, name := range certificates {
		delete(members, name)
	}
	text, err := json.Marshal(members)
	if err != nil || key.UnmarshalJSON(text) != nil {
		return key, false
	}
	if issuer, ok := members["issuer"]; ok && json.Unmarshal(issuer, &key.Issuer) != nil {
		return key, false
	}
	return key, (key.Use == "" || key.Use == "sig") && key.IsPublic() && key.Valid() && costsLittle(key.Key)
}

// maxRSA is how large an RSA key may be, in bits: the time of a check grows with the square of that.
const maxRSA = 8192

// costsLittle tells whether a check with a key takes a bounded time, whatever its numbers are.
func costsLittle(key any) bool {
	k, ok := key.(*rsa.PublicKey)
	return !ok || k.N.BitLen() <= maxRSA && k.E > 2 && k.E <= math.MaxInt32 && k.E%2 == 1
}

// forSignatures tells whether a key says that it is for signatures, or says nothing of its use.
func forSignatures(raw []byte) bool {
	members := object(raw)
	if members == nil {
		return true
	}
	var use string
	return members["use"] == nil || json.Unmarshal(members["use"], &use) != nil || use == "" || use == "sig"
}

// oddKeys remembers what was reported, so that there is one line and not one each hour.
type oddKeys struct {
	mu       sync.Mutex
	reported int
}

func (o *oddKeys) report(log *slog.Logger, odd int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if odd != o.reported && odd > 0 {
		log.Warn("keys of the OpenID provider that cannot be read, or are too many, are passed over", "keys", odd)
	}
	o.reported = odd
}
