package policy

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/nats-io/nkeys"

	"stamp.example/claim"
	"stamp/internal/conf"
)

// Rules are the settings of a server's headers block. The zero value and nil have the
// defaults: no name is protected or sealed, and only claims and users have headers.
type Rules struct {
	Limits    claim.Limits
	Protected []Protected
	Sealed    []string     // names and patterns that only permitted connections receive
	All       *claim.Claim // headers for every connection; the values are templates
	// RequireStampingPeers refuses routes and gateways of servers that do not stamp.
	RequireStampingPeers bool
	// CheckReplies refuses a message if its publisher may not subscribe to the reply subject.
	CheckReplies bool
	// Provenance adds the account, the published subject and the time to each stamped message.
	Provenance bool
	// Proof is how stamped messages are proven; nil: they are not. It turns Provenance on.
	Proof *Proof
	// KeepTemplateHeaders refuses an account update that drops the headers of a scope's template.
	KeepTemplateHeaders bool
	// TrustedProxies are the proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Metrics is the address where the server shows its metrics, or empty.
	Metrics string

	compiled *compiled
	warnings []string
	places   places
}

// places are the places of the block and of some of its fields, for errors.
type places struct {
	block, maxHeaders, maxBytes conf.Place
	all                         map[string]conf.Place // by folded name
}

// Protected is an entry of the list protected.
type Protected struct {
	Name     string   // a name or a pattern
	Accounts []string // only connections of these may have or get permission for the header; empty: of all

	place conf.Place
}

// noRules are the rules of a server without a headers block.
var noRules = &Rules{compiled: (&Rules{}).compile()}

// orDefault returns r with its sets compiled. r may be nil or not parsed.
func (r *Rules) orDefault() *Rules {
	switch {
	case r == nil:
		return noRules
	case r.compiled == nil:
		with := *r
		with.compiled = r.compile()
		return &with
	}
	return r
}

// Equal reports whether other are rules with the same effect. The server's reload
// calls it.
func (r *Rules) Equal(other any) bool {
	o, ok := other.(*Rules)
	if !ok || r == nil || o == nil {
		return ok && r == o
	}
	settings := func(r *Rules) Rules {
		s := *r
		s.compiled, s.warnings, s.places, s.Proof = nil, nil, places{}, nil
		s.Protected = slices.Clone(s.Protected)
		for i := range s.Protected {
			s.Protected[i].place = conf.Place{}
		}
		return s
	}
	return reflect.DeepEqual(settings(r), settings(o)) && r.Proof.equal(o.Proof)
}

// Warnings returns what the block allows although it protects less than it seems to.
func (r *Rules) Warnings() []string {
	if r == nil {
		return nil
	}
	return r.warnings
}

// MetricsAddress returns the address where the server shows its metrics, or an empty text.
func (r *Rules) MetricsAddress() string {
	if r == nil {
		return ""
	}
	return r.Metrics
}

// RequiresStampingPeers reports whether servers that do not stamp are refused.
func (r *Rules) RequiresStampingPeers() bool { return r != nil && r.RequireStampingPeers }

// StampsAll reports whether every connection has headers, by headers.all.
func (r *Rules) StampsAll() bool { return r != nil && r.All != nil }

// ProtectsOrSeals reports whether there are protected or sealed names.
func (r *Rules) ProtectsOrSeals() bool { return r != nil && len(r.Protected)+len(r.Sealed) > 0 }

// KeepsTemplateHeaders reports whether account updates that drop the headers of a template are refused.
func (r *Rules) KeepsTemplateHeaders() bool { return r != nil && r.KeepTemplateHeaders }

// Seals reports whether a name is sealed.
func (r *Rules) Seals(name string) bool { return r.orDefault().compiled.sealed.Has([]byte(name)) }

// CheckAccounts returns an error that lists the accounts of protected names and of
// receivers of proofs that cannot exist. In operator mode, where names of accounts are not unique, an account
// must be given by its public key. Otherwise exists reports whether the configuration
// has it.
func (r *Rules) CheckAccounts(exists func(account string) bool, operatorMode bool) error {
	if r == nil {
		return nil
	}
	var faults conf.Faults
	check := func(place conf.Place, where, account string) {
		switch {
		case operatorMode && !nkeys.IsValidPublicAccountKey(account):
			faults.AddAt(place, "%s: expected the public key of an account, which operator mode needs; found %q", where, account)
		case !operatorMode && !exists(account):
			faults.AddAt(place, "%s: account %q is not in the configuration", where, account)
		}
	}
	for _, p := range r.Protected {
		for _, account := range p.Accounts {
			check(p.place, fmt.Sprintf("protected: %q", p.Name), account)
		}
	}
	for _, account := range r.Proof.accounts() {
		check(r.Proof.places[account], "proof: receivers", account)
	}
	return faults.Err()
}
