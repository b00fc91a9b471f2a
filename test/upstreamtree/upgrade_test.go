package upstreamtree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// v2.1.0 differs in a line that the first patch changes.
func TestTryOtherVersions(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	before := snapshotOf(t, r)
	if out := r.run("try", "v2.0.0"); !strings.HasSuffix(out, "\n0 conflicts in 0 hunks (0 lines)\n") {
		t.Errorf("expected no conflicts with the series' own version; found\n%s", out)
	}
	const conflict = `0001-server-answer-three.patch conflicts:
server/one.go:one
    <<<<<<< upstream
    	return 1 + 0
    =======
    	return 3
    >>>>>>> patch
1 conflicts in 1 hunks (2 lines)
`
	r.refuses([]string{"try", "v2.1.0"}, conflict, r.sum("v2.1.0"))
	if r.exists("upstream.try") || snapshotOf(t, r) != before {
		t.Error("try changed the tree, or left upstream.try")
	}
	r.refuses([]string{"--version", "v2.1.0", "--keep"}, "upstream.try", "side of the patch")
	if one, two := r.read("upstream.try/server/one.go"), r.read("upstream.try/server/two.go"); !strings.Contains(one, "return 3\n") || !strings.Contains(two, "door") {
		t.Errorf("upstream.try is not the merged tree:\n%s%s", one, two)
	}
	c := r.clone() // has no tree to take objects from
	c.refuses([]string{"try", "v2.1.0"}, conflict)
	c.run()
	c.write("upstream/server/one.go", "package server\n\n// one is three\nfunc one() int {\n\treturn 33\n}\n")
	c.git("upstream", "commit", "-q", "-a", "--fixup", "HEAD~1")
	c.git("upstream", "-c", "sequence.editor=true", "rebase", "-q", "-i", "--autosquash", "base")
	c.run("export")
	for name, text := range c.patches() { // as by git pull: ./upstream is stale then
		r.write("patches/"+name, text)
	}
	r.refuses([]string{"try", "v2.1.0"}, "return 33", "\n1 conflicts in 1 hunks")
}

// A patch that changes the lines of an earlier patch does not conflict with upstream.
func TestTryReportsNoConflictTwice(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	r.commit("server: answer four", map[string]string{
		"server/one.go": "package server\n\n// one is four\nfunc one() int {\n\treturn 4\n}\n"})
	r.run("export")
	if out := r.refuses([]string{"try", "v2.1.0"}, "1 conflicts in 1 hunks"); strings.Contains(out, "0003-") {
		t.Errorf("the third patch is said to conflict:\n%s", out)
	}
}

// v2.4.0 has no server/one.go. The line that the patch changes is in server/two.go.
func TestTryFileThatIsGone(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	r.refuses([]string{"try", "v2.4.0"}, "server/one.go:whole file\n    upstream has no such file", "\n1 conflicts in 1 hunks")
	r.commit("server: again", map[string]string{
		"server/one.go": "package server\n\n// one is five\nfunc one() int {\n\treturn 5\n}\n"})
	r.run("export")
	r.refuses([]string{"try", "v2.4.0"}, "\n1 conflicts in 1 hunks")
}

// If a patch does not apply, it is named, and ./upstream stays as it is.
func TestBrokenPatchIsNamed(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	before := snapshotOf(t, r)
	name := "patches/0001-server-answer-three.patch"
	r.write(name, strings.ReplaceAll(r.read(name), "return 1", "return 7"))
	r.refuses(nil, "0001-server-answer-three.patch does not apply to server/one.go", "./upstream is as it was", "upstream.failed")
	if snapshotOf(t, r) != before {
		t.Error("the failed run changed ./upstream")
	}
	if !r.exists("upstream.failed/.git/rebase-apply") {
		t.Error("upstream.failed has no git am to go on with")
	}
	r.write("upstream.failed/mark", "mine")
	r.refuses(nil, "0001-server-answer-three.patch", "was left alone")
	if r.read("upstream.failed/mark") != "mine" {
		t.Error("the failed run replaced upstream.failed")
	}
	r.refuses([]string{"adopt"}, "is going on in upstream.failed")
}

