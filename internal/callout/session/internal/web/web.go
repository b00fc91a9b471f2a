// Package web is the HTTP client of the session sources. It bounds the length of answers,
// follows no redirects, and returns errors that hold no credential, no query or user of
// a URL, and no part of an answer.
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

	"stamp/internal/conf"
)

// MaxBody is the maximum length of an answer's body in bytes.
const MaxBody = 64 << 10

// maxHeader is the maximum length of an answer's header in bytes.
const maxHeader = 64 << 10

// pingTimeout is after how long without data an HTTP/2 connection with a pending request
// is pinged, and how long the answer to the ping may take.
const pingTimeout = 3 * time.Second

// Client sends requests to one server.
type Client struct{ http *http.Client }

// NewClient returns a client for the given number of concurrent requests. n is the block
// of t; faults of the files of t are added to faults.
func NewClient(n conf.Node, t *conf.TLS, concurrency int, faults *conf.Faults) *Client {
	transport := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		// As many connections stay open as are used at once, so that none is made under load.
		MaxIdleConns: concurrency, MaxIdleConnsPerHost: concurrency, MaxConnsPerHost: concurrency,
		IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 5 * time.Second,
		MaxResponseHeaderBytes: maxHeader, ForceAttemptHTTP2: true,
		TLSClientConfig: t.Config(n, faults),
		// All requests may share one HTTP/2 connection. If it is dead, only a ping shows this.
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingTimeout, PingTimeout: pingTimeout, WriteByteTimeout: 2 * pingTimeout},
	}
	return &Client{&http.Client{
		Transport: limited{transport},
		// A redirect is no answer about the session, and its target must not get the credential.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// limited is a transport that bounds the length of an answer's body, after
// decompression.
type limited struct{ *http.Transport }

// RoundTrip sends a request. It fails for status 101 (Switching Protocols), which no
// request asks for: net/http would leave the connection open without any time-out.
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.Transport.RoundTrip(r)
	if err != nil {
		l.closeIdleAfter(err)
		return nil, err
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return nil, errors.Join(errSwitched, answer.Body.Close())
	}
	answer.Body = http.MaxBytesReader(nil, answer.Body, MaxBody)
	return answer, nil
}

var errSwitched = errors.New("found status 101 (Switching Protocols), which the request did not ask for")

// closeIdleAfter closes idle connections if err is a time-out. The server may have been
// replaced by another one at the same address. The old connections then never answer,
// and each would cost a request, while a new connection works.
func (l limited) closeIdleAfter(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		l.CloseIdleConnections()
	}
}

// HTTP returns the client for libraries that need an http.Client. Their answers are
// bounded too. The caller must pass their errors through Clean.
func (c *Client) HTTP() *http.Client { return c.http }

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// CheckURL adds the faults of a URL. It does not quote the URL, which may hold a
// password.
func CheckURL(n conf.Node, name, text string, faults *conf.Faults) {
	u, err := url.Parse(text)
	switch {
	case text == "": // reported if the field is required
	case err != nil:
		faults.Add(n.Get(name), "%s: expected a URL with http or https; found a text that is no URL", name)
	case u.Scheme != "http" && u.Scheme != "https":
		faults.Add(n.Get(name), "%s: expected a URL with http or https; found %s", name, schemeOf(u))
	case u.Host == "":
		faults.Add(n.Get(name), "%s: expected a URL with http or https; found one without a host", name)
	case u.Fragment != "":
		faults.Add(n.Get(name), "%s: expected a URL without a fragment (#)", name)
	}
}

// schemeOf names the scheme of a URL for an error. A text such as alice:secret has a user where the scheme would be, so
// the scheme is shown only before //.
func schemeOf(u *url.URL) string {
	switch {
	case u.Scheme == "":
		return "no scheme"
	case u.Opaque != "" || u.Host == "":
		return "another scheme"
	}
	return "the scheme " + u.Scheme
}

// Answer is the answer of a server.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// ErrTooLong means that the body of the answer is longer than MaxBody.
var ErrTooLong = fmt.Errorf("answer is longer than %d bytes", MaxBody)

// Do sends a request and reads the whole answer.
func (c *Client) Do(r *http.Request) (*Answer, error) {
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, Clean(err)
	}
	body, err := readAll(r.Context(), answer.Body)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			c.http.CloseIdleConnections() // see closeIdleAfter
		}
		return nil, Clean(err)
	}
	return &Answer{answer.StatusCode, answer.Header, body}, nil
}

// unreached is the error of a request that was not sent, because no connection could be
// made.
type unreached struct{ error }

func (e *unreached) Unwrap() error { return e.error }

// Unreached reports whether no connection to the server could be made. Such an error does
// not depend on the request, unlike a missing answer.
func Unreached(err error) bool {
	var u *unreached
	return errors.As(err, &u)
}

// readAll reads a body until its end or the end of ctx. The transport should end the body
// when ctx ends. If it does not, readAll still returns, because the caller occupies one
// of few turns.
func readAll(ctx context.Context, body io.ReadCloser) ([]byte, error) {
	type result struct {
		body []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		read, err := io.ReadAll(body)
		_ = body.Close() // the body has been read, or cannot be
		done <- result{read, err}
	}()
	select {
	case r := <-done:
		return r.body, r.err
	case <-ctx.Done():
		go func() { _ = body.Close() }() // Close may wait for the reader
		return nil, context.Cause(ctx)
	}
}

// Clean replaces an error of net/http by one that is safe to show: without the URL and
// without any part of the answer.
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
		return &unreached{errors.New("the server's certificate is not valid, or not signed by a trusted authority")}
	case errors.As(err, &dns):
		return &unreached{errors.New("the host name of the server cannot be resolved")}
	case errors.As(err, &op) && op.Op == "dial":
		return &unreached{fmt.Errorf("%s: %w", op.Op, op.Err)}
	case errors.As(err, &op):
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return errors.New("the server's answer is not valid HTTP")
}
