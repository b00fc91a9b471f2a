package main

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// span is a range of lines, both ends included. A place where lines were only removed is a
// span that ends before it begins.
type span struct{ first, last int }

// ours tells which lines of the patched tree are ours. Names are relative to the tree.
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

// folders are the packages that have lines of ours.
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

// within reports whether a span of ours is among those lines of an upstream file.
func (o *ours) within(file string, first, last int) bool {
	return slices.ContainsFunc(o.spans[file], func(s span) bool {
		if s.last < s.first { // lines were removed behind the line s.first
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
