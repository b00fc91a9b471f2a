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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"stamp/test/docpage"
	"stamp/test/harness"
)

// pagePorts are the ports in the pages and in docs/examples/callout. The tests use free ones in their place.
var pagePorts = regexp.MustCompile(`\b(1883|3000|4222|4223|6222|6223|7422|8080|8090|8222|8223)\b`)

// Each page with commands does what it says. The commands of a page run in turn, in one shell, in a folder that has the
// configurations of docs/examples/callout and the files that these name.
func TestPagesRunAsPrinted(t *testing.T) {
	// A loaded machine takes seconds to compare a password by the examples' hashes.
	costlyHash, cheapHash := regexp.MustCompile(`\$2a\$11\$[./A-Za-z0-9]{53}`), must(bcrypt.GenerateFromPassword([]byte("open"), bcrypt.MinCost))
	ran := 0
	for _, name := range pages(t) {
		text, _ := pageText(t, name)
		ports := map[string]string{}
		free := func(port string) string {
			if ports[port] == "" {
				_, number, err := net.SplitHostPort(harness.FreeAddr(t))
				if err != nil {
					t.Fatal(err)
				}
				ports[port] = number
			}
			return ports[port]
		}
		steps, err := docpage.Parse(pagePorts.ReplaceAllStringFunc(text, free))
		if err != nil {
			t.Fatalf("cannot read the commands of %s: %v", name, err)
		}
		if !slices.ContainsFunc(steps, func(s docpage.Step) bool { return s.Kind == docpage.Command }) {
			continue
		}
		ran++
		needed := pageTools(steps)
		t.Run(strings.TrimPrefix(name, "docs/"), func(t *testing.T) {
			for _, tool := range needed {
				_, cached := os.Stat(filepath.Join("../.cache/bin", tool))
				if _, err := exec.LookPath(tool); err != nil && cached != nil {
					missing(t, "there is no "+tool)
				}
			}
			t.Parallel() // most commands wait for something
			dir := exampleFolder(t)
			files, err := filepath.Glob(filepath.Join(dir, "*.conf"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				conf := must(os.ReadFile(file))
				conf = pagePorts.ReplaceAllFunc(conf, func(port []byte) []byte { return []byte(free(string(port))) })
				conf = costlyHash.ReplaceAllLiteral(conf, cheapHash)
				if err := os.WriteFile(file, conf, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			runPage(t, dir, steps, "NATS_URL=nats://127.0.0.1:"+free("4222"), "MQTT_PORT="+free("1883"))
		})
	}
	if ran < 5 {
		t.Errorf("%d pages have commands, want 5 or more", ran)
	}
}

// pageTools returns the tools of others that a page uses.
func pageTools(steps []docpage.Step) (names []string) {
	for _, tool := range []string{"nats", "nsc", "mosquitto_pub", "curl", "python3"} {
		used := regexp.MustCompile(`(?m)(?:^|[ (;])` + tool + ` `)
		if slices.ContainsFunc(steps, func(s docpage.Step) bool {
			return (s.Kind == docpage.Command || s.Kind == docpage.Hidden) && used.MatchString(s.Text)
		}) {
			names = append(names, tool)
		}
	}
	return names
}

// runPage does the steps in turn, and stops at the first that does not do what the page says.
func runPage(t *testing.T, dir string, steps []docpage.Step, env ...string) {
	shell, browser := startShell(t, dir, env...), readerBrowser{t: t}
	for _, step := range steps {
		switch step.Kind {
		case docpage.File:
			if err := os.WriteFile(filepath.Join(dir, step.Name), []byte(step.Text), 0o600); err != nil {
				t.Fatal(err)
			}
		case docpage.Hidden:
			if got, status := shell.run(step.Text); status != "0" || strings.Contains(got, notShown) {
				t.Fatalf("line %d: what the page takes for granted: %s\ngot  %q, status %s\n%s", step.Line, step.Text, got, status, logs(dir))
			}
		case docpage.Command:
			got, status := shell.run(step.Text)
			// A command that fails says something, and the page shows it.
			if !docpage.Matches(step.Want, got) || status != "0" && step.Want == "" {
				t.Fatalf("line %d: %s\ngot  %q, status %s\nwant %q\n%s", step.Line, step.Text, got, status, step.Want, logs(dir))
			}
		case docpage.Script:
			if got := browser.do(step.Line, map[string]string{"script": step.Text}); got != step.Want {
				t.Fatalf("line %d: the script %s\ngot  %s\nwant %s", step.Line, step.Text, got, step.Want)
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

// notShown is what shown says of a text that does not come.
const notShown = "waited in vain for a text in a file"

// readerFunctions are for the commands that a page does not show.
const readerFunctions = `
shown() { # FILE TEXT: waits until the file has the text, for at most 30 seconds
	local tries=600
	until grep -qs -- "$2" "$1"; do
		((tries--)) || { echo "` + notShown + `: $1: $2"; return 1; }
		sleep 0.05
	done
}
# CONF: starts a server that logs beside it
serve() { nats-server -c "$1" -l "${1%.conf}.log" & shown "${1%.conf}.log" "Server is ready"; }
`

// startShell starts a shell with our commands on its path. What it leaves running ends with the test.
func startShell(t *testing.T, dir string, env ...string) *readerShell {
	t.Helper()
	bash := exec.Command("bash", "--noprofile", "--norc")
	bash.Dir = dir
	path := filepath.Dir(absolute(t, harness.Binary(t))) + ":" + filepath.Dir(absolute(t, harness.CalloutBinary(t)))
	root := absolute(t, "..")
	path += ":" + filepath.Join(root, ".cache", "bin") // the tools that scripts/test installs
	bash.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"), "ROOT="+root, "STAMP_SERVER="+absolute(t, harness.Binary(t)),
		"XDG_CONFIG_HOME="+t.TempDir(), "XDG_DATA_HOME="+t.TempDir()) // of nsc and nats
	bash.Env = append(append(bash.Env, exampleVariables...), env...)
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
	shell := &readerShell{t, in, bufio.NewReader(r)}
	shell.run(readerFunctions)
	return shell
}

const (
	pageDone    = "this command of the page is done"
	pageTimeout = time.Minute
)

// run runs a command, and returns what it prints, and its status.
func (s *readerShell) run(command string) (printed, status string) {
	s.t.Helper()
	// The shell reads these lines from its standard input, so a command gets none.
	fmt.Fprintf(s.in, "{\n%s\n} </dev/null\n{ status=$?; printf '%%s %%s\\n' %q $status; } 2>/dev/null\n", command, pageDone)
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
		s.t.Fatalf("a command of the page did not end in %s: %s", pageTimeout, command)
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
		b.t.Fatalf("line %d: the browser printed something that is not JSON: %v", line, err)
	}
	if answer.Error != "" {
		b.t.Fatalf("line %d: the browser could not do %v: %s", line, action, answer.Error)
	}
	return answer.Value
}
