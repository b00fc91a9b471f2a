package test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"stamp/test/harness"
)

// surplus is an application that sends more than its answer: a body where there is none (to HEAD, and with 204), or another
// answer behind the first one.
func surplus(t *testing.T, answer string) (address string, ended <-chan struct{}) {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { _ = l.Close() })
	done := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() {
					_ = c.Close()
					done <- struct{}{}
				}()
				for r := bufio.NewReader(c); ; {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					if _, err := c.Write([]byte(answer)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), done
}

// Bytes behind an answer are not read as another answer, and are in no log: package net/http would write them to the standard
// log.
func TestSurplusIsNotLogged(t *testing.T) {
	const session = `{"user":"S3CRET-SESSION"}`
	for name, c := range map[string]struct{ fields, answer string }{
		"body of HEAD":   {"method: HEAD", "HTTP/1.1 200 OK\r\nX-Auth-User: alice\r\nContent-Length: 25\r\n\r\n" + session},
		"body of 204":    {"", "HTTP/1.1 204 No Content\r\nX-Auth-User: alice\r\n\r\n" + session},
		"two answers":    {"", "HTTP/1.1 204 No Content\r\nX-Auth-User: alice\r\n\r\nHTTP/1.1 200 OK\r\nX-Auth-User: S3CRET-SESSION\r\nContent-Length: 0\r\n\r\n"},
		"longer body":    {"", "HTTP/1.1 200 OK\r\nX-Auth-User: alice\r\nContent-Length: 2\r\n\r\n{}" + session},
		"after trailers": {"", "HTTP/1.1 200 OK\r\nX-Auth-User: alice\r\nTransfer-Encoding: chunked\r\nTrailer: X-Role\r\n\r\n0\r\nX-Role: S3CRET-SESSION\r\n\r\n" + session},
	} {
		t.Run(name, func(t *testing.T) {
			address, ended := surplus(t, c.answer)
			s := harness.Start(t, fmt.Sprintf(`
				accounts { APP { users: [{user: backend, password: backend}] } }
				callout {
					sessions: [{kind: http, url: "http://%s/", header: Authorization, scheme: Bearer, fields {user: X-Auth-User, role: X-Role}, cache: 0, negative_cache: 0, %s}]
					grants: [{account: APP, publish: ">", subscribe: [], headers: {X-User: "{{ session.user }}", X-Role: "{{ session.role ?? 'none' }}"}}]
				}`, address, c.fields))
			sub := subscriber(t, s, password("backend"))
			for i := range 3 {
				expectStamp(t, harness.Client(t, s, token(fmt.Sprint("t", i))), sub, "X-Role: none", "X-User: alice")
				<-ended // the connection has been found to be out of order
			}
			if strings.Contains(s.Text(), "S3CRET") {
				t.Error("the log shows the bytes behind the answer")
			}
			if !strings.Contains(s.Text(), "Unsolicited response") {
				t.Error("the log does not mention the bytes behind the answer")
			}
		})
	}
}
