package redis

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"stamp/internal/callout/session"
)

const timeout = 20 * time.Second

// process is a redis-server.
type process struct {
	binary, dir, socket string
	port                int
	args                []string
	cmd                 *exec.Cmd
}

// startRedis runs a redis-server with arguments of its own; portArg is the one
// that takes its TCP port, empty for none.
func startRedis(t testing.TB, portArg string, args ...string) *process {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil && os.Getenv("STAMP_TEST_ALL") == "" {
		t.Skip("redis-server is missing (hint: apt-get install redis-server)")
	}
	if err != nil {
		t.Fatal("redis-server is missing (hint: apt-get install redis-server)")
	}
	// A path of a socket must be short.
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &process{binary: binary, dir: dir, socket: filepath.Join(dir, "s")}
	for range 5 { // the port may be taken by another in the meantime
		p.port, p.args = 0, append([]string{"--port", "0"}, args...)
		if portArg != "" {
			p.port = freePort(t)
			p.args = append(p.args, portArg, strconv.Itoa(p.port))
		}
		if err = p.start(); err == nil {
			t.Cleanup(p.stop)
			return p
		}
	}
	t.Fatalf("cannot start redis-server: %v", err)
	return nil
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start starts it and waits until it answers on its socket.
func (p *process) start() error {
	p.cmd = exec.Command(p.binary, append([]string{"--unixsocket", p.socket, "--bind", "127.0.0.1", "--save", "", "--dir", p.dir}, p.args...)...)
	if err := p.cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(exited) }()
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		select {
		case <-exited:
			return fmt.Errorf("it ended: %s", p.cmd.ProcessState)
		default:
		}
		conn, err := redis.Dial("unix", p.socket)
		if err != nil {
			continue
		}
		_, err = conn.Do("PING")
		conn.Close()
		if _, answered := err.(redis.Error); err == nil || answered {
			return nil
		}
	}
	p.stop()
	return fmt.Errorf("no answer")
}

// stop kills it, and waits until its socket does not answer.
func (p *process) stop() {
	_ = p.cmd.Process.Kill() // it may have ended
	for {
		conn, err := net.Dial("unix", p.socket)
		if err != nil {
			return
		}
		conn.Close()
		time.Sleep(time.Millisecond)
	}
}

// do runs a command; password may be empty.
func (p *process) do(t testing.TB, password, command string, args ...any) {
	t.Helper()
	conn, err := redis.Dial("unix", p.socket, redis.DialPassword(password))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Do(command, args...); err != nil {
		t.Fatal(err)
	}
}

func (p *process) url() string { return "unix://" + p.socket }

// open opens a source with the fields of a block.
func open(t testing.TB, fields string) session.Source {
	t.Helper()
	cfg, err := parse(t, "kind: redis, timeout: 20s, "+fields)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cfg.Open(t.Context(), session.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func find(t testing.TB, s session.Source, credential string) (*session.Session, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return s.Find(ctx, &session.Request{Credential: session.Credential{Kind: session.Cookie, Value: credential}})
}

// writeCert writes a certificate for localhost, and its key.
func writeCert(t testing.TB) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
