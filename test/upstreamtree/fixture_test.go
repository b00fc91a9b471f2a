// Package upstreamtree tests scripts/upstream and scripts/build. They work on a small module from a module proxy of files, so
// the tests need no network and say nothing about nats-server, except for those of the real series in series_test.go.
package upstreamtree

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "example.com/up/v2"

// mainOf is a main.go of upstream's shape.
func mainOf(usage string) string {
	return `package main

//go:generate go run nothing

import (
	"fmt"
	"os"

	"` + module + `/server"
)

var usageStr = ` + "`" + usage + "`" + `

func main() {
	if len(os.Args) > 1 {
		version(
			server.PrintServerAndExit,
		)
	}
	fmt.Print(usageStr)
	opts := &server.Options{}
	s, err := server.NewServer(opts)
	if err != nil {
		os.Exit(1)
	}
	s.ConfigureLogger()
	s.Start()
}

func version(print func()) { print() }
`
}

// serverOf is a package server with which mainOf compiles. It prints what is called.
const serverOf = `package server

import (
	"fmt"
	"os"
)

type Options struct{ Name string }

type Server struct{ name string }

func PrintServerAndExit() { fmt.Print("stock"); os.Exit(0) }

func NewServer(opts *Options) (*Server, error) { return &Server{opts.Name}, nil }

func (s *Server) ConfigureLogger() { fmt.Print("logger ") }

func (s *Server) Start() { fmt.Printf("started %s with %s\n", s.name, Commit()) }
`

// versions of the fake module. A line that differs between v2.0.0 and v2.1.0 is next to a line that the tests' first patch
// changes.
var versions = map[string]map[string]string{
	"v2.0.0": {
		"go.mod":           "module " + module + "\n\ngo 1.20\n",
		"main.go":          mainOf("\nUsage: up\n"),
		".gitignore":       "*.conf\n",
		"conf/a.conf":      "port: 1\n",
		"doc/crlf.txt":     "one\r\ntwo\r\n",
		"server/server.go": serverOf,
		"server/one.go":    "package server\n\nfunc one() int {\n\treturn 1\n}\n",
		"server/two.go":    "package server\n\nvar two = 2\n\nvar gitCommit, serverVersion string\n\nfunc Commit() string { return gitCommit + \" \" + serverVersion }\n",
	},
	"v2.0.1": {
		"go.mod":           "module " + module + "\n\ngo 1.20\n",
		"main.go":          mainOf("\nUsage: up\n"),
		".gitignore":       "*.conf\n",
		"conf/a.conf":      "port: 1\n",
		"doc/crlf.txt":     "one\r\ntwo\r\n",
		"server/server.go": serverOf,
		"server/one.go":    "package server // above\n\nfunc one() int {\n\treturn 1\n}\n",
		"server/two.go":    "package server\n\nvar two = 2\n\nvar gitCommit, serverVersion string\n\nfunc Commit() string { return gitCommit + \" \" + serverVersion }\n",
	},
	"v2.1.0": {
		"go.mod":           "module " + module + "\n\ngo 1.20\n",
		"main.go":          mainOf("\nUsage: up, newer\n"),
		"server/server.go": serverOf,
		"server/one.go":    "package server\n\nfunc one() int {\n\treturn 1 + 0\n}\n",
		"server/two.go":    "package server\n\nvar two = 2\n\nvar gitCommit, serverVersion string\n\nfunc Commit() string { return gitCommit + \" \" + serverVersion }\n",
	},
	"v2.1.1": {
		"go.mod":           "module " + module + "\n\ngo 1.20\n",
		"main.go":          mainOf("\nUsage: up, newer\n"),
		"server/server.go": serverOf,
		"server/one.go":    "package server\n\nfunc one() int {\n\treturn 1 + 1\n}\n",
		"server/two.go":    "package server\n\nvar two = 2\n\nvar gitCommit, serverVersion string\n\nfunc Commit() string { return gitCommit + \" \" + serverVersion }\n",
	},
	"v2.2.0": {
		"go.mod":  "module " + module + "\n\ngo 1.20\n",
		"main.go": strings.ReplaceAll(mainOf(""), "s.ConfigureLogger()", "s.SetUpLogger()"),
	},
	"v2.4.0": {
		"go.mod":        "module " + module + "\n\ngo 1.20\n",
		"main.go":       mainOf(""),
		"server/two.go": "package server\n\nvar two = 2\n\nvar door = one()\n\nvar gitCommit, serverVersion string\n\nfunc Commit() string { return gitCommit + \" \" + serverVersion }\n",
	},
	"v2.3.0": {
		"go.mod":  "module " + module + "\n\ngo 1.20\n",
		"main.go": mainOf("") + "\nfunc other() { s, err := server.NewServer(opts) }\n",
	},
}

