package upstreamtree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// upgradeable is a repository with a git history, two patches, a command, and a scripts/test that notes
// its steps in the file steps. The step that STAMP_FAIL names fails.
func upgradeable(t *testing.T) *repo {
	t.Helper()
	r := newRepo(t)
	r.twoPatches()
	r.commit("ours", map[string]string{"server/ours.go": "package server\n\nfunc ours() int { return one() }\n"})
	r.run("export")
	r.write("cmd/nats-server/main.go", buildMain)
	r.write("scripts/test", `#!/usr/bin/env bash
printf '%s\n' "$*" >>"$STEPS"
[[ $* != *"$STAMP_FAIL" ]] || { printf -- '--- FAIL: TestSomething (0.10s)\n' && exit 1; }
`)
	if err := os.Chmod(filepath.Join(r.dir, "scripts/test"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.env = append(r.env, "STEPS="+filepath.Join(r.dir, "..", "steps"), "STAMP_FAIL=nothing")
	r.write(".gitignore", "/upstream/\n/upstream-*/\n/upstream.*\n/.cache/\n/scratch/\n")
	r.git(".", "init", "-q")
	r.git(".", "config", "user.email", "x@example.com")
	r.git(".", "config", "user.name", "x")
	r.git(".", "add", "-A")
	r.git(".", "commit", "-q", "-m", "all")
	return r
}

func (r *repo) upgrade(want int, args ...string) string {
	r.t.Helper()
	code, out := finish(r.t, r.command("scripts/upgrade", args...))
	if code != want {
		r.t.Fatalf("upgrade %v: exit status %d, want %d\n%s", args, code, want, out)
	}
	return out
}

func contains(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("expected %q in\n%s", word, text)
		}
	}
}

const oneConflicts = "Hunks that conflict:\n  server/one.go:one (0001-server-answer-three.patch)\n"
const oneDrifts = "  server/one.go:one changed (called in server/ours.go:3, has lines of ours)\n"

func TestUpgradeScriptDryRun(t *testing.T) {
	r := upgradeable(t)
	before := snapshotOf(t, r)
	out := r.upgrade(1, "--dry-run", "v2.1.0")
	contains(t, out, oneConflicts, oneDrifts, "| v2.1.0 | 1 conflicts in 1 hunks (2 lines) | 1 of 1 called, 1 of 1 with our lines |", "| not run: conflicts |")
	if got := r.git(".", "status", "--porcelain"); got != "" || snapshotOf(t, r) != before || r.exists("upstream.failed") {
		t.Errorf("the working tree was changed: %s", got)
	}
	if left, _ := filepath.Glob(filepath.Join(r.dir, ".cache/upgrade.tmp.*")); len(left) > 0 {
		t.Errorf("the dry run left the files %v", left)
	}
	contains(t, r.read(".cache/upgrade/v2.1.0/drift.txt"), "+\treturn 1 + 0")

	out = r.upgrade(0, "--dry-run", "--quick", "v2.0.0")
	contains(t, out, "Hunks that conflict:\n  nothing\n", "Failed:\n  nothing\n", "| passed: tools patches build unit |")
}

func TestUpgradeScriptGoesOnAfterConflict(t *testing.T) {
	r := upgradeable(t)
	contains(t, r.upgrade(1, "v2.1.0"), oneConflicts, "scripts/upstream adopt")
	if _, err := os.Stat(filepath.Join(r.dir, "..", "steps")); err == nil {
		t.Error("tests were run on half a tree")
	}
	r.write("upstream.failed/server/one.go", "package server\n\n// one is three\nfunc one() int {\n\treturn 3 + 0\n}\n")
	r.git("upstream.failed", "add", "server/one.go")
	r.git("upstream.failed", "am", "--continue")
	r.run("adopt")
	contains(t, r.upgrade(0, "v2.1.0"), oneConflicts, oneDrifts, "Failed:\n  nothing\n", "| passed: tools lint")
	contains(t, r.read("patches/UPSTREAM"), "version v2.1.0", "release stamp.1")
	contains(t, r.read("go.mod"), module+" v2.1.0")
	r.run("check")

	r.env = append(r.env, "STAMP_FAIL=unit")
	contains(t, r.upgrade(1, "--quick", "v2.1.0"), "Failed:\n  unit: TestSomething\n", "| failed: unit |")
}

// Lines beside a patch's hunk have moved. The patch can be merged without a person.
func TestUpgradeScriptTakesAMerge(t *testing.T) {
	r := upgradeable(t)
	contains(t, r.upgrade(0, "--quick", "v2.0.1"), "Hunks that conflict:\n  nothing\n", "| passed: tools patches build unit |")
	contains(t, r.read("upstream/server/one.go"), "return 3", "// above")
	if r.exists("upstream.failed") {
		t.Error("upstream.failed was not taken")
	}
	r.run("check")
}

func TestUpgradeScriptOfALine(t *testing.T) {
	r := upgradeable(t)
	r.write("patches/2.1/UPSTREAM", "module "+module+"\nversion v2.1.0\nsum "+r.sum("v2.1.0")+"\nrelease stamp.3\n")
	contains(t, r.upgrade(1, "--quick", "v2.0.1"), "line-2.1", "| failed: line-2.1 |")
	if err := os.RemoveAll(filepath.Join(r.dir, "upstream-2.1.failed")); err != nil {
		t.Fatal(err)
	}
	r.git(".", "add", "-A")
	r.git(".", "commit", "-q", "-m", "more")
	finishLine(r)
	out := r.upgrade(1, "--line", "2.1", "--quick", "v2.1.1")
	contains(t, out, oneConflicts, oneDrifts, "resolve it in upstream-2.1.failed")
	r.write("upstream-2.1.failed/server/one.go", "package server\n\n// one is three\nfunc one() int {\n\treturn 3 + 1\n}\n")
	r.git("upstream-2.1.failed", "add", "server/one.go")
	r.git("upstream-2.1.failed", "am", "--continue")
	r.run("--line", "2.1", "adopt")
	contains(t, r.upgrade(0, "--line", "2.1", "--quick", "v2.1.1"), oneConflicts, "| v2.1.1 (line 2.1) |")
	contains(t, r.read("../steps"), "--line 2.1 unit\n")
	if !strings.Contains(r.read("patches/UPSTREAM"), "v2.0.1") {
		t.Error("the main line was changed")
	}
}

func TestUpgradeScriptWrongUsage(t *testing.T) {
	r := newRepo(t)
	for _, args := range [][]string{{}, {"2.1.0"}, {"--line", "9.9", "v2.1.0"}} {
		contains(t, r.upgrade(2, args...), "hint: scripts/upgrade --help")
	}
	contains(t, r.upgrade(0, "--help"), "usage: scripts/upgrade")
}
