package grant

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/nats-io/jwt/v2"

	"stamp/server/conf"
)

// networks are where a connection may come from; none: anywhere. They are in the
// JWT too, but the server does not look at them there for a callout's user
// (upstream, auth_callout.go).
type networks struct {
	list []netip.Prefix
	src  jwt.CIDRList
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
		faults.Add(n, "networks: the list is empty")
	}
	return out
}

var errNetwork = errors.New("not an IP address, nor a network such as 10.0.0.0/8")

// parsePrefix reads an address or a network. Those of IPv4 that are written as
// IPv6 become IPv4.
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
		return p, fmt.Errorf("has bits set beyond its length; %s?", p.Masked())
	}
	return p, nil
}

// contain tells whether host, an IP address, is in one of the networks.
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
