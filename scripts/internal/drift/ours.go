package main

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// span is a range of lines, with both ends. Where our patches only remove lines, the span is empty: its last line is the one
// before its first.
type span struct{ first, last int }

// ours says which lines of the patched tree are ours. Names of files are relative to the tree.
type ours struct {
	added map[string]bool   // files that the series adds
	spans map[string][]span // lines of ours in upstream's files
}

// readOurs reads lines of the forms "new FILE" and "line FILE FIRST LAST".
func readOurs(name string) (*ours, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	o := &ours{added: map[string]bool{}, spans: map[string][]span{}}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var file string
		var s span
		if _, err := fmt.Sscanf(lines.Text(), "new %s", &file); err == nil {
			o.added[file] = true
		} else if _, err := fmt.Sscanf(lines.Text(), "line %s %d %d", &file, &s.first, &s.last); err == nil {
			o.spans[file] = append(o.spans[file], s)
		} else {
			return nil, fmt.Errorf("%s: expected \"new FILE\" or \"line FILE FIRST LAST\", found %q", name, lines.Text())
		}
	}
	return o, lines.Err()
}

// folders returns the folders of the packages that have lines of ours.
func (o *ours) folders() []string {
	var all []string
	for file := range o.added {
		all = append(all, path.Dir(file))
	}
	for file := range o.spans {
		all = append(all, path.Dir(file))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// has reports whether that line is ours.
func (o *ours) has(file string, line int) bool {
	return o.added[file] || slices.ContainsFunc(o.spans[file], func(s span) bool { return s.first <= line && line <= s.last })
}

// within reports whether a span of ours is between those lines of a file of upstream.
func (o *ours) within(file string, first, last int) bool {
	return slices.ContainsFunc(o.spans[file], func(s span) bool {
		if s.last < s.first { // lines were removed after the line s.first
			return first <= s.first && s.first < last
		}
		return s.first <= last && first <= s.last
	})
}

// readExports reads lines of the form PATH=FILE.
func readExports(name string) (map[string]string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if path, file, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			exports[path] = file
		}
	}
	return exports, nil
}
