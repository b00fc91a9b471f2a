package upstreamtree

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// places is a repository with copies of the files of ours that name a release. In the copies they name
// the fake module's v2.0.0, so that it can be pinned anew without a network.
func places(t *testing.T) *repo {
	t.Helper()
	r := newRepo(t)
	pin, err := os.ReadFile(filepath.Join(source(t), "patches/UPSTREAM"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?s)version v(\S+).*release (\S+)`).FindSubmatch(pin)
	version, release := string(found[1]), string(found[2])
	for _, name := range []string{"README.md", "CHANGELOG.md", "Dockerfile", "browser/package.json", "browser/package-lock.json",
		"docs/metrics.md", "scripts/lib/image-check.sh", "receivers/js/package.json", "receivers/java/pom.xml", "receivers/java/nats/pom.xml",
		"receivers/python/pyproject.toml"} {
		data, err := os.ReadFile(filepath.Join(source(t), name))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer(version+"+"+release, "2.0.0+stamp.7", version+"-"+release, "2.0.0-stamp.7",
			version+".post"+strings.TrimPrefix(release, "stamp."), "2.0.0.post7", version, "2.0.0").Replace(string(data))
		if !strings.Contains(text, "2.0.0") {
			t.Errorf("%s does not name the release: take it off the list", name)
		}
		r.write(name, text)
	}
	return r
}

// pin writes the new version into every file that names it.
func TestPinChangesEveryPlace(t *testing.T) {
	r := places(t)
	r.run()
	r.run("check")
	r.run("pin", "v2.1.0")
	if got := r.read("patches/UPSTREAM"); !strings.Contains(got, "version v2.1.0\n") || !strings.HasSuffix(got, "release stamp.1\n") {
		t.Errorf("patches/UPSTREAM does not pin v2.1.0 with stamp.1:\n%s", got)
	}
	old := regexp.MustCompile(`.*2\.0\.0.*`)
	for name, count := range map[string]int{"README.md": 3, "CHANGELOG.md": 2, "Dockerfile": 1, "browser/package.json": 1,
		"browser/package-lock.json": 2, "docs/metrics.md": 1, "scripts/lib/image-check.sh": 1, "go.mod": 1, "receivers/js/package.json": 1,
		"receivers/java/pom.xml": 1, "receivers/java/nats/pom.xml": 1, "receivers/python/pyproject.toml": 1} {
		text := r.read(name)
		for _, line := range old.FindAllString(text, -1) {
			if !strings.Contains(line, "sha512") && !strings.Contains(line, "registry") && !strings.Contains(line, `"node_modules/`) {
				t.Errorf("%s still names the old version: %s", name, line)
			}
		}
		if got := strings.Count(text, "2.1.0"); got < count {
			t.Errorf("%s names the version %d times, want %d", name, got, count)
		}
	}
	if got := r.read("browser/package.json"); !strings.Contains(got, `"version": "2.1.0-stamp.1"`) {
		t.Errorf("browser/package.json does not have the version 2.1.0-stamp.1:\n%s", got)
	}
	if got := r.read("receivers/python/pyproject.toml"); !strings.Contains(got, `version = "2.1.0.post1"`) {
		t.Errorf("receivers/python/pyproject.toml does not have the version 2.1.0.post1:\n%s", got)
	}
	if got := r.read("CHANGELOG.md"); !strings.Contains(got, "## 2.1.0+stamp.1 (unreleased)\n") {
		t.Errorf("CHANGELOG.md has no section for 2.1.0+stamp.1:\n%s", got)
	}
	r.run()
	r.run("check")
	if got := r.read("upstream/command/release/release.go"); !strings.Contains(got, `Upstream = "2.1.0"`) || !strings.Contains(got, `Stamp = "stamp.1"`) {
		t.Errorf("package release does not have the new versions:\n%s", got)
	}
}

// To release again on the same version, the number of the release is changed in patches/UPSTREAM, and pin of that version
// writes it everywhere.
func TestPinOfTheSameVersionKeepsTheRelease(t *testing.T) {
	r := places(t)
	r.write("patches/UPSTREAM", strings.Replace(r.read("patches/UPSTREAM"), "stamp.7", "stamp.8", 1))
	r.run()
	r.refuses([]string{"check"}, "README.md:", "2.0.0+stamp.7")
	r.run("pin", "v2.0.0")
	r.run("check")
	for name, want := range map[string]string{"README.md": "2.0.0+stamp.8", "receivers/python/pyproject.toml": `"2.0.0.post8"`} {
		if !strings.Contains(r.read(name), want) {
			t.Errorf("%s does not name the new release as %s", name, want)
		}
	}
}

