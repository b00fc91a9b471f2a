package upstreamtree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// secondLine is a repository with two patches and a line 2.1, on whose version v2.1.0 the first
// patch conflicts.
func secondLine(t *testing.T) *repo {
	t.Helper()
	r := newRepo(t)
	r.twoPatches()
	r.write("patches/2.1/UPSTREAM", "module "+module+"\nversion v2.1.0\nsum "+r.sum("v2.1.0")+"\nrelease stamp.3\n")
	return r
}

const fixup = "patches/2.1/server-answer-three.diff"

// finishLine resolves the conflict of the first patch by hand.
func finishLine(r *repo) {
	r.t.Helper()
	r.refuses([]string{"--line", "2.1"}, "server/one.go:one\n", "return 1 + 0", "0001-server-answer-three.patch conflicts", "--line 2.1 adopt")
	r.write("upstream-2.1.failed/server/one.go", "package server\n\n// one is three\nfunc one() int {\n\treturn 3 + 0\n}\n")
	r.git("upstream-2.1.failed", "add", "server/one.go")
	r.git("upstream-2.1.failed", "am", "--continue")
	r.run("--line", "2.1", "adopt")
}

// A second line is made from the same series, with a fix-up for each conflict.
func TestLine(t *testing.T) {
	r := secondLine(t)
	main := r.patches()
	finishLine(r)
	if got := r.read(fixup); !strings.HasPrefix(got, "conflict: ") || !strings.Contains(got, " server/one.go:one\ndiff --git ") ||
		!strings.Contains(got, "\n-\treturn 1 + 0\n+\treturn 3 + 0\n") || strings.Contains(got, "// one is three\n+") {
		t.Errorf("the fix-up is not the resolved conflict:\n%s", got)
	}
	if r.exists("upstream-2.1.failed") {
		t.Error("the failed tree is still there")
	}
	r.run("--line", "2.1", "check")
	r.run("check")
	samePatches(t, r.patches(), main)
	if out := r.run("--line", "2.1"); out != "" {
		t.Errorf("after adopt, scripts/upstream makes the tree again: %s", out)
	}

	before := r.git("upstream-2.1", "rev-parse", "HEAD^{tree}")
	if err := os.RemoveAll(filepath.Join(r.dir, "upstream-2.1")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(r.dir, "upstream")); err != nil {
		t.Fatal(err)
	}
	r.run("--line", "2.1")
	r.run("--line", "2.1", "check")
	if got := r.git("upstream-2.1", "rev-parse", "HEAD^{tree}"); got != before {
		t.Error("a tree made anew has other files")
	}
	if !strings.Contains(r.read("upstream-2.1/server/two.go"), "door") || strings.Contains(r.read("upstream/server/one.go"), "3 + 0") {
		t.Error("a patch is missing, or the main tree is changed")
	}
	if out := r.run("--line", "2.1", "try", "v2.1.0"); !strings.Contains(out, "\n0 conflicts") {
		t.Errorf("try of the line's own version:\n%s", out)
	}
	// On v2.0.1 there is no conflict for the fix-up, and on v2.1.1 there is another one.
	r.refuses([]string{"--line", "2.1", "try", "v2.0.1"}, "0001-server-answer-three.patch: conflicts nowhere now", "\n1 conflicts in 0 hunks")
	r.refuses([]string{"--line", "2.1", "try", "v2.1.1"}, "server/one.go:one\n", "return 1 + 1", "\n1 conflicts in 1 hunks")
}

// scripts/build --line builds the commands of a line.
func TestLineBuild(t *testing.T) {
	r := secondLine(t)
	finishLine(r)
	r.write("cmd/nats-server/main.go", buildMain)
	r.write("go.sum", "")
	if code, out := finish(t, r.command("scripts/build", "--line", "2.1")); code != 0 {
		t.Fatalf("scripts/build --line failed with exit status %d\n%s", code, out)
	}
	if _, out := finish(t, r.command("bin/2.1/nats-server", "--version")); out != "v2.1.0+stamp.3" {
		t.Errorf("expected v2.1.0+stamp.3 from --version; found %q", out)
	}
	if _, out := finish(t, r.command("bin/2.1/nats-server")); !strings.Contains(out, "Usage: up, newer") || !strings.Contains(out, "stamp.3 v2.1.0") {
		t.Errorf("expected the usage of 2.1 and its release; found %q", out)
	}
	if strings.Contains(r.read("go.mod"), "v2.1.0") {
		t.Error("go.mod of the main line is changed")
	}
	if code, out := finish(t, r.command("scripts/build", "--line", "9.9")); code != 2 || !strings.Contains(out, "expected the file patches/9.9/UPSTREAM") {
		t.Errorf("no such line: exit status %d\n%s", code, out)
	}
}

