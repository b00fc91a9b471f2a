package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
)

// stack is the whole demonstration: the server as a process, the rest in this one.
type stack struct {
	report  *report
	keys    *keys
	browser string // folder of the browser package; empty: there is none
	cookie  bool   // the application's own login, without a provider
	origin  string // of the page
	server  *server
	conns   []*nats.Conn
	dir     string // of the server's configuration
}

// all runs everything once, and stays up until ctx ends unless once is set.
func all(ctx context.Context, binary, browser string, cookie, once bool, out io.Writer) (err error) {
	s := &stack{report: &report{out: out}, browser: browser, cookie: cookie}
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
	worker, err := s.workerPages()
	if err == nil {
		err = s.startServer(ctx, binary, worker)
	}
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
	w := &web{sessions: store, websocket: websocketTarget(s.server.websocket), say: s.report.say, browser: s.browser, worker: worker}
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

// workerPages returns what is needed for a login at a provider, and a worker that connects with tickets; nil
// without the browser package.
func (s *stack) workerPages() (*workerPages, error) {
	if s.browser == "" || s.cookie {
		return nil, nil
	}
	// The server opens this address itself, and has no way to say which port it chose.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a port for the login pages: %w", err)
	}
	pages := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, fmt.Errorf("find a port for the login pages: %w", err)
	}
	p, err := newProvider(s.origin, s.report.say)
	if err != nil {
		return nil, err
	}
	return &workerPages{origin: s.origin, pages: pages, provider: p}, nil
}

func (s *stack) startServer(ctx context.Context, binary string, worker *workerPages) (err error) {
	if s.keys, err = newKeys(); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "stamp-demo-"); err != nil {
		return err
	}
	conf := newConfiguration(s.keys, "127.0.0.1:-1", "127.0.0.1:-1", []string{s.origin}, s.dir, filepath.Join(s.dir, "jetstream"))
	if worker != nil {
		if conf.Login, err = s.loginPages(worker); err != nil {
			return err
		}
	}
	file := filepath.Join(s.dir, "nats.conf")
	if err := conf.write(file); err != nil {
		return err
	}
	s.server, err = startServer(ctx, binary, file, s.dir)
	return err
}

// loginPages returns what the server's configuration says of the login, and makes the key for it.
func (s *stack) loginPages(w *workerPages) (*loginPages, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	keyFile := filepath.Join(s.dir, "login.key")
	if err := os.WriteFile(keyFile, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		return nil, err
	}
	script, err := filepath.Abs(filepath.Join(s.browser, "stamp.worker.js"))
	if err != nil {
		return nil, err
	}
	return &loginPages{
		Listen: w.pages, Public: s.origin + "/auth", Issuer: w.provider.issuer, Client: providerClient,
		Websocket: "ws" + strings.TrimPrefix(s.origin, "http") + "/nats", Worker: script, KeyFile: keyFile,
	}, nil
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