// repo is a copy of the scripts in a folder of its own, with a pin on the fake module.
type repo struct {
	t   *testing.T
	dir string
	env []string
}

// source is the root of this repository.
func source(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// newRepo pins v2.0.0 and has no patches. Its path holds a space.
func newRepo(t *testing.T) *repo {
	t.Helper()
	for _, tool := range []string{"bash", "git"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s", tool)
		}
	}
	base := t.TempDir()
	proxy := filepath.Join(base, "proxy")
	for version, files := range versions {
		writeModule(t, proxy, version, files)
	}
	gocache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatalf("cannot ask go for GOCACHE: %v", err)
	}
	r := &repo{t: t, dir: filepath.Join(base, "re po"), env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + base, "TMPDIR=" + base,
		"GOPROXY=file://" + proxy, "GOSUMDB=off", "GOFLAGS=-modcacherw -mod=mod", "GOENV=off",
		"GOMODCACHE=" + filepath.Join(base, "modcache"), "GOCACHE=" + strings.TrimSpace(string(gocache)),
	}}
	r.copyScripts()
	r.write("go.mod", "module ours\n\ngo 1.20\n\nrequire "+module+" v2.0.0\n\nreplace "+module+" => ./upstream\n")
	r.pin("v2.0.0", r.sum("v2.0.0"))
	return r
}

// clone is a fresh checkout of r: the same scripts and patches, no tree.
func (r *repo) clone() *repo {
	r.t.Helper()
	c := &repo{t: r.t, dir: r.dir + " clone", env: r.env}
	c.copyScripts()
	c.write("go.mod", r.read("go.mod"))
	for name, data := range r.patches() {
		c.write("patches/"+name, data)
	}
	c.write("patches/UPSTREAM", r.read("patches/UPSTREAM"))
	return c
}

func (r *repo) copyScripts() {
	r.t.Helper()
	names := []string{"scripts/upstream", "scripts/build", "scripts/upgrade", "scripts/lib/line.sh", "scripts/lib/module.sh"}
	for _, pattern := range []string{"scripts/lib/upstream-*.sh", "scripts/lib/upgrade-*.sh", "scripts/internal/drift/*.go"} {
		found, err := filepath.Glob(filepath.Join(source(r.t), pattern))
		if err != nil {
			r.t.Fatal(err)
		}
		for _, path := range found {
			names = append(names, strings.TrimPrefix(path, source(r.t)+"/"))
		}
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(source(r.t), name))
		if err != nil {
			r.t.Fatal(err)
		}
		r.write(name, string(data))
		if err := os.Chmod(filepath.Join(r.dir, name), 0o755); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *repo) pin(version, sum string) {
	r.t.Helper()
	r.write("patches/UPSTREAM", fmt.Sprintf("# a comment\nmodule  %s\nversion %s\nsum     %s\nrelease stamp.7\n", module, version, sum))
}

// sum asks the go command, whose arithmetic is independent of the script's.
func (r *repo) sum(version string) string {
	r.t.Helper()
	r.write("scratch/go.mod", "module scratch\n")
	cmd := exec.Command("go", "mod", "download", "-json", module+"@"+version)
	cmd.Dir, cmd.Env = filepath.Join(r.dir, "scratch"), r.env
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("go mod download failed: %v\n%s", err, out)
	}
	var answer struct{ Sum string }
	if err := json.Unmarshal(out, &answer); err != nil {
		r.t.Fatal(err)
	}
	return answer.Sum
}

func writeModule(t *testing.T, proxy, version string, files map[string]string) {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for name, text := range files {
		f, err := w.Create(module + "@" + version + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(proxy, module, "@v")
	put(t, filepath.Join(dir, version+".zip"), buf.String())
	put(t, filepath.Join(dir, version+".mod"), files["go.mod"])
	put(t, filepath.Join(dir, version+".info"), fmt.Sprintf(`{"Version":%q}`, version))
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