// A fix-up applies only to the conflict for which it was made.
func TestLineRefusesStaleFixups(t *testing.T) {
	for name, c := range map[string]struct {
		work func(*repo)
		want string
	}{
		"the patch changed": {func(r *repo) {
			r.write("upstream/server/one.go", strings.Replace(r.read("upstream/server/one.go"), "return 3", "return 33", 1))
			r.git("upstream", "commit", "-q", "-a", "--fixup", "HEAD~1")
			r.git("upstream", "-c", "sequence.editor=true", "rebase", "-q", "-i", "--autosquash", "base")
			r.run("export")
		}, "0001-server-answer-three.patch conflicts"},
		"upstream changed": {func(r *repo) {
			r.write("patches/2.1/UPSTREAM", strings.NewReplacer("v2.1.0", "v2.1.1", r.sum("v2.1.0"), r.sum("v2.1.1")).Replace(r.read("patches/2.1/UPSTREAM")))
		}, "return 1 + 1"},
		"no conflict any more": {func(r *repo) {
			r.write("patches/2.1/UPSTREAM", strings.NewReplacer("v2.1.0", "v2.0.0", r.sum("v2.1.0"), r.sum("v2.0.0")).Replace(r.read("patches/2.1/UPSTREAM")))
		}, "conflicts nowhere now"},
		"no such patch": {func(r *repo) { r.write("patches/2.1/server-other.diff", "") }, "2.1/server-other.diff belongs to no patch"},
		"not in its place": {func(r *repo) { r.write(fixup, strings.Replace(r.read(fixup), "-\treturn 1 + 0", "-\treturn 7", 1)) },
			"does not apply"},
	} {
		t.Run(name, func(t *testing.T) {
			r := secondLine(t)
			finishLine(r)
			before := snapshot(t, filepath.Join(r.dir, "upstream-2.1"))
			c.work(r)
			r.refuses([]string{"--line", "2.1"}, c.want)
			if snapshot(t, filepath.Join(r.dir, "upstream-2.1")) != before {
				t.Error("the refused run changed the tree")
			}
		})
	}
}

// export writes the fix-ups of a line.
func TestLineExport(t *testing.T) {
	r := secondLine(t)
	finishLine(r)
	first := r.read(fixup)
	r.write("upstream-2.1/server/three.go", "package server\n\nvar only = 21\n")
	r.git("upstream-2.1", "commit", "-q", "-a", "--fixup", "HEAD")
	r.refuses([]string{"--line", "2.1", "export"}, "expected one commit for each patch", "fixup!", "autosquash")
	r.git("upstream-2.1", "-c", "sequence.editor=true", "rebase", "-q", "-i", "--autosquash", "base")
	r.refuses([]string{"--line", "2.1", "check"}, "patches/2.1 and the commits of ./upstream-2.1 differ")
	r.run("--line", "2.1", "export")
	r.run("--line", "2.1", "check")
	found, _ := filepath.Glob(filepath.Join(r.dir, "patches/2.1/*.diff"))
	if len(found) != 2 || r.read(fixup) != first {
		t.Errorf("expected the same two fix-ups as before; found %v", found)
	}
	if err := os.RemoveAll(filepath.Join(r.dir, "upstream-2.1")); err != nil {
		t.Fatal(err)
	}
	r.run("--line", "2.1")
	if !strings.Contains(r.read("upstream-2.1/server/three.go"), "only") || r.exists("upstream/server/only.go") {
		t.Error("the fix-up of the second patch is lost")
	}
	if err := os.Remove(filepath.Join(r.dir, fixup)); err != nil {
		t.Fatal(err)
	}
	r.refuses([]string{"--line", "2.1", "check"}, "server-answer-three.diff is not what ./upstream-2.1 gives")
}

// If the line's version has a patch already, the patch becomes an empty commit, so that there is one commit for each patch.
func TestLineHasThePatchAlready(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	r.commit("say newer", map[string]string{"main.go": mainOf("\nUsage: up, newer\n")})
	r.commit("server: more", map[string]string{"server/more.go": "package server\n"})
	r.run("export")
	r.write("patches/2.1/UPSTREAM", "module "+module+"\nversion v2.1.0\nsum "+r.sum("v2.1.0")+"\nrelease stamp.3\n")
	finishLine(r)
	r.run("--line", "2.1", "check")
	if got := r.git("upstream-2.1", "log", "--reverse", "--format=%s", "base.."); !strings.HasSuffix(got, "\nsay newer\nserver: more") {
		t.Errorf("expected an empty commit for the patch that the version has; the commits are\n%s", got)
	}
	if got := r.git("upstream-2.1", "diff", "--name-only", "HEAD~2", "HEAD~1"); got != "" {
		t.Errorf("the commit of the patch that the version has changes %s", got)
	}
	if out := r.run("--line", "2.1", "try", "v2.1.0"); !strings.Contains(out, "\n0 conflicts") {
		t.Errorf("expected no conflicts on the line's own version; found\n%s", out)
	}
}
