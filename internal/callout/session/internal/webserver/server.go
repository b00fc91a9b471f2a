// Package webserver is an HTTP server that strangers cannot exhaust: the number of its connections,
// the size of requests and the time for each part of them have limits, and a client that is slow or
// silent gives way to the next one. At a reload two servers can share an address, and no connection
// is refused in between.
package webserver

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Limits of a server.
const (
	// ReadTimeout is for reading a request. The time for its body is shorter.
	ReadTimeout = 5 * time.Second
	// WriteTimeout is the time from the end of a request's header to the end of its answer.
	WriteTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	// MaxHeader is the size of a request's header in bytes.
	MaxHeader = 32 << 10
	// MaxBody is the size of a request's body in bytes.
	MaxBody = 64 << 10
	// MaxConnections is the number of open connections.
	MaxConnections = 512
)

// Server serves pages at an address.
type Server struct {
	http        *http.Server
	listener    net.Listener
	connections *connections
	closing     atomic.Bool
	accepted    chan struct{} // closed when no more connections are accepted, and connections holds all that were
}

// New returns a server for the connections of a listener. encryption may be nil. errors gets what
// http.Server reports about connections.
func New(listener net.Listener, encryption *tls.Config, errors *log.Logger, handler http.Handler) *Server {
	conns := newConnections(MaxConnections)
	return &Server{listener: listener, connections: conns, accepted: make(chan struct{}), http: &http.Server{
		Handler: conns.tracked(handler), TLSConfig: encryption,
		ReadHeaderTimeout: ReadTimeout, ReadTimeout: ReadTimeout, WriteTimeout: WriteTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: MaxHeader, Protocols: onlyHTTP1(),
		ConnContext: conns.add, ConnState: conns.stateChanged, ErrorLog: errors,
	}}
}

// onlyHTTP1 returns the protocols in which a connection has one request at a time, so that the limit
// of connections is one of requests. An HTTP/2 connection has up to 250 requests, whose headers stay
// in memory while the server waits for their bodies.
func onlyHTTP1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// Address returns the address on which the server listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// CountUnused returns the number of connections that have had no request yet.
func (s *Server) CountUnused() int { return s.connections.countUnused() }

// Run serves until Close is called, and then returns nil, or until it cannot go on.
func (s *Server) Run() (err error) {
	defer close(s.accepted)
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(s.listener, "", "")
	} else {
		err = s.http.Serve(s.listener)
	}
	if s.closing.Load() {
		return nil
	}
	return err
}

// Times of Close.
const (
	firstRequests = time.Second     // for the first request of connections that were just accepted
	lastAnswers   = 4 * time.Second // for answers to requests
)

// Close ends the server. It accepts no more connections; at a reload another server has the address.
// http.Server's Shutdown would drop requests that it reads after it has begun, so Close first waits
// for the requests of connections that were just accepted. Run must have been called.
func (s *Server) Close(ctx context.Context) error {
	s.closing.Store(true)
	_ = s.listener.Close() // no error: nobody else closes it
	<-s.accepted           // at once, without a listener
	fresh, cancel := context.WithTimeout(ctx, firstRequests)
	defer cancel()
	s.connections.waitForFirstRequests(fresh)
	s.connections.closeIdle()
	ctx, stop := context.WithTimeout(ctx, lastAnswers)
	defer stop()
	if err := s.http.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		return s.http.Close()
	}
	return nil
}
