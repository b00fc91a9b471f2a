package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// seenInBrowser is what test/js/demo.mjs prints.
type seenInBrowser struct {
	Client      string
	BeforeLogin string `json:"before_login"`
	Cookies     []struct {
		Name     string
		HTTPOnly bool   `json:"httpOnly"`
		SameSite string `json:"sameSite"`
	}
	Answer string
	Panel  string
	Loot   []struct {
		Place string
		Size  int
		Has   bool
	}
	SecondTab    string `json:"second_tab"`
	Foreign      string
	OwnOrigin    string `json:"own_origin"`
	AfterLogout  string `json:"after_logout"`
	OtherVisitor string `json:"other_visitor"`
	MadeUp       string `json:"made_up"`
}

// chromium is the browser's file, with node and puppeteer-core to drive it. Where
// they are missing the test is skipped, or fails with STAMP_TEST_ALL.
func chromium(t *testing.T) string {
	t.Helper()
	missing := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("STAMP_TEST_ALL") != "" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	if _, err := os.Stat("../js/node_modules/puppeteer-core"); err != nil {
		missing("test/js has no puppeteer-core; `npm ci` there gets it")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if file, err := exec.LookPath(name); err == nil {
			return file
		}
	}
	missing("there is no chromium; the Debian package is chromium")
	return ""
}

// TestPageInBrowser drives the page as a visitor does, and as a script that got
// into it would.
func TestPageInBrowser(t *testing.T) {
	file := chromium(t)
	cmd := script(t, "")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	page := waitForPage(t, lines)
	got := browse(t, file, page)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	output, _ := io.ReadAll(lines)
	checkOutput(t, output)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after the signal: %v", err)
	}
	judge(t, got)
}

func browse(t *testing.T, chromium, page string) *seenInBrowser {
	t.Helper()
	node := exec.CommandContext(t.Context(), "node", "demo.mjs", page)
	node.Dir = filepath.Join("..", "js")
	node.Env = append(os.Environ(), "CHROMIUM="+chromium)
	var stderr bytes.Buffer
	node.Stderr = &stderr
	out, err := node.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("demo.mjs: %v\n%s", err, &stderr)
		}
		t.Fatal(err)
	}
	checkOutput(t, out)
	var got seenInBrowser
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("demo.mjs: %v", err)
	}
	return &got
}

func judge(t *testing.T, got *seenInBrowser) {
	t.Helper()
	expect := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("%s; the browser saw %+v", what, got)
		}
	}
	expect("the page uses the package", got.Client == "the browser package")
	expect("who is not logged in is told so", strings.HasPrefix(got.BeforeLogin, "not logged in"))
	expect("there is one cookie, HttpOnly and SameSite=Strict",
		len(got.Cookies) == 1 && got.Cookies[0].HTTPOnly && got.Cookies[0].SameSite == "Strict")
	// The page sent Session: forged, x_user: admin, Color: blue.
	rows := strings.Split(got.Answer, "\n")
	expect("forged headers are replaced, the page's own stays", len(rows) == 5 && rows[0] == "Color: blue" &&
		strings.HasPrefix(rows[1], "Session: ") && rows[1] != "Session: forged" && rows[2] == "X-User: alice")
	expect("the service knows the visitor", strings.HasSuffix(got.Answer, "so you are alice"))
	expect("the panel looked everywhere", len(got.Loot) == 13 && strings.Count(got.Panel, "not in ") == 13)
	for _, loot := range got.Loot {
		expect("a script finds the session id in "+loot.Place, !loot.Has)
	}
	expect("a second tab is the same visitor", strings.HasSuffix(got.SecondTab, "so you are alice"))
	expect("a page of a foreign origin cannot connect, the own one can", got.Foreign == "refused" && got.OwnOrigin == "opened")
	expect("after logout nobody is anybody", strings.HasPrefix(got.AfterLogout, "not logged in"))
	expect("another visitor's connection lives", got.OtherVisitor == "open, as bob")
	expect("a made-up cookie is refused", got.MadeUp == "refused")
}
