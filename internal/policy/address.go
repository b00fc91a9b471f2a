package policy

import (
	"net/netip"
	"strings"
)

// maxForwardedFor is how many bytes of X-Forwarded-For are read.
const maxForwardedFor = 1024

// unknown is an entry of X-Forwarded-For for proxies that are not named (RFC 7239,
// section 6.2). It is not an address.
const unknown = "unknown"

// JoinForwardedFor joins the values of the header X-Forwarded-For into one list for
// ClientIP. It keeps the last maxForwardedFor bytes: proxies append to the header,
// and what it begins with may be from anybody.
func JoinForwardedFor(values []string) string {
	if len(values) == 0 {
		return ""
	}
	kept := ""
	for i := len(values) - 1; i >= 0 && len(kept) <= maxForwardedFor; i-- {
		v := values[i]
		if over := len(v) - maxForwardedFor - 1; over > 0 {
			v = v[over:] // still longer than what is kept, so the cut below follows
		}
		kept = v + "," + kept
	}
	if len(kept) <= maxForwardedFor {
		return kept
	}
	_, whole, _ := strings.Cut(kept[len(kept)-maxForwardedFor:], ",")
	return unknown + "," + whole
}

// ClientIP returns the address of a client in its canonical form. That is the
// address of the socket or, if the socket's address is a trusted proxy, the last
// address in forwardedFor that is not a trusted proxy. If all are, it is the first
// address. Every proxy appends the address from which it got the request, so what
// the list has before an address that is not a proxy's may be invented.
//
// The result is empty if the socket has no address, or if a trusted proxy sent a
// list without a usable address.
func (r *Rules) ClientIP(socket, forwardedFor string) string {
	client, ok := parseAddress(socket)
	if !ok {
		return ""
	}
	onlyEmptyEntries := forwardedFor != ""
	for forwardedFor != "" && r.isTrustedProxy(client) {
		at := strings.LastIndexByte(forwardedFor, ',')
		entry := strings.Trim(forwardedFor[at+1:], " \t")
		forwardedFor = forwardedFor[:max(at, 0)]
		if entry == "" {
			continue // an entry of a list may be empty (RFC 9110, section 5.6.1)
		}
		if client, ok = parseForwardedAddress(entry); !ok {
			return ""
		}
		onlyEmptyEntries = false
	}
	if onlyEmptyEntries && r.isTrustedProxy(client) {
		return ""
	}
	return client.String()
}

func (r *Rules) isTrustedProxy(a netip.Addr) bool {
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

// parseForwardedAddress parses an address as proxies write it: some add the port, or
// brackets around an IPv6 address.
func parseForwardedAddress(text string) (netip.Addr, bool) {
	if a, ok := parseAddress(text); ok {
		return a, true
	}
	if p, err := netip.ParseAddrPort(text); err == nil {
		return p.Addr().WithZone("").Unmap(), true
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			return parseAddress(inner)
		}
	}
	return netip.Addr{}, false
}

// parseAddress parses a plain address.
func parseAddress(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	return a.WithZone("").Unmap(), err == nil
}
