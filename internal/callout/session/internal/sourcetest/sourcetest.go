// Package sourcetest has what the tests of several session sources need.
package sourcetest

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/internal/callout/session"
	"stamp/internal/conf"
)

// Parse is the function that reads a source's block.
type Parse func(conf.Node, *conf.Faults) session.Opener

// Open parses and opens a source, which is closed when the test ends.
func Open(t testing.TB, parse Parse, text string) session.Source {
	t.Helper()
	opener, err := read(t, parse, text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := opener.Open(t.Context(), session.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Faults returns the faults of a source's block, or nil.
func Faults(t testing.TB, parse Parse, text string) error {
	t.Helper()
	_, err := read(t, parse, text)
	return err
}

func read(t testing.TB, parse Parse, text string) (session.Opener, error) {
	t.Helper()
	n, err := conf.ParseString(text + "\n")
	if err != nil {
		t.Fatal(err)
	}
	var faults conf.Faults
	opener := parse(n, &faults)
	return opener, faults.Err()
}

// Server runs a NATS server without a log, until the test ends.
func Server(t testing.TB, options *natsserver.Options) *natsserver.Server {
	t.Helper()
	options.NoLog, options.NoSigs = true, true
	s, err := natsserver.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(ready) {
		t.Fatalf("the server does not accept connections within %s", ready)
	}
	return s
}

// ready is how long a server may take until it accepts connections.
const ready = 10 * time.Second

// ServerOf is Server with the text of a configuration file.
func ServerOf(t testing.TB, text string) *natsserver.Server {
	t.Helper()
	options := &natsserver.Options{}
	if err := options.ProcessConfigString(text); err != nil {
		t.Fatal(err)
	}
	return Server(t, options)
}

// Dial connects to an address over TCP, and sends a text. It is for requests that no HTTP client would send.
func Dial(t testing.TB, address, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// WithoutPast changes a request to create a consumer, so that it begins with the next message, as on a replica that has
// nothing of the last messages.
func WithoutPast(t testing.TB, request []byte) []byte {
	var q map[string]any
	if err := json.Unmarshal(request, &q); err != nil {
		t.Error(err)
		return request
	}
	consumer, _ := q["config"].(map[string]any)
	consumer["deliver_policy"] = "new"
	delete(consumer, "opt_start_seq")
	delete(consumer, "opt_start_time")
	edited, err := json.Marshal(q)
	if err != nil {
		t.Error(err)
	}
	return edited
}
