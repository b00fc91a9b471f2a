package upstreamtree

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A second run does not make the tree again.
func TestMakeIsDoneOnce(t *testing.T) {
	r := newRepo(t)
	r.run()
	if got := r.read("upstream/conf/a.conf"); got != "port: 1\n" {
		t.Errorf("expected upstream's conf/a.conf, port: 1; found %q", got)
	}
	if tracked := r.git("upstream", "ls-files"); !strings.Contains(tracked, "conf/a.conf") || strings.Contains(tracked, "command") {
		t.Errorf("expected conf/a.conf tracked, and nothing of command; tracked are\n%s", tracked)
	}
	if got := r.read("upstream/command/main.go"); !strings.Contains(got, "var usageStr = `\nUsage: up\n`\n") || strings.Contains(got, "go:generate") {
		t.Errorf("package command is not upstream's main.go:\n%s", got)
	}
	before, _ := os.Stat(filepath.Join(r.dir, "upstream"))
	if out := r.run(); out != "" {
		t.Errorf("the second run printed %q, want nothing", out)
	}
	after, _ := os.Stat(filepath.Join(r.dir, "upstream"))
	if !os.SameFile(before, after) {
		t.Error("the second run made the tree anew")
	}
}

func TestMakeWithoutNetwork(t *testing.T) {
	r := newRepo(t) // its sum has filled the module cache
	r.env = append(r.env, "GOPROXY=off", "GOSUMDB=sum.golang.org")
	r.run()
}

// If the patches have changed, the tree is made again.
func TestMakeWhenStale(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	for name := range r.patches() {
		if strings.HasPrefix(name, "0002") {
			if err := os.Remove(filepath.Join(r.dir, "patches", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.run()
	if r.exists("upstream/server/three.go") || !strings.Contains(r.read("upstream/server/one.go"), "three") {
		t.Error("the tree is not that of the first patch alone")
	}
}

// A run refuses to replace a tree with local work, unless it is told to.
func TestMakeKeepsLocalWork(t *testing.T) {
	for name, work := range map[string]func(*repo){
		"commit":  func(r *repo) { r.commit("mine", map[string]string{"server/mine.go": "package server\n"}) },
		"edit":    func(r *repo) { r.write("upstream/server/one.go", "package mine\n") },
		"new":     func(r *repo) { r.write("upstream/server/new.go", "package server\n") },
		"ignored": func(r *repo) { r.write("upstream/my.conf", "a: 1\n") },
		"foreign": func(r *repo) { os.RemoveAll(filepath.Join(r.dir, "upstream/.git")) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			r.run()
			work(r)
			r.write("patches/UPSTREAM", r.read("patches/UPSTREAM")+"# stale now\n")
			before := snapshot(t, filepath.Join(r.dir, "upstream"))
			r.refuses(nil, "not in patches/", "export", "--force")
			if snapshot(t, filepath.Join(r.dir, "upstream")) != before {
				t.Error("the refused run changed the tree")
			}
			r.run("make", "--force")
			if r.exists("upstream/server/mine.go") || r.exists("upstream/my.conf") {
				t.Error("make --force kept the local work")
			}
		})
	}
}

// snapshot is the paths and texts of a tree but for .git.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" {
				return filepath.SkipDir
			}
			return nil
		}
		data, err := os.ReadFile(path)
		all.WriteString(path + "\n" + string(data) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// A pin that is incomplete, or whose sum is not that of the module, is refused.
func TestPinIsHeld(t *testing.T) {
	r := newRepo(t)
	good := r.sum("v2.0.0")
	for name, c := range map[string]struct{ upstream, want string }{
		"other sum":     {"module " + module + "\nversion v2.0.0\nsum " + r.sum("v2.1.0") + "\nrelease stamp.1\n", "has the sum " + good},
		"no sum":        {"module " + module + "\nversion v2.0.0\n", "expected the fields module, version, and sum"},
		"not an h1":     {"module " + module + "\nversion v2.0.0\nsum x\n", "expected the fields module, version, and sum"},
		"two values":    {"module " + module + "\nversion v2.0.0 v2.1.0\nsum " + good + "\n", "exactly one value"},
		"unknown field": {"module " + module + "\nversion v2.0.0\nsum " + good + "\nhash x\n", "unknown field hash"},
		"no release":    {"module " + module + "\nversion v2.0.0\nsum " + good + "\n", "expected a release like stamp.1, found none"},
		"no version":    {"module " + module + "\nversion v2.9.9\nsum " + good + "\nrelease stamp.1\n", "cannot download " + module + "@v2.9.9"},
	} {
		t.Run(name, func(t *testing.T) {
			r.write("patches/UPSTREAM", c.upstream)
			r.refuses(nil, c.want)
			if r.exists("upstream") {
				t.Error("there is a tree, though its pin was refused")
			}
		})
	}
}

// A module cache whose unpacked folder was edited still answers with the right sum.
func TestEditedModuleCacheIsRefused(t *testing.T) {
	r := newRepo(t)
	put(t, filepath.Join(filepath.Dir(r.dir), "modcache", module+"@v2.0.0", "server", "one.go"), "package evil\n")
	r.refuses(nil, "pinned")
	if r.exists("upstream") {
		t.Error("there is a tree, though the module cache was refused")
	}
}

// Package command must not be made of a main.go in which a place of ours is missing, or is there twice.
func TestChangedMainIsRefused(t *testing.T) {
	r := newRepo(t)
	r.pin("v2.2.0", r.sum("v2.2.0"))
	r.refuses(nil, "main.go has changed its shape: expected one line with `s.ConfigureLogger()`, found 0", "command_rules")
	r.pin("v2.3.0", r.sum("v2.3.0"))
	r.refuses(nil, "expected one line with `s, err := server.NewServer(opts)`, found 2")
	if r.exists("upstream") {
		t.Error("there is a tree, though main.go was refused")
	}
}

// A git in front of the real one stops the run while the series is applied.
func TestInterruptedRunLeavesNothingHalf(t *testing.T) {
	for _, signal := range []string{"KILL", "TERM", "INT"} {
		t.Run(signal, func(t *testing.T) {
			r := newRepo(t)
			r.twoPatches()
			c := r.clone()
			git, err := exec.LookPath("git")
			if err != nil {
				t.Fatal(err)
			}
			c.write("shim/git", "#!/bin/sh\ncase \" $* \" in *' am '*) kill -"+signal+" $PPID; sleep 1; exit 1 ;; esac\nexec '"+git+"' \"$@\"\n")
			if err := os.Chmod(filepath.Join(c.dir, "shim/git"), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := c.command("scripts/upstream")
			cmd.Env = append(cmd.Env, "PATH="+filepath.Join(c.dir, "shim")+":"+os.Getenv("PATH"))
			if code, out := finish(t, cmd); code == 0 {
				t.Fatalf("expected scripts/upstream to be interrupted; it ended with status 0:\n%s", out)
			}
			if c.exists("upstream") {
				t.Error("there is a tree after the interrupted run")
			}
			if left := c.leftovers(); signal != "KILL" && len(left) > 0 {
				t.Errorf("the interrupted run left the files %v", left)
			}
			c.run()
			c.run("check")
			if left := c.leftovers(); len(left) > 0 {
				t.Errorf("the next run left the files %v", left)
			}
		})
	}
}

// Several runs at once make one tree.
func TestManyAtOnce(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	c := r.clone()
	for _, env := range [][]string{c.env, append(c.env, "PATH="+withoutFlock(t, c))} {
		c.env = env
		if err := os.RemoveAll(filepath.Join(c.dir, "upstream")); err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				if out, err := c.command("scripts/upstream").CombinedOutput(); err != nil {
					t.Errorf("one of several runs at once failed: %v\n%s", err, out)
				}
			})
		}
		wait.Wait()
		c.run("check")
		if c.exists("upstream.lock.d") {
			t.Error("the lock is still there")
		}
	}
}

