// Package policy decides which headers one connection gets.
//
// The sources, and what each may do:
//   - a user JWT that an account key signed, presented by the client or answered
//     by an auth callout: any headers claim
//   - a user JWT that a scoped signing key signed: only what the scope's template
//     in the account JWT says; a headers claim of its own refuses the connection,
//     or who holds such a key could write any header
//   - a user in the configuration: the headers in it
//
// Nobody in the system account is stamped: raft and several system services
// take messages for raw bytes.
package policy

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/nats-io/jwt/v2"

	"stamp/server/claim"
	"stamp/server/stamp"
)

// Faults of a connection, beside those of its claim.
var (
	ErrSystemAccount = errors.New("headers claim for a user of the system account, which is never stamped")
	ErrScoped        = errors.New("headers claim in a user JWT that a scoped signing key signed; its headers belong in the scope's template")
)

// Conn is what is known about a connection when it is authenticated.
type Conn struct {
	System bool // bound to the system account

	User *claim.Claim // of the user in the configuration, or nil

	UserJWT    string // verified by the server, or empty
	Scoped     bool   // UserJWT was signed by SigningKey, which has a scope
	SigningKey string
	AccountJWT string

	Vars Vars
}

// Rules are the settings of one server. The zero value has the defaults.
type Rules struct {
	Limits claim.Limits
}

// Stamp returns what is put on the messages of c, or nil for nothing. An error
// refuses the connection; it names headers, never values.
func (r Rules) Stamp(c Conn) (*stamp.Stamp, error) {
	cl, err := r.claim(c)
	if err != nil || cl == nil || len(cl.Headers) == 0 {
		return nil, err
	}
	if c.System {
		return nil, ErrSystemAccount
	}
	headers := make([]stamp.Header, len(cl.Headers))
	for i, h := range cl.Headers {
		headers[i] = stamp.Header(h)
	}
	return stamp.Compile(headers)
}

func (r Rules) claim(c Conn) (*claim.Claim, error) {
	if c.UserJWT == "" {
		if c.User == nil {
			return nil, nil
		}
		// Read before the limits were known.
		return c.User, c.User.Check(r.Limits)
	}
	cl, err := claim.FromUserJWT(c.UserJWT, r.Limits)
	if err != nil || !c.Scoped {
		return cl, err
	}
	if cl != nil {
		return nil, ErrScoped
	}
	tmpl, err := scopes.template(c.AccountJWT, c.SigningKey, r.Limits)
	if err != nil {
		return nil, fmt.Errorf("template of the signing key's scope: %w", err)
	}
	return expand(tmpl, c.Vars, r.Limits)
}

// ScopeChanged tells whether a signing key's template says something else in the
// one account JWT than in the other, for itself or because it tells the account's
// name or tags. A template that cannot be read differs.
func ScopeChanged(before, after, signingKey string) bool {
	a, errA := claim.FromAccountJWT(before, signingKey, claim.MaxLimits)
	b, errB := claim.FromAccountJWT(after, signingKey, claim.MaxLimits)
	if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
		return true
	}
	return tellsAccount(a) && labelsChanged(before, after)
}

// labelsChanged tells whether {{account-name()}} and {{account-tag(x)}} differ.
func labelsChanged(before, after string) bool {
	a, errA := jwt.DecodeAccountClaims(before)
	b, errB := jwt.DecodeAccountClaims(after)
	return errA != nil || errB != nil || a.Name != b.Name || !slices.Equal(a.Tags, b.Tags)
}

// scopes saves parsing the account JWT for each connection of an account.
var scopes scopeCache

// scopeCacheMax is how many templates are kept; all are dropped above it.
const scopeCacheMax = 1024

type scopeKey struct {
	accountJWT, signingKey string
	limits                 claim.Limits
}

type scopeCache struct {
	mu        sync.Mutex
	templates map[scopeKey]*claim.Claim
}

func (s *scopeCache) template(accountJWT, signingKey string, l claim.Limits) (*claim.Claim, error) {
	key := scopeKey{accountJWT, signingKey, l}
	s.mu.Lock()
	cl, ok := s.templates[key]
	s.mu.Unlock()
	if ok {
		return cl, nil
	}
	cl, err := claim.FromAccountJWT(accountJWT, signingKey, l)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.templates == nil || len(s.templates) >= scopeCacheMax {
		s.templates = make(map[scopeKey]*claim.Claim)
	}
	s.templates[key] = cl
	return cl, nil
}
