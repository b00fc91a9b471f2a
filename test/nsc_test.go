package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"stamp/test/harness"
)

// nsc is the program of github.com/nats-io/nsc. scripts/test does not install it, since one page alone needs it: whoever wants
// this test does. It is skipped without. nsc returns the directory that it is in.
func nsc(t *testing.T) string {
	t.Helper()
	dir := must(filepath.Abs(filepath.Join("..", ".cache", "bin")))
	if _, err := os.Stat(filepath.Join(dir, "nsc")); err != nil {
		missing(t, "there is no .cache/bin/nsc; GOBIN=$PWD/.cache/bin go install github.com/nats-io/nsc/v2@v2.15.0")
	}
	return dir
}

// The commands about template headers and nsc in docs/configuration.md work as printed: nsc drops the headers, the script
// restores them, and the server refuses an account JWT without them.
func TestTemplateHeadersWithNsc(t *testing.T) {
	path := nsc(t) + ":" + os.Getenv("PATH")
	page := string(must(os.ReadFile("../docs/configuration.md")))
	_, section, _ := strings.Cut(page, "\n### Account updates\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var commands []string
	for _, line := range regexp.MustCompile(`(?m)^\$ (.+)$`).FindAllStringSubmatch(section, -1) {
		commands = append(commands, line[1])
	}
	if len(commands) != 8 {
		t.Fatalf("expected 8 commands in the page; found %d: %q", len(commands), commands)
	}

	dir := t.TempDir()
	shell := func(script string) (string, error) {
		cmd := exec.Command("bash", "-euc", script)
		cmd.Dir = dir
		cmd.Env = []string{"HOME=" + dir, "PATH=" + path}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	run := func(script string) string {
		t.Helper()
		out, err := shell(script)
		if err != nil {
			t.Fatalf("the commands failed: %v\n%s\n%s", err, script, out)
		}
		return out
	}
	address := harness.FreeAddr(t)
	script := must(os.ReadFile("../docs/examples/template_headers.py"))
	for name, text := range map[string]string{"template_headers.py": string(script), "templates.json": `{"team": {"headers": {"X-Team": "{{tag(team)}}"}}}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(fmt.Sprintf(`
		nsc add operator --name O --sys --generate-signing-key
		nsc edit operator --service-url nats://%[1]s --account-jwt-server-url nats://%[1]s
		nsc add account APP
		key=$(nsc describe operator --field nats.signing_keys | tr -d '[]" \n')
		cp .local/share/nats/nsc/keys/keys/O/${key:1:2}/$key.nk operator-signing.nk
		nsc generate config --nats-resolver --sys-account SYS > resolver.conf`, address))
	s := harness.Start(t, fmt.Sprintf("listen: %q\nheaders { keep_template_headers: true }\n", address)+
		strings.Replace(string(must(os.ReadFile(filepath.Join(dir, "resolver.conf")))), "./jwt", t.TempDir(), 1))

	out := run(strings.Join(commands[:len(commands)-2], "\n"))
	if !strings.Contains(out, "pushed to a total of 1 nats-server") {
		t.Fatalf("expected the first push to reach the server:\n%s", out)
	}
	run("nsc add user --account APP --name web -K team --tag team:blue && nsc add user --account APP --name sub")
	creds := func(name string) nats.Option {
		return nats.UserCredentials(filepath.Join(dir, ".local/share/nats/nsc/keys/creds/O/APP", name+".creds"))
	}
	expect := func() {
		t.Helper()
		sub := subscribedTo(t, s.Connect(t, creds("sub")), "api.>")
		if err := s.Connect(t, creds("web")).Publish("api.x", nil); err != nil {
			t.Fatal(err)
		}
		if m := next(t, sub, nil); m.Header.Get("X-Team") != "blue" {
			t.Errorf("expected X-Team: blue; the message has %v", m.Header)
		}
	}
	expect()
	run(commands[len(commands)-2])
	out, err := shell(commands[len(commands)-1])
	if err == nil || !strings.Contains(out, "headers.keep_template_headers is set, and the update drops headers of a template: signing key A") {
		t.Errorf("expected the push of the edited account to be refused: %v\n%s", err, out)
	}
	expect()
}
