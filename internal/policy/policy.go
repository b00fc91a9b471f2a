// Package policy decides what one connection gets: the headers that the server
// stamps on its messages, the names that it may not publish, and the names that it
// may not receive. Rules.GrantFor returns the decision as a stamp.Stamp and a
// stamp.Seal.
//
// The headers of a connection come from
//   - the headers claim of its user JWT, which the client presented or an auth
//     callout answered, if an account key or an unscoped signing key signed it
//   - the template of a scope in the account JWT, if a scoped signing key signed the
//     user JWT. A headers claim in such a JWT refuses the connection: otherwise the
//     holder of the scoped key could stamp any header.
//   - a user in the configuration
//   - the headers block of the configuration (Rules), for every connection
//
// A user of the system account cannot have headers, but the headers block applies to
// it too. Package hook decides on which subjects nothing is added.
package policy

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/nats-io/jwt/v2"

	"stamp.example/claim"
	"stamp.example/claim/field"
	"stamp/internal/proof"
	"stamp/internal/stamp"
)

// Faults of a connection. Package claim has those of its claim.
var (
	ErrSystemAccount = errors.New("headers claim for a user of the system account, which cannot have headers; remove the claim")
	ErrScoped        = errors.New("headers claim in a user JWT that a scoped signing key signed; put the headers into the scope's template")
	ErrSetByServer   = errors.New("the server sets this header by headers.all; remove it here or there")
)

// Conn describes a connection that has been authenticated.
type Conn struct {
	System    bool   // it is bound to the system account
	MQTT      bool   // it is an MQTT client, for whose messages the server itself writes the header block
	Leafnode  bool   // it is a leafnode connection
	Solicited bool   // it is a leafnode connection that this server made, for a remote
	Account   string // name of the account; in operator mode its public key

	User *claim.Claim // claim of the configured user, or nil

	UserJWT    string     // verified by the server; empty for a configured user
	UserClaim  *UserClaim // what an earlier Grant read from UserJWT, which then is not needed any more
	Scoped     bool       // SigningKey has a scope
	SigningKey string     // public key that signed UserJWT
	AccountJWT string     // empty without operator mode

	Vars Vars
}

// UserClaim is what a user JWT says about headers. It is much smaller than the JWT.
type UserClaim struct {
	claim      *claim.Claim // nil if there is none
	lookalikes []string     // keys that seem to be meant for a claim but are ignored
}

// Grant is what a connection gets.
type Grant struct {
	Stamp        *stamp.Stamp // for messages that it publishes; nil: these are not changed
	Seal         *stamp.Seal  // for messages that it receives; nil: these are not changed
	CheckReplies bool         // refuse a message if it may not subscribe to the reply subject
	Names        []string     // stamped names, as spelled
	// Prover proves the stamped messages, with signatures on the subjects Sign; nil: they are not proven.
	Prover   *proof.Prover
	Sign     stamp.Subjects
	LeftOut  []string // names in its claim that are not stamped, since they are bound to other accounts
	HasClaim bool     // its user JWT, or the template of the scope, has a claim
	// UserClaim is what its user JWT says; nil without one.
	UserClaim *UserClaim
	// Keys of its user JWT, and of its account JWT, that seem to be meant for a claim but are ignored.
	Lookalikes, AccountLookalikes []string
}

