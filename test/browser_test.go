package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stamp/internal/release"
)

// browsers are the kinds that the driver knows, and the names of their programs.
var browsers = map[string][]string{
	"chrome":  {"chromium", "chromium-browser", "google-chrome"},
	"firefox": {"firefox-esr", "firefox"},
}

// browserFile finds a browser, and node with its driver.
func browserFile(t *testing.T, kind string) string {
	t.Helper()
	if _, err := os.Stat(filepath.Join("js", "node_modules", "puppeteer-core")); err != nil {
		missing(t, "test/js has no puppeteer-core; `npm ci` there gets it")
	}
	for _, name := range browsers[kind] {
		if file, err := exec.LookPath(name); err == nil {
			return file
		}
	}
	missing(t, "there is no "+kind)
	return ""
}

// checkInBrowser runs the checks in files of test/js/browser, each as a test.
func checkInBrowser(t *testing.T, s *browserSite, kind string, sets ...string) {
	t.Helper()
	node := exec.CommandContext(t.Context(), "node", append([]string{"browser/run.mjs", s.origin, kind, browserFile(t, kind)}, sets...)...)
	node.Dir = "js"
	var stderr bytes.Buffer
	node.Stderr = &stderr
	stdout, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for lines := bufio.NewScanner(stdout); lines.Scan(); ran++ {
		var line struct {
			Set, Name, Error string
			MS               int
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("browser/run.mjs prints something else: %v", err)
		}
		t.Run(line.Set+"/"+line.Name, func(t *testing.T) {
			t.Logf("%d ms", line.MS)
			if line.Error != "" {
				t.Error(line.Error)
			}
		})
	}
	if err := node.Wait(); err != nil || ran == 0 {
		t.Fatalf("browser/run.mjs ran %d checks and ended with error %v:\n%s", ran, err, &stderr)
	}
}

// TestBrowser runs the checks of the browser package at a site with a real OpenID provider.
func TestBrowser(t *testing.T) {
	for kind := range browsers {
		t.Run(kind, func(t *testing.T) {
			s := startBrowserSite(t, siteKind{scheme: "http", key: "required"})
			checkInBrowser(t, s, kind, "api", "answers", "differences", "messages", "react", "faults", "restsecure", "attacks")
			s.expectSecretsKept()
		})
		// As in production: TLS, and a handler of its own.
		t.Run(kind+" TLS", func(t *testing.T) {
			s := startBrowserSite(t, siteKind{scheme: "https", key: "optional", standalone: true})
			checkInBrowser(t, s, kind, "tls", "optional")
			s.expectSecretsKept()
		})
	}
}

// The package has the version of the server that it was tested with.
func TestBrowserPackageVersion(t *testing.T) {
	text := must(os.ReadFile(filepath.Join("..", "browser", "package.json")))
	var described struct{ Version string }
	if err := json.Unmarshal(text, &described); err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(release.Version, "+", "-", 1); described.Version != want {
		t.Errorf("browser/package.json: version %s, want %s", described.Version, want)
	}
}

// expectSecretsKept looks for tickets in the server's log.
func (s *browserSite) expectSecretsKept() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ticket := range s.tickets {
		if strings.Contains(s.server.Text(), ticket) {
			s.t.Error("the log holds a ticket")
		}
	}
	if len(s.tickets) == 0 {
		s.t.Error("no ticket was given, so that this test shows nothing")
	}
}
