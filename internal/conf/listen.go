package conf

import (
	"net"
	"net/netip"
	"strings"
)

// IsListenAddress reports whether text is an address to listen on: a host and a port, as in
// "127.0.0.1:8080". The host may be empty, and the port may be the name of a
// service. Whether this machine has the address is not checked.
func IsListenAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || port == "" || host != "" && !IsHost(host) {
		return false
	}
	_, err = net.LookupPort("tcp", port)
	return err == nil
}

// IsHost reports whether host can be the address or the name of a host.
func IsHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// IsLoopback reports whether host names this machine, without a look-up of the name.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// ListenersConflict reports whether two listeners cannot have the addresses a and b at the
// same time: they have the same port, and the same host or one of them all
// addresses. Host names are not resolved. The result is false if a or b is not an
// address.
func ListenersConflict(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil {
		return false
	}
	numberA, errA := net.LookupPort("tcp", portA)
	numberB, errB := net.LookupPort("tcp", portB)
	if errA != nil || errB != nil || numberA != numberB || numberA == 0 {
		return false
	}
	return sameHost(hostA, hostB)
}

func sameHost(a, b string) bool {
	addrA, errA := netip.ParseAddr(a)
	addrB, errB := netip.ParseAddr(b)
	for _, all := range []bool{a == "", b == "", errA == nil && addrA.IsUnspecified(), errB == nil && addrB.IsUnspecified()} {
		if all {
			return true
		}
	}
	local := func(host string, addr netip.Addr, err error) bool {
		return strings.EqualFold(host, "localhost") || err == nil && addr == netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return strings.EqualFold(a, b) || errA == nil && errB == nil && addrA.Unmap() == addrB.Unmap() ||
		local(a, addrA, errA) && local(b, addrB, errB)
}
