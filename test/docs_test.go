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

// exampleVariables are the environment variables that the configurations in docs/examples/callout use.
var exampleVariables = []string{"APP_PASSWORD=open", "SITE_PASSWORD=open", "HUB_URL=nats://site:open@127.0.0.1:7422"}

// exampleFolder returns a folder with the configurations of docs/examples/callout, and with the files that these name.
func exampleFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../docs/examples/callout")); err != nil {
		t.Fatal(err)
	}
	for _, keys := range []string{"keys", "nsc"} {
		cmd := exec.Command(absolute(t, harness.CalloutBinary(t)), "keys", "make", keys)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("nats-callout keys make failed: %v\n%s", err, out)
		}
	}
	cmd := exec.Command(absolute(t, harness.CalloutBinary(t)), "keys", "proof", "make", "server", "keys")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nats-callout keys proof make failed: %v\n%s", err, out)
	}
	seed := string(must(os.ReadFile(filepath.Join(dir, "nsc", "issuer.nk"))))
	operator := harness.NewOperator(t)
	creds := string(must(os.ReadFile(operator.Account(t, "AUTH").User(t, "user", nil).Creds(t))))
	files := map[string]string{
		"nsc/auth-signing.nk": seed, "nsc/app-signing.nk": seed, "nsc/service.creds": creds, "nsc/sentinel.creds": creds,
		"nsc/app.creds": creds, "site.creds": creds, "system.creds": creds, "stamp.worker.js": "", "resolver.conf": operator.Conf(t),
		"secrets/login.key": base64.StdEncoding.EncodeToString(make([]byte, 32)),
	}
	for _, name := range []string{"introspection", "express", "fastify", "redis", "oidc"} {
		files["secrets/"+name] = "x"
	}
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Each test that docs/security.md names exists.
func TestNamedTestsExist(t *testing.T) {
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, pattern := range []string{"*_test.go", "*/*_test.go", "../server/*/*_test.go", "../internal/*/*_test.go", "../internal/*/*/*_test.go", "../internal/*/*/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("expected files that match %s; found %d, error %v", pattern, len(files), err)
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
			t.Errorf("docs/security.md names the test %s, which does not exist", name)
		}
	}
	if len(names) == 0 {
		t.Error("docs/security.md names no test")
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

// Each row of docs/browser.md's tables of attacks and of rest-secure's features names its check.
func TestBrowserRows(t *testing.T) {
	text := string(must(os.ReadFile("../docs/browser.md")))
	table := regexp.MustCompile(`(?m)^\|.*Test in test/js/browser/(\w+\.mjs) \|\n\|[-|]+\|\n((?:\|.*\|\n)+)`)
	tables := table.FindAllStringSubmatch(text, -1)
	if len(tables) != 2 {
		t.Fatalf("expected 2 tables that name their tests in docs/browser.md; found %d", len(tables))
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
				t.Errorf("test/js/browser/%s has no check %q", found[1], name)
			}
		}
		if rows < 10 {
			t.Errorf("expected at least 10 rows in the table of %s; found %d", found[1], rows)
		}
	}
}
