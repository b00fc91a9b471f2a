package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script returns scripts/run with arguments. Its temporary files go to a folder
// that must be empty when the test ends. server is empty for the one that
// STAMP_SERVER names, or that the script builds.
func script(t *testing.T, server string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // it may have to build
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "../../scripts/run", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) } // so that it cleans up
	cmd.WaitDelay = 20 * time.Second
	temp := t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	if server == "" {
		server = os.Getenv("STAMP_SERVER")
	}
	if server != "" {
		cmd.Env = append(cmd.Env, "STAMP_SERVER="+server)
	}
	t.Cleanup(func() {
		if cmd.Process != nil {
			_ = cmd.Wait() // for a test that failed before it did
		}
		left, err := os.ReadDir(temp)
		if err != nil || len(left) > 0 {
			t.Errorf("%d files are left behind, error %v", len(left), err)
		}
	})
	return cmd
}

// sessionID is what sessions.create makes.
var (
	sessionID = regexp.MustCompile(`[A-Z2-7]{26}`)
	serverID  = regexp.MustCompile(`\bN[A-Z2-7]{55}\b`) // in the server's log; public
)

func checkOutput(t *testing.T, output []byte) {
	t.Helper()
	if at := sessionID.FindIndex(output); at != nil {
		t.Errorf("the output shows a session id at byte %d", at[0])
	}
}

func TestOnce(t *testing.T) {
	output, err := script(t, "", "--once").Output()
	if err != nil {
		t.Fatalf("scripts/run --once failed: %v\n%s", err, output)
	}
	checkOutput(t, output)
	if pass := bytes.Count(output, []byte("\nPASS  ")); pass != 13 || bytes.Contains(output, []byte("\nFAIL  ")) {
		t.Errorf("%d promises were kept, want 13 and none broken:\n%s", pass, output)
	}
}

// A stock server has no callout block, so the demonstration must fail with it.
func TestStock(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a stock server")
	}
	if output, err := exec.Command("../../scripts/upstream", "stock").CombinedOutput(); err != nil {
		t.Fatalf("cannot make the stock tree: %v\n%s", err, output)
	}
	stock := filepath.Join(t.TempDir(), "nats-server")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", stock, ".")
	build.Dir = "../../stock"
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the stock server: %v\n%s", err, output)
	}
	output, err := script(t, stock, "--once").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("with a stock server, expected exit status 1; found %v", err)
	}
	checkOutput(t, output)
	if !bytes.Contains(output, []byte(`unknown field "callout"`)) || bytes.Contains(output, []byte("PASS")) {
		t.Errorf("with a stock server, expected that it does not know callout; the output is\n%s", output)
	}
}

// TestStay keeps the demonstration running, uses its page, and interrupts it.
func TestStay(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
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
			usePage(t, page)
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			output, _ := io.ReadAll(lines)
			checkOutput(t, output)
			if err := cmd.Wait(); err != nil {
				t.Errorf("after the signal, expected scripts/run to end without an error; found %v", err)
			}
			if _, err := http.Get(page); err == nil {
				t.Error("the page is served after scripts/run has ended")
			}
		})
	}
}

// waitForPage reads until the line that names the page.
func waitForPage(t *testing.T, lines *bufio.Reader) string {
	t.Helper()
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("scripts/run ended without naming the page: %v", err)
		}
		if words := strings.Fields(line); len(words) > 1 && words[0] == "page" {
			return words[1]
		}
	}
}

func usePage(t *testing.T, page string) {
	t.Helper()
	for path, want := range map[string]int{"/": 200, "/page.js": 200, "/page.css": 200, "/icon.svg": 200, "/session": 200, "/elsewhere": 404} {
		answer, err := http.Get(page + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("GET %s: status %d, want %d", path, answer.StatusCode, want)
		}
	}
}
