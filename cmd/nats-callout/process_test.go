package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a test waits for what must happen. It usually happens much sooner.
const patience = 30 * time.Second

// background is a program that runs beside a script.
type background struct {
	cmd *exec.Cmd
	err chan error

	mu   sync.Mutex
	more chan struct{} // closed at each write
	log  bytes.Buffer
	read int // what await has looked at
}

func (b *background) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log.Write(p)
	close(b.more)
	b.more = make(chan struct{})
	return len(p), nil
}

// programs of a script, by name.
var programs sync.Map

func programOf(ts *testscript.TestScript, name string) *background {
	b, ok := programs.Load(ts.Getenv("WORK") + name)
	if !ok {
		ts.Fatalf("no program %s was started", name)
	}
	return b.(*background)
}

// startProgram: start NAME arguments of nats-callout...
func startProgram(ts *testscript.TestScript, neg bool, args []string) {
	var path string
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if p, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			path = p
			break
		}
	}
	b := &background{cmd: exec.Command(path, args[1:]...), err: make(chan error, 1), more: make(chan struct{})}
	b.cmd.Dir, b.cmd.Stderr, b.cmd.Stdout = ts.MkAbs("."), b, b
	b.cmd.Env = append(os.Environ(), "NATS_URL="+ts.Getenv("NATS_URL"))
	ts.Check(b.cmd.Start())
	go func() { b.err <- b.cmd.Wait() }()
	ts.Defer(func() { b.cmd.Process.Kill() })
	programs.Store(ts.Getenv("WORK")+args[0], b)
}

// awaitLog: await NAME REGEXP [VARIABLE]. It waits for a line after the last line that it found, and sets the variable to the
// first group.
func awaitLog(ts *testscript.TestScript, neg bool, args []string) {
	b, pattern, deadline := programOf(ts, args[0]), regexp.MustCompile(args[1]), time.After(patience)
	for {
		b.mu.Lock()
		rest, more := b.log.Bytes()[b.read:], b.more
		if at := pattern.FindSubmatchIndex(rest); at != nil {
			if len(args) == 3 {
				ts.Setenv(args[2], string(rest[at[2]:at[3]]))
			}
			b.read += at[1]
			b.mu.Unlock()
			return
		}
		log := string(rest)
		b.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			ts.Fatalf("%s does not log %q, but\n%s", args[0], args[1], log)
		}
	}
}

// grepLog: [!] logged NAME REGEXP.
func grepLog(ts *testscript.TestScript, neg bool, args []string) {
	b := programOf(ts, args[0])
	b.mu.Lock()
	defer b.mu.Unlock()
	if regexp.MustCompile(args[1]).Match(b.log.Bytes()) == neg {
		ts.Fatalf("%s logs, or does not log, %q", args[0], args[1])
	}
}

// signalProgram: signal NAME TERM|HUP|INT.
func signalProgram(ts *testscript.TestScript, neg bool, args []string) {
	sig := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "INT": syscall.SIGINT}[args[1]]
	ts.Check(programOf(ts, args[0]).cmd.Process.Signal(sig))
}

// awaitEnd: ended NAME CODE.
func awaitEnd(ts *testscript.TestScript, neg bool, args []string) {
	b := programOf(ts, args[0])
	select {
	case <-b.err:
	case <-time.After(patience):
		ts.Fatalf("%s does not end", args[0])
	}
	if code := b.cmd.ProcessState.ExitCode(); strconv.Itoa(code) != args[1] {
		ts.Fatalf("%s ended with %d:\n%s", args[0], code, b.log.String())
	}
}

// fetch: fetch URL STATUS [REGEXP]. It asks until the answer has that status and matches. With !, nobody may listen.
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		if _, err := http.Get(args[0]); !errors.Is(err, syscall.ECONNREFUSED) {
			ts.Fatalf("%s: %v", args[0], err)
		}
		return
	}
	last := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		response, err := http.Get(args[0])
		if err != nil {
			last = err.Error()
			continue
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		ts.Check(err)
		last = fmt.Sprintf("status %d: %s", response.StatusCode, body)
		if strconv.Itoa(response.StatusCode) == args[1] && (len(args) < 3 || regexp.MustCompile(args[2]).Match(body)) {
			return
		}
	}
	ts.Fatalf("%s: %s", args[0], last)
}

// connectClient: client USER PASSWORD. It connects, with a callout, and asks the
// server who it is: [!] client.
func connectClient(ts *testscript.TestScript, neg bool, args []string) {
	nc, err := nats.Connect(ts.Getenv("NATS_URL"), nats.UserInfo(args[0], args[1]), nats.NoReconnect(), nats.Timeout(patience))
	if err == nil {
		nc.Close()
	}
	if (err == nil) == neg {
		ts.Fatalf("client %s: %v", args[0], err)
	}
}

// countLines: lines N FILE.
func countLines(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile(args[1])
	if n := strings.Count(text, "\n"); strconv.Itoa(n) != args[0] {
		ts.Fatalf("%d lines:\n%s", n, text)
	}
}
