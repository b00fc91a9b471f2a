package hook

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout"
)

// Faults of a server whose handler is inside.
var (
	errOperator        = errors.New("callout: not inside a server with operators\nhint: run nats-callout as a process of its own")
	errToken           = errors.New("callout: authorization.token cannot be used beside the handler, which gets all tokens\nhint: make it a user with a password")
	errCluster         = errors.New("callout: servers of a cluster need the same issuer and xkey\nhint: nats-callout keys make")
	errTimeout         = fmt.Errorf("callout: authorization.timeout is too short for any callout\nhint: at least %g", minAuthTimeout.Seconds())
	errLine            = errors.New("callout: max_control_line is too small for the handler's own connection\nhint: at least 1024")
	errNoHeaderSupport = errors.New("callout: no_header_support is set, and a callout has the server's key in a header\nhint: take it out")
	errNoSystem        = errors.New("callout: no_system_account is set, and the server asks the handler by way of the system account\nhint: take it out")
	errOrigin          = errors.New("callout: the websocket takes a credential from a cookie without an allow-list of origins, so any page could use it\nhint: set websocket.allowed_origins or same_origin")
)

// minAuthTimeout is less than a callout takes that is answered from a cache, on a machine with other work.
const minAuthTimeout = 100 * time.Millisecond

// minControlLine is more than the CONNECT of the handler has, in bytes.
const minControlLine = 1024

// checkServer tells what of the server's configuration does not go with a
// handler inside.
func checkServer(o *natsserver.Options, cfg *callout.Config) error {
	var errs []error
	if len(o.TrustedOperators)+len(o.TrustedKeys) > 0 {
		errs = append(errs, errOperator)
	}
	if o.Authorization != "" || o.Websocket.Token != "" || o.MQTT.Token != "" {
		errs = append(errs, errToken)
	}
	if (o.Cluster.Port != 0 || o.Gateway.Name != "") && (cfg.Issuer == "" || cfg.XKey == "") {
		errs = append(errs, errCluster)
	}
	if authTimeout(o) < minAuthTimeout {
		errs = append(errs, errTimeout)
	}
	if o.NoHeaderSupport {
		errs = append(errs, errNoHeaderSupport)
	}
	if o.NoSystemAccount && o.SystemAccount == "" {
		errs = append(errs, errNoSystem)
	}
	if o.MaxControlLine > 0 && o.MaxControlLine < minControlLine {
		errs = append(errs, errLine)
	}
	if own := len(cfg.Accounts()); o.MaxConn > 0 && o.MaxConn <= own {
		errs = append(errs, fmt.Errorf("callout: max_connections: %d lets nobody in: the handler itself has %d of them\nhint: at least %d", o.MaxConn, own, own+1))
	}
	if cookieWithoutOrigin(o, cfg) {
		errs = append(errs, errOrigin)
	}
	errs = append(errs, cfg.CheckListens(listens(o)))
	return errors.Join(append(errs, cfg.CheckInside()...)...)
}

// listens are the addresses that the server listens on, by the names of their blocks.
func listens(o *natsserver.Options) map[string]string {
	all := map[string]string{}
	add := func(name, host string, port int) {
		if port > 0 {
			all[name] = net.JoinHostPort(host, strconv.Itoa(port))
		}
	}
	if !o.DontListen {
		add("listen", o.Host, cmp.Or(o.Port, natsserver.DEFAULT_PORT))
	}
	add("http", cmp.Or(o.HTTPHost, o.Host), o.HTTPPort)
	add("https", cmp.Or(o.HTTPHost, o.Host), o.HTTPSPort)
	add("prof_port", o.Host, o.ProfPort)
	add("websocket.listen", o.Websocket.Host, o.Websocket.Port)
	add("mqtt.listen", o.MQTT.Host, o.MQTT.Port)
	add("leafnodes.listen", o.LeafNode.Host, o.LeafNode.Port)
	add("cluster.listen", o.Cluster.Host, o.Cluster.Port)
	add("gateway.listen", o.Gateway.Host, o.Gateway.Port)
	return all
}

// cookieWithoutOrigin tells whether a page of any origin may use a visitor's
// cookies.
func cookieWithoutOrigin(o *natsserver.Options, cfg *callout.Config) bool {
	w := &o.Websocket
	cookies := w.TokenCookie != "" || w.JWTCookie != "" || w.UsernameCookie != "" || w.PasswordCookie != ""
	if cfg != nil && len(cfg.Request.Cookies) > 0 {
		cookies = true
	}
	return w.Port != 0 && cookies && !w.SameOrigin && len(w.AllowedOrigins) == 0
}
