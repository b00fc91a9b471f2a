package upstreamtree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// v2.1.0 has another line where the first patch changes one.
func TestTryOtherVersions(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	before := snapshotOf(t, r)
	if out := r.run("try", "v2.0.0"); strings.Count(out, ": applies\n") != 2 || !strings.Contains(out, "2 of 2") {
		t.Errorf("own version:\n%s", out)
	}
	out := r.refuses([]string{"try", "v2.1.0"}, "0001-server-answer-three.patch: fails: server/one.go\n", "1 of 2", r.sum("v2.1.0"))
	if !strings.Contains(out, ".patch: applies\n") {
		t.Errorf("the second patch does not apply:\n%s", out)
	}
	if r.exists("upstream.try") || snapshotOf(t, r) != before {
		t.Error("try left traces")
	}
	r.refuses([]string{"--version", "v2.1.0", "--keep"}, "upstream.try")
	if got := r.read("upstream.try/server/two.go"); !strings.Contains(got, "door") {
		t.Error("upstream.try is not the patched tree")
	}
}

func TestBrokenPatchIsNamed(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	before := snapshotOf(t, r)
	name := "patches/0001-server-answer-three.patch"
	r.write(name, strings.ReplaceAll(r.read(name), "return 1", "return 7"))
	r.refuses(nil, "0001-server-answer-three.patch does not apply to server/one.go", "./upstream is as it was", "upstream.failed")
	if snapshotOf(t, r) != before {
		t.Error("./upstream was changed")
	}
	if !r.exists("upstream.failed/.git/rebase-apply") {
		t.Error("upstream.failed has no git am to go on with")
	}
	r.write("upstream.failed/mark", "mine")
	r.refuses(nil, "0001-server-answer-three.patch", "was left alone")
	if r.read("upstream.failed/mark") != "mine" {
		t.Error("upstream.failed was replaced")
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
		t.Errorf("UPSTREAM:\n%s", r.read("patches/UPSTREAM"))
	}
	if !strings.Contains(r.read("go.mod"), module+" v2.1.0") {
		t.Errorf("go.mod:\n%s", r.read("go.mod"))
	}
	r.refuses(nil, "0001-server-answer-three.patch does not apply to server/one.go", "adopt")
	if got := r.read("upstream.failed/server/one.go"); !strings.Contains(got, "<<<<<<<") {
		t.Errorf("no merge to resolve:\n%s", got)
	}
	r.write("upstream.failed/server/one.go", "package server\n\n// one is three\nfunc one() int {\n\treturn 3 + 0\n}\n")
	r.git("upstream.failed", "add", "server/one.go")
	r.git("upstream.failed", "am", "--continue")
	r.run("adopt")
	if r.exists("upstream.failed") || !strings.Contains(r.read("upstream/server/one.go"), "3 + 0") ||
		!strings.Contains(r.read("upstream/usage/usage.go"), "newer") {
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

func TestBuild(t *testing.T) {
	r := newRepo(t)
	if code, out := finish(t, r.command("scripts/build")); code == 0 || !strings.Contains(out, "cmd/ holds no command") {
		t.Errorf("nothing to build: exit status %d\n%s", code, out)
	}
	r.write("cmd/nats-server/main.go", "package main\n\nimport (\n\t\"fmt\"\n\n\t\""+module+"/server\"\n\t\""+module+"/usage\"\n)\n\nfunc main() { fmt.Print(server.Commit(), usage.Text) }\n")
	r.write("server/release/release.go", "package release\n\nconst Version = \"2.0.0+stamp.7\"\n")
	build := r.command("scripts/build", "-o", "out dir")
	if code, out := finish(t, build); code != 0 {
		t.Fatalf("exit status %d\n%s", code, out)
	}
	if code, out := finish(t, r.command("out dir/nats-server")); code != 0 || out != "stamp.7 v2.0.0\nUsage: up\n" {
		t.Errorf("nats-server: exit status %d, printed %q", code, out)
	}
	build = r.command("scripts/build", "nats-server")
	build.Env = append(build.Env, "STAMP_COMMIT=0123456789")
	if code, out := finish(t, build); code != 0 {
		t.Fatalf("exit status %d\n%s", code, out)
	}
	if _, out := finish(t, r.command("bin/nats-server")); !strings.HasPrefix(out, "0123456 ") {
		t.Errorf("STAMP_COMMIT: printed %q", out)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "upstream")); err != nil {
		t.Errorf("build made no tree: %v", err)
	}
}
