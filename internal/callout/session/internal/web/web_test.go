package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stamp/internal/conf"
)

// secret must never be in an error.
const secret = "hush-4711"

func client(t *testing.T, cfg *conf.TLS, concurrency int) *Client {
	t.Helper()
	var faults conf.Faults
	c := NewClient(conf.Node{}, cfg, concurrency, &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// get sends a request with a secret at each place where one can be.
func get(t *testing.T, c *Client, url string) (*Answer, error) {
	t.Helper()
	url = strings.Replace(url, "://", "://user:"+secret+"@", 1) + "?q=" + secret
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal("the URL of the test is not one")
	}
	r.Header.Set("Cookie", "session="+secret)
	answer, err := c.Do(r)
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Error("the error tells a secret")
	}
	return answer, err
}

func serve(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL
}

func TestBody(t *testing.T) {
	for length, want := range map[int]error{0: nil, 1: nil, MaxBody: nil, MaxBody + 1: ErrTooLong, 10 * MaxBody: ErrTooLong} {
		for _, zipped := range []bool{false, true} {
			body := bytes.Repeat([]byte("x"), length)
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if !zipped {
					_, _ = w.Write(body)
					return
				}
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				_, _ = z.Write(body)
				_ = z.Close()
			})
			answer, err := get(t, client(t, nil, 1), url)
			if !errors.Is(err, want) || err == nil && !bytes.Equal(answer.Body, body) {
				t.Errorf("a body of %d bytes, compressed: %t: found error %v, want %v", length, zipped, err, want)
			}
		}
	}
}

// A library that uses the client reads no more bytes than Do does.
func TestHTTPIsBounded(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2*MaxBody)) })
	answer, err := client(t, nil, 1).HTTP().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if n, err := io.Copy(io.Discard, answer.Body); n > MaxBody || !errors.Is(Clean(err), ErrTooLong) {
		t.Errorf("read %d bytes and error %v; want the bound and ErrTooLong", n, err)
	}
}

// If a server redirects a request with a credential, the client does not follow.
func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	for _, status := range []int{301, 302, 303, 307, 308} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, status) })
		if answer, err := get(t, client(t, nil, 1), url); err != nil || answer.Status != status {
			t.Errorf("status %d: expected it as the answer, not followed; found error %v", status, err)
		}
	}
}

// Connections are kept: while requests go on no new one is made, and there are never more than the limit.
func TestConnectionsAreKept(t *testing.T) {
	const concurrency = 8
	var mu sync.Mutex
	opened := map[net.Conn]bool{}
	waiting, gate := 0, make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		// No answer is sent before all requests have come, so that as many connections are open as can be.
		mu.Lock()
		mine := gate
		if waiting++; waiting == concurrency {
			waiting, gate = 0, make(chan struct{})
			close(mine)
		}
		mu.Unlock()
		<-mine
	}))
	s.Config.ConnState = func(c net.Conn, _ http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		opened[c] = true
	}
	s.Start()
	t.Cleanup(s.Close)
	c := client(t, nil, concurrency)
	for range 20 {
		var wg sync.WaitGroup
		for range concurrency {
			wg.Go(func() {
				if _, err := get(t, c, s.URL); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	mu.Lock()
	defer mu.Unlock()
	if len(opened) != concurrency {
		t.Errorf("%d connections for %d requests at once", len(opened), concurrency)
	}
}

// Each way in which a server fails to answer has an error that helps the operator and shows no secret.
func TestErrors(t *testing.T) {
	hangUp := serve(t, func(w http.ResponseWriter, _ *http.Request) { hijack(w, "") })
	nonsense := serve(t, func(w http.ResponseWriter, _ *http.Request) { hijack(w, "220 "+secret+" ESMTP\r\n") })
	short := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+secret)
	})
	long := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat(secret, maxHeader))
	})
	closed := httptest.NewServer(nil)
	closed.Close()
	encrypted := httptest.NewUnstartedServer(nil)
	encrypted.Config.ErrorLog = log.New(io.Discard, "", 0)
	encrypted.StartTLS()
	defer encrypted.Close()
	for url, want := range map[string]string{
		hangUp: "answer is not valid HTTP", nonsense: "answer is not valid HTTP", short: "answer is not valid HTTP", long: "answer is not valid HTTP",
		closed.URL: "connection refused", encrypted.URL: "certificate", "http://nowhere.invalid": "resolve",
		strings.Replace(hangUp, "http", "https", 1): "answer is not valid HTTP",
	} {
		if _, err := get(t, client(t, nil, 1), url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected the error %q; found %v", want, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := serve(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, waits, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, nil, 1).Do(r); err != context.Canceled { // it, and nothing round it
		t.Errorf("expected context.Canceled itself; found %v", err)
	}
}

func hijack(w http.ResponseWriter, answer string) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(c, answer)
	_ = c.Close()
}

// A server that asks for a client certificate gets it.
func TestClientCertificate(t *testing.T) {
	cert, key, pool := certificate(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	ca := write(t, "CERTIFICATE", s.Certificate().Raw)
	if answer, err := get(t, client(t, &conf.TLS{TLSFiles: conf.TLSFiles{CA: ca, KeyPair: conf.KeyPair{Cert: cert, Key: key}}}, 1), s.URL); err != nil || string(answer.Body) != "handler" {
		t.Errorf("the request with the client's certificate failed: %v", err)
	}
	if _, err := get(t, client(t, &conf.TLS{TLSFiles: conf.TLSFiles{CA: ca}}, 1), s.URL); err == nil {
		t.Error("a request without a certificate was answered")
	}
	var faults conf.Faults
	NewClient(conf.Node{}, &conf.TLS{TLSFiles: conf.TLSFiles{CA: key, KeyPair: conf.KeyPair{Cert: cert, Key: cert}}}, 1, &faults)
	for _, want := range []string{"expected certificates in PEM", "cert and key"} {
		if err := faults.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected the fault %q; found %v", want, err)
		}
	}
}

// certificate makes a certificate for a client, and returns its files.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	template.Subject.CommonName = "handler"
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return write(t, "CERTIFICATE", der), write(t, "PRIVATE KEY", raw), pool
}

func write(t *testing.T, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCheckURL(t *testing.T) {
	for url, want := range map[string]string{
		"http://x": "", "https://u:" + secret + "@x:1/p?q=1": "", "": "",
		secret: "expected a URL with http or https; found no scheme", "ftp://" + secret: "; found the scheme ftp", "http://": "; found one without a host",
		"https:" + secret: "; found one without a host", secret + ":pass@host": "; found another scheme",
		"http://x/%zz" + secret: "expected a URL", "http://" + secret + "\n": "expected a URL", "http://x#" + secret: "without a fragment",
	} {
		var faults conf.Faults
		CheckURL(conf.Node{}, "url", url, &faults)
		switch err := faults.Err(); {
		case (err == nil) != (want == ""), err != nil && !strings.Contains(err.Error(), want):
			t.Errorf("URL %q: expected the fault %q; found %v", url, want, err)
		case err != nil && strings.Contains(err.Error(), secret):
			t.Errorf("%q: the fault tells a secret", want)
		}
	}
}
