package test

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stamp/test/harness"
)

// The configurations of docs/callout.md are the files in docs/examples/callout, in
// part or whole, and the binaries take them.
func TestCalloutExamples(t *testing.T) {
	text, err := os.ReadFile("../docs/callout.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../docs/examples/callout")); err != nil {
		t.Fatal(err)
	}
	run := func(file string, args ...string) error {
		cmd := exec.Command(file, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "APP_PASSWORD=open", "SITE_PASSWORD=open", "HUB_URL=nats://site:open@127.0.0.1:7422")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s %s: %v\n%s", filepath.Base(file), strings.Join(args, " "), err, out)
			return err
		}
		return nil
	}
	callout, server := absolute(t, harness.CalloutBinary(t)), absolute(t, harness.Binary(t))
	for _, keys := range []string{"keys", "nsc"} {
		if run(callout, "keys", "make", keys) != nil {
			t.FailNow()
		}
	}
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seed, err := os.ReadFile(filepath.Join(dir, "nsc", "issuer.nk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nsc/auth-signing.nk", "nsc/app-signing.nk"} {
		write(name, string(seed))
	}
	for _, name := range []string{"secrets/introspection", "secrets/express", "secrets/fastify", "secrets/redis", "secrets/oidc"} {
		write(name, "x")
	}
	creds, err := os.ReadFile(harness.NewOperator(t).Account(t, "AUTH").User(t, "user", nil).Creds(t))
	if err != nil {
		t.Fatal(err)
	}
	write("nsc/service.creds", string(creds))
	write("nsc/sentinel.creds", string(creds))
	write("stamp.worker.js", "")
	write("secrets/login.key", base64.StdEncoding.EncodeToString(make([]byte, 32)))
	files, err := filepath.Glob(filepath.Join(dir, "*.conf"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(sources(string(content))) {
			if !strings.Contains(string(text), strings.TrimSpace(line)) {
				t.Errorf("%s: not in docs/callout.md: %s", filepath.Base(file), line)
			}
		}
		switch name := filepath.Base(file); name {
		case "users.conf": // a part of others
		case "handler.conf", "operator.conf":
			_ = run(callout, "check", "-c", name)
		default:
			_ = run(server, "-t", "-c", name)
		}
	}
}

// Tests that docs/security.md names are there.
func TestNamedTestsExist(t *testing.T) {
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, pattern := range []string{"*_test.go", "*/*_test.go", "../server/*/*_test.go", "../server/*/*/*_test.go", "../server/*/*/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, content...)
		}
	}
	names := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*\*?`).FindAllString(string(text), -1)
	for _, name := range names {
		prefix, any := strings.CutSuffix(name, "*")
		if !any {
			prefix += "("
		}
		if !strings.Contains(string(all), "\nfunc "+prefix) {
			t.Errorf("docs/security.md names %s", name)
		}
	}
	if len(names) == 0 {
		t.Error("no test is named")
	}
}

func absolute(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// sources is the part of a configuration that every page about it shows: from its
// sessions to its grants.
func sources(text string) string {
	_, after, _ := strings.Cut(text, "sessions:")
	block, _, _ := strings.Cut(after, "grants:")
	return block
}

// Each row of docs/browser.md's tables of attacks and of rest-secure's features names its check.
func TestBrowserRows(t *testing.T) {
	text := string(must(os.ReadFile("../docs/browser.md")))
	table := regexp.MustCompile(`(?m)^\|.*Test in test/js/browser/(\w+\.mjs) \|\n\|[-|]+\|\n((?:\|.*\|\n)+)`)
	tables := table.FindAllStringSubmatch(text, -1)
	if len(tables) != 2 {
		t.Fatalf("%d tables", len(tables))
	}
	for _, found := range tables {
		checks := string(must(os.ReadFile(filepath.Join("js", "browser", found[1]))))
		rows := 0
		for row := range strings.Lines(found[2]) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
			name := strings.TrimSpace(cells[len(cells)-1])
			if name == "-" {
				continue
			}
			rows++
			if !strings.Contains(checks, `async "`+name+`"(`) {
				t.Errorf("%s has no check %q", found[1], name)
			}
		}
		if rows < 10 {
			t.Errorf("%s: %d rows", found[1], rows)
		}
	}
}
