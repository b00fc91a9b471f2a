package policy

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nkeys"

	"stamp/server/claim"
	"stamp/server/conf"
	"stamp/server/field"
	"stamp/server/stamp"
)

// Rules are the settings of one server, its headers block. The zero value, and nil, has
// the defaults, with which nothing is protected and nothing sealed.
type Rules struct {
	Limits    claim.Limits
	Protected []Protected
	Sealed    []string     // names, or patterns
	All       *claim.Claim // on each connection; values are templates
	// RequireStampingPeers refuses routes and gateways of servers that do not stamp.
	RequireStampingPeers bool
	// CheckReplies refuses a message whose answer its connection could not subscribe to.
	CheckReplies bool
	// Provenance tells the account, the subject as published and the time in each stamped message.
	Provenance bool
	// KeepTemplateHeaders refuses an account update that drops the headers of a scope's template.
	KeepTemplateHeaders bool
	// TrustedProxies are those whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	compiled *compiled
	warnings []string
	places   places
}

// places are where the block and some of its fields stand.
type places struct {
	block, maxHeaders, maxBytes conf.Place
	all                         map[string]conf.Place // by folded name
}

// Protected is a name that the server alone may set.
type Protected struct {
	Name     string   // or a pattern
	Accounts []string // whose connections may be stamped it or be permitted it; empty: every account's

	place conf.Place
}

// compiled is what Rules come to. It is not compared.
type compiled struct {
	open  *stamp.NameSet // protected names that every account may be permitted
	bound []boundName
	never *stamp.NameSet // names of All, which nobody who connects can be permitted
	// provenance are the names of Provenance, which only a leafnode can be permitted: its server may write them too.
	provenance *stamp.NameSet
	seals      *stamp.NameSet

	mu  sync.Mutex
	set map[string]*stamp.NameSet // by base and exceptions, so that equal ones are one
}

type boundName struct {
	set      *stamp.NameSet
	accounts []string
}

// block is the headers block as written.
type block struct {
	Protected      []conf.Node          `conf:"protected"`
	Sealed         []conf.Node          `conf:"sealed"`
	All            map[string]conf.Node `conf:"all"`
	Require        bool                 `conf:"require_stamping_peers"`
	CheckReplies   bool                 `conf:"check_replies"`
	Provenance     bool                 `conf:"provenance"`
	KeepTemplates  bool                 `conf:"keep_template_headers"`
	TrustedProxies []conf.Node          `conf:"trusted_proxies"`
	MaxHeaders     conf.Node            `conf:"max_headers"`
	MaxBytes       conf.Node            `conf:"max_bytes"`
}

// ParseRules reads a headers block. What is wrong is added to faults, each at its place.
func ParseRules(n conf.Node, faults *conf.Faults) *Rules {
	var b block
	n.Decode(&b, faults)
	r := &Rules{RequireStampingPeers: b.Require, CheckReplies: b.CheckReplies, Provenance: b.Provenance, KeepTemplateHeaders: b.KeepTemplates}
	r.Limits.MaxHeaders = limit("max_headers", b.MaxHeaders, faults)
	r.Limits.MaxBytes = limit("max_bytes", b.MaxBytes, faults)
	r.parseProtected(b.Protected, faults)
	r.parseSealed(b.Sealed, faults)
	r.parseAll(n.Get("all"), b.All, faults)
	for _, p := range b.TrustedProxies {
		r.parseProxy(p, faults)
	}
	r.places.block, r.places.maxHeaders, r.places.maxBytes = n.Place(), b.MaxHeaders.Place(), b.MaxBytes.Place()
	r.compiled = r.compile()
	return r
}

// Warnings are what is allowed, but protects less than it seems to.
func (r *Rules) Warnings() []string {
	if r == nil {
		return nil
	}
	return r.warnings
}

func limit(name string, n conf.Node, faults *conf.Faults) int {
	if n.IsZero() {
		return 0
	}
	i, ok := n.Plain().(int64)
	if !ok || i < 1 || i > claim.MaxBlock {
		faults.Add(n, "%s must be a number from 1 to %d", name, claim.MaxBlock)
		return 0
	}
	return int(i)
}

