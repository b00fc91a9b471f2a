package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"stamp/test/docpage"
	"stamp/test/harness"
)

// Pages that tell their readers what to do do what they say. The ports that a page names are others here.
func TestPagesRunAsPrinted(t *testing.T) {
	for _, page := range []struct {
		file  string
		ports []string
	}{
		{"tutorial.md", []string{"4222", "8080", "3000"}},
	} {
		t.Run(page.file, func(t *testing.T) {
			text := string(must(os.ReadFile(filepath.Join("../docs", page.file))))
			for _, port := range page.ports {
				_, free, err := net.SplitHostPort(harness.FreeAddr(t))
				if err != nil {
					t.Fatal(err)
				}
				text = regexp.MustCompile(`\b`+port+`\b`).ReplaceAllLiteralString(text, free)
			}
			steps, err := docpage.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			runPage(t, steps)
		})
	}
}

// runPage does the steps in turn, in a folder of their own, and stops at the first that does not do what the page says.
func runPage(t *testing.T, steps []docpage.Step) {
	dir := t.TempDir()
	shell, browser := startShell(t, dir), readerBrowser{t: t}
	for _, step := range steps {
		switch step.Kind {
		case docpage.File:
			if err := os.WriteFile(filepath.Join(dir, step.Name), []byte(step.Text), 0o600); err != nil {
				t.Fatal(err)
			}
		case docpage.Command:
			got, status := shell.run(step.Text)
			// A command that fails says something, and the page shows it.
			if !docpage.Matches(step.Want, got) || status != "0" && step.Want == "" {
				t.Fatalf("line %d: %s\ngot  %q, status %s\nwant %q\n%s", step.Line, step.Text, got, status, step.Want, logs(dir))
			}
		case docpage.Script:
			if got := browser.do(step.Line, map[string]string{"script": step.Text}); got != step.Want {
				t.Fatalf("line %d: %s\ngot  %s\nwant %s", step.Line, step.Text, got, step.Want)
			}
		case docpage.Browser:
			browser.do(step.Line, map[string]string{"text": step.Text})
		}
	}
}

// logs are the ends of the logs in the page's folder.
func logs(dir string) string {
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(dir, "*.log")) // the pattern is good
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(file), text[max(0, len(text)-2000):])
	}
	return all.String()
}

// readerShell is the shell of somebody who reads a page.
type readerShell struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// startShell starts a shell with our commands on its path. What it leaves running ends with the test.
func startShell(t *testing.T, dir string) *readerShell {
	t.Helper()
	bash := exec.Command("bash", "--noprofile", "--norc")
	bash.Dir = dir
	path := filepath.Dir(absolute(t, harness.Binary(t))) + ":" + filepath.Dir(absolute(t, harness.CalloutBinary(t)))
	bash.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"))
	bash.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := bash.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	bash.Stdout, bash.Stderr = w, w
	if err := bash.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	t.Cleanup(func() {
		_ = syscall.Kill(-bash.Process.Pid, syscall.SIGTERM) // the server ends its streams
		_ = in.Close()
		_ = bash.Wait()
		_ = r.Close()
	})
	return &readerShell{t, in, bufio.NewReader(r)}
}

const (
	pageDone    = "this command of the page is done"
	pageTimeout = 2 * time.Minute
)

// run runs a command, and returns what it prints, and its status.
func (s *readerShell) run(command string) (printed, status string) {
	s.t.Helper()
	fmt.Fprintf(s.in, "%s\n{ status=$?; printf '%%s %%s\\n' %q $status; } 2>/dev/null\n", command, pageDone)
	var got bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			line, err := s.out.ReadString('\n')
			before, after, ended := strings.Cut(line, pageDone)
			got.WriteString(before)
			if ended || err != nil {
				status = strings.TrimSpace(after)
				return
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(pageTimeout):
		s.t.Fatalf("not in %s: %s", pageTimeout, command)
	}
	return got.String(), status
}

// readerBrowser is the browser of somebody who reads a page. It is started when it is needed.
type readerBrowser struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

func (b *readerBrowser) start() {
	b.t.Helper()
	node := exec.Command("node", "browser/page.mjs", "chrome", browserFile(b.t, "chrome"))
	node.Dir, node.Stderr = "js", os.Stderr
	in, err := node.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = in.Close()
		_ = node.Wait()
	})
	b.in, b.out = in, bufio.NewScanner(out)
}

// do does something in the browser, and returns a script's value.
func (b *readerBrowser) do(line int, action map[string]string) string {
	b.t.Helper()
	if b.in == nil {
		b.start()
	}
	if err := json.NewEncoder(b.in).Encode(action); err != nil {
		b.t.Fatal(err)
	}
	if !b.out.Scan() {
		b.t.Fatalf("line %d: the browser has ended: %v", line, b.out.Err())
	}
	var answer struct{ Value, Error string }
	if err := json.Unmarshal(b.out.Bytes(), &answer); err != nil {
		b.t.Fatalf("line %d: %v", line, err)
	}
	if answer.Error != "" {
		b.t.Fatalf("line %d: %v: %s", line, action, answer.Error)
	}
	return answer.Value
}
