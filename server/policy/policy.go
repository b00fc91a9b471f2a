// Package policy decides what one connection gets: the headers that are put on what it
// publishes, the names that it may not set, and those that it may not read.
//
// The sources, and what each may do:
//   - a user JWT that an account key signed, presented by the client or answered
//     by an auth callout: any headers claim
//   - a user JWT that a scoped signing key signed: only what the scope's template
//     in the account JWT says; a headers claim of its own refuses the connection,
//     or who holds such a key could write any header
//   - a user in the configuration: the headers in it
//   - the headers block of the configuration (Rules): on every connection
//
// Users of the system account cannot have headers of their own, but the headers block holds for them too. On
// which subjects nothing is added is not decided here: see package hook.
package policy

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/nats-io/jwt/v2"

	"stamp/server/claim"
	"stamp/server/field"
	"stamp/server/stamp"
)

// Faults of a connection, beside those of its claim.
var (
	ErrSystemAccount = errors.New("headers claim for a user of the system account, who cannot have headers of their own")
	ErrScoped        = errors.New("headers claim in a user JWT that a scoped signing key signed; its headers belong in the scope's template")
	ErrSetByServer   = errors.New("set by headers.all of the server")
)

// Conn is what is known about a connection when it is authenticated.
type Conn struct {
	System    bool   // bound to the system account
	MQTT      bool   // header blocks of its messages are the server's own
	Leafnode  bool   // a leafnode connection
	Solicited bool   // a leafnode connection that this server made
	Account   string // name of the account, its public key in operator mode

	User *claim.Claim // of the user in the configuration, or nil

	UserJWT    string // verified by the server, or empty
	Scoped     bool   // UserJWT was signed by SigningKey, which has a scope
	SigningKey string
	AccountJWT string

	Vars Vars
}

// Grant is what a connection gets.
type Grant struct {
	Stamp        *stamp.Stamp // for what it publishes; nil: that is left alone
	Seal         *stamp.Seal  // for what it is delivered; nil: that is left alone
	CheckReplies bool         // it must be able to hear the answers to what it publishes
	Names        []string     // stamped names, as spelled
	LeftOut      []string     // names of its claim that are bound to other accounts
	Claimed      bool         // its user JWT, or the scope of that, has a claim
	// Keys of its user JWT, and of its account JWT, that seem meant for a claim and are not read.
	Lookalikes, AccountLookalikes []string
}

// For returns what c gets. An error refuses the connection; it names headers, never
// values.
func (r *Rules) For(c Conn) (*Grant, error) {
	r = r.orDefault()
	var account *accountScopes
	if c.AccountJWT != "" && c.UserJWT != "" {
		account = scopes.of(c.Account, c.AccountJWT)
	}
	cl, err := r.claim(c, account)
	if err != nil {
		return nil, err
	}
	claimed := cl != nil && c.UserJWT != ""
	if cl == nil {
		cl = &claim.Claim{}
	}
	if c.System && len(cl.Headers) > 0 {
		return nil, ErrSystemAccount
	}
	g := &Grant{CheckReplies: r.CheckReplies, Claimed: claimed}
	if c.UserJWT != "" {
		g.Lookalikes = claim.Lookalikes(c.UserJWT)
	}
	if account != nil {
		g.AccountLookalikes = account.lookalikes
	}
	headers, err := r.headers(c, cl, g)
	if err != nil {
		return nil, err
	}
	g.Seal = stamp.NewSeal(r.compiled.without("sealed", r.compiled.seals, cl.Subscribe))
	o := stamp.Options{Strip: r.strip(c, cl.Publish), Provenance: len(headers) > 0 && r.provenance(c, cl.Publish), Account: c.Account}
	if len(headers) == 0 && len(o.Strip) == 0 {
		return g, nil
	}
	if g.Stamp, err = stamp.Compile(headers, o); err != nil {
		return nil, err
	}
	g.Names = g.Stamp.Names()
	return g, nil
}

