package http

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"stamp/internal/callout/session"
)

// startAnswering runs an application that gives each request an answer that was written by hand, and closes the connection.
func startAnswering(t *testing.T, answer string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					_, _ = c.Write([]byte(answer))
				}
				_ = c.Close()
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// Only a complete final answer that follows the rules of HTTP tells of a session.
func TestAnswersByHand(t *testing.T) {
	zip := func(text string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
		return b.String()
	}
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	const alice = `{"user":"alice"}`
	hints := "HTTP/1.1 103 Early Hints\r\nX-Role: admin\r\nX-Auth-User: root\r\n\r\n"
	zipped := zip(alice)
	for name, c := range map[string]struct {
		answer string
		found  bool
	}{
		"plain":                     {ok + "Content-Length: 16\r\n\r\n" + alice, true},
		"until the end":             {ok + "\r\n" + alice, true},
		"continue":                  {"HTTP/1.1 100 Continue\r\n\r\n" + ok + "\r\n" + alice, true},
		"hints":                     {hints + ok + "\r\n" + alice, true},
		"trailer":                   {ok + "Transfer-Encoding: chunked\r\nTrailer: X-Role\r\n\r\n10\r\n" + alice + "\r\n0\r\nX-Role: admin\r\nX-Auth-User: root\r\n\r\n", true},
		"zipped":                    {ok + "Content-Encoding: gzip\r\n\r\n" + zipped, true},
		"hints alone":               {hints, false},
		"hints without end":         {strings.Repeat(hints, 10_000), false},
		"switching":                 {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" + alice, false},
		"cut":                       {ok + "Content-Length: 17\r\n\r\n" + alice, false},
		"cut chunk":                 {ok + "Transfer-Encoding: chunked\r\n\r\n10\r\n" + alice, false},
		"cut zip":                   {ok + "Content-Encoding: gzip\r\n\r\n" + zipped[:len(zipped)-4], false},
		"bomb":                      {ok + "Content-Encoding: gzip\r\n\r\n" + zip(`{"user":"`+strings.Repeat("a", 64<<20)+`"}`), false},
		"two bodies zipped as one":  {ok + "Content-Encoding: gzip\r\n\r\n" + zipped + zipped, false},
		"another coding":            {ok + "Content-Encoding: br\r\n\r\n" + zipped, false},
		"two lengths":               {ok + "Content-Length: 16\r\nContent-Length: 17\r\n\r\n" + alice, false},
		"two objects":               {ok + "\r\n" + alice + alice, false},
		"long header":               {ok + "X-Long: " + strings.Repeat("x", 80<<10) + "\r\n\r\n" + alice, false},
		"many headers":              {ok + strings.Repeat("A: b\r\n", 20<<10) + "\r\n" + alice, false},
		"control characters":        {ok + "X-Auth-User: a\x00b\r\n\r\n" + alice, false},
		"no status":                 {"HTTP/1.1 OK\r\n\r\n" + alice, false},
		"elsewhere, with a session": {"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Type: application/json\r\n\r\n" + alice, false},
	} {
		s := open(t, fmt.Sprintf("url: %q, fields {role: X-Role}", startAnswering(t, c.answer)))
		got, err := find(t, s, cookie(secret))
		if !c.found {
			if err == nil || errors.Is(err, session.ErrUnknown) {
				t.Errorf("%s: %v, %v; want that it cannot tell", name, got, err)
			}
			continue
		}
		if err != nil || got.Data["user"] != "alice" || got.Data["role"] != nil {
			t.Errorf("%s: expected the session of alice by the final answer; found %v, error %v", name, got, err)
		}
	}
}