// GrantFor returns what c gets. An error means that the connection must be refused.
// Its text names headers, but never their values.
func (r *Rules) GrantFor(c Conn) (*Grant, error) {
	r = r.orDefault()
	var account *accountScopes
	if c.AccountJWT != "" && c.hasUserJWT() {
		account = scopes.ofAccount(c.Account, c.AccountJWT)
	}
	var err error
	if c.UserClaim, err = c.readUserJWT(r.Limits); err != nil {
		return nil, err
	}
	cl, err := r.claimFor(c, account)
	if err != nil {
		return nil, err
	}
	hasClaim := cl != nil && c.UserClaim != nil
	if cl == nil {
		cl = &claim.Claim{}
	}
	if c.System && len(cl.Headers) > 0 {
		return nil, ErrSystemAccount
	}
	g := &Grant{CheckReplies: r.CheckReplies, HasClaim: hasClaim, UserClaim: c.UserClaim}
	if c.UserClaim != nil {
		g.Lookalikes = c.UserClaim.lookalikes
	}
	if account != nil {
		g.AccountLookalikes = account.lookalikes
	}
	headers, leftOut, err := r.headersFor(c, cl)
	if err != nil {
		return nil, err
	}
	g.LeftOut = leftOut
	g.Seal = stamp.NewSeal(r.compiled.without("sealed", r.compiled.sealed, cl.Subscribe))
	o := stamp.Options{Strip: r.stripSets(c, cl.Publish), Provenance: len(headers) > 0 && r.addsProvenance(c, cl.Publish), Account: c.Account}
	if len(headers) == 0 && len(o.Strip) == 0 {
		return g, nil
	}
	if err := r.Proof.addTo(g, &o, headers); err != nil {
		return nil, err
	}
	if g.Stamp, err = stamp.Compile(headers, o); err != nil {
		return nil, err
	}
	// The limits of claims are not above this one, but provenance comes on top.
	if n := g.Stamp.MaxLen(); n > claim.MaxBlock {
		return nil, fmt.Errorf("%w: found %d bytes, with the headers of provenance and the proof; at most %d are allowed", claim.ErrBlockTooLarge, n, claim.MaxBlock)
	}
	g.Names = g.Stamp.Names()
	return g, nil
}

func (c Conn) hasUserJWT() bool { return c.UserJWT != "" || c.UserClaim != nil }

// readUserJWT returns what the user JWT of c says, or nil if c has none. A claim that was read earlier is checked
// again, because a reload may have lowered the limits.
func (c Conn) readUserJWT(l claim.Limits) (*UserClaim, error) {
	switch {
	case c.UserClaim != nil && c.UserClaim.claim != nil:
		return c.UserClaim, c.UserClaim.claim.Check(l)
	case c.UserClaim != nil || c.UserJWT == "":
		return c.UserClaim, nil
	}
	cl, lookalikes, err := claim.ReadUserJWT(c.UserJWT, l)
	if err != nil {
		return nil, err
	}
	return &UserClaim{cl, lookalikes}, nil
}

// headersFor returns the headers to stamp: those of headers.all, then those of the
// claim. leftOut are the names in the claim that are bound to other accounts.
func (r *Rules) headersFor(c Conn, cl *claim.Claim) (headers []stamp.Header, leftOut []string, err error) {
	all, err := r.serverHeaders(c)
	if err != nil {
		return nil, nil, err
	}
	whole := &claim.Claim{Headers: all}
	var faults claim.Errors
	for _, h := range cl.Headers {
		switch {
		case r.allHas(h.Name):
			faults = append(faults, &claim.Error{Header: h.Name, Err: ErrSetByServer})
		case r.boundElsewhere(h.Name, c.Account):
			leftOut = append(leftOut, h.Name)
		default:
			whole.Headers = append(whole.Headers, h)
		}
	}
	if len(faults) > 0 {
		return nil, nil, faults
	}
	if len(all) > 0 { // else the claim has been checked on its own
		if err := whole.Check(r.Limits); err != nil {
			return nil, nil, err
		}
	}
	headers = make([]stamp.Header, len(whole.Headers))
	for i, h := range whole.Headers {
		headers[i] = stamp.Header(h)
	}
	return headers, leftOut, nil
}

// serverHeaders returns the headers of headers.all. It leaves out those that have no
// value for this connection. A connection that this server made to another server
// gets none, since its messages were published there.
func (r *Rules) serverHeaders(c Conn) ([]claim.Header, error) {
	if r.All == nil || c.Solicited {
		return nil, nil
	}
	var headers []claim.Header
	x := newExpansion(c.Vars)
	for _, h := range r.All.Headers {
		e, err := x.expandHeader(h)
		if errors.Is(err, ErrTemplateEmpty) {
			continue
		}
		if err != nil {
			return nil, claim.Errors{&claim.Error{Header: h.Name, Err: err}}
		}
		headers = append(headers, e)
	}
	// A template can give a value that is not a valid header value.
	return headers, (&claim.Claim{Headers: headers}).Check(r.Limits)
}

// addsProvenance reports whether the server adds provenance to stamped messages: not
// to those of a connection that sends it, since a message with two accounts would be
// of no use to a receiver.
func (r *Rules) addsProvenance(c Conn, permitted []string) bool {
	return r.Provenance && !r.sendsProvenance(c, permitted)
}

