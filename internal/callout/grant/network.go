package grant

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/nats-io/jwt/v2"

	"stamp/internal/conf"
)

// networks are the networks that a connection may come from; an empty list allows all.
// The JWT has them too, but the server does not check them there for the users of a
// callout (upstream, auth_callout.go).
type networks struct {
	list []netip.Prefix
	src  jwt.CIDRList // list, for the JWT
}

func parseNetworks(texts []string, n conf.Node, faults *conf.Faults) networks {
	var out networks
	for _, text := range texts {
		p, err := parsePrefix(text)
		if err != nil {
			faults.Add(n, "networks: %q: %v", text, err)
			continue
		}
		out.list = append(out.list, p)
		out.src = append(out.src, p.String())
	}
	if len(texts) == 0 && !n.IsZero() {
		faults.Add(n, "networks: expected at least one network; found an empty list")
	}
	return out
}

var errNetwork = errors.New("expected an IP address, or a network such as 10.0.0.0/8")

// parsePrefix reads an address or a network. IPv4 in the notation of IPv6 becomes IPv4.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, errNetwork
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, errNetwork
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("expected no bits after the length of the prefix; did you mean %s?", p.Masked())
	}
	return p, nil
}

// contain reports whether the IP address host is in one of the networks.
func (n *networks) contain(host string) bool {
	if len(n.list) == 0 {
		return true
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	for _, p := range n.list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
