package stdlog

import (
	"bytes"
	"log"
	"strings"
	"testing"
)

func TestFilter(t *testing.T) {
	var out bytes.Buffer
	l := log.New(&filter{out: &out}, "", log.LstdFlags)
	for range 3 {
		l.Printf("Unsolicited response received on idle HTTP channel starting with %q; err=%v", "S3CRET", nil)
	}
	l.Print("another line")
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "Unsolicited response") || !strings.HasSuffix(lines[1], " another line") || strings.Contains(out.String(), "S3CRET") {
		t.Errorf("expected two lines without the server's bytes; found %q", lines)
	}
}
