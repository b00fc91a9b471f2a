package harness

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Credential returns the fields of a CONNECT for the nonce of a server's INFO.
type Credential func(nonce string) map[string]any

// Password is the credential of a user with a password.
func Password(user, password string) Credential {
	return func(string) map[string]any { return map[string]any{"user": user, "pass": password} }
}

// Nobody is the credential of a client that presents none.
func Nobody(string) map[string]any { return nil }

// Raw is a client without a library. Its methods end the test if something unexpected comes.
type Raw struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader

	// Info is the latest INFO of the server.
	Info struct {
		Nonce      string `json:"nonce"`
		MaxPayload int    `json:"max_payload"`
		Stamp      string `json:"stamp"`
	}
}

// Msg is a message as it came.
type Msg struct {
	Subject, SID, Reply string
	Header              string // the block, "" in a MSG
	Payload             string
}

// Lines are the header's lines after the first, without line ends.
func (m Msg) Lines() []string {
	if m.Header == "" {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(m.Header, "\r\n\r\n"), "\r\n")
	return lines[1:]
}

// Dial connects to a server's client port and reads its INFO.
func Dial(t testing.TB, s *Server) *Raw {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr(t))
	if err != nil {
		t.Fatal(err)
	}
	return NewRaw(t, conn)
}

// NewRaw is Dial for a connection that exists.
func NewRaw(t testing.TB, conn net.Conn) *Raw {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	r := &Raw{t: t, conn: conn, r: bufio.NewReader(conn)}
	r.read() // INFO
	return r
}

// Client is a Raw that is connected with the credential, and has the INFO that
// may follow the first PONG.
func Client(t testing.TB, s *Server, cred Credential) *Raw {
	t.Helper()
	r := Dial(t, s)
	r.Connect(cred)
	r.Flush()
	r.Flush()
	return r
}

// Connect sends a CONNECT. The test calls Flush next, which fails if the server has refused the CONNECT.
func (r *Raw) Connect(cred Credential) {
	r.t.Helper()
	fields := map[string]any{
		"verbose": false, "pedantic": false, "headers": true, "protocol": 1, "no_responders": true,
	}
	maps.Copy(fields, cred(r.Info.Nonce))
	b, err := json.Marshal(fields)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Send("CONNECT %s\r\n", b)
}

// Send sends bytes as they are.
func (r *Raw) Send(format string, args ...any) {
	r.t.Helper()
	if _, err := fmt.Fprintf(r.conn, format, args...); err != nil {
		r.t.Fatalf("cannot send to the server: %v", err)
	}
}

// Pub sends a message without a header.
func (r *Raw) Pub(subject, payload string) {
	r.t.Helper()
	r.Send("PUB %s %d\r\n%s\r\n", subject, len(payload), payload)
}

// Hpub sends a message with a header block, which ends with a blank line.
func (r *Raw) Hpub(subject, block, payload string) {
	r.t.Helper()
	r.Send("HPUB %s %d %d\r\n%s%s\r\n", subject, len(block), len(block)+len(payload), block, payload)
}

// Sub subscribes and waits until the server knows.
func (r *Raw) Sub(subject, sid string) {
	r.t.Helper()
	r.Send("SUB %s %s\r\n", subject, sid)
	r.Flush()
}

// Flush sends a PING and waits for the PONG, which must be the next thing.
func (r *Raw) Flush() {
	r.t.Helper()
	r.Send("PING\r\n")
	r.Expect("PONG")
}

// Expect reads the next line and compares its beginning.
func (r *Raw) Expect(begin string) string {
	r.t.Helper()
	line, err := r.Line()
	if err != nil {
		r.t.Fatalf("waited for a line that begins with %q: %v", begin, err)
	}
	if !strings.HasPrefix(line, begin) {
		r.t.Fatalf("got a line that begins with %q, expected %q", line[:min(len(line), 80)], begin)
	}
	return line
}

// ExpectClosed reads until the server closes the connection, and returns the
// lines before that.
func (r *Raw) ExpectClosed() []string {
	r.t.Helper()
	var lines []string
	for {
		line, err := r.Line()
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			r.t.Fatalf("the server has not closed the connection in %s", Timeout)
		}
		if err != nil {
			return lines
		}
		lines = append(lines, line)
	}
}

// Line reads the next line, without its end. It answers a PING and notes an INFO
// by itself.
func (r *Raw) Line() (string, error) {
	for {
		line, err := r.read()
		switch {
		case err != nil:
			return "", err
		case line == "PING":
			r.Send("PONG\r\n")
		case !strings.HasPrefix(line, "INFO "):
			return line, nil
		}
	}
}

func (r *Raw) read() (string, error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(Timeout)); err != nil {
		return "", err
	}
	line, err := r.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if info, ok := strings.CutPrefix(line, "INFO "); ok {
		if err := json.Unmarshal([]byte(info), &r.Info); err != nil {
			return "", fmt.Errorf("INFO: %w", err)
		}
	}
	return line, nil
}

// Msg reads the next message.
func (r *Raw) Msg() Msg {
	r.t.Helper()
	line := r.Expect("")
	f := strings.Fields(line)
	sizes := map[string]int{"MSG": 1, "HMSG": 2}[f[0]]
	if n := len(f) - 3 - sizes; sizes == 0 || n < 0 || n > 1 {
		r.t.Fatalf("got a line that begins with %q, expected a message", line[:min(len(line), 80)])
	}
	m := Msg{Subject: f[1], SID: f[2]}
	if len(f) == 4+sizes {
		m.Reply = f[3]
	}
	total, _ := strconv.Atoi(f[len(f)-1])
	hdr := 0
	if sizes == 2 {
		hdr, _ = strconv.Atoi(f[len(f)-2])
	}
	body := make([]byte, total+2)
	if _, err := io.ReadFull(r.r, body); err != nil {
		r.t.Fatalf("cannot read the message: %v", err)
	}
	m.Header, m.Payload = string(body[:hdr]), string(body[hdr:total])
	return m
}

// Peek reports whether a message or a line is there to be read within a moment. It is for
// Eventually.
func (r *Raw) Peek() bool {
	r.t.Helper()
	if err := r.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		r.t.Fatal(err)
	}
	_, err := r.r.Peek(1)
	return err == nil
}

// Close closes the connection.
func (r *Raw) Close() { r.conn.Close() }