// withoutFlock is a folder with every command of PATH but flock.
func withoutFlock(t *testing.T, r *repo) string {
	t.Helper()
	dir := filepath.Join(r.dir, "noflock")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, from := range filepath.SplitList(os.Getenv("PATH")) {
		names, _ := os.ReadDir(from)
		for _, name := range names {
			if name.Name() != "flock" {
				_ = os.Symlink(filepath.Join(from, name.Name()), filepath.Join(dir, name.Name())) // the first of a name wins
			}
		}
	}
	return dir
}

func TestStock(t *testing.T) {
	r := newRepo(t)
	r.twoPatches()
	r.run("stock")
	if got := r.read("stock/server/one.go"); got != versions["v2.0.0"]["server/one.go"] {
		t.Errorf("the stock tree is not upstream's:\n%s", got)
	}
	r.write("stock/mark", "")
	r.run("stock")
	if !r.exists("stock/mark") {
		t.Error("the second run made the stock tree anew")
	}
	r.pin("v2.1.0", r.sum("v2.1.0"))
	r.run("stock")
	if r.read("stock/server/one.go") != versions["v2.1.0"]["server/one.go"] {
		t.Error("the stock tree is not that of the new pin")
	}
}

func TestWrongUsage(t *testing.T) {
	r := newRepo(t)
	for _, args := range [][]string{{"frobnicate"}, {"try"}, {"try", "2.1"}, {"drift"}, {"--line"}, {"--line", "9.9"}, {"--deep"}, {"--version"}, {"export", "--force"}, {"make", "--keep"}} {
		if code, out := r.try(args...); code != 2 || !strings.Contains(out, "--help") {
			t.Errorf("arguments %v: expected exit status 2 and a hint at --help; found %d\n%s", args, code, out)
		}
	}
	if out := r.run("--help"); !strings.HasPrefix(out, "usage: scripts/upstream") {
		t.Errorf("expected the usage from --help; found\n%s", out)
	}
}
