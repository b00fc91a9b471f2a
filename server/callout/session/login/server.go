package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// server serves the pages at an address.
type server struct {
	http     *http.Server
	listener net.Listener
	visitors *connections
	closing  atomic.Bool
	accepted chan struct{} // closed when no more connections are accepted, and all that were are in visitors
}

// serve begins to answer. An address that is taken by somebody else is an error.
func (s *source) serve() error {
	listener, err := listen(s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("login pages: %w", err)
	}
	visitors := newConnections(maxConnections)
	p := &server{listener: listener, visitors: visitors, accepted: make(chan struct{}), http: &http.Server{
		Handler: visitors.counted(s.pages()), TLSConfig: s.cfg.listenTLS,
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, Protocols: oneRequestEach(),
		ConnContext: visitors.add, ConnState: visitors.changed,
		ErrorLog: s.logged.Lines("connection", "login pages: a connection"),
	}}
	s.mu.Lock()
	s.web = p
	s.mu.Unlock()
	s.work.Go(func() { s.run(p) })
	return nil
}

// oneRequestEach are the protocols in which a connection has one request at a time, so that the bound of connections is
// one of requests. HTTP/2 has 250 on each, whose headers are held in memory while their bodies are waited for.
func oneRequestEach() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

func (s *source) run(p *server) {
	defer close(p.accepted)
	s.env.Log.Info("login pages", "source", s.cfg.Name, "address", p.listener.Addr().String(), "public_url", s.cfg.PublicURL)
	var err error
	if s.cfg.listenTLS != nil {
		err = p.http.ServeTLS(p.listener, "", "")
	} else {
		err = p.http.Serve(p.listener)
	}
	if p.closing.Load() {
		return
	}
	s.env.Log.Error("login pages", "source", s.cfg.Name, "error", err)
	s.failed.Store(&err)
}

// Times of close.
const (
	firstRequests = time.Second     // for the first request of a connection that was just accepted
	lastAnswers   = 4 * time.Second // for answers to requests
)

// close ends the server. No connection is accepted any more; at a reload the new pages have the address. http.Server
// would drop a request that it reads after the beginning of its Shutdown, so connections that were just accepted are
// waited for first.
func (p *server) close(ctx context.Context) error {
	p.closing.Store(true)
	_ = p.listener.Close() // it was opened once
	<-p.accepted           // at once, without a listener
	fresh, cancel := context.WithTimeout(ctx, firstRequests)
	defer cancel()
	p.visitors.waitForFresh(fresh)
	p.visitors.closeIdle()
	ctx, stop := context.WithTimeout(ctx, lastAnswers)
	defer stop()
	if err := p.http.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		return p.http.Close()
	}
	return nil
}
