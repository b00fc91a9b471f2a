package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// claimModule is the path of the claim's module. Its folder in the repository is claim/.
func claimModule(t *testing.T) string {
	t.Helper()
	return publicModules(t)["claim"]
}

// publicModules are the paths of the modules that programs outside of the repository import, by their folders.
func publicModules(t *testing.T) map[string]string {
	t.Helper()
	modules := map[string]string{}
	for _, folder := range []string{"claim", "receivers/go"} {
		text := string(must(os.ReadFile(filepath.Join("..", folder, "go.mod"))))
		first, _, _ := strings.Cut(text, "\n")
		name, ok := strings.CutPrefix(first, "module ")
		if !ok {
			t.Fatalf("%s/go.mod: expected a first line \"module PATH\", found %q", folder, first)
		}
		modules[folder] = name
	}
	return modules
}

// clone copies the files of the repository, as they are in the work tree. It has nothing that a build makes, such as
// the patched server.
func clone(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = ".."
	for name := range strings.SplitSeq(string(must(list.Output())), "\x00") {
		info, err := os.Lstat(filepath.Join("..", name))
		if err != nil || !info.Mode().IsRegular() {
			continue // deleted in the work tree, or the empty name after the last one
		}
		text := must(os.ReadFile(filepath.Join("..", name)))
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// goIn runs the go command in a module that is not this repository's.
func goIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	// scripts/test --line and scripts/build --release name a module file of this repository in GOFLAGS.
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok {
		t.Fatalf("go %s: %v\n%s%s", strings.Join(args, " "), err, out, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// buildIssuer builds the Go program of docs/claim.md with the commands of that page, outside of the repository. It
// returns the folder and the binary.
func buildIssuer(t *testing.T) (dir, binary string) {
	t.Helper()
	page := claimPage(t)
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(page["go"]), 0o600); err != nil {
		t.Fatal(err)
	}
	goIn(t, dir, "mod", "init", "issuer.example/issue")
	for command := range strings.Lines(strings.ReplaceAll(page["sh"], "/path/to/the/clone", clone(t))) {
		args, ok := strings.CutPrefix(strings.TrimSpace(command), "go ")
		if !ok {
			t.Fatalf("docs/claim.md: expected go commands in the block of sh, found %q", command)
		}
		goIn(t, dir, strings.Fields(args)...)
	}
	binary = filepath.Join(dir, "issue")
	goIn(t, dir, "build", "-o", binary, ".")
	return dir, binary
}

// A program outside of the repository can import the claim. That gives it jwt, nkeys and what these need, and neither
// the patched server nor another package of ours.
func TestClaimModuleStandsAlone(t *testing.T) {
	dir, _ := buildIssuer(t)
	allowed := []string{"issuer.example/issue", claimModule(t), "github.com/nats-io/jwt/v2", "github.com/nats-io/nkeys"}
	type dependency struct {
		ImportPath string
		Standard   bool
		Module     *struct{ Path string }
	}
	used := map[string]bool{}
	decoder := json.NewDecoder(strings.NewReader(goIn(t, dir, "list", "-deps", "-json=ImportPath,Standard,Module", ".")))
	for decoder.More() {
		var d dependency
		if err := decoder.Decode(&d); err != nil {
			t.Fatal(err)
		}
		if d.Standard {
			continue
		}
		used[d.Module.Path] = true
		if !slices.Contains(allowed, d.Module.Path) && !strings.HasPrefix(d.Module.Path, "golang.org/x/") {
			t.Errorf("a program that imports the claim imports %s of the module %s", d.ImportPath, d.Module.Path)
		}
	}
	for _, path := range allowed {
		if !used[path] {
			t.Errorf("expected a package of %s among the dependencies", path)
		}
	}
	for line := range strings.Lines(goIn(t, dir, "mod", "graph")) {
		for _, name := range strings.Fields(line) {
			path, _, _ := strings.Cut(name, "@")
			if !slices.Contains(allowed, path) && !strings.HasPrefix(path, "golang.org/") && path != "go" && path != "toolchain" {
				t.Errorf("the claim's module wants the module %s", path)
			}
		}
	}
	if out := goIn(t, "../claim", "mod", "tidy", "-diff"); out != "" {
		t.Errorf("claim/go.mod is not tidy:\n%s", out)
	}
	if string(must(os.ReadFile("../LICENSE"))) != string(must(os.ReadFile("../claim/LICENSE"))) {
		t.Error("claim/LICENSE is not LICENSE, which a module has only if it is in the module's own folder")
	}
}

// One command changes the paths under which our modules are imported, everywhere.
func TestModulePath(t *testing.T) {
	dir, before := clone(t), publicModules(t)
	script := func(args ...string) (string, error) {
		cmd := exec.Command(filepath.Join(dir, "scripts/module-path"), args...)
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	if err := os.Symlink(must(filepath.Abs("../upstream")), filepath.Join(dir, "upstream")); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"stamp", "https://git.example/stamp", "Git.example/stamp", "git.example/stamp/", "git.example/a b", "git.example/$x"} {
		if _, err := script(wrong); err == nil {
			t.Errorf("expected an error for the prefix %q", wrong)
		}
	}
	original := textFiles(t, dir)
	const fork = "git.fork.example/some-body/stamp"
	if out, err := script(fork); err != nil || out != fork+"/claim\n"+fork+"/receivers/go" {
		t.Fatalf("expected %s/claim and %s/receivers/go, found %q, error %v", fork, fork, out, err)
	}
	if out, err := script(); err != nil || out != fork {
		t.Errorf("expected the prefix %s, found %q, error %v", fork, out, err)
	}
	for name, text := range textFiles(t, dir) {
		for _, path := range before {
			if strings.Contains(text, path) && name != "CHANGELOG.md" {
				t.Errorf("%s still has the old module path %s", name, path)
			}
		}
	}
	goIn(t, dir, "list", "-deps", "-test", "./...") // it fails if a package is not found
	for folder := range before {
		goIn(t, filepath.Join(dir, folder), "vet", "./...")
	}
	// Back again, nothing has changed beside the paths.
	if _, err := script(strings.TrimSuffix(before["claim"], "/claim")); err != nil {
		t.Fatal(err)
	}
	after := textFiles(t, dir)
	for name, text := range original {
		if after[name] != text {
			t.Errorf("%s is not as it was after a change there and back", name)
		}
	}
}

// textFiles returns the files of a folder by their names, without those of git.
func textFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == ".git" {
			return filepath.SkipDir
		}
		if entry.Type().IsRegular() {
			below := must(filepath.Rel(dir, name))
			files[below] = string(must(os.ReadFile(name)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
