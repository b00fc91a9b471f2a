package login

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Faults of a configured URL. They quote nothing of it, because it may contain a password.
var (
	errNoURL    = errors.New("expected a URL such as https://app.example/auth")
	errUserInfo = errors.New("a user name and a password are not for here: browsers do not show them in Origin")
	errQuery    = errors.New("expected a URL without a query and a fragment")
	errHost     = errors.New("expected a host name of ASCII letters, digits, - and . (an international one begins with xn--), or an IP address as browsers write it")
	errPort     = errors.New("expected a port from 1 to 65535")
	errPath     = errors.New("expected path segments of letters, digits and - . _ ~, none of which is empty or a . or .. alone")
)

// parseAddress parses the URL of an origin, or of pages below a path of it. It returns the URL as
// browsers write it, because their Origin is compared with it: host in lower case, no default port,
// no slash at the end.
func parseAddress(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errNoURL
	case u.User != nil:
		return nil, errUserInfo
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return nil, errQuery
	}
	host, err := hostAndPort(u)
	if err != nil {
		return nil, err
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	if path != "" && !isPlainPath(path) {
		return nil, errPath
	}
	return &url.URL{Scheme: u.Scheme, Host: host, Path: path}, nil
}

// hostAndPort returns the host of a URL as browsers write it.
func hostAndPort(u *url.URL) (string, error) {
	host, ok := hostName(u.Hostname())
	if !ok {
		return "", errHost
	}
	text := u.Port()
	if text == "" {
		return host, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return "", errPort
	}
	if port == defaultPorts[u.Scheme] {
		return host, nil
	}
	return host + ":" + strconv.FormatUint(port, 10), nil
}

var defaultPorts = map[string]uint64{"http": 80, "https": 443, "ws": 80, "wss": 443}

// hostName returns a host as browsers write it. Names whose last label begins with a digit are
// refused, because browsers read many forms of them as IPv4 addresses.
func hostName(host string) (string, bool) {
	host = strings.ToLower(host)
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Is4() {
			return addr.String(), true
		}
		return "[" + addr.String() + "]", addr.Zone() == "" && !addr.Is4In6()
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
	}
	last := labels[len(labels)-1]
	return host, len(host) <= 253 && (last[0] < '0' || last[0] > '9')
}

// isPlainPath reports whether browsers, proxies and this handler understand a path alike.
func isPlainPath(path string) bool {
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
		for i := range len(segment) {
			switch c := segment[i]; {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
			default:
				return false
			}
		}
	}
	return true
}

// maxTo is the greatest length in bytes of the path to which a visitor is sent after a login. It is
// a part of URLs.
const maxTo = 1024

// isLocalPath reports whether a browser that is sent to a path stays on its origin. Browsers read a
// backslash as a slash, ignore tabs and line breaks, and take what follows two slashes for a host.
func isLocalPath(to string) bool {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || len(to) > maxTo {
		return false
	}
	for i := range len(to) {
		if to[i] <= ' ' || to[i] == '\\' || to[i] >= 0x7f {
			return false
		}
	}
	_, err := url.Parse(to)
	return err == nil
}
