// Package grant decides what a connection with a session gets: the account, the
// permissions, the headers that are stamped on its messages, and for how long. The
// first grant in the configuration whose condition holds applies.
//
// If anything is uncertain, the connection is refused:
//   - A condition that cannot be evaluated ends the search. Otherwise a client could
//     reach a later, wider grant by making an earlier condition fail.
//   - A template that reads an absent field refuses the connection. It never becomes an
//     empty text.
//   - An expression in a template gives one literal subject token, one name or one header
//     value, so that no content of a session can widen a permission.
//
// Conditions, and the parts of templates between {{ and }}, are expressions of
// github.com/expr-lang/expr over these variables:
//
//	session     the content of the session
//	credential  the cookie, token or JWT, as a string; absent for passwords and nkeys
//	request     host, type ("websocket", "nats", "mqtt"), kind ("Client", "Leafnode"), name, lang, mqtt_id,
//	            user, nkey, credential (its kind), headers, cookies, server, cluster
//	source      the name of the session source
//
// An absent field is nil, which equals only nil: without a role, session.role == "admin"
// is false and session.role != "guest" is true. x in nil and nil startsWith x are false.
// To compare nil by order, to negate it, to count it or to read a field of it is an
// error, and the connection is refused. A condition must be
// true or false: if the field may be absent, write session.admin == true. The operators
// session.a?.b and session.a ?? "b" work as in expr. request.user and request.nkey are
// set only if the session source has verified them, and empty otherwise.
//
// The functions are those of expr that depend only on their arguments and whose cost is
// bounded.
package grant

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"

	"stamp.example/claim"
	"stamp/internal/callout/forwarded"
	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

// DefaultExpires is how long a grant without the field expires lasts.
const DefaultExpires = time.Hour

// Grants are the grants of a configuration, in their order. They are safe for
// concurrent use.
type Grants struct {
	list    []*grant
	request bool // an expression uses the variable request
}

// Result is what a connection gets. It shares parts with other results and must not be
// modified.
type Result struct {
	Grant   string          // name of the grant
	Account string          // name of the user's account
	User    *jwt.UserClaims // to be signed; without subject, issuer and audience
	Claim   *claim.Claim    // headers and header permissions; nil: none
}

// Refusal is the reason why a connection gets nothing. It holds no value of a session,
// credential or request.
type Refusal struct {
	Grant  string // name of the grant; "": no grant matches
	Field  string // field of the grant that refuses
	Reason string
}

func (r *Refusal) Error() string {
	if r.Grant == "" {
		return r.Reason
	}
	return "grant " + r.Grant + ": " + r.Field + ": " + r.Reason
}

// ErrNone means that no grant has a condition that holds.
var ErrNone error = &Refusal{Reason: "no grant matches"}

// Scoped reports whether any grant leaves the permissions to the scope of the signing
// key.
func (g *Grants) Scoped() bool {
	return slices.ContainsFunc(g.list, func(one *grant) bool { return one.scoped })
}

// grant is a compiled grant.
type grant struct {
	name       string
	when       *expression // condition; nil: it always holds
	scoped     bool        // the scope of the signing key has the permissions
	account    *template
	accounts   []string  // that a template in account may name; empty: the accounts of signing_keys
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
	tagsStatic jwt.TagList // tags without an expression
	node       conf.Node   // for the place of warnings and faults
}

// ErrLate means that an expression could not be evaluated in time. It says nothing about
// the session.
var ErrLate = errors.New("the grants were not evaluated in time")

// Match returns what the session gets from the first grant whose condition holds. The
// error is a *Refusal, or wraps ErrLate.
func (g *Grants) Match(s *session.Session, r *session.Request, now time.Time) (*Result, error) {
	m := newMachine(s, r, g.request)
	defer m.release()
	for _, candidate := range g.list {
		matches, refusal := candidate.matches(m)
		if refusal != nil {
			return nil, m.matchError(refusal)
		}
		if !matches {
			continue
		}
		result, refusal := candidate.eval(m, s, r, now)
		if refusal != nil {
			return nil, m.matchError(refusal)
		}
		return result, nil
	}
	return nil, ErrNone
}

// matchError returns r as the error of Match. If a deadline has caused the refusal, the
// error is ErrLate.
func (m *machine) matchError(r *Refusal) error {
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
		return false, g.refuse("when", g.when.source+" is absent; expected true or false")
	}
	return false, g.refuse("when", g.when.source+" is neither true nor false")
}

func (g *grant) eval(m *machine, s *session.Session, r *session.Request, now time.Time) (*Result, *Refusal) {
	if !g.networks.contain(r.Host) {
		return nil, g.refuse("networks", "the client's address is in none of them")
	}
	result := &Result{Grant: g.name, User: &jwt.UserClaims{}}
	u := result.User
	if u.Expires = g.expiresAt(s, now); u.Expires <= now.Unix() {
		return nil, g.refuse("expires", "the session has ended")
	}
	var reason string
	if result.Account, reason = g.account.evalOne(m); reason != "" {
		return nil, g.refuse("account", reason)
	}
	if len(g.accounts) > 0 && !slices.Contains(g.accounts, result.Account) {
		return nil, g.refuse("account", "the template gives an account that is not in accounts")
	}
	if g.user != nil {
		if u.Name, reason = g.user.evalOne(m); reason != "" {
			return nil, g.refuse("user", reason)
		}
	}
	if u.Tags, reason = g.evalTags(m); reason != "" {
		return nil, g.refuse("tags", reason)
	}
	if g.scoped {
		return result, nil
	}
	if u.Pub, reason = g.publish.eval(m); reason != "" {
		return nil, g.refuse("publish", reason)
	}
	if u.Sub, reason = g.subscribe.eval(m); reason != "" {
		return nil, g.refuse("subscribe", reason)
	}
	u.Resp, u.AllowedConnectionTypes = g.response, g.types
	u.NatsLimits, u.Src = g.limits, g.networks.src
	var field string
	if result.Claim, field, reason = g.headers.eval(m); reason != "" {
		return nil, g.refuse(field, reason)
	}
	return result, nil
}

// expiresAt returns the end of the grant in Unix seconds. It is not later than the end
// of the session.
func (g *grant) expiresAt(s *session.Session, now time.Time) int64 {
	end := now.Add(g.expires)
	if !s.Expires.IsZero() && s.Expires.Before(end) {
		end = s.Expires
	}
	return end.Unix()
}

// evalTags returns the tags, in lower case like upstream.
func (g *grant) evalTags(m *machine) (jwt.TagList, string) {
	if len(g.tags) == 0 {
		return g.tagsStatic, ""
	}
	tags := append(jwt.TagList(nil), g.tagsStatic...)
	for _, t := range g.tags {
		values, reason := t.evalAll(m)
		if reason != "" {
			return nil, reason
		}
		for _, tag := range values {
			// The rule of the template sees only the value of the expression, not the whole tag.
			if forwarded.IsReserved(tag) {
				return nil, "gives a tag that " + reservedTag
			}
		}
		tags.Add(values...)
	}
	return tags, ""
}