// headers are those to be stamped: of the server, then of the claim. It notes the names that are left out.
func (r *Rules) headers(c Conn, cl *claim.Claim, g *Grant) ([]stamp.Header, error) {
	all, err := r.all(c)
	if err != nil {
		return nil, err
	}
	whole := &claim.Claim{Headers: all}
	var faults claim.Errors
	for _, h := range cl.Headers {
		switch {
		case r.setsAlways(h.Name):
			faults = append(faults, &claim.Error{Header: h.Name, Err: ErrSetByServer})
		case r.boundElsewhere(h.Name, c.Account):
			g.LeftOut = append(g.LeftOut, h.Name)
		default:
			whole.Headers = append(whole.Headers, h)
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	if len(all) > 0 {
		if err := whole.Check(r.Limits); err != nil {
			return nil, err
		}
	}
	headers := make([]stamp.Header, len(whole.Headers))
	for i, h := range whole.Headers {
		headers[i] = stamp.Header(h)
	}
	return headers, nil
}

// all are the headers of the server itself. One without a value for this connection is left
// out. On a connection that this server made to another, none are put: what comes from there
// was published there.
func (r *Rules) all(c Conn) ([]claim.Header, error) {
	if r.All == nil || c.Solicited {
		return nil, nil
	}
	var headers []claim.Header
	x := newExpansion(c.Vars)
	for _, h := range r.All.Headers {
		e, err := x.header(h)
		if errors.Is(err, ErrTemplateEmpty) {
			continue
		}
		if err != nil {
			return nil, claim.Errors{&claim.Error{Header: h.Name, Err: err}}
		}
		headers = append(headers, e)
	}
	// A name or a tag is not made to be a header value.
	return headers, (&claim.Claim{Headers: headers}).Check(r.Limits)
}

// provenance tells whether the server says in a stamped message where it comes from. A leafnode whose server may
// say that by itself is believed: of two accounts in one message, a receiver would believe neither.
func (r *Rules) provenance(c Conn, permitted []string) bool {
	k := r.compiled
	return r.Provenance && (!c.Leafnode || !k.without("provenance", k.provenance, permitted).Empty())
}

func (r *Rules) setsAlways(name string) bool {
	return r.All != nil && slices.ContainsFunc(r.All.Headers, func(h claim.Header) bool {
		return field.Fold(h.Name) == field.Fold(name)
	})
}

// boundElsewhere tells whether a name is bound to accounts, and account is none of
// them.
func (r *Rules) boundElsewhere(name, account string) bool {
	bound := false
	for _, b := range r.compiled.bound {
		if b.set.Has([]byte(name)) {
			if slices.Contains(b.accounts, account) {
				return false
			}
			bound = true
		}
	}
	return bound
}

// strip are the names that are taken off what c publishes: the protected ones that it is
// not permitted to set.
func (r *Rules) strip(c Conn, permitted []string) []*stamp.NameSet {
	if c.MQTT {
		return nil
	}
	k := r.compiled
	never, provenance := k.never, k.provenance
	if c.Solicited {
		never = k.without("never", never, permitted)
	}
	if c.Leafnode {
		provenance = k.without("provenance", provenance, permitted)
	}
	sets := []*stamp.NameSet{never, provenance, k.without("open", k.open, permitted)}
	for i, b := range k.bound {
		if slices.Contains(b.accounts, c.Account) {
			sets = append(sets, k.without(fmt.Sprint("bound ", i), b.set, permitted))
		} else {
			sets = append(sets, b.set)
		}
	}
	return slices.DeleteFunc(sets, (*stamp.NameSet).Empty)
}

func (r *Rules) claim(c Conn, account *accountScopes) (*claim.Claim, error) {
	if c.UserJWT == "" {
		if c.User == nil {
			return nil, nil
		}
		// Read before the limits were known.
		if err := c.User.Check(r.Limits); err != nil {
			return nil, err
		}
		return expand(c.User, c.Vars, r.Limits)
	}
	cl, err := claim.FromUserJWT(c.UserJWT, r.Limits)
	if err != nil {
		return nil, err
	}
	if c.Scoped && cl != nil {
		return nil, ErrScoped
	}
	tmpl, err := r.template(c, account)
	if err != nil {
		return nil, fmt.Errorf("template of the signing key's scope: %w", err)
	}
	if !c.Scoped {
		return cl, nil
	}
	return expand(tmpl, c.Vars, r.Limits)
}

// template is that of the scope of c's signing key, or nil. A key can have a scope with a template in the account JWT
// without Scoped: where it stands there as a key without a scope too, the server takes that one. Then nobody knows
// which was meant.
func (r *Rules) template(c Conn, account *accountScopes) (*claim.Claim, error) {
	if account == nil {
		return nil, nil
	}
	tmpl, err := account.template(c.AccountJWT, c.SigningKey, r.Limits)
	if err == nil && tmpl != nil && !c.Scoped {
		err = claim.ErrSigningKey
	}
	return tmpl, err
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
