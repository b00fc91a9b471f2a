// Package grant says what a session gets: which account, what it may publish and
// subscribe to, which headers are stamped on what it publishes, and until when.
//
// The first grant whose condition holds is the one. Policy: what is not certain is
// refused. A condition that cannot be judged ends the search, so that nobody gets to a
// later and perhaps laxer grant by making an earlier one fail; a template whose field is absent
// refuses the connection, and never becomes an empty header; and what comes out of a template is
// one literal subject token or one header value, so that no content of a
// session widens a permission.
//
// Conditions and what stands between {{ and }} in templates are expressions of
// github.com/expr-lang/expr over these variables:
//
//	session     the content of the session
//	credential  the cookie, token or JWT, as a string; absent for passwords and nkeys
//	request     host, type ("websocket", "nats", "mqtt"), kind ("Client", "Leafnode"), name, lang, mqtt_id,
//	            user, nkey, credential (its kind), headers, cookies, server, cluster
//	source      the name of the session source
//
// A field that is absent is nil, which equals nil alone: session.role == "admin" is
// false without a role, session.role != "guest" is true. Nothing is in it, and it begins with
// nothing; to order it, to negate it, to count it or to take a field of it is an error, which
// refuses. So is a condition that is neither true nor false: write session.admin == true
// where the field may be absent. session.a?.b and session.a ?? "b" work as elsewhere.
// request.user and request.nkey are those that the session source has verified, and empty
// where it has verified another credential.
//
// Functions are those of expr that are pure, quick, and give the same answer
// twice.
package grant

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"

	"stamp/server/callout/forwarded"
	"stamp/server/callout/session"
	"stamp/server/claim"
	"stamp/server/conf"
)

// DefaultExpires is how long a grant lasts that does not say.
const DefaultExpires = time.Hour

// Grants are the grants of a configuration, in their order. They may be used at
// the same time.
type Grants struct {
	list    []*grant
	request bool // an expression uses the variable request
}

// Result is what a connection gets. Parts of it are shared with other results:
// it is read only.
type Result struct {
	Grant   string          // name of the grant
	Account string          // name of the account that the user is in
	User    *jwt.UserClaims // to be signed; without subject, issuer and audience
	Claim   *claim.Claim    // what is stamped; nil: nothing
}

// Refusal is why a connection gets nothing. It names what of the configuration was
// not met, and holds no value of a session, credential or request.
type Refusal struct {
	Grant  string // empty: no grant matches
	Field  string // of the grant
	Reason string
}

func (r *Refusal) Error() string {
	if r.Grant == "" {
		return r.Reason
	}
	return "grant " + r.Grant + ": " + r.Field + ": " + r.Reason
}

// ErrNone: no grant's condition holds.
var ErrNone error = &Refusal{Reason: "no grant matches"}

// Scoped tells whether a grant leaves permissions to the signing key's scope.
func (g *Grants) Scoped() bool {
	return slices.ContainsFunc(g.list, func(one *grant) bool { return one.scoped })
}

// grant is one grant, compiled.
type grant struct {
	name       string
	when       *expression // nil: always
	scoped     bool        // what it allows is said by the signing key's scope
	account    *template
	accounts   []string  // that a template in account may name; empty: signing_keys are the list
	user       *template // nil: none
	publish    permission
	subscribe  permission
	response   *jwt.ResponsePermission
	networks   networks
	types      jwt.StringList
	limits     jwt.NatsLimits
	expires    time.Duration
	tags       []*template
	headers    headers
	tagsStatic jwt.TagList // of tags without an expression
	node       conf.Node
}

// ErrLate: an expression could not be evaluated in time. That says nothing about the session.
var ErrLate = errors.New("grants were not judged in time")

