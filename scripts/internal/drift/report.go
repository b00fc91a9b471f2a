package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// count counts declarations of one kind, and those of them that changed.
type count struct{ changed, all int }

func (c count) String() string { return fmt.Sprintf("%d of %d", c.changed, c.all) }

// report prints the declarations that changed, and counts all.
type report struct {
	w                                     io.Writer
	deep                                  bool
	called, held, types, values, oneBelow count
}

// add reports the changes in one package. Declarations that the older version does not have are ours, and are left out.
func (r *report) add(u *uses, older, newer map[key]decl) error {
	all := maps.Clone(u.used)
	maps.Copy(all, u.held)
	for _, k := range sorted(all) {
		before, ok := older[k]
		if !ok {
			continue
		}
		used, isUsed := u.used[k]
		_, isHeld := u.held[k]
		changed := newer[k].plain != before.plain
		r.count(k.kind, isUsed, isHeld, changed)
		if changed {
			if err := r.print(k, before, newer[k], reason(k.kind, used, isHeld)); err != nil {
				return err
			}
		}
	}
	return r.addBelow(u, older, newer)
}

// addBelow reports changes of functions that the called functions call.
func (r *report) addBelow(u *uses, older, newer map[key]decl) error {
	for _, k := range sorted(u.below) {
		before, ok := older[k]
		if _, held := u.held[k]; held || !ok {
			continue
		}
		changed := newer[k].plain != before.plain
		r.oneBelow.add(changed)
		if changed && r.deep {
			if err := r.print(k, before, newer[k], "called by "+u.below[k]+", which our files call"); err != nil {
				return err
			}
		}
	}
	return nil
}

func sorted(m map[key]string) []key {
	return slices.SortedFunc(maps.Keys(m), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), strings.Compare(a.name, b.name))
	})
}

func (c *count) add(changed bool) {
	c.all++
	if changed {
		c.changed++
	}
}

func (r *report) count(k kind, used, held, changed bool) {
	switch {
	case k == typ:
		r.types.add(changed)
	case k == value:
		r.values.add(changed)
	default:
		if used {
			r.called.add(changed)
		}
		if held {
			r.held.add(changed)
		}
	}
}

func reason(k kind, used string, held bool) string {
	var parts []string
	if used != "" {
		verb := "used"
		if k == function {
			verb = "called"
		}
		parts = append(parts, verb+" in "+used)
	}
	if held {
		parts = append(parts, "has lines of ours")
	}
	return strings.Join(parts, ", ")
}

func (r *report) print(k key, before, after decl, why string) error {
	if after.plain == "" {
		fmt.Fprintf(r.w, "\n%s:%s is gone (%s)\n", before.file, title(k), why)
		return nil
	}
	text, err := diff(before.source, after.source)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.w, "\n%s:%s changed (%s)\n%s", after.file, title(k), why, text)
	return nil
}

func title(k key) string {
	return map[kind]string{function: "", typ: "type ", value: "value "}[k.kind] + k.name
}

func (r *report) summary() {
	fmt.Fprintf(r.w, "\nchanged: %v called functions, %v functions that have our lines, %v types that we use, %v constants and variables that we use\n",
		r.called, r.held, r.types, r.values)
	fmt.Fprintf(r.w, "one level below the called functions: %v functions changed", r.oneBelow)
	if r.oneBelow.changed > 0 && !r.deep {
		fmt.Fprint(r.w, "; --deep lists them")
	}
	fmt.Fprintln(r.w)
}

// diff returns a unified diff of two texts, indented.
func diff(before, after string) (string, error) {
	dir, err := os.MkdirTemp("", "drift")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := errors.Join(os.WriteFile(a, []byte(before), 0o600), os.WriteFile(b, []byte(after), 0o600)); err != nil {
		return "", err
	}
	out, err := exec.Command("diff", "-u", a, b).Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return "", fmt.Errorf("diff: %w", err)
	}
	lines := strings.SplitAfter(string(out), "\n")
	return "    " + strings.Join(lines[2:len(lines)-1], "    "), nil
}
