package policy

import (
	"net/netip"
	"strings"
)

// ClientIP returns the address of a client in its canonical form: that of the socket, or,
// when that is a trusted proxy, the last one in X-Forwarded-For that is none. forwarded
// are the values of that field, in order. It is empty when the socket has no address.
//
// Each proxy appends who it got the request from, so what stands left of the first
// address that is not trusted, or not an address, may be anybody's invention.
func (r *Rules) ClientIP(socket string, forwarded []string) string {
	client, ok := address(socket)
	if !ok {
		return ""
	}
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for i := len(hops) - 1; i >= 0 && r.trusts(client); i-- {
		next, ok := address(strings.Trim(hops[i], " \t"))
		if !ok {
			break
		}
		client = next
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

// address reads an address; what a proxy might write round it, a port or brackets, is not
// guessed at.
func address(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	return a.WithZone("").Unmap(), err == nil
}
