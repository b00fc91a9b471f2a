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
