// Package web is the HTTP client of the session sources that ask over HTTP. Its
// errors hold no credential, no query or user of a URL, and nothing of an answer.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"stamp/server/conf"
)

// TLS are paths of PEM files, and the name that the server's certificate must be
// for, when it is not that of the URL.
type TLS struct {
	CA         string `conf:"ca"`
	Cert       string `conf:"cert"`
	Key        string `conf:"key"`
	ServerName string `conf:"server_name"`
}

// MaxBody is how long an answer may be, in bytes.
const MaxBody = 64 << 10

// maxHeader is how long an answer's header may be, in bytes.
const maxHeader = 64 << 10

// silence is how long a connection of HTTP/2 may say nothing while an answer is waited for, before it is
// pinged, and how long the answer to that may take.
const silence = 3 * time.Second

// Client asks one server.
type Client struct{ http *http.Client }

// NewClient makes a client for that many requests at once. What is wrong with the
// files of t is added to faults; n is its block.
func NewClient(n conf.Node, t *TLS, concurrency int, faults *conf.Faults) *Client {
	transport := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		// As many stay open as are used at once, so that none is made anew under load.
		MaxIdleConns: concurrency, MaxIdleConnsPerHost: concurrency, MaxConnsPerHost: concurrency,
		IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 5 * time.Second,
		MaxResponseHeaderBytes: maxHeader, ForceAttemptHTTP2: true,
		TLSClientConfig: t.Config(n, faults),
		// All requests may share one connection of HTTP/2, and would wait for ever for one that is dead.
		HTTP2: &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: silence, WriteByteTimeout: 2 * silence},
	}
	return &Client{&http.Client{
		Transport: limited{transport},
		// An answer that sends us elsewhere says nothing of the session, and must not
		// get the credential there.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// limited bounds what is read of an answer, whoever reads it; of a compressed one
// what comes out.
type limited struct{ *http.Transport }

// RoundTrip refuses an answer that is none: after status 101 another protocol is spoken, which nobody asked for,
// and net/http leaves the connection to whoever reads it, without an end in time.
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.Transport.RoundTrip(r)
	if err != nil {
		l.givenUp(err)
		return nil, err
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return nil, errors.Join(errSwitched, answer.Body.Close())
	}
	answer.Body = http.MaxBytesReader(nil, answer.Body, MaxBody)
	return answer, nil
}

var errSwitched = errors.New("the server switches protocols, which it was not asked to do")

// givenUp is told of a request that has failed. Where it had no answer in time, the server may have been replaced
// by another one at the same address: its connections stay silent, each would cost a request, and a new one works. So
// those that are idle are closed.
func (l limited) givenUp(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		l.CloseIdleConnections()
	}
}

// HTTP is the client itself, for libraries that want one. What they read of an
// answer is bounded too; their errors are to go through Clean.
func (c *Client) HTTP() *http.Client { return c.http }

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Config is nil for no TLS of its own. What is wrong with the files is added to faults.
func (t *TLS) Config(n conf.Node, faults *conf.Faults) *tls.Config {
	if t == nil {
		return nil
	}
	cfg := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		var err error
		if cfg.RootCAs, err = conf.LoadCertPool(t.CA); err != nil {
			faults.Add(n.Get("ca"), "tls: ca: %v", err)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		faults.Add(n, "tls: cert and key go together")
	} else if t.Cert != "" {
		pair, err := conf.LoadKeyPair(t.Cert, t.Key)
		if err != nil {
			faults.Add(n.Get("cert"), "tls: cert and key: %v", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg
}

// CheckURL adds what is wrong with a URL. Nothing of it is quoted: it may hold a
// password.
func CheckURL(n conf.Node, name, text string, faults *conf.Faults) {
	u, err := url.Parse(text)
	switch {
	case text == "": // a required field says so
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		faults.Add(n.Get(name), "%s: expected a URL with http or https", name)
	case u.Fragment != "":
		faults.Add(n.Get(name), "%s: a URL to ask has no fragment", name)
	}
}

// Answer is what a server said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// ErrTooLong: the answer's body is longer than MaxBody.
var ErrTooLong = fmt.Errorf("answer is longer than %d bytes", MaxBody)

// Do sends a request, and reads the answer whole.
func (c *Client) Do(r *http.Request) (*Answer, error) {
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, Clean(err)
	}
	body, err := readAll(r.Context(), answer.Body)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			c.http.CloseIdleConnections() // see givenUp
		}
		return nil, Clean(err)
	}
	return &Answer{answer.StatusCode, answer.Header, body}, nil
}

// unreached is the error of a request that was not sent, for want of a connection.
type unreached struct{ error }

func (e *unreached) Unwrap() error { return e.error }

// Unreached tells whether there was no connection to the server: that has nothing to do with the request.
// One that gets no answer in time may be the only one.
func Unreached(err error) bool {
	var u *unreached
	return errors.As(err, &u)
}

// readAll reads a body to its end, or to that of ctx: that of the transport should end there too, but whoever asks
// has a turn among few, and waits for no body that does not.
func readAll(ctx context.Context, body io.ReadCloser) ([]byte, error) {
	type result struct {
		body []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		read, err := io.ReadAll(body)
		_ = body.Close() // it is read to its end, or given up
		done <- result{read, err}
	}()
	select {
	case r := <-done:
		return r.body, r.err
	case <-ctx.Done():
		go func() { _ = body.Close() }() // which may wait for what reads
		return nil, context.Cause(ctx)
	}
}

// Clean returns what is safe to show of an error of net/http: its kind, not
// the URL that it is about.
func Clean(err error) error {
	var dns *net.DNSError
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return ErrTooLong
	case errors.Is(err, errSwitched):
		return errSwitched
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &cert):
		return &unreached{errors.New("certificate of the server is not valid for us")}
	case errors.As(err, &dns):
		return &unreached{errors.New("name of the server cannot be resolved")}
	case errors.As(err, &op) && op.Op == "dial":
		return &unreached{fmt.Errorf("%s: %w", op.Op, op.Err)}
	case errors.As(err, &op):
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return errors.New("server does not answer as HTTP servers do")
}
