package upstreamtree

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// realSeries is a copy of this repository's own scripts and patches. Its tree is made of the real nats-server, from the module
// cache if it is there.
func realSeries(t *testing.T) *repo {
	t.Helper()
	if testing.Short() {
		t.Skip("makes a whole tree of nats-server")
	}
	r := &repo{t: t, dir: filepath.Join(t.TempDir(), "real"), env: os.Environ()}
	r.copyScripts()
	if err := os.CopyFS(filepath.Join(r.dir, "patches"), os.DirFS(filepath.Join(source(t), "patches"))); err != nil {
		t.Fatal(err)
	}
	r.run()
	return r
}

var statRow = regexp.MustCompile(`(?m)^(\S+\.patch): files \d+, lines (\+\d+ ~\d+), new files (\d+)$`)

// git exports the committed patches unchanged, and the table of patches/README.md is right.
func TestOwnSeries(t *testing.T) {
	r := realSeries(t)
	r.run("check")
	want := r.patches()
	r.run("export")
	samePatches(t, r.patches(), want)

	stat := r.run("stat")
	t.Logf("\n%s", stat)
	readme := r.read("patches/README.md")
	rows := statRow.FindAllStringSubmatch(stat, -1)
	if len(rows) != len(want) {
		t.Errorf("stat has %d patches, the folder %d", len(rows), len(want))
	}
	last := 0
	for _, row := range rows {
		link, lines := "]("+row[1]+")", "| "+row[2]+", new "+row[3]+" |"
		at := strings.Index(readme, link)
		if at < last {
			t.Errorf("patches/README.md has no row of %s, or not in order", row[1])
			continue
		}
		last = at
		if line, _, _ := strings.Cut(readme[at:], "\n"); !strings.Contains(line, lines) {
			t.Errorf("patches/README.md, row of %s: want the lines %q", row[1], lines)
		}
	}
	if got := strings.Count(readme, ".patch)"); got != len(rows) {
		t.Errorf("patches/README.md has %d rows, want %d", got, len(rows))
	}
	for line := range strings.Lines(stat) {
		if strings.HasPrefix(line, "existing upstream ") && !strings.Contains(readme, "\n"+line) {
			t.Errorf("patches/README.md does not have the line %q", strings.TrimSpace(line))
		}
	}
}

// The series merges into each line with the committed fix-ups, which come out unchanged.
func TestOwnLines(t *testing.T) {
	pins, err := filepath.Glob(filepath.Join(source(t), "patches/*/UPSTREAM"))
	if err != nil {
		t.Fatal(err)
	}
	if len(pins) == 0 {
		t.Skip("there is no line but the main one")
	}
	r := realSeries(t)
	for _, pin := range pins {
		line := filepath.Base(filepath.Dir(pin))
		r.run("--line", line)
		r.run("--line", line, "check")
		r.run("--line", line, "export")
		r.run("--line", line, "check")
	}
}
