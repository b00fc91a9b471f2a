package upstreamtree

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Our command has the texts and exit codes of upstream's, whose main.go is compiled for comparison.
func TestCommandIsUpstreams(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles two servers")
	}
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours", "nats-server"), filepath.Join(dir, "theirs", "nats-server")
	for out, pkg := range map[string]string{ours: "stamp/cmd/nats-server", theirs: "github.com/nats-io/nats-server/v2"} {
		cmd := exec.Command("go", "build", "-o", out, pkg)
		cmd.Dir = source(t)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cannot build the command: %v\n%s", err, text)
		}
	}
	put(t, filepath.Join(dir, "good"), "port: 4999\n")
	put(t, filepath.Join(dir, "reload"), "port: 4999\nmax_payload: 500\n")
	put(t, filepath.Join(dir, "restart"), "port: 4998\n")
	put(t, filepath.Join(dir, "bad"), "bogus: {")
	_, help := runIn(t, dir, theirs, "--help")
	for _, tt := range []struct {
		args string
		code int
	}{
		{"--help", 0},
		{"--nope", 0},
		{"-t -c good", 0},
		{"-t -c bad", 1},
		{"-c none", 1},
		{"-c good more", 1},
		{"--signal=none", 1},
		{"-t -c good --test_reload reload", 0},
		{"-t -c good --test_reload restart", 3},
		{"-t -c good --test_reload bad", 1},
		{"-c good --test_reload reload", 1},
	} {
		if strings.Contains(tt.args, "--test_reload") && !strings.Contains(help, "--test_reload") {
			continue // not in every version
		}
		wantCode, want := runIn(t, dir, theirs, tt.args)
		code, got := runIn(t, dir, ours, tt.args)
		got = strings.Replace(got, "bad: Parse error", "Parse error", 1) // upstream's names no file
		if code != wantCode || got != want {
			t.Errorf("%s: exit code %d, upstream's is %d; printed\n%s\nupstream's:\n%s", tt.args, code, wantCode, got, want)
		}
		if code != tt.code {
			t.Errorf("%s: exit code %d, want %d\n%s", tt.args, code, tt.code, got)
		}
	}
	if code, out := runIn(t, dir, ours, "--version"); code != 0 || !strings.Contains(out, "+stamp.") {
		t.Errorf("--version: exit code %d, printed %q", code, out)
	}
}

func runIn(t *testing.T, dir, binary, args string) (int, string) {
	t.Helper()
	cmd := exec.Command(binary, strings.Fields(args)...)
	cmd.Dir = dir
	return finish(t, cmd)
}