// An upgrade that conflicts, from the pin to the new series.
func TestUpgradeWithConflict(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	r.run("pin", "v2.1.0")
	if !strings.Contains(r.read("patches/UPSTREAM"), "version v2.1.0\nsum     "+r.sum("v2.1.0")+"\n") ||
		!strings.HasPrefix(r.read("patches/UPSTREAM"), "# a comment\n") {
		t.Errorf("patches/UPSTREAM does not pin v2.1.0, or has lost its comment:\n%s", r.read("patches/UPSTREAM"))
	}
	if !strings.Contains(r.read("go.mod"), module+" v2.1.0") {
		t.Errorf("go.mod does not require v2.1.0:\n%s", r.read("go.mod"))
	}
	r.refuses(nil, "0001-server-answer-three.patch does not apply to server/one.go", "adopt")
	if got := r.read("upstream.failed/server/one.go"); !strings.Contains(got, "<<<<<<<") {
		t.Errorf("expected a conflict to resolve in server/one.go:\n%s", got)
	}
	r.write("upstream.failed/server/one.go", "package server\n\n// one is three\nfunc one() int {\n\treturn 3 + 0\n}\n")
	r.git("upstream.failed", "add", "server/one.go")
	r.git("upstream.failed", "am", "--continue")
	r.run("adopt")
	if r.exists("upstream.failed") || !strings.Contains(r.read("upstream/server/one.go"), "3 + 0") ||
		!strings.Contains(r.read("upstream/command/main.go"), "newer") {
		t.Error("the finished tree is not ./upstream")
	}
	r.run("check")
	c := r.clone()
	c.run()
	c.run("check")
	if snapshotOf(t, c) != snapshotOf(t, r) {
		t.Error("a clone gets another tree")
	}
}

func TestUpgradeWithoutConflict(t *testing.T) {
	r := newRepo(t)
	r.run()
	r.commit("door", map[string]string{"server/door.go": "package server\n"})
	r.run("export")
	r.run("pin", "v2.1.0")
	r.run()
	r.run("check")
	if !r.exists("upstream/server/door.go") || r.exists("upstream/conf") {
		t.Error("the tree is not v2.1.0 with the patch")
	}
}

const buildMain = `package main

import (
	"fmt"
	"os"

	"` + module + `/command"
	"` + module + `/command/release"
	"` + module + `/server"
)

func main() {
	command.Main(command.Overrides{
		Version:    func() { fmt.Print("v" + release.Upstream + "+" + release.Stamp); os.Exit(0) },
		Configured: func(opts *server.Options) { opts.Name = "ours" },
		Logging:    func(s *server.Server) { fmt.Print("ours ") },
	})
}
`

func TestBuild(t *testing.T) {
	r := newRepo(t)
	if code, out := finish(t, r.command("scripts/build")); code == 0 || !strings.Contains(out, "cmd/ holds no command") {
		t.Errorf("nothing to build: exit status %d\n%s", code, out)
	}
	r.write("cmd/nats-server/main.go", buildMain)
	build := r.command("scripts/build", "-o", "out dir")
	if code, out := finish(t, build); code != 0 {
		t.Fatalf("scripts/build failed with exit status %d\n%s", code, out)
	}
	if code, out := finish(t, r.command("out dir/nats-server")); code != 0 ||
		out != "\nUsage: up\nlogger ours started ours with stamp.7 v2.0.0\n" {
		t.Errorf("the built nats-server: exit status %d, printed %q", code, out)
	}
	if _, out := finish(t, r.command("out dir/nats-server", "--version")); out != "v2.0.0+stamp.7" {
		t.Errorf("expected v2.0.0+stamp.7 from --version; found %q", out)
	}
	build = r.command("scripts/build", "nats-server")
	build.Env = append(build.Env, "STAMP_COMMIT=0123456789")
	if code, out := finish(t, build); code != 0 {
		t.Fatalf("scripts/build failed with exit status %d\n%s", code, out)
	}
	if _, out := finish(t, r.command("bin/nats-server")); !strings.Contains(out, "with 0123456 ") {
		t.Errorf("expected the commit of STAMP_COMMIT in the version; found %q", out)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "upstream")); err != nil {
		t.Errorf("scripts/build made no tree: %v", err)
	}
}
