package hook

import (
	"context"
	"log/slog"
	"net"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout/ops"
)

// endpoint is an HTTP endpoint for operators, which reloads can open, move and close. Its owner has
// a lock for it.
type endpoint struct {
	name    string // in the log
	server  *ops.Server
	address string // in the configuration; empty: the endpoint is closed
}

// move opens the endpoint at an address and closes the one before. An empty address means none. If
// the new one cannot be opened, the one before stays open, and the next reload tries again.
func (e *endpoint) move(s *natsserver.Server, address string, o ops.Options) {
	if address == e.address {
		return
	}
	var next *ops.Server
	if address != "" {
		var err error
		o.Log = slog.New(serverLog{server: s})
		if next, err = ops.Listen(address, o); err != nil {
			next, err = e.takeOver(address, o, err)
		}
		if err != nil {
			s.Errorf("%s: %v%s", e.name, err, e.stillOpen())
			return
		}
		s.Noticef("%s shows metrics on http://%s", e.name, next.Address())
	}
	before := e.server
	e.server, e.address = next, address
	go closeEndpoint(before, handlerTimeout) // in the background, because it waits for requests
}

// takeOver opens the endpoint at an address with the port of the one before, which is closed first: a
// socket on 127.0.0.1 keeps one on all interfaces from the same port. err is why the address cannot
// be opened otherwise. If it cannot be opened, the one before is opened again.
func (e *endpoint) takeOver(address string, o ops.Options, err error) (*ops.Server, error) {
	if e.server == nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	if _, before, _ := net.SplitHostPort(e.server.Address()); before != port {
		return nil, err
	}
	at := e.server.Address()
	closeEndpoint(e.server, endpointTimeout)
	next, err := ops.Listen(address, o)
	if err == nil {
		e.server = nil
		return next, nil
	}
	var again error
	if e.server, again = ops.Listen(at, o); again != nil {
		e.server, e.address = nil, ""
	}
	return nil, err
}

// stillOpen returns the end of an error text that says where metrics are still shown, or an empty
// text if the endpoint is closed.
func (e *endpoint) stillOpen() string {
	if e.server == nil {
		return ""
	}
	return "; metrics are still shown on http://" + e.server.Address() + ", and a reload tries again"
}

// endpointTimeout is how long the server's shutdown waits for requests to an endpoint.
const endpointTimeout = time.Second

// detach returns the running endpoint, or nil, for the caller to close without the lock.
func (e *endpoint) detach() *ops.Server {
	s := e.server
	e.server, e.address = nil, ""
	return s
}

// closeEndpoint closes an endpoint. s may be nil.
func closeEndpoint(s *ops.Server, timeout time.Duration) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_ = s.Close(ctx) // an error means only that a request was cut off
}
