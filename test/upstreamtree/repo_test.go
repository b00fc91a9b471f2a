package upstreamtree

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func (r *repo) write(name, text string) {
	r.t.Helper()
	put(r.t, filepath.Join(r.dir, name), text)
}

func (r *repo) read(name string) string {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

func (r *repo) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(r.dir, name))
	return err == nil
}

// leftovers are the scratch folders of runs.
func (r *repo) leftovers() []string {
	found, _ := filepath.Glob(filepath.Join(r.dir, "upstream.tmp.*"))
	return found
}

func (r *repo) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(r.dir, name), args...)
	cmd.Dir, cmd.Env = r.dir, r.env
	return cmd
}

// try runs scripts/upstream and returns its exit status and all it printed.
func (r *repo) try(args ...string) (int, string) {
	r.t.Helper()
	return finish(r.t, r.command("scripts/upstream", args...))
}

func finish(t *testing.T, cmd *exec.Cmd) (int, string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("cannot run %v: %v", cmd.Args, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// run runs scripts/upstream, which must succeed.
func (r *repo) run(args ...string) string {
	r.t.Helper()
	code, out := r.try(args...)
	if code != 0 {
		r.t.Fatalf("scripts/upstream %v failed with exit status %d\n%s", args, code, out)
	}
	return out
}

// refuses runs scripts/upstream, which must exit with status 1 and print each of the words.
func (r *repo) refuses(args []string, words ...string) string {
	r.t.Helper()
	code, out := r.try(args...)
	if code != 1 {
		r.t.Fatalf("scripts/upstream %v: exit status %d, want 1\n%s", args, code, out)
	}
	for _, word := range words {
		if !strings.Contains(out, word) {
			r.t.Errorf("scripts/upstream %v: expected %q in\n%s", args, word, out)
		}
	}
	if left := r.leftovers(); len(left) > 0 {
		r.t.Errorf("scripts/upstream %v left the files %v", args, left)
	}
	return out
}

func (r *repo) git(tree string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = filepath.Join(r.dir, tree), append(r.env, "GIT_EDITOR=true")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v failed: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files of ./upstream and commits them.
func (r *repo) commit(message string, files map[string]string) {
	r.t.Helper()
	for name, text := range files {
		r.write("upstream/"+name, text)
		r.git("upstream", "add", "-f", name)
	}
	r.git("upstream", "commit", "-q", "-m", message)
}

// twoPatches makes the series that most tests start from: one that changes a
// line and adds one, and one with a new file that is ignored, bytes that are
// not ASCII, and a second change to the first one's file.
func (r *repo) twoPatches() {
	r.t.Helper()
	r.run()
	r.commit("server: answer three\n\nBecause two is taken. Können wir.\n", map[string]string{
		"server/one.go": "package server\n\n// one is three\nfunc one() int {\n\treturn 3\n}\n"})
	r.commit("server: a second door (größer)\n\nA body\n", map[string]string{
		"server/two.go":   "package server\n\nvar two = 2\n\nvar door = one()\n\nvar gitCommit, serverVersion string\n\nfunc Commit() string { return gitCommit + \" \" + serverVersion }\n",
		"conf/new.conf":   "a: b\r\nno newline at the end",
		"server/three.go": "package server\n"})
	r.run("export")
}

// patches are the patch files by name.
func (r *repo) patches() map[string]string {
	r.t.Helper()
	found, _ := filepath.Glob(filepath.Join(r.dir, "patches", "*.patch"))
	all := map[string]string{}
	for _, path := range found {
		all[filepath.Base(path)] = r.read("patches/" + filepath.Base(path))
	}
	return all
}

// samePatches fails where two series are not the same bytes.
func samePatches(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if !bytes.Equal([]byte(got[name]), []byte(want[name])) {
			t.Errorf("patch %s differs:\n%s\nwant\n%s", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("the series has %d patches, want %d", len(got), len(want))
	}
}
