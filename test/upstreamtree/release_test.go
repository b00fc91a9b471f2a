package upstreamtree

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// releasable is a repository whose scripts/release can be started. It cannot build a release: its module proxy has no tools.
func releasable(t *testing.T) *repo {
	t.Helper()
	for _, tool := range []string{"node", "npm", "jq", "minisign"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s", tool)
		}
	}
	r := upgradeable(t)
	for _, pattern := range []string{"scripts/release", "scripts/verify-release", "scripts/lib/release-*.sh", "scripts/lib/notices.sh", "scripts/lib/tool.sh", "scripts/lib/changes.sh"} {
		found, err := filepath.Glob(filepath.Join(source(t), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimPrefix(path, source(t)+"/")
			r.write(name, string(data))
			if err := os.Chmod(filepath.Join(r.dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.write("go.mod", r.read("go.mod")+"\ntoolchain "+runtime.Version()+"\n")
	r.git(".", "add", "-A")
	r.git(".", "commit", "-q", "-m", "release")
	return r
}

// fails is a run of a script that must exit with that status and say the words.
func (r *repo) fails(status int, name string, args []string, words ...string) {
	r.t.Helper()
	code, out := finish(r.t, r.command(name, args...))
	if code != status {
		r.t.Errorf("%s %v: exit status %d, want %d\n%s", name, args, code, status, out)
	}
	contains(r.t, out, words...)
}

// A release names a commit, so it is built from exactly that commit. Before the build, the script says if that is not possible.
func TestReleaseRefusesWhatItCouldNotVouchFor(t *testing.T) {
	r := releasable(t)
	dist := filepath.Join(r.dir, "..", "dist")
	put(t, filepath.Join(dist, "build", "stamp-2.0.0+stamp.7-linux-amd64", "nats-server"), "binary")
	put(t, filepath.Join(dist, "stamp-2.0.0+stamp.7-linux-amd64.tar.gz"), "archive")
	refuses := func(words ...string) {
		t.Helper()
		r.fails(1, "scripts/release", []string{"-o", dist, "sums", "sign"}, words...)
		if _, err := os.Stat(filepath.Join(dist, "SHA256SUMS")); err == nil {
			t.Errorf("SHA256SUMS was written, though the release was refused with %q", words)
		}
	}
	r.write("README.md", "new")
	refuses("expected no changes in the repository", "README.md")
	r.git(".", "add", "-A")
	r.git(".", "commit", "-q", "-m", "readme")

	r.git(".", "tag", "v2.0.0+stamp.7", "HEAD~")
	refuses("the tag v2.0.0+stamp.7 is on another commit")
	r.git(".", "tag", "-f", "v2.0.0+stamp.7")

	r.write("upstream/server/one.go", "package server\n")
	refuses("./upstream has work that is not committed")
	r.git("upstream", "checkout", "-q", ".")
	r.write("upstream/.git/info/exclude", r.read("upstream/.git/info/exclude")+"*.out\n")
	r.write("upstream/left.out", "left")
	refuses("./upstream has files that are not of the series", "left.out")
	if err := os.Remove(filepath.Join(r.dir, "upstream/left.out")); err != nil {
		t.Fatal(err)
	}

	put(t, filepath.Join(dist, "stamp-1.0.0+stamp.1-linux-amd64.tar.gz"), "of the last release")
	refuses("has stamp-1.0.0+stamp.1-linux-amd64.tar.gz, which is no file of the release 2.0.0+stamp.7")
	if err := os.Remove(filepath.Join(dist, "stamp-1.0.0+stamp.1-linux-amd64.tar.gz")); err != nil {
		t.Fatal(err)
	}

	public := filepath.Join(r.dir, "..", "stamp.pub")
	put(t, public, "untrusted comment: minisign public key\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n")
	r.fails(1, "scripts/release", []string{"--key", public}, "is not a secret key of minisign")
	r.fails(2, "scripts/release", []string{"--key", public + ".none"}, "cannot be read")
	r.fails(1, "scripts/release", []string{"-o", dist, "sign", "--key", secretKey(t)}, "has no SHA256SUMS")

	// The refused runs have removed nothing.
	if code, out := finish(t, r.command("scripts/release", "-o", dist, "--target", "linux/amd64", "sums")); code != 0 {
		t.Errorf("expected SHA256SUMS to be written; exit status %d\n%s", code, out)
	}
}

// Settings of git hide files and changes from git status, but not from the go command.
func TestReleaseSeesChangesThatGitWasToldToHide(t *testing.T) {
	for _, x := range []struct {
		name string
		hide func(r *repo)
	}{
		{"status.showUntrackedFiles", func(r *repo) {
			r.git(".", "config", "status.showUntrackedFiles", "no")
			r.write("hidden.go", "package hidden\n")
		}},
		{"core.excludesFile", func(r *repo) {
			put(r.t, filepath.Join(r.dir, "..", "excludes"), "hidden.go\n")
			r.git(".", "config", "core.excludesFile", filepath.Join(r.dir, "..", "excludes"))
			r.write("hidden.go", "package hidden\n")
		}},
		{"info/exclude", func(r *repo) {
			r.write(".git/info/exclude", "hidden.go\n")
			r.write("hidden.go", "package hidden\n")
		}},
		{"assume-unchanged", func(r *repo) { hidden(r, "--assume-unchanged") }},
		{"skip-worktree", func(r *repo) { hidden(r, "--skip-worktree") }},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := releasable(t)
			dist := filepath.Join(r.dir, "..", "dist")
			x.hide(r)
			put(t, filepath.Join(dist, "stamp-2.0.0+stamp.7-linux-amd64.tar.gz"), "archive")
			r.fails(1, "scripts/release", []string{"-o", dist, "sums"}, "expected no changes in the repository", "hidden.go")
		})
	}
}

// hidden commits a file, tells git by that flag that it does not change, and changes it.
func hidden(r *repo, flag string) {
	r.write("hidden.go", "package hidden\n")
	r.git(".", "add", "-A")
	r.git(".", "commit", "-q", "-m", "hidden")
	r.git(".", "update-index", flag, "hidden.go")
	r.write("hidden.go", "package hidden // changed\n")
}

func TestReleaseNamesMissingPrograms(t *testing.T) {
	r := releasable(t)
	bin := t.TempDir()
	for _, name := range []string{"bash", "dirname", "git", "go", "awk", "sed", "tr", "xargs", "sha256sum", "date", "npm", "node", "jq"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("no %s", name)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	r.env = append(r.env, "PATH="+bin)
	r.fails(1, "scripts/release", nil, "there is no tar in PATH")
	put(t, filepath.Join(bin, "tar"), "#!/bin/sh\necho 'tar: unrecognized option' >&2\nexit 1\n")
	if err := os.Chmod(filepath.Join(bin, "tar"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.fails(1, "scripts/release", nil, "expected GNU's tar")
}

func secretKey(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("minisign", "-G", "-W", "-p", filepath.Join(dir, "key.pub"), "-s", filepath.Join(dir, "key")).CombinedOutput()
	if err != nil {
		t.Fatalf("minisign cannot make a key: %v\n%s", err, out)
	}
	return filepath.Join(dir, "key")
}

// verify-release says what is wrong with a download before it builds anything.
func TestVerifyReleaseRefuses(t *testing.T) {
	r := releasable(t)
	dist := filepath.Join(r.dir, "..", "dist")
	archive := filepath.Join(dist, "stamp-2.0.0+stamp.7-linux-amd64.tar.gz")
	put(t, filepath.Join(dist, "build", "x"), "x")
	put(t, archive, "archive")
	if code, out := finish(t, r.command("scripts/release", "-o", dist, "sums")); code != 0 {
		t.Fatalf("expected SHA256SUMS to be written; exit status %d\n%s", code, out)
	}
	if err := os.RemoveAll(filepath.Join(dist, "build")); err != nil {
		t.Fatal(err)
	}
	refuses := func(words ...string) {
		t.Helper()
		r.fails(1, "scripts/verify-release", []string{dist}, words...)
	}
	key := secretKey(t)
	r.fails(2, "scripts/verify-release", []string{}, "expected a folder")
	r.fails(2, "scripts/verify-release", []string{dist + "-none"}, "expected a folder", dist+"-none")
	r.fails(1, "scripts/verify-release", []string{"--key", key + ".pub", dist}, "has no SHA256SUMS.minisig")
	sign := exec.Command("minisign", "-S", "-s", key, "-m", filepath.Join(dist, "SHA256SUMS"))
	if out, err := sign.CombinedOutput(); err != nil {
		t.Fatalf("minisign cannot sign: %v\n%s", err, out)
	}
	r.fails(1, "scripts/verify-release", []string{"--key", secretKey(t) + ".pub", dist}, "SHA256SUMS is not signed with the key of")

	put(t, archive, "archi")
	refuses("stamp-2.0.0+stamp.7-linux-amd64.tar.gz: FAILED", "has another sum")
	put(t, archive, "archive")
	put(t, archive+".exe", "of somebody else")
	refuses("SHA256SUMS does not name stamp-2.0.0+stamp.7-linux-amd64.tar.gz.exe")
	if err := os.Remove(archive + ".exe"); err != nil {
		t.Fatal(err)
	}
	// A name with a backslash could be read as the name of a file of the release, and a hidden file not be seen.
	escaped := filepath.Join(dist, `stamp-2.0.0\x2bstamp.7-linux-amd64.tar.gz`)
	put(t, escaped, "of somebody else")
	refuses(`SHA256SUMS does not name stamp-2.0.0\x2bstamp.7-linux-amd64.tar.gz`)
	hidden := filepath.Join(dist, ".install.sh")
	if err := os.Rename(escaped, hidden); err != nil {
		t.Fatal(err)
	}
	refuses("SHA256SUMS does not name .install.sh")
	if err := os.Remove(hidden); err != nil {
		t.Fatal(err)
	}
	sums := filepath.Join(dist, "SHA256SUMS")
	text, err := os.ReadFile(sums)
	if err != nil {
		t.Fatal(err)
	}
	put(t, sums, string(text)+"no sum\n")
	refuses("has another sum")
	put(t, sums, "")
	refuses("SHA256SUMS does not name")
	put(t, sums, string(text))

	r.write("README.md", "new")
	refuses("expected no changes in the repository")
	r.git(".", "add", "-A")
	r.git(".", "commit", "-q", "-m", "another")
	refuses("expected the commit")
	r.fails(1, "scripts/verify-release", []string{"--key", key + ".pub", dist}, "the signature is good", "expected the commit")
}

// The go command caches each version of a module, so an edited tree needs a version of its own. Otherwise later releases on
// this machine would be built from the edited tree.
func TestReleasedModuleVersionIsOfTheTree(t *testing.T) {
	r := releasable(t)
	r.run("make")
	version := func() string {
		t.Helper()
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", `root=$PWD; source scripts/lib/line.sh; source scripts/lib/module.sh; module_version ''`)
		cmd.Dir, cmd.Env = r.dir, r.env
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	before := version()
	text := r.read("upstream/server/one.go")
	r.write("upstream/server/one.go", text+"// edited\n")
	if version() == before {
		t.Errorf("the edited tree has the version %s too", before)
	}
	r.write("upstream/server/one.go", text)
	if after := version(); after != before {
		t.Errorf("the version of the same tree was %s, and is %s", before, after)
	}
	if !strings.HasPrefix(before, "v2.0.1-0.stamp.7.") {
		t.Errorf("the version is %s, want one that begins with v2.0.1-0.stamp.7.", before)
	}
}

// Settings of whoever builds do not change what is built.
func TestReleaseIgnoresSettingsOfGo(t *testing.T) {
	r := releasable(t)
	r.env = append(r.env, "GOAMD64=v3", "GOEXPERIMENT=jsonv2", "GOFLAGS=-tags=mine", "GOENV="+filepath.Join(r.dir, "..", "goenv"))
	put(t, filepath.Join(r.dir, "..", "goenv"), "GOARM64=v9.0\nGONOPROXY=private.example\n")
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", `source scripts/lib/release-source.sh; plain_go; go env GOAMD64 GOEXPERIMENT GOFLAGS GOARM64 GONOPROXY GOPROXY`)
	cmd.Dir, cmd.Env = r.dir, r.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("cannot source scripts/lib/release-source.sh: %v\n%s", err, out)
	}
	lines := strings.Split(string(out), "\n")
	if got, want := strings.Join(lines[:5], ","), "v1,,,,private.example"; runtime.GOARCH == "amd64" && got != want {
		t.Errorf("settings of Go change the build: got %s, want %s", got, want)
	}
	if !strings.HasPrefix(lines[5], "file://") {
		t.Errorf("expected the GOPROXY of the environment, file://...; found %s", lines[5])
	}
}