// Match returns what the first grant gives whose condition holds for the session.
// The error is a *Refusal, or ErrLate with what was being done.
func (g *Grants) Match(s *session.Session, r *session.Request, now time.Time) (*Result, error) {
	m := newMachine(s, r, g.request)
	defer m.release()
	for _, candidate := range g.list {
		matches, refusal := candidate.matches(m)
		if refusal != nil {
			return nil, m.judged(refusal)
		}
		if !matches {
			continue
		}
		result, refusal := candidate.give(m, s, r, now)
		if refusal != nil {
			return nil, m.judged(refusal)
		}
		return result, nil
	}
	return nil, ErrNone
}

// judged returns the error for a refusal.
func (m *machine) judged(r *Refusal) error {
	if m.meter.late {
		return fmt.Errorf("%w: %s", ErrLate, r.Error())
	}
	return r
}

func (g *grant) refuse(field, reason string) *Refusal { return &Refusal{g.name, field, reason} }

func (g *grant) matches(m *machine) (bool, *Refusal) {
	if g.when == nil {
		return true, nil
	}
	v, reason := g.when.run(m)
	if reason != "" {
		return false, g.refuse("when", reason)
	}
	switch v := v.(type) {
	case bool:
		return v, nil
	case nil:
		return false, g.refuse("when", g.when.source+" is absent, and neither true nor false")
	}
	return false, g.refuse("when", g.when.source+" is neither true nor false")
}

func (g *grant) give(m *machine, s *session.Session, r *session.Request, now time.Time) (*Result, *Refusal) {
	if !g.networks.contain(r.Host) {
		return nil, g.refuse("networks", "the connection comes from elsewhere")
	}
	result := &Result{Grant: g.name, User: &jwt.UserClaims{}}
	u := result.User
	if u.Expires = g.until(s, now); u.Expires <= now.Unix() {
		return nil, g.refuse("expires", "the session has ended")
	}
	var reason string
	if result.Account, reason = g.account.one(m); reason != "" {
		return nil, g.refuse("account", reason)
	}
	if len(g.accounts) > 0 && !slices.Contains(g.accounts, result.Account) {
		return nil, g.refuse("account", "gives an account that is not in accounts")
	}
	if g.user != nil {
		if u.Name, reason = g.user.one(m); reason != "" {
			return nil, g.refuse("user", reason)
		}
	}
	if u.Tags, reason = g.giveTags(m); reason != "" {
		return nil, g.refuse("tags", reason)
	}
	if g.scoped {
		return result, nil
	}
	if u.Pub, reason = g.publish.give(m); reason != "" {
		return nil, g.refuse("publish", reason)
	}
	if u.Sub, reason = g.subscribe.give(m); reason != "" {
		return nil, g.refuse("subscribe", reason)
	}
	u.Resp, u.AllowedConnectionTypes = g.response, g.types
	u.NatsLimits, u.Src = g.limits, g.networks.src
	var field string
	if result.Claim, field, reason = g.headers.give(m); reason != "" {
		return nil, g.refuse(field, reason)
	}
	return result, nil
}

// until returns the end of the grant in Unix seconds: never later than that of
// the session.
func (g *grant) until(s *session.Session, now time.Time) int64 {
	end := now.Add(g.expires)
	if !s.Expires.IsZero() && s.Expires.Before(end) {
		end = s.Expires
	}
	return end.Unix()
}

// giveTags returns the tags in lower case, as upstream keeps them.
func (g *grant) giveTags(m *machine) (jwt.TagList, string) {
	if len(g.tags) == 0 {
		return g.tagsStatic, ""
	}
	tags := append(jwt.TagList(nil), g.tagsStatic...)
	for _, t := range g.tags {
		values, reason := t.all(m)
		if reason != "" {
			return nil, reason
		}
		for _, tag := range values {
			// The whole tag: an expression may be no more than the end of a reserved beginning.
			if forwarded.IsReserved(tag) {
				return nil, "gives a tag that " + reservedTag
			}
		}
		tags.Add(values...)
	}
	return tags, ""
}
