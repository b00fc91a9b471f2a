package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a running program of ours.
type Process struct {
	Log

	cmd    *exec.Cmd
	exited chan struct{}
}

// Run runs a program until the test ends.
func Run(t testing.TB, file string, args ...string) *Process {
	t.Helper()
	p := &Process{exited: make(chan struct{}), cmd: exec.Command(file, args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.Log, &p.Log
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("cannot start %s: %v", p.cmd.Path, err)
	}
	go func() {
		_ = p.cmd.Wait() // its exit code is in ProcessState
		p.Log.close()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() && os.Getenv("STAMP_TEST_LOG") != "" {
			t.Logf("log of %s:\n%s", filepath.Base(file), p.Text())
		}
	})
	return p
}

// Stop kills the process and waits for its end.
func (p *Process) Stop() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// Exit waits for the process to end by itself and returns its exit code.
func (p *Process) Exit(t testing.TB) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(Timeout):
		t.Fatalf("the process did not exit in %s", Timeout)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends the process a signal.
func (p *Process) Signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("cannot signal the process: %v", err)
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// StartCallout runs nats-callout with the configuration conf until the test ends,
// and waits until it serves.
func StartCallout(t testing.TB, conf string) *Process {
	t.Helper()
	return StartCalloutBinary(t, CalloutBinary(t), conf)
}

// StartCalloutBinary is StartCallout for another build of nats-callout.
func StartCalloutBinary(t testing.TB, binary, conf string) *Process {
	t.Helper()
	file := filepath.Join(t.TempDir(), "callout.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	p := Run(t, binary, "serve", "-c", file)
	p.WaitLog(t, "serving")
	return p
}

// built is the directory of the binaries that this process built.
var built = sync.OnceValues(func() (string, error) {
	return os.MkdirTemp("", "stamp-test-"+strconv.Itoa(os.Getpid())+"-")
})

// wasBuilt reports whether there is such a directory.
var wasBuilt bool

// builder returns the file of a command: that which the environment names, or
// one that is built once for the process.
func builder(name, environment string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		if file := os.Getenv(environment); file != "" {
			return file, nil
		}
		dir, err := built()
		if err != nil {
			return "", err
		}
		wasBuilt = true
		file := filepath.Join(dir, name)
		build := exec.Command("go", "build", "-buildvcs=false", "-o", file, "stamp/cmd/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as scripts/build does, for file systems without libraries
		out, err := build.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
		return file, nil
	})
}

var (
	serverBinary  = builder("nats-server", "STAMP_SERVER")
	calloutBinary = builder("nats-callout", "STAMP_CALLOUT")
)

// Binary is the file of the server under test: $STAMP_SERVER, or one that is
// built once for the process.
func Binary(t testing.TB) string { return mustBuild(t, serverBinary) }

// CalloutBinary is the file of the callout handler under test: $STAMP_CALLOUT, or
// one that is built once for the process.
func CalloutBinary(t testing.TB) string { return mustBuild(t, calloutBinary) }

func mustBuild(t testing.TB, build func() (string, error)) string {
	t.Helper()
	file, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Main is for TestMain: it runs the tests, removes what Binary built, and returns
// the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	if wasBuilt {
		dir, _ := built()
		if err := os.RemoveAll(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return code
}