// sendsProvenance reports whether c may send the headers of provenance. Only a leafnode
// may, and only if it has permission for all of them: receivers use them together.
func (r *Rules) sendsProvenance(c Conn, permitted []string) bool {
	k := r.compiled
	return c.Leafnode && k.without("provenance", k.provenance, permitted).Empty()
}

// allHas reports whether headers.all has the name.
func (r *Rules) allHas(name string) bool {
	return r.All != nil && slices.ContainsFunc(r.All.Headers, func(h claim.Header) bool {
		return field.Fold(h.Name) == field.Fold(name)
	})
}

// boundElsewhere reports whether name is bound to accounts that do not include
// account.
func (r *Rules) boundElsewhere(name, account string) bool {
	bound := false
	for _, b := range r.compiled.boundNames {
		if b.set.Has([]byte(name)) {
			if slices.Contains(b.accounts, account) {
				return false
			}
			bound = true
		}
	}
	return bound
}

// stripSets returns the names that are removed from the messages of c: protected
// names that are not in permitted.
func (r *Rules) stripSets(c Conn, permitted []string) []*stamp.NameSet {
	if c.MQTT {
		return nil
	}
	k := r.compiled
	serverOnly, provenance := k.serverOnly, k.stripped
	if c.Solicited {
		serverOnly = k.without("server only", serverOnly, permitted)
	}
	if r.sendsProvenance(c, permitted) {
		provenance = k.without("proof", provenance, permitted)
	}
	sets := []*stamp.NameSet{serverOnly, provenance, k.without("protected", k.protected, permitted)}
	for i, b := range k.boundNames {
		if slices.Contains(b.accounts, c.Account) {
			sets = append(sets, k.without(fmt.Sprint("bound ", i), b.set, permitted))
		} else {
			sets = append(sets, b.set)
		}
	}
	return slices.DeleteFunc(sets, (*stamp.NameSet).Empty)
}

// claimFor returns the claim of c before rules apply, with its templates expanded,
// or nil. account is nil without an account JWT.
func (r *Rules) claimFor(c Conn, account *accountScopes) (*claim.Claim, error) {
	if c.UserClaim == nil {
		if c.User == nil {
			return nil, nil
		}
		// It was read without the limits of this server.
		if err := c.User.Check(r.Limits); err != nil {
			return nil, err
		}
		return expand(c.User, c.Vars, r.Limits)
	}
	cl := c.UserClaim.claim
	if c.Scoped && cl != nil {
		return nil, ErrScoped
	}
	tmpl, err := r.templateFor(c, account)
	if err != nil {
		return nil, fmt.Errorf("template of the signing key's scope: %w", err)
	}
	if !c.Scoped {
		return cl, nil
	}
	return expand(tmpl, c.Vars, r.Limits)
}

// templateFor returns the claim in the template of the scope of c's signing key, or
// nil. If the key is in the account JWT both with and without a scope, the server
// uses the one without, and c.Scoped is false. Such a key is refused, since it is
// not clear which entry is meant.
func (r *Rules) templateFor(c Conn, account *accountScopes) (*claim.Claim, error) {
	if account == nil {
		return nil, nil
	}
	tmpl, err := account.template(c.AccountJWT, c.SigningKey, r.Limits)
	if err == nil && tmpl != nil && !c.Scoped {
		err = claim.ErrSigningKey
	}
	return tmpl, err
}

// ScopeChanged reports whether a signing key's users get other headers from one
// account JWT than from the other: its template has changed, or it uses the name or
// tags of the account and these have changed. A template that cannot be read counts
// as changed.
func ScopeChanged(before, after, signingKey string) bool {
	a, errA := claim.FromAccountJWT(before, signingKey, claim.MaxLimits)
	b, errB := claim.FromAccountJWT(after, signingKey, claim.MaxLimits)
	if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
		return true
	}
	return usesAccount(a) && accountLabelsChanged(before, after)
}

// accountLabelsChanged reports whether the name or the tags of the account differ,
// for {{account-name()}} and {{account-tag(x)}}.
func accountLabelsChanged(before, after string) bool {
	a, errA := jwt.DecodeAccountClaims(before)
	b, errB := jwt.DecodeAccountClaims(after)
	return errA != nil || errB != nil || a.Name != b.Name || !slices.Equal(a.Tags, b.Tags)
}
