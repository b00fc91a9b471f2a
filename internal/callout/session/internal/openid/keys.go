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

// maxKeyAge is how long keys are used while the provider does not answer.
const maxKeyAge = 24 * time.Hour

// maxKeys is how many keys of a set are used. The signature of a token without a key id
// is verified with each of them.
const maxKeys = 64

var errManyWait = unavailable("too many tokens wait for the provider's keys")

var errNoKeys = errors.New("the provider has no key for a supported signature algorithm")

// Key is a key of the provider.
type Key struct {
	jose.JSONWebKey
	Issuer string // issuer of the tokens that the key may sign; "": the configured one. Providers with many tenants set it.
}

// tooEarly is the error of a token with an unknown key. The key may be a new one, but the
// keys were fetched too recently to fetch them again.
type tooEarly struct {
	*Unavailable
	until time.Time
}

func newTooEarly(until time.Time) *tooEarly {
	return &tooEarly{&Unavailable{
		reason: errors.New("the token's key is unknown and may be new, but the provider's keys were requested too recently to request them again"), RetryAfter: time.Until(until),
	}, until}
}

// Unwrap implements the interface of errors.As.
func (e *tooEarly) Unwrap() error { return e.Unavailable }

// findKeys returns the keys with a key id, or all keys if id is "". It returns no key and
// no error if the provider certainly has none with that id: its keys were fetched after
// the call began.
func (p *Provider) findKeys(ctx context.Context, id string) ([]Key, error) {
	began := time.Now()
	have := p.heldKeys(id)
	if len(have.keys) > 0 && (have.fresh || have.failing && have.usable) {
		return have.keys, nil
	}
	// Invented tokens must not occupy all look-ups while the provider is slow.
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
	if held := p.keys.snapshot(); held.age > time.Since(began) {
		return nil, newTooEarly(held.next)
	}
	return nil, nil
}

// heldKeys are stored keys and their state.
type heldKeys struct {
	keys    []Key
	fresh   bool // the keys need not be fetched again
	usable  bool // the keys may be used while the provider does not answer
	failing bool // the last request for keys failed; Provider.follow sends further ones
}

func (p *Provider) heldKeys(id string) heldKeys {
	held := p.keys.snapshot()
	h := heldKeys{
		fresh: held.age < p.cfg.KeysRefresh, usable: held.age < max(maxKeyAge, p.cfg.KeysRefresh), failing: held.failure != nil,
	}
	for _, key := range held.value {
		if id == "" || key.KeyID == id {
			h.keys = append(h.keys, key)
		}
	}
	return h
}

// parseKeys returns the keys of a set that can verify signatures. skipped is how many
// keys for signatures it leaves out, because they are invalid or too many. It ignores
// keys of unknown kinds and keys for encryption, as RFC 7517, section 5, says.
func parseKeys(body []byte) (keys []Key, skipped int, err error) {
	var list []json.RawMessage
	if members := object(body); members == nil || members["keys"] == nil || json.Unmarshal(members["keys"], &list) != nil || list == nil {
		return nil, 0, unavailable("get the provider's keys: the answer is not a set of keys")
	}
	for _, raw := range list {
		key, ok := parseKey(raw)
		switch {
		case ok && len(keys) < maxKeys:
			keys = append(keys, key)
		case mayBeForSignatures(raw):
			skipped++
		}
	}
	if len(keys) == 0 {
		return nil, skipped, errNoKeys
	}
	return keys, skipped, nil
}

// certificateMembers are the members of a key with its certificate. They are removed,
// because the certificate is not used and a faulty one must not make the key invalid.
var certificateMembers = []string{"x5c", "x5t", "x5t#S256", "x5u"}

func parseKey(raw []byte) (key Key, ok bool) {
	members := object(raw)
	if members == nil {
		return key, false
	}
	for _, name := range certificateMembers {
		delete(members, name)
	}
	text, err := json.Marshal(members)
	if err != nil || key.UnmarshalJSON(text) != nil {
		return key, false
	}
	if issuer, ok := members["issuer"]; ok && json.Unmarshal(issuer, &key.Issuer) != nil {
		return key, false
	}
	return key, (key.Use == "" || key.Use == "sig") && key.IsPublic() && key.Valid() && hasBoundedCost(key.Key)
}

// maxRSA is the maximum size of an RSA key in bits. The time of a verification grows with
// its square.
const maxRSA = 8192

// hasBoundedCost reports whether a verification with the key takes a bounded time.
func hasBoundedCost(key any) bool {
	k, ok := key.(*rsa.PublicKey)
	return !ok || k.N.BitLen() <= maxRSA && k.E > 2 && k.E <= math.MaxInt32 && k.E%2 == 1
}

// mayBeForSignatures reports whether the use of a key is signatures, or is missing or
// invalid.
func mayBeForSignatures(raw []byte) bool {
	members := object(raw)
	if members == nil {
		return true
	}
	var use string
	return members["use"] == nil || json.Unmarshal(members["use"], &use) != nil || use == "" || use == "sig"
}

// skippedKeys logs how many keys are skipped. It does so only if the number has changed,
// and not each time the keys are fetched.
type skippedKeys struct {
	mu       sync.Mutex
	reported int // last number
}

func (o *skippedKeys) report(log *slog.Logger, skipped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if skipped != o.reported && skipped > 0 {
		log.Warn("keys of the OpenID provider are skipped, because they cannot be read or are too many", "keys", skipped)
	}
	o.reported = skipped
}
