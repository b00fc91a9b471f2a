package hook

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout"
	"stamp/internal/conf"
)

// Faults of a server that runs the callout handler inside.
var (
	errOperator        = errors.New("callout: a server in operator mode cannot run the handler inside\nhint: run nats-callout as a separate process")
	errNoHeaderSupport = errors.New("callout: no_header_support is set, but the server sends its key to the handler in a header\nhint: remove no_header_support")
	errNoSystem        = errors.New("callout: no_system_account is set, but the server asks the handler through the system account\nhint: remove no_system_account")
	errOrigin          = errors.New("callout: the websocket accepts a credential from a cookie, but its origins are not restricted, so any page could use the cookie of a visitor\nhint: set websocket.allowed_origins or websocket.same_origin")
)

// minAuthTimeout is the shortest authorization.timeout that is allowed. On a busy machine even a
// callout that is answered from a cache takes longer.
const minAuthTimeout = 100 * time.Millisecond

// minControlLine is the smallest max_control_line that is allowed, in bytes. The CONNECT of the
// handler is shorter.
const minControlLine = 1024

// checkServer refuses settings of the server with which a handler inside cannot work.
func checkServer(o *natsserver.Options, cfg *callout.Config) error {
	var errs []error
	if len(o.TrustedOperators)+len(o.TrustedKeys) > 0 {
		errs = append(errs, errOperator)
	}
	for _, token := range []struct{ setting, value string }{
		{"authorization.token", o.Authorization}, {"websocket.authorization.token", o.Websocket.Token}, {"mqtt.authorization.token", o.MQTT.Token},
	} {
		if token.value != "" {
			errs = append(errs, fmt.Errorf("callout: %s cannot be used, because the handler gets all tokens\nhint: replace the token by a user with a password", token.setting))
		}
	}
	if o.Cluster.Port != 0 || o.Gateway.Name != "" {
		errs = append(errs, checkClusterKeys(cfg))
	}
	if timeout := authTimeout(o); timeout < minAuthTimeout {
		errs = append(errs, fmt.Errorf("callout: authorization.timeout: expected at least %g seconds, in which a callout can be answered; found %g", minAuthTimeout.Seconds(), timeout.Seconds()))
	}
	if o.NoHeaderSupport {
		errs = append(errs, errNoHeaderSupport)
	}
	if o.NoSystemAccount && o.SystemAccount == "" {
		errs = append(errs, errNoSystem)
	}
	if o.MaxControlLine > 0 && o.MaxControlLine < minControlLine {
		errs = append(errs, fmt.Errorf("callout: max_control_line: expected at least %d for the handler's own connection; found %d", minControlLine, o.MaxControlLine))
	}
	if needed := len(cfg.Accounts()); o.MaxConn > 0 && o.MaxConn <= needed {
		errs = append(errs, fmt.Errorf("callout: max_connections: expected at least %d, since the handler itself needs %d; found %d", needed+1, needed, o.MaxConn))
	}
	if acceptsCookiesOfAnyOrigin(o, cfg) {
		errs = append(errs, errOrigin)
	}
	errs = append(errs, cfg.CheckListens(listenAddresses(o)))
	return errors.Join(append(errs, cfg.CheckInside()...)...)
}

// checkClusterKeys returns an error if a key is missing that all servers of a cluster need.
func checkClusterKeys(cfg *callout.Config) error {
	const why = "all servers of a cluster need the same keys\nhint: nats-callout keys make keys makes them; then set issuer_file to keys/issuer.nk and xkey_file to keys/xkey.nk, on all servers"
	switch {
	case cfg.Issuer == "" && cfg.XKey == "":
		return errors.New("callout: fields \"issuer\" and \"xkey\" are missing: " + why)
	case cfg.Issuer == "":
		return errors.New("callout: field \"issuer\" is missing: " + why)
	case cfg.XKey == "":
		return errors.New("callout: field \"xkey\" is missing: " + why)
	}
	return nil
}

// listenAddresses returns the addresses that the server listens on, by the name of the setting. Flags take
// the place of what is in the file; the server puts them into o later.
func listenAddresses(o *natsserver.Options) map[string]string {
	addresses := map[string]string{}
	flags := natsserver.FlagSnapshot
	if flags == nil {
		flags = &natsserver.Options{}
	}
	host := cmp.Or(flags.Host, o.Host)
	add := func(name, host string, port int) {
		if port > 0 {
			addresses[name] = net.JoinHostPort(host, strconv.Itoa(port))
		}
	}
	if !o.DontListen {
		add("listen", host, cmp.Or(flags.Port, o.Port, natsserver.DEFAULT_PORT))
	}
	add("http", cmp.Or(flags.HTTPHost, o.HTTPHost, host), cmp.Or(flags.HTTPPort, o.HTTPPort))
	add("https", cmp.Or(flags.HTTPHost, o.HTTPHost, host), cmp.Or(flags.HTTPSPort, o.HTTPSPort))
	add("prof_port", host, cmp.Or(flags.ProfPort, o.ProfPort))
	add("websocket.listen", o.Websocket.Host, o.Websocket.Port)
	add("mqtt.listen", o.MQTT.Host, o.MQTT.Port)
	add("leafnodes.listen", o.LeafNode.Host, o.LeafNode.Port)
	add("cluster.listen", o.Cluster.Host, o.Cluster.Port)
	add("gateway.listen", o.Gateway.Host, o.Gateway.Port)
	if at := rulesOf(o.ExtensionBlock("headers")).MetricsAddress(); at != "" {
		addresses[metricsSetting] = at
	}
	return addresses
}

// metricsSetting is the name of the setting with the address of the server's metrics.
const metricsSetting = "headers.metrics"

// checkMetricsAddress refuses an address of the server's metrics on which the server itself listens.
func checkMetricsAddress(o *natsserver.Options) error {
	addresses := listenAddresses(o)
	at := addresses[metricsSetting]
	delete(addresses, metricsSetting)
	for _, by := range slices.Sorted(maps.Keys(addresses)) {
		if conf.ListenersConflict(addresses[by], at) {
			return fmt.Errorf("%s %q is the address of the server's %s too", metricsSetting, at, by)
		}
	}
	return nil
}

// acceptsCookiesOfAnyOrigin reports whether the websocket accepts credentials from cookies and
// connections from pages of any origin, which could then use the cookies of their visitors. cfg is
// the callout block, or nil.
func acceptsCookiesOfAnyOrigin(o *natsserver.Options, cfg *callout.Config) bool {
	w := &o.Websocket
	cookies := w.TokenCookie != "" || w.JWTCookie != "" || w.UsernameCookie != "" || w.PasswordCookie != ""
	if cfg != nil && len(cfg.Request.Cookies) > 0 {
		cookies = true
	}
	return w.Port != 0 && cookies && !w.SameOrigin && len(w.AllowedOrigins) == 0
}
