package conf

import "net"

// IsListen tells whether text is an address to listen on: a host, which may be empty, and a port by number or
// by the name of a service. Whether this machine has the address shows when it is listened on.
func IsListen(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err == nil && port != "" {
		_, err = net.LookupPort("tcp", port)
	}
	return err == nil && port != ""
}
