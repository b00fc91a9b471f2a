package upstreamtree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// export writes unchanged patches again byte for byte.
func TestReExportIsByteIdentical(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	want := r.patches()
	if len(want) != 2 {
		t.Fatalf("expected 2 patches to begin with; found %d", len(want))
	}
	r.run("export")
	samePatches(t, r.patches(), want)
	r.run("check")

	c := r.clone()
	c.run()
	c.run("check")
	c.run("export")
	samePatches(t, c.patches(), want)
	if snapshotOf(t, c) != snapshotOf(t, r) {
		t.Error("the clone's tree is not the one that was exported")
	}
}

func snapshotOf(t *testing.T, r *repo) string {
	t.Helper()
	dir := filepath.Join(r.dir, "upstream")
	return strings.ReplaceAll(snapshot(t, dir), dir, "")
}

// A person's git settings must show neither in the patches nor in the commit ids.
func TestSettingsOfThePersonDoNotShow(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	want := r.patches()
	plain := r.clone()
	plain.run()
	id := plain.git("upstream", "rev-parse", "HEAD")

	odd := plain.clone()
	odd.write("gitconfig", `[user]
	name = Somebody Else
	email = else@example.com
[core]
	autocrlf = true
	hooksPath = /nonexistent
	excludesFile = /dev/null
[diff]
	noprefix = true
	algorithm = patience
	context = 9
[format]
	signature = hello
	numbered = true
	subjectPrefix = ODD
	attach = true
	from = true
[commit]
	gpgSign = true
[init]
	templateDir = /nonexistent
`)
	odd.env = append(odd.env, "GIT_CONFIG_GLOBAL="+filepath.Join(odd.dir, "gitconfig"), "TZ=Asia/Tokyo",
		"GIT_AUTHOR_NAME=Odd", "GIT_DIR=/nonexistent", "GIT_DIFF_OPTS=-u9", "LC_ALL=C.UTF-8")
	odd.run("make", "--force")
	odd.run("export")
	odd.run("check")
	samePatches(t, odd.patches(), want)
	odd.env = plain.env
	if got := odd.git("upstream", "rev-parse", "HEAD"); got != id {
		t.Errorf("a person's settings change the commit: %s, want %s", got, id)
	}
}

// export removes the patch of a dropped commit, and renumbers the others.
func TestExportRemovesAndRenumbers(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	r.git("upstream", "rebase", "-q", "--onto", "base", "HEAD~1")
	r.run("export")
	var names []string
	for name := range r.patches() {
		names = append(names, name)
	}
	if len(names) != 1 || !strings.HasPrefix(names[0], "0001-server-a-second-door") {
		t.Errorf("expected the one patch that is left, with number 0001; found %v", names)
	}
	r.run("check")
	if out := r.run(); out != "" {
		t.Errorf("after the export, scripts/upstream makes the tree again: %s", out)
	}
}

// export puts a fixup commit into the patch that it belongs to.
func TestExportFixup(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	r.write("upstream/server/one.go", "package server\n\n// one is four\nfunc one() int {\n\treturn 4\n}\n")
	r.refuses([]string{"export"}, "not committed", "server/one.go")
	r.git("upstream", "commit", "-q", "-a", "--fixup", "HEAD~1")
	r.refuses([]string{"export"}, "not squashed yet", "autosquash")
	r.git("upstream", "-c", "sequence.editor=true", "rebase", "-q", "-i", "--autosquash", "base")
	r.run("export")
	c := r.clone()
	c.run()
	if !strings.Contains(c.read("upstream/server/one.go"), "return 4") {
		t.Error("the fixup is not in the patch")
	}
}

// export refuses commits that patches cannot hold, and leaves the patches as they are.
func TestExportRefusesWhatWouldBeLost(t *testing.T) {
	for name, work := range map[string]func(*repo){
		"dashes": func(r *repo) {
			r.commit("one\n\nbefore\n---\nafter\n", map[string]string{"server/x.go": "package server\n"})
		},
		"empty commit": func(r *repo) { r.git("upstream", "commit", "-q", "--allow-empty", "-m", "nothing") },
		"merge": func(r *repo) {
			r.git("upstream", "checkout", "-q", "-b", "side", "HEAD~1")
			r.commit("side", map[string]string{"server/side.go": "package server\n"})
			r.git("upstream", "checkout", "-q", "-")
			r.git("upstream", "merge", "-q", "--no-ff", "-s", "ours", "-m", "join", "side")
		},
		"other base": func(r *repo) { r.git("upstream", "tag", "-f", "base", "HEAD") },
		"rebase": func(r *repo) {
			if err := os.Mkdir(filepath.Join(r.dir, "upstream/.git/rebase-merge"), 0o755); err != nil {
				r.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			r.twoPatches()
			want := r.patches()
			work(r)
			r.refuses([]string{"export"}, "upstream: ")
			samePatches(t, r.patches(), want)
		})
	}
}

// export names new files that git ignores.
func TestExportNamesIgnoredFiles(t *testing.T) {
	r := newRepo(t)
	r.run()
	r.write("upstream/conf/forgotten.conf", "a: 1\n")
	if out := r.run("export"); !strings.Contains(out, "conf/forgotten.conf") {
		t.Errorf("expected a note about conf/forgotten.conf; found %q", out)
	}
}

// check finds each kind of difference between patches/ and the commits.
func TestCheckFindsDifferences(t *testing.T) {
	first := func(r *repo) string {
		for name := range r.patches() {
			if strings.HasPrefix(name, "0001") {
				return "patches/" + name
			}
		}
		r.t.Fatal("the series has no first patch")
		return ""
	}
	for name, c := range map[string]struct {
		work func(*repo)
		want string
	}{
		"patch edited":  {func(r *repo) { r.write(first(r), r.read(first(r))+"\n") }, "0001-"},
		"patch removed": {func(r *repo) { os.Remove(filepath.Join(r.dir, first(r))) }, "0001-"},
		"patch added":   {func(r *repo) { r.write("patches/0009-x.patch", "") }, "0009-x.patch"},
		"commit":        {func(r *repo) { r.commit("more", map[string]string{"server/m.go": "package server\n"}) }, "0003-more.patch"},
		"edit":          {func(r *repo) { r.write("upstream/server/one.go", "") }, "not committed"},
		"base":          {func(r *repo) { r.pin("v2.0.0", r.sum("v2.1.0")) }, "pins"},
		"no tree":       {func(r *repo) { os.RemoveAll(filepath.Join(r.dir, "upstream")) }, "there is no ./upstream"},
		"comment":       {func(r *repo) { r.write("patches/UPSTREAM", r.read("patches/UPSTREAM")+"# more\n") }, "./upstream is stale: patches/UPSTREAM"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			r.twoPatches()
			c.work(r)
			r.refuses([]string{"check"}, c.want)
		})
	}
}

// stat counts the touched lines of upstream.
func TestStatCountsUpstreamsLines(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	out := r.run("stat")
	// One comment line added and `return 1` changed in one.go; two lines added
	// in two.go; conf/new.conf and server/three.go are new and count as files alone.
	for _, want := range []string{
		"0001-server-answer-three.patch: files 1, lines +1 ~1, new files 0\n",
		"lines +2 ~0, new files 2\n",
		"existing upstream lines touched: 4 (added 3, changed or removed 1)\n",
		"existing upstream files touched: 2; new files: 2\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("expected %q in the statistics:\n%s", want, out)
		}
	}
}
