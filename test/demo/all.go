package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/nats-io/nats.go"
)

// stack is the whole demonstration: the server as a process, the rest in this one.
type stack struct {
	report  *report
	keys    *keys
	browser string // folder of the browser package
	origin  string // of the page
	server  *server
	conns   []*nats.Conn
	dir     string // of the server's configuration
}

// all runs everything once, and stays up until ctx ends unless once is set.
func all(ctx context.Context, binary, browser string, once bool, out io.Writer) (err error) {
	s := &stack{report: &report{out: out}, browser: browser}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.start(ctx, binary); err != nil {
		return err
	}
	c := &client{web: s.origin, websocket: s.server.websocket, origin: s.origin, report: s.report}
	if err := c.run(ctx); err != nil {
		s.report.promise("the client gets to the end", err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	backend, err := s.connect("backend", asUser(s.keys.backend))
	if err != nil {
		return err
	}
	c.unstamped(ctx, backend)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	kept := s.report.summary()
	if !once {
		if err := s.stay(ctx); err != nil {
			return err
		}
	}
	if !kept {
		return errNotKept
	}
	return nil
}

var errNotKept = errors.New("not every promise was kept")

// stay waits for ctx, or for the server's end.
func (s *stack) stay(ctx context.Context) error {
	_, _ = fmt.Fprintln(s.report.out)
	s.report.say("page", "%s   (ctrl-c stops everything)", s.origin)
	select {
	case <-ctx.Done():
	case <-s.server.done:
		// A ctrl-c reaches the server too, and may end it before it ends ctx.
		if s.server.err != nil {
			return fmt.Errorf("the server ended: %w\n%s", s.server.err, s.server.log.String())
		}
	}
	return nil
}

func (s *stack) start(ctx context.Context, binary string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the page: %w", err)
	}
	s.origin = "http://" + l.Addr().String()
	websocketPort, err := s.startServer(ctx, binary)
	if err != nil {
		_ = l.Close()
		return err
	}
	nc, err := s.connect("web", asUser(s.keys.backend))
	if err != nil {
		_ = l.Close()
		return err
	}
	store, err := openSessions(ctx, nc)
	if err != nil {
		_ = l.Close()
		return err
	}
	w := &web{sessions: store, browser: s.browser, websocketPort: websocketPort, say: s.report.say}
	go func() {
		if err := w.serve(ctx, l); err != nil {
			s.report.say("web", "%v", err)
		}
	}()
	if nc, err = s.connect("service", asUser(s.keys.backend)); err != nil {
		return err
	}
	return service(nc, s.report.say)
}

// startServer returns the port of the websocket.
func (s *stack) startServer(ctx context.Context, binary string) (port int, err error) {
	if s.keys, err = newKeys(); err != nil {
		return 0, err
	}
	if s.dir, err = os.MkdirTemp("", "stamp-demo-"); err != nil {
		return 0, err
	}
	_, pagePort, err := net.SplitHostPort(s.origin[len("http://"):])
	if err != nil {
		return 0, fmt.Errorf("address of the page: %w", err)
	}
	// To a browser, localhost is another origin, with cookies of its own.
	origins := []string{s.origin, "http://localhost:" + pagePort}
	file := filepath.Join(s.dir, "nats.conf")
	conf := newConfiguration(s.keys, "127.0.0.1:-1", "127.0.0.1:-1", origins, s.dir, filepath.Join(s.dir, "jetstream"))
	if err := conf.write(file); err != nil {
		return 0, err
	}
	if s.server, err = startServer(ctx, binary, file, s.dir); err != nil {
		return 0, err
	}
	u, err := url.Parse(s.server.websocket)
	if err != nil {
		return 0, fmt.Errorf("websocket in the ports file: %w", err)
	}
	if port, err = strconv.Atoi(u.Port()); err != nil {
		return 0, fmt.Errorf("websocket in the ports file: %w", err)
	}
	return port, nil
}

func (s *stack) connect(name string, options ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect(s.server.nats, append(options, nats.Name(name))...)
	if err != nil {
		return nil, fmt.Errorf("connect the %s: %w", name, err)
	}
	s.conns = append(s.conns, nc)
	return nc, nil
}

// stop ends what start began, as far as it came. The web server ends with ctx.
func (s *stack) stop() error {
	for _, nc := range s.conns {
		nc.Close()
	}
	if s.server != nil {
		s.server.stop()
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}
