package test

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stamp/test/harness"
)

// section is a heading of docs/providers.md with what follows it.
var section = regexp.MustCompile("(?m)^## (.+)\n\n<!-- in: callout without grants -->\n```hcl\n((?s:.*?))^```$")

// The block of each provider in docs/providers.md is valid.
func TestProviderBlocks(t *testing.T) {
	text := string(must(os.ReadFile("../docs/providers.md")))
	dir := t.TempDir()
	files := map[string]string{"secrets/oidc": "secret", "secrets/login.key": base64.StdEncoding.EncodeToString(make([]byte, 32))}
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found := section.FindAllStringSubmatch(text, -1)
	if len(found) != 10 {
		t.Errorf("expected the blocks of 10 providers in the page; found %d", len(found))
	}
	for _, f := range found {
		provider, block := f[1], f[2]
		if !strings.Contains(text, fmt.Sprintf("[%s](#%s)", provider, strings.ReplaceAll(strings.ToLower(provider), " ", "-"))) {
			t.Errorf("the list at the top of the page lacks %s", provider)
		}
		file := filepath.Join(dir, "server.conf")
		if err := os.WriteFile(file, []byte("callout {\n"+block+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(absolute(t, harness.CalloutBinary(t)), "check", "--embedded", "-c", "server.conf")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "warning") {
			t.Errorf("expected no error and no warning about the block of %s; found %v\n%s", provider, err, out)
		}
	}
}
