package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// measured are the folders of the packages whose work is counted. Those of claim and receivers/go are modules of their own.
var measured = []string{"internal/stamp", "internal/redact", "claim", "internal/policy", "claim/field", "internal/callout/forwarded", "receivers/go", "receivers/go/internal/wire", "test/cost"}

// Run with -hunt 2000 for some minutes, it looks for inputs that nobody has thought of: go test ./test/cost -hunt 2000
var hunted = flag.Int("hunt", 20, "how many random inputs are tried")

// The work of a function that reads what strangers send is at most linear in the size of its input, whatever that is. The test
// counts executed statements and visited bytes, and measures no time.
func TestCostIsLinear(t *testing.T) {
	out, err := exec.Command(build(t), "-hunt", fmt.Sprint(*hunted)).Output()
	if err != nil {
		t.Fatal(err)
	}
	work := map[string][2]uint64{}
	superlinear := map[string]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var function, input string
		var size int
		var now [2]uint64
		if _, err := fmt.Sscan(lines.Text(), &function, &input, &size, &now[0], &now[1]); err != nil {
			t.Fatal(err)
		}
		if size == small {
			work[function+" "+input] = now
			continue
		}
		for i, what := range []string{"statements", "bytes visited"} {
			// Buffers that grow, and rounding, add less than half. Small amounts of work are not compared.
			const fewest = 2 * large
			before := work[function+" "+input][i]
			if now[i] <= fewest || now[i] <= before*large/small*3/2 {
				continue
			}
			superlinear[function] = true
			if !strings.HasPrefix(function, "quadratic") {
				t.Errorf("%s with input %s: %d %s for %d bytes, and %d for %d", function, input, before, what, small, now[i], large)
			}
		}
	}
	if len(work) < 100 || !superlinear["quadratic"] || !superlinear["quadratic-search"] {
		t.Errorf("what is quadratic was not found among %d measurements", len(work))
	}
}

// build makes the program from a copy of the tree, with counters in the measured packages, and with package counted
// there in place of the standard library's searches.
func build(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, tree := range []string{"claim", "receivers/go", "internal", "server", "test/cost"} {
		if err := os.CopyFS(filepath.Join(dir, tree), os.DirFS(filepath.Join(root, tree))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text := read(t, filepath.Join(root, name))
		write(t, filepath.Join(dir, name), bytes.ReplaceAll(text, []byte("=> ./upstream"), []byte("=> "+root+"/upstream")))
	}
	for _, pkg := range measured {
		files, err := filepath.Glob(filepath.Join(dir, pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("expected Go files of the measured package %s; found %d, error %v", pkg, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text := read(t, file)
			for _, name := range []string{"bytes", "strings"} {
				text = bytes.Replace(text, fmt.Appendf(nil, "\n\t%q\n", name), fmt.Appendf(nil, "\n\t%q\n", "stamp/test/cost/counted/"+name), 1)
				text = bytes.Replace(text, fmt.Appendf(nil, "\nimport %q\n", name), fmt.Appendf(nil, "\nimport %q\n", "stamp/test/cost/counted/"+name), 1)
			}
			write(t, file, text)
		}
	}
	binary := filepath.Join(dir, "measured")
	cmd := exec.Command("go", "build", "-cover", "-covermode=atomic", "-coverpkg="+strings.Join(importPaths(t, dir), ","), "-o", binary, "./test/cost")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the program that counts the work did not build: %v\n%s", err, out)
	}
	return binary
}

// importPaths returns the import paths of the measured packages in a copy of the tree.
func importPaths(t *testing.T, dir string) (paths []string) {
	t.Helper()
	for _, folder := range measured {
		path := "stamp/" + folder
		for _, root := range []string{"claim", "receivers/go"} {
			if below, ok := strings.CutPrefix(folder, root); ok {
				_, module, _ := bytes.Cut(read(t, filepath.Join(dir, root, "go.mod")), []byte("module "))
				module, _, _ = bytes.Cut(module, []byte("\n"))
				path = string(module) + below
			}
		}
		paths = append(paths, path)
	}
	return paths
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
