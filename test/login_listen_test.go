package test

import (
	"strconv"
	"strings"
	"testing"
)

// Pages on an address of the server itself are refused by -t, and not only by the start.
func TestPagesOnTheServersAddress(t *testing.T) {
	c := newLoginConf(t)
	none := `websocket { listen: "127.0.0.1:-1"`
	for what, text := range map[string]string{
		"listen":           "listen: " + strconv.Quote(c.address) + c.String(),
		"http":             "http: " + strconv.Quote(c.address) + c.String(),
		"websocket.listen": strings.Replace(c.String(), none, "websocket { listen: "+strconv.Quote(c.address), 1),
	} {
		out, code := run(t, "-t", "-c", confFile(t, t.TempDir(), "server.conf", text))
		if code == 0 || !strings.Contains(out, "is the address of the server's "+what+" too") {
			t.Errorf("expected -t to refuse the address of the server's %s; found exit code %d:\n%s", what, code, out)
		}
	}
	if out, code := run(t, "-t", "-c", confFile(t, t.TempDir(), "server.conf", c.String())); code != 0 {
		t.Errorf("-t refuses another address for the pages: exit code %d:\n%s", code, out)
	}
}
