package policy

import (
	"net/netip"
	"strings"
)

// maxForwarded is how many bytes of X-Forwarded-For are kept.
const maxForwarded = 1024

// unknown stands for hops that cannot be read (RFC 7239, section 6.2).
const unknown = "unknown"

// Forwarded is X-Forwarded-For as ClientIP takes it. values are those of the field, in order. Proxies append
// to it, and anybody may have begun it, so of a long one the end is kept.
func Forwarded(values []string) string {
	if len(values) == 0 {
		return ""
	}
	kept := ""
	for i := len(values) - 1; i >= 0 && len(kept) <= maxForwarded; i-- {
		v := values[i]
		if over := len(v) - maxForwarded - 1; over > 0 {
			v = v[over:] // too long by one byte at least, and so cut below
		}
		kept = v + "," + kept
	}
	if len(kept) <= maxForwarded {
		return kept
	}
	_, whole, _ := strings.Cut(kept[len(kept)-maxForwarded:], ",")
	return unknown + "," + whole
}

// ClientIP returns the address of a client in its canonical form: that of the socket, or, when that is a
// trusted proxy, the last one in forwarded that is none. It is empty when the socket has no address, and when
// a trusted proxy names somebody by what is no address: then nobody knows whom.
//
// Each proxy appends who it got the request from, so what stands left of the first address that is not
// trusted may be anybody's invention.
func (r *Rules) ClientIP(socket, forwarded string) string {
	client, ok := address(socket)
	if !ok {
		return ""
	}
	named := forwarded == ""
	for forwarded != "" && r.trusts(client) {
		at := strings.LastIndexByte(forwarded, ',')
		hop := strings.Trim(forwarded[at+1:], " \t")
		forwarded = forwarded[:max(at, 0)]
		if hop == "" {
			continue // an element of a list may be empty (RFC 9110, section 5.6.1)
		}
		if client, named = forwardedAddress(hop); !named {
			return ""
		}
	}
	if !named && r.trusts(client) {
		return ""
	}
	return client.String()
}

func (r *Rules) trusts(a netip.Addr) bool {
	if r == nil {
		return false
	}
	for _, p := range r.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// forwardedAddress reads an address as proxies write it: some add the port, and brackets round an IPv6
// address.
func forwardedAddress(text string) (netip.Addr, bool) {
	if a, ok := address(text); ok {
		return a, true
	}
	if p, err := netip.ParseAddrPort(text); err == nil {
		return p.Addr().WithZone("").Unmap(), true
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			return address(inner)
		}
	}
	return netip.Addr{}, false
}

// address reads an address, without what a proxy might write round it.
func address(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	return a.WithZone("").Unmap(), err == nil
}
