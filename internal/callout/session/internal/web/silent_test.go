package web

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"stamp/internal/conf"
)

// proxy passes bytes on to a server, until its connections are silenced.
type proxy struct {
	net.Listener
	mu     sync.Mutex
	silent map[net.Conn]bool
}

func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, silent: map[net.Conn]bool{}}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", server)
			if err != nil {
				_ = from.Close()
				return
			}
			t.Cleanup(func() { _, _ = from.Close(), to.Close() })
			p.mu.Lock()
			p.silent[from] = false
			p.mu.Unlock()
			go p.pass(from, from, to)
			go p.pass(from, to, from)
		}
	}()
	return p
}

// pass keeps reading, and drops what it reads, as a firewall does that has forgotten the connection.
func (p *proxy) pass(conn, from, to net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		silent := p.silent[conn]
		p.mu.Unlock()
		if !silent {
			_, _ = to.Write(b[:n])
		}
	}
}

// silence makes the open connections carry nothing any more. New ones work.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.silent {
		p.silent[conn] = true
	}
}

// An HTTP/2 connection that carries nothing any more is given up, even if requests are still written to it.
func TestSilentConnectionIsGivenUp(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, s.Listener.Addr().String())
	c := client(t, &conf.TLS{TLSFiles: conf.TLSFiles{CA: ca}, ServerName: "example.com"}, 8)
	ask := func() (*Answer, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+p.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Do(r)
	}
	if answer, err := ask(); err != nil || string(answer.Body) != "HTTP/2.0" {
		t.Fatalf("expected an answer by HTTP/2 before the connection is silent; found error %v", err)
	}
	p.silence()
	for deadline := time.Now().Add(5 * pingTimeout); ; {
		if _, err := ask(); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("requests go on over a dead connection")
		}
	}
}
