package test

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// slowSource is a source that takes 50 ms, and knows everybody. It counts how often it is asked.
func slowSource(t *testing.T, asked *atomic.Int64) *httptest.Server {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		time.Sleep(50 * time.Millisecond)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"user":"alice"}`))
	}))
	t.Cleanup(site.Close)
	return site
}

// Many clients come at once, and the source takes a while. All are let in, and none is looked up twice. scripts/bench scale
// does the same with 10,000 clients.
func TestStormOfClients(t *testing.T) {
	const clients = 2000
	var asked atomic.Int64
	site := slowSource(t, &asked)
	s := harness.Start(t, fmt.Sprintf(`
		accounts { AUTH {}, APP {} }
		authorization { timeout: 50 } # until CONNECT is read, which takes a while on a busy machine
		callout {
			account: AUTH, issuer: %s
			sessions: [{kind: http, url: %q, timeout: "40s"}]
			grants: [{account: APP, publish: ">", subscribe: ">"}]
		}`, harness.Seed(t, harness.NewAccountKey(t)), site.URL))
	var refused atomic.Int64
	var storm sync.WaitGroup
	for i := range clients {
		storm.Go(func() {
			nc, err := nats.Connect("nats://"+s.Addr(t), nats.Token(fmt.Sprint("token", i)), nats.Timeout(harness.Timeout), nats.NoReconnect())
			if err == nil {
				nc.Close()
			} else if refused.Add(1) == 1 {
				t.Error(err)
			}
		})
	}
	storm.Wait()
	if refused.Load() != 0 || asked.Load() != clients {
		t.Errorf("%d of %d clients were refused, and the source was asked %d times", refused.Load(), clients, asked.Load())
	}
}

// letIn connects with a token and waits for the answer to a PING.
func letIn(addr, token string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(harness.Timeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "CONNECT {\"auth_token\":%q,\"verbose\":false}\r\nPING\r\n", token); err != nil {
		return err
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == "PONG":
			return nil
		case strings.HasPrefix(line, "-ERR"):
			return errors.New(line)
		}
	}
	return cmp.Or(lines.Err(), io.ErrUnexpectedEOF)
}
