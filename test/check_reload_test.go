package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stamp/test/harness"
)

// runFile runs a program to its end and returns what it wrote and its exit code.
func runFile(t *testing.T, file string, args ...string) (string, int) {
	t.Helper()
	out, err := exec.Command(file, args...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return string(out), exit.ExitCode()
	case err != nil:
		t.Fatal(err)
	}
	return string(out), 0
}

// confFile writes a configuration and returns its name.
func confFile(t *testing.T, dir, name, conf string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const restart = 3 // exit code of -t --test_reload for a configuration that needs a restart

// -t --test_reload prints what stock prints, and has stock's exit codes.
func TestCheckReloadAsStock(t *testing.T) {
	stock := harness.Tool(t, "stock-nats-server")
	const users = "authorization { users: [{user: a, password: a}] }\n"
	for _, test := range []struct {
		name, current, next string
		code                int
	}{
		{"unchanged", "port: 4222\n" + users, "port: 4222\n" + users, 0},
		{"a reloadable change", "port: 4222\n" + users, "port: 4222\ndebug: true\n" + users, 0},
		{"a changed user", "port: 4222\n" + users, "port: 4222\nauthorization { users: [{user: b, password: b}] }\n", 0},
		{"another port", "port: 4222\n", "port: 4223\n", restart},
		{"another name", "server_name: a\n", "server_name: b\n", restart},
		{"an unknown field", "port: 4222\n", "port: 4222\nno_such_field: 1\n", 1},
		{"not a configuration", "port: 4222\n", "port: {\n", 1},
		{"an unknown field in the current file", "no_such_field: 1\n", "port: 4222\n", 1},
		{"no such file", "port: 4222\n", "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			current, next := confFile(t, dir, "current.conf", test.current), filepath.Join(dir, "next.conf")
			if test.next != "" {
				confFile(t, dir, "next.conf", test.next)
			}
			args := []string{"-t", "-c", current, "--test_reload", next}
			wantOut, wantCode := runFile(t, stock, args...)
			if wantCode != test.code {
				t.Fatalf("stock's exit code is %d, expected %d; it says %q", wantCode, test.code, wantOut)
			}
			out, code := runFile(t, harness.Binary(t), args...)
			if strings.Contains(wantOut, "Parse error") { // stock does not name the file
				out = strings.Replace(out, next+": ", "", 1)
			}
			if out != wantOut || code != wantCode {
				t.Errorf("exit code %d and %q; stock's are %d and %q", code, out, wantCode, wantOut)
			}
		})
	}
	t.Run("without -t", func(t *testing.T) {
		current := confFile(t, t.TempDir(), "current.conf", "port: 4222\n")
		args := []string{"-c", current, "--test_reload", current}
		wantOut, wantCode := runFile(t, stock, args...)
		if out, code := runFile(t, harness.Binary(t), args...); out != wantOut || code != wantCode {
			t.Errorf("exit code %d and %q; stock's are %d and %q", code, out, wantCode, wantOut)
		}
	})
	t.Run("help", func(t *testing.T) {
		if out, _ := runFile(t, harness.Binary(t), "--help"); !strings.Contains(out, "--test_reload <file>") {
			t.Error("the help does not name --test_reload")
		}
	})
}

// --test_reload calls a change of our blocks reloadable if SIGHUP can apply it, and not otherwise.
func TestCheckReloadOfOurBlocks(t *testing.T) {
	const (
		accounts = `
			port: 4222
			accounts {
				A { users: [{user: a1, password: p}, {user: a2, password: p}] }
				B { users: [{user: b1, password: p}, {user: b2, password: p}] }
				C { users: [{user: c1, password: p}, {user: c2, password: p} %s] }
			}`
		callout = `callout { sessions: [{kind: anonymous}], grants: [{account: A, publish: %q, subscribe: ">"}] }`
	)
	plain := fmt.Sprintf(accounts, "") + "\n"
	inside := func(publish string) string { return plain + fmt.Sprintf(callout, publish) + "\n" }
	for _, test := range []struct {
		name, current, next string
		code                int
		want                string
	}{
		{"headers are added", plain, plain + `headers { all: {A: b} }`, 0, "can be reloaded"},
		{"headers are changed", plain + `headers { all: {A: b} }`, plain + `headers { protected: [A], sealed: [B] }`, 0, "can be reloaded"},
		{"headers are removed", plain + `headers { all: {A: b} }`, plain, 0, "can be reloaded"},
		{"headers with a fault", plain, plain + `headers { all: {"a b": c} }`, 1, `a b`},
		{"headers of a user", plain, fmt.Sprintf(accounts, `, {user: c3, password: p, headers: {A: b}}`), 0, "can be reloaded"},
		{"the callout block is unchanged", inside(">"), inside(">"), 0, "can be reloaded"},
		{"the callout block is changed", inside(">"), inside("api.>"), 0, "can be reloaded"},
		{"the callout block has a fault", inside(">"), plain + `callout { sessions: [{kind: nothing}] }`, 1, `unknown kind "nothing"`},
		{"a static user is added beside the callout block", inside(">"),
			fmt.Sprintf(accounts, `, {user: c3, password: p}`) + "\n" + fmt.Sprintf(callout, ">"), 0, "can be reloaded"},
		{"server tags beside the callout block", inside(">"), inside(">") + "server_tags: [x]\n", 0, "can be reloaded"},
		{"another port beside the callout block", inside(">"), strings.Replace(inside(">"), "4222", "4223", 1), restart, "not supported for Port"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			current, next := confFile(t, dir, "current.conf", test.current), confFile(t, dir, "next.conf", test.next)
			for range 6 { // the generated auth_users have another order each time
				out, code := runFile(t, harness.Binary(t), "-t", "-c", current, "--test_reload", next)
				if code != test.code || !strings.Contains(out, test.want) {
					t.Fatalf("exit code %d, expected %d; output %q", code, test.code, out)
				}
			}
		})
	}
}

// An error of the parser names the file, at a start, by -t and at a reload, and says what to do where that is known.
func TestSyntaxErrorsNameTheFile(t *testing.T) {
	const hint = "\nhint: put a space between a number and ], as in [401, 404 ]\n"
	dir := t.TempDir()
	file := confFile(t, dir, "bad.conf", "port: -1\nlist: [401, 404]\n")
	want := "nats-server: " + file + ": Parse error on line 3: "
	for _, args := range [][]string{{"-c", file}, {"-c", file, "-t"}} {
		if out, code := runFile(t, harness.Binary(t), args...); code != 1 || !strings.HasPrefix(out, want) || !strings.HasSuffix(out, hint) {
			t.Errorf("%v: exit code %d and %q, expected 1 and %q", args, code, out, want)
		}
	}
	included := confFile(t, dir, "includes.conf", `include "bad.conf"`)
	if out, code := runFile(t, harness.Binary(t), "-c", included, "-t"); code != 1 || !strings.Contains(out, "nats-server: "+included+": ") || !strings.Contains(out, "'bad.conf'") {
		t.Errorf("an include: exit code %d and %q, expected both files", code, out)
	}
	missing := filepath.Join(dir, "missing.conf")
	if out, _ := runFile(t, harness.Binary(t), "-c", missing, "-t"); out != "nats-server: open "+missing+": no such file or directory\n" {
		t.Errorf("a missing file: %q", out)
	}
	s := harness.Start(t, "")
	if text := s.TryReload(t, "list: [401, 404]\n"); !regexp.MustCompile(`\.conf: Parse error on line`).MatchString(text) {
		t.Errorf("a reload: %q", text)
	}
}
