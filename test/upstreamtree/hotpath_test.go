package upstreamtree

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// The extension points that each message passes are inlined, so that a connection without an interceptor costs one comparison
// more than upstream for each message. The others are called once for a read of the socket, or for a connection.
func TestHotPathIsInlined(t *testing.T) {
	const pkg = "github.com/nats-io/nats-server/v2/server"
	cmd := exec.Command("go", "build", "-gcflags="+pkg+"=-m", pkg)
	cmd.Dir = source(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("cannot build upstream: %v\n%s", err, out)
	}
	for door, file := range map[string]string{"intercept": "client.go", "extDeliver": "client.go", "splitMsgBuf": "parser.go"} {
		if !regexp.MustCompile(regexp.QuoteMeta(filepath.Join("server", file)) + `:\d+:\d+: inlining call to \(\*client\)\.` + door + `\n`).Match(out) {
			t.Errorf("%s is not inlined where %s calls it", door, file)
		}
	}
}
