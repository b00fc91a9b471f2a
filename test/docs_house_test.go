package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each page of docs/ begins with whom it is for, and the index names each page, so that a reader finds it.
func TestEachPageHasReadersAndIsInTheIndex(t *testing.T) {
	const index = "README.md"
	files, err := filepath.Glob("../docs/*.md")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d pages in docs/; the error is %v", len(files), err)
	}
	listed := string(must(os.ReadFile(filepath.Join("../docs", index))))
	title := regexp.MustCompile(`^# .+\n\n`)
	for _, file := range files {
		name := filepath.Base(file)
		if name == index {
			continue
		}
		text := string(must(os.ReadFile(file)))
		begin := title.FindString(text)
		if begin == "" || !strings.HasPrefix(text[len(begin):], "For ") {
			t.Errorf(`docs/%s: expected a title, a blank line, and a paragraph that begins with whom the page is for: "For operators ..."`, name)
		}
		if !strings.Contains(listed, "]("+name) {
			t.Errorf("docs/%s: docs/%s does not list it", name, index)
		}
	}
}

// NOTICE names each file of nats-server that a patch changes or adds, as the license asks.
func TestNoticeNamesChangedFiles(t *testing.T) {
	notice := strings.Join(strings.Fields(string(must(os.ReadFile("../NOTICE")))), " ")
	patches, err := filepath.Glob("../patches/*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("found %d patches; the error is %v", len(patches), err)
	}
	changed := map[string]bool{}
	for _, file := range patches {
		for _, m := range regexp.MustCompile(`(?m)^\+\+\+ b/(\S+)$`).FindAllStringSubmatch(string(must(os.ReadFile(file))), -1) {
			changed[m[1]] = true
		}
	}
	covered := map[string]bool{}
	for _, name := range regexp.MustCompile(`[\w/]+\*?\.go\b`).FindAllString(notice, -1) {
		switch {
		case name == "main.go":
			continue // scripts/upstream makes it a package, without a patch
		case !strings.Contains(name, "/"):
			name = "server/" + name
		}
		found := false
		for file := range changed {
			if ok, _ := filepath.Match(name, file); ok {
				covered[file], found = true, true
			}
		}
		if !found {
			t.Errorf("NOTICE names %s, and no patch changes it", name)
		}
	}
	for file := range changed {
		if !covered[file] {
			t.Errorf("NOTICE does not name %s, which a patch changes", file)
		}
	}
}
