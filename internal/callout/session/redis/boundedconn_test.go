package redis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"stamp/internal/callout/session"
	"stamp/internal/callout/session/internal/stored"
)

// chunks is a connection that gives a text in pieces of a size.
type chunks struct {
	net.Conn
	text io.Reader
	size int
}

func (c *chunks) Read(p []byte) (int, error)  { return c.text.Read(p[:min(len(p), c.size)]) }
func (c *chunks) Write(p []byte) (int, error) { return len(p), nil }
func (c *chunks) Close() error                { return nil }

func (c *chunks) SetReadDeadline(time.Time) error  { return nil }
func (c *chunks) SetWriteDeadline(time.Time) error { return nil }

// pass returns what a bounded connection passes on.
func pass(text string, size int) (string, error) {
	b := &boundedConn{Conn: &chunks{text: strings.NewReader(text), size: size}}
	_, _ = b.Write(nil)
	out, err := io.ReadAll(b)
	return string(out), err
}

func TestBounded(t *testing.T) {
	bulk := func(n int) string { return fmt.Sprintf("$%d\r\n%s\r\n", n, strings.Repeat("x", n)) }
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":             {"$-1\r\n:-2\r\n", nil},
		"text":                {bulk(5) + ":60000\r\n", nil},
		"empty":               {bulk(0) + ":60000\r\n", nil},
		"largest":             {bulk(stored.MaxContent) + ":60000\r\n", nil},
		"too large":           {bulk(stored.MaxContent + 1), stored.ErrTooLong},
		"300 MB":              {"$314572800\r\nxxxx", stored.ErrTooLong},
		"more than a number":  {"$99999999999999999999\r\n", errAnswer},
		"no number":           {"$x\r\n", errAnswer},
		"two":                 {bulk(stored.MaxContent/2+1) + bulk(stored.MaxContent/2), stored.ErrTooLong},
		"hash":                {"*4\r\n" + bulk(1) + bulk(2) + bulk(3) + bulk(4), nil},
		"large hash":          {"*2\r\n" + bulk(1) + bulk(stored.MaxContent), stored.ErrTooLong},
		"hash of many":        {"*500000000\r\n", stored.ErrTooLong},
		"looks like a length": {"$12\r\n$300000000\r\n\r\n", nil},
		"error":               {"-WRONGTYPE Operation against a key\r\n", nil},
		"endless line":        {"+" + strings.Repeat("x", 2*maxMessage), stored.ErrTooLong},
		"zeros before it":     {"$" + strings.Repeat("0", 40) + "1000000000000000000\r\n", errAnswer},
		"zeros of an array":   {"*" + strings.Repeat("0", 40) + "1000000000000000000\r\n", errAnswer},
		"zeros of a number":   {":" + strings.Repeat("0", 40) + "1\r\n", errAnswer},
		"endless number":      {"$" + strings.Repeat("0", 100), errAnswer},
		"sign":                {"$+5\r\nabcde\r\n", errAnswer},
		"minus":               {"$-5\r\n", errAnswer},
		"break in a number":   {"$1\r5\r\n", errAnswer},
		"no carriage return":  {"$5\nabcde\n", errAnswer},
		"unknown type":        {"%1\r\n", errAnswer},
		"empty line":          {"\r\n", errAnswer},
		"array in an array":   {strings.Repeat("*1\r\n", 1000), errAnswer},
		"several arrays":      {"*300000\r\n" + strings.Repeat(":1\r\n", 300000) + "*300000\r\n", stored.ErrTooLong},
		"nil array in one":    {"*2\r\n:1\r\n*-1\r\n", errAnswer},
		"array after one":     {"*1\r\n" + bulk(1) + "*2\r\n:1\r\n+a\r\n*0\r\n*-1\r\n*1\r\n$-1\r\n:1\r\n", nil},
		"many small fields":   {"*131072\r\n" + strings.Repeat(bulk(1), 131072), nil},
	} {
		for _, size := range []int{1, 2, 3, 7, 4096} {
			if size == 1 && len(c.text) > 1<<20 {
				continue
			}
			got, err := pass(c.text, size)
			if !errors.Is(err, c.want) || c.want == nil && got != c.text {
				t.Errorf("%s, in pieces of %d: %d bytes and %v; want %d and %v", name, size, len(got), err, len(c.text), c.want)
			}
		}
	}
}

// FuzzBounded: an answer that is too long is found wherever it is split, and never passed on.
func FuzzBounded(f *testing.F) {
	f.Add([]byte("$3\r\nabc\r\n:1\r\n"), 2)
	f.Add([]byte("*2\r\n$1\r\na\r\n$300000\r\n"), 5)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		whole, fault := pass(string(text), 1<<20)
		parts, err := pass(string(text), 1+(size&0xff))
		if (fault == nil) != (err == nil) || fault == nil && whole != parts {
			t.Errorf("in one piece %q, %v; in pieces %q, %v", whole, fault, parts, err)
		}
		if fault == nil && !bytes.Equal([]byte(whole), text) {
			t.Errorf("%q was passed on as %q", text, whole)
		}
	})
}

// FuzzAllocated: whatever the server sends, the client's library neither panics nor allocates more than an answer may take.
func FuzzAllocated(f *testing.F) {
	f.Add([]byte("$3\r\nabc\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n:1\r\n"))
	f.Add([]byte("$" + strings.Repeat("0", 40) + "1000000000000000000\r\n"))
	f.Add([]byte("*" + strings.Repeat("0", 40) + "100000000\r\n"))
	f.Add([]byte(strings.Repeat("*1\r\n", 200_000)))
	f.Add([]byte("*200000\r\n" + strings.Repeat("$0\r\n\r\n", 200_000)))
	f.Add([]byte(strings.Repeat("-"+strings.Repeat("x", maxMessage-2)+"\r\n", 4)))
	f.Fuzz(func(t *testing.T, text []byte) {
		conn := redigo.NewConn(&boundedConn{Conn: &chunks{text: bytes.NewReader(text), size: 4096}}, 0, 0)
		_ = conn.Send("GET", "x")
		_ = conn.Flush()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 3 {
			_, _ = conn.Receive()
		}
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 16<<20 {
			t.Errorf("%d bytes were allocated for an answer of %d", allocated, len(text))
		}
	})
}

// TestHugeValue: the announced length of a value that is too long is refused, before the value is read.
func TestHugeValue(t *testing.T) {
	p := startRedis(t, "")
	const size = 300 << 20
	p.do(t, "", "SETRANGE", "sess:huge", size-1, "x")
	p.do(t, "", "HSET", "sess:hash", "a", strings.Repeat("x", 20<<20))
	p.do(t, "", "SET", "sess:well", `{"user":"alice"}`)
	for _, form := range []string{"json", "hash", "auto"} {
		s := open(t, fmt.Sprintf("url: %q, form: %s, timeout: \"20s\"", p.url(), form))
		for _, id := range []string{"huge", "hash"} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := find(t, s, id)
			runtime.ReadMemStats(&after)
			if err == nil || errors.Is(err, session.ErrUnknown) {
				t.Errorf("%s %s: %v; want that it cannot tell", form, id, err)
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 8<<20 {
				t.Errorf("form %s, session %s: %d bytes were allocated", form, id, allocated)
			}
		}
		if form == "hash" {
			continue
		}
		if _, err := find(t, s, "well"); err != nil {
			t.Errorf("form %s: the next look-up fails: %v", form, err)
		}
	}
}