func (r *Rules) parseProtected(items []conf.Node, faults *conf.Faults) {
	seen := map[string]bool{}
	for _, n := range items {
		p := Protected{place: n.Place()}
		if n.Fields() != nil {
			var b struct {
				Name     string   `conf:"name,required"`
				Accounts []string `conf:"accounts,required"`
			}
			n.Decode(&b, faults)
			p.Name, p.Accounts = b.Name, b.Accounts
			if at := n.Get("accounts"); !at.IsZero() && len(b.Accounts) == 0 {
				faults.Add(at, "accounts is empty: then nobody could set the header")
			}
			if b.Name == "" {
				continue // reported
			}
		} else if name, ok := n.Plain().(string); ok {
			p.Name = name
		} else {
			faults.Add(n, "protected: expected a name, or a block with a name and accounts")
			continue
		}
		if r.checkPattern("protected", p.Name, n, seen, faults) {
			r.Protected = append(r.Protected, p)
		}
	}
}

func (r *Rules) parseSealed(items []conf.Node, faults *conf.Faults) {
	seen := map[string]bool{}
	for _, n := range items {
		name, ok := n.Plain().(string)
		if !ok {
			faults.Add(n, "sealed: expected a name")
			continue
		}
		if r.checkPattern("sealed", name, n, seen, faults) {
			r.Sealed = append(r.Sealed, name)
		}
	}
}

// checkPattern takes "*" too. It warns of names that a pattern does not reach.
func (r *Rules) checkPattern(list, name string, n conf.Node, seen map[string]bool, faults *conf.Faults) bool {
	if _, err := stamp.NewNameSet(name); err != nil {
		faults.Add(n, "%s: %q is %v", list, name, stamp.ErrPattern)
		return false
	}
	folded := field.Fold(name)
	if seen[folded] {
		faults.Add(n, "%s: %q is there twice, when case is ignored and - _ . are one character", list, name)
		return false
	}
	seen[folded] = true
	if spared := stamp.SparedNames(name); len(spared) > 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("%s: %s: the pattern %q leaves out %s: these steer the server or its clients; list those that you mean by their full names",
			n.Place(), list, name, strings.Join(spared, ", ")))
	}
	return true
}

func (r *Rules) parseAll(n conf.Node, fields map[string]conf.Node, faults *conf.Faults) {
	if len(fields) == 0 {
		return
	}
	plain := make(map[string]any, len(fields))
	r.places.all = make(map[string]conf.Place, len(fields))
	for name, v := range fields {
		plain[name] = v.Plain()
		r.places.all[field.Fold(name)] = v.Place()
		cl, err := claim.FromConfig(map[string]any{name: v.Plain()}, nil, claim.MaxLimits)
		if err == nil && cl != nil {
			err = checkTemplate(cl.Headers[0])
		}
		if err != nil {
			faults.Add(v, "all: %v", err)
			delete(plain, name)
		}
	}
	// What is wrong with all of them together: equal names, and their number and size.
	cl, err := claim.FromConfig(plain, nil, r.Limits)
	if err != nil {
		faults.Add(n, "all: %v", err)
		return
	}
	r.All = cl
}

func (r *Rules) parseProxy(n conf.Node, faults *conf.Faults) {
	text, _ := n.Plain().(string)
	if p, err := netip.ParsePrefix(text); err == nil {
		// Addresses are compared without the mapping of IPv4 into IPv6.
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		r.TrustedProxies = append(r.TrustedProxies, p.Masked())
		return
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		faults.Add(n, "trusted_proxies: expected an address or a network such as 10.0.0.0/8")
		return
	}
	addr = addr.Unmap()
	r.TrustedProxies = append(r.TrustedProxies, netip.PrefixFrom(addr, addr.BitLen()))
}

