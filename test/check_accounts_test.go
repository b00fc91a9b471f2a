package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stamp/test/harness"
)

// A session source that names an account which is not there is reported once, with its place, by the server and by
// nats-callout, which checks a server's configuration on a machine without the server.
func TestAccountOfASourceIsNotInTheConfiguration(t *testing.T) {
	const want = `server.conf:4:44: session source kv: account "AP" is not in the configuration`
	conf := `listen: "127.0.0.1:-1"
jetstream { store_dir: "js" }
accounts { APP { jetstream: enabled, users: [] } }
callout { sessions: [{kind: kv, bucket: b, account: AP}]
grants: [{account: APP, publish: "a", subscribe: []}] }`
	file := filepath.Join(t.TempDir(), "server.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, check := range map[string][]string{
		"nats-server -t":                {harness.Binary(t), "-t", "-c", file},
		"nats-callout check --embedded": {harness.CalloutBinary(t), "check", "--embedded", "-c", file},
	} {
		out, err := exec.Command(check[0], check[1:]...).CombinedOutput()
		if err == nil || strings.Count(string(out), `"AP"`) != 1 || !strings.Contains(string(out), want) {
			t.Errorf("%s: expected a failure with %q once; it ended with %v and printed\n%s", name, want, err, out)
		}
	}
	s := harness.Launch(t, conf)
	if s.Exit(t) == 0 {
		t.Error("the server starts with a source in an account that is not there")
	}
}
