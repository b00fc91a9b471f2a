package test

import (
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"
)

// packageRow is a row of the table in docs/architecture.md: the packages that match a pattern, and what they may import.
type packageRow struct {
	pattern string
	allowed []string
}

// packageRows reads the table.
func packageRows(t *testing.T) (rows []packageRow) {
	t.Helper()
	text := string(must(os.ReadFile("../docs/architecture.md")))
	_, table, ok := strings.Cut(text, "<!-- packages -->")
	table, _, closed := strings.Cut(table, "<!-- end -->")
	if !ok || !closed {
		t.Fatal("docs/architecture.md has no table of packages")
	}
	row := regexp.MustCompile("(?m)^\\| `(?:internal/|server/)?([^`]+)` \\|[^|]*\\|(.*)\\|$")
	name := regexp.MustCompile("`([^`]+)`")
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		r := packageRow{pattern: m[1]}
		for _, allowed := range name.FindAllStringSubmatch(m[2], -1) {
			r.allowed = append(r.allowed, allowed[1])
		}
		rows = append(rows, r)
	}
	return rows
}

// matches reports whether a package is the pattern's, whose last element may be *.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// Each package imports what docs/architecture.md says, and only hook imports the patched server.
func TestPackagesImportWhatTheyMay(t *testing.T) {
	rows := packageRows(t)
	used := map[string]bool{}
	const internal, public, patched = "stamp/internal/", "stamp/server/", "github.com/nats-io/nats-server/v2/server"
	modules := publicModules(t)
	// belowPrefix returns the name that the table has for a package of ours.
	belowPrefix := func(path string) (string, bool) {
		for folder, module := range modules {
			if path == module || strings.HasPrefix(path, module+"/") {
				return folder + strings.TrimPrefix(path, module), true
			}
		}
		if name, ok := strings.CutPrefix(path, public); ok {
			return name, true
		}
		return strings.CutPrefix(path, internal)
	}
	list := []string{"list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, internal + "...", public + "..."}
	for _, module := range modules {
		list = append(list, module+"/...")
	}
	out, err := exec.Command("go", list...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name, _ := belowPrefix(fields[0])
		if name == "callout/session/internal/sourcetest" {
			continue // it is for tests, and runs a server
		}
		row := rowOf(rows, name)
		if row == nil {
			t.Errorf("docs/architecture.md has no row for %s", name)
			continue
		}
		used[row.pattern] = true
		for _, imported := range fields[1:] {
			if imported == patched && name != "hook" {
				t.Errorf("%s imports the patched server, which only hook may", name)
			}
			below, ours := belowPrefix(imported)
			if ours && !mayImport(row, below) {
				t.Errorf("%s imports %s; docs/architecture.md allows %s", name, below, strings.Join(row.allowed, " "))
			}
		}
	}
	for _, row := range rows {
		if !used[row.pattern] {
			t.Errorf("docs/architecture.md has a row for %s, which is no package", row.pattern)
		}
	}
}

// rowOf returns the package's row: the one with its name, or else one whose pattern matches.
func rowOf(rows []packageRow, name string) (found *packageRow) {
	for i := range rows {
		if rows[i].pattern == name {
			return &rows[i]
		}
		if matches(rows[i].pattern, name) {
			found = &rows[i]
		}
	}
	return found
}

func mayImport(row *packageRow, name string) bool {
	for _, allowed := range row.allowed {
		if matches(allowed, name) {
			return true
		}
	}
	return false
}

// The handler as a process of its own holds nothing of the patched server but the reading of configurations.
func TestTheHandlersProgramHoldsNoServer(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "stamp/cmd/nats-callout").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		if name == "github.com/nats-io/nats-server/v2/server" || name == "stamp/server/hook" {
			t.Errorf("cmd/nats-callout needs %s; docs/architecture.md says that it builds without the patched server", name)
		}
	}
}