// The changelog keeps the sections of released versions, and gets a new one.
func TestPinAfterARelease(t *testing.T) {
	r := places(t)
	released := strings.Replace(r.read("CHANGELOG.md"), "(unreleased)", "(2026-11-30)", 1)
	r.write("CHANGELOG.md", released)
	r.run("pin", "v2.1.0")
	_, sections, _ := strings.Cut(released, "\n## ")
	if got := r.read("CHANGELOG.md"); !strings.HasSuffix(got, "\n## 2.1.0+stamp.1 (unreleased)\n\n### Upstream\n- nats-server v2.1.0.\n\n## "+sections) {
		t.Errorf("expected a new section in front of the released ones; CHANGELOG.md is\n%s", got)
	}
	r.run()
	r.run("check")
}

// check finds each file that names another version than the pinned one.
func TestCheckFindsEveryPlace(t *testing.T) {
	r := places(t)
	r.run()
	for name, edit := range map[string][2]string{
		"README.md":                  {"nats-server v2.0.0", "nats-server v2.0.1"},
		"CHANGELOG.md":               {"## 2.0.0+stamp.7", "## 2.0.0+stamp.6"},
		"Dockerfile":                 {"2.0.0+stamp.7", "2.0.0+stamp.6"},
		"browser/package.json":       {"2.0.0-stamp.7", "2.0.1-stamp.7"},
		"browser/package-lock.json":  {"2.0.0-stamp.7", "2.0.0-stamp.70"},
		"docs/metrics.md":            {"2.0.0+stamp.7", "1.9.9+stamp.7"},
		"scripts/lib/image-check.sh": {"2.0.0", "2.0.9"},
		"go.mod":                     {"v2.0.0", "v2.0.1"},
		"receivers/js/package.json":  {"2.0.0-stamp.7", "2.0.0-stamp.6"},
		"receivers/java/pom.xml":     {"2.0.0-stamp.7", "2.0.1-stamp.7"},
	} {
		before := r.read(name)
		r.write(name, strings.Replace(before, edit[0], edit[1], 1))
		r.refuses([]string{"check"}, name+":", "do not name what is pinned: 2.0.0+stamp.7", "pin v2.0.0")
		r.write(name, before)
	}
	const python = "receivers/python/pyproject.toml"
	before := r.read(python)
	for _, other := range []string{"2.0.0.post6", "2.0.0.post70", "2.0.1.post7", "1.9.0.post7", "2.0.0", "2.0.0+stamp.6"} {
		r.write(python, strings.Replace(before, `version = "2.0.0.post7"`, `version = "`+other+`"`, 1))
		r.refuses([]string{"check"}, python+":", "do not name what is pinned: 2.0.0+stamp.7", "pin v2.0.0")
	}
	r.write(python, before)
	r.run("check")
}

// A second line has release numbers of its own.
func TestPinOfALine(t *testing.T) {
	r := places(t)
	r.write("patches/2.1/UPSTREAM", "module "+module+"\nversion v2.1.0\nsum "+r.sum("v2.1.0")+"\nrelease stamp.3\n")
	r.write("README.md", r.read("README.md")+"\nAnd 2.1.0+stamp.3, on v2.1.0.\n")
	r.run()
	r.run("check")
	r.run("--line", "2.1", "pin", "v2.1.1")
	if got := r.read("README.md"); !strings.HasSuffix(got, "\nAnd 2.1.1+stamp.1, on v2.1.1.\n") || !strings.Contains(got, "v2.0.0+stamp.7") {
		t.Errorf("expected the versions of the line alone to change; README.md is\n%s", got)
	}
	r.run("check")
	r.refuses([]string{"--line", "2.1", "pin", "v2.0.0"}, "expected a version of the line 2.1, found v2.0.0")
	if strings.Contains(r.read("go.mod"), "v2.1") || !strings.Contains(r.read("patches/2.1/UPSTREAM"), "version v2.1.1\n") {
		t.Error("pin of a line changed go.mod, or not patches/2.1/UPSTREAM")
	}
}

func TestDriftNamesWhatChanged(t *testing.T) {
	r := newRepo(t)
	r.run()
	r.commit("ours", map[string]string{"server/ours.go": "package server\n\nfunc ours() int { return one() }\n"})
	r.run("export")
	want := "v2.0.0 -> v2.1.0\n\nserver/one.go:one changed (called in server/ours.go:3)\n"
	if out := r.run("drift", "v2.1.0"); !strings.HasPrefix(out, want) || !strings.Contains(out, "\nchanged: 1 of 1 called functions") {
		t.Errorf("expected the changed function and where it is called; drift printed\n%s", out)
	}
	if out := r.run("drift", "v2.1.0", "v2.1.1"); !strings.Contains(out, "-\treturn 1 + 0\n") || !strings.Contains(out, "+\treturn 1 + 1\n") {
		t.Errorf("expected the change between the two versions; drift printed\n%s", out)
	}
	if out := r.run("drift", "v2.0.0"); !strings.Contains(out, "changed: 0 of 1 called") {
		t.Errorf("expected no change from the pinned version to itself; drift printed\n%s", out)
	}
}
