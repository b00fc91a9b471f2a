package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"stamp.example/claim"
	"stamp.example/claim/field"
	"stamp/internal/conf"
	"stamp/internal/stamp"
)

// block is the headers block of the configuration.
type block struct {
	Protected      []conf.Node          `conf:"protected"`
	Sealed         []conf.Node          `conf:"sealed"`
	All            map[string]conf.Node `conf:"all"`
	Require        bool                 `conf:"require_stamping_peers"`
	CheckReplies   bool                 `conf:"check_replies"`
	Provenance     bool                 `conf:"provenance"`
	Proof          conf.Node            `conf:"proof"`
	KeepTemplates  bool                 `conf:"keep_template_headers"`
	TrustedProxies []conf.Node          `conf:"trusted_proxies"`
	Metrics        string               `conf:"metrics"`
	MaxHeaders     conf.Node            `conf:"max_headers"` // a number of names (claim.DefaultMaxHeaders)
	MaxBytes       conf.Node            `conf:"max_bytes"`   // a number of bytes (claim.DefaultMaxBytes)
}

// ParseRules reads a headers block, and adds what is wrong with it to faults.
func ParseRules(n conf.Node, faults *conf.Faults) *Rules {
	n.AddRepeated("headers", faults)
	var b block
	n.Decode(&b, faults)
	r := &Rules{RequireStampingPeers: b.Require, CheckReplies: b.CheckReplies, Provenance: b.Provenance, KeepTemplateHeaders: b.KeepTemplates, Metrics: b.Metrics}
	r.Limits.MaxHeaders = parseLimit("max_headers", b.MaxHeaders, faults)
	r.Limits.MaxBytes = parseLimit("max_bytes", b.MaxBytes, faults)
	r.parseProtected(b.Protected, faults)
	r.parseSealed(b.Sealed, faults)
	r.parseProof(b.Proof, faults)
	n.Get("all").AddVariables("all", faults)
	r.parseAll(n.Get("all"), b.All, faults)
	for _, p := range b.TrustedProxies {
		r.parseProxy(p, faults)
	}
	if r.Metrics != "" && !conf.IsListenAddress(r.Metrics) {
		faults.Add(n.Get("metrics"), `metrics: expected an address such as "127.0.0.1:7777"; found %q`, r.Metrics)
	}
	r.places.block, r.places.maxHeaders, r.places.maxBytes = n.Place(), b.MaxHeaders.Place(), b.MaxBytes.Place()
	r.compiled = r.compile()
	return r
}

// parseLimit returns a limit, or 0 for the default.
func parseLimit(name string, n conf.Node, faults *conf.Faults) int {
	if n.IsZero() {
		return 0
	}
	i, ok := n.Plain().(int64)
	if !ok || i < 1 || i > claim.MaxBlock {
		faults.Add(n, "%s: expected a number from 1 to %d; found %s", name, claim.MaxBlock, n.NumberOrKind())
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
				faults.Add(at, "accounts: expected at least one account, since without any nobody could set the header; found an empty list")
			}
			if b.Name == "" {
				continue // Decode has reported it
			}
		} else if name, ok := n.Plain().(string); ok {
			p.Name = name
		} else {
			faults.Add(n, "protected: expected a name, or a block with name and accounts; found %s", n.Kind())
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
			faults.Add(n, "sealed: expected a name; found %s", n.Kind())
			continue
		}
		if r.checkPattern("sealed", name, n, seen, faults) {
			r.Sealed = append(r.Sealed, name)
		}
	}
}

// checkPattern checks an entry of a list, and adds it to seen, where it must not be
// yet. It adds a warning if the entry is a pattern that leaves out steering names.
func (r *Rules) checkPattern(list, pattern string, n conf.Node, seen map[string]bool, faults *conf.Faults) bool {
	if !field.IsNamePattern(pattern) {
		faults.Add(n, "%s: %v; found %q", list, field.ErrNamePattern, pattern)
		return false
	}
	folded := field.Fold(pattern)
	if seen[folded] {
		faults.Add(n, "%s: %v; found %q", list, field.ErrNameTwice, pattern)
		return false
	}
	seen[folded] = true
	if spared := stamp.SparedNames(pattern); len(spared) > 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("%s: %s: the pattern %q leaves out %s, since servers or clients act on these; list those that you mean by their full names",
			n.Place(), list, pattern, strings.Join(spared, ", ")))
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
	// This finds the faults of all of them together: equal names, their number and size.
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
		found := n.Kind()
		if text != "" {
			found = fmt.Sprintf("%q", text)
		}
		faults.Add(n, "trusted_proxies: expected an address without a zone, or a network such as 10.0.0.0/8; found %s", found)
		return
	}
	addr = addr.Unmap()
	r.TrustedProxies = append(r.TrustedProxies, netip.PrefixFrom(addr, addr.BitLen()))
}