// compile makes the sets of names. Their patterns have been checked.
func (r *Rules) compile() *compiled {
	c := &compiled{seals: rule(r.Sealed), set: map[string]*stamp.NameSet{}}
	var open, never []string
	for _, p := range r.Protected {
		if len(p.Accounts) == 0 {
			open = append(open, p.Name)
		} else {
			c.bound = append(c.bound, boundName{rule([]string{p.Name}), p.Accounts})
		}
	}
	if r.All != nil {
		for _, h := range r.All.Headers {
			never = append(never, h.Name)
		}
	}
	if r.Provenance {
		c.provenance = rule(stamp.ProvenanceNames())
	}
	c.open, c.never = rule(open), rule(never)
	return c
}

// names is the set of patterns that were checked.
func names(patterns []string) *stamp.NameSet {
	if len(patterns) == 0 {
		return nil
	}
	set, err := stamp.NewNameSet(patterns...)
	if err != nil {
		panic(fmt.Sprintf("policy: %v", err))
	}
	return set
}

// rule is names for what is taken away from publishers and readers.
func rule(patterns []string) *stamp.NameSet {
	if len(patterns) == 0 {
		return nil
	}
	set, err := stamp.NewRuleSet(patterns...)
	if err != nil {
		panic(fmt.Sprintf("policy: %v", err))
	}
	return set
}

// noRules are those of a server without a headers block.
var noRules = &Rules{compiled: (&Rules{}).compile()}

// orDefault makes nil, and Rules that were not parsed, usable.
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

// Equal tells whether a server does the same with both; the server's reload asks.
func (r *Rules) Equal(other any) bool {
	o, ok := other.(*Rules)
	if !ok || r == nil || o == nil {
		return ok && r == o
	}
	plain := func(r *Rules) Rules {
		p := *r
		p.compiled, p.warnings, p.places = nil, nil, places{}
		p.Protected = slices.Clone(p.Protected)
		for i := range p.Protected {
			p.Protected[i].place = conf.Place{}
		}
		return p
	}
	return reflect.DeepEqual(plain(r), plain(o))
}

// RequiresStampingPeers tells whether servers that do not stamp are refused.
func (r *Rules) RequiresStampingPeers() bool { return r != nil && r.RequireStampingPeers }

// Adds tells whether headers are put on the messages of every connection.
func (r *Rules) Adds() bool { return r != nil && r.All != nil }

// Names tells whether there are protected or sealed names.
func (r *Rules) Names() bool { return r != nil && len(r.Protected)+len(r.Sealed) > 0 }

// KeepsTemplateHeaders tells whether account updates that drop the headers of a template are refused.
func (r *Rules) KeepsTemplateHeaders() bool { return r != nil && r.KeepTemplateHeaders }

// Seals tells whether a name is sealed.
func (r *Rules) Seals(name string) bool { return r.orDefault().compiled.seals.Has([]byte(name)) }

// Check tells which of the accounts that names are bound to cannot be: one that known
// does not know, or in operator mode, where names of accounts are not unique, one that is
// not the public key of an account. All are reported at once.
func (r *Rules) Check(known func(account string) bool, operator bool) error {
	if r == nil {
		return nil
	}
	var faults conf.Faults
	for _, p := range r.Protected {
		for _, account := range p.Accounts {
			switch {
			case operator && !nkeys.IsValidPublicAccountKey(account):
				faults.AddAt(p.place, "protected: %q: account %q is not the public key of an account, which operator mode needs", p.Name, account)
			case !operator && !known(account):
				faults.AddAt(p.place, "protected: %q: account %q is not in the configuration", p.Name, account)
			}
		}
	}
	return faults.Err()
}

// without is set without the names of except, one set for equal arguments.
func (c *compiled) without(kind string, set *stamp.NameSet, except []string) *stamp.NameSet {
	if set.Empty() || len(except) == 0 {
		return set
	}
	sorted := slices.Sorted(slices.Values(except))
	key := kind + "\x00" + strings.Join(sorted, "\x00")
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.set[key]; ok {
		return known
	}
	if len(c.set) >= maxSets {
		clear(c.set)
	}
	next := set.Without(names(except))
	c.set[key] = next
	return next
}

// maxSets is how many sets with exceptions are kept; all are dropped above it.
const maxSets = 4096
