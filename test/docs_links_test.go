package test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading      = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fencedBlock  = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	// namedPage is how code, configurations and error texts name a page.
	namedPage = regexp.MustCompile(`\bdocs/[\w./-]*\.md(?:#[\w-]+)?`)
)

// No link of a page is dead, and no page that other files name: neither the file nor the heading.
func TestDocumentationLinks(t *testing.T) {
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Skipf("no repository: %v", err)
	}
	links := 0
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if strings.HasPrefix(name, "patches/") || strings.HasSuffix(name, ".gz") || name == "CHANGELOG.md" { // which tells what was
			continue
		}
		content, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			continue // deleted, or a link to a folder
		}
		text := string(content)
		for _, target := range namedPage.FindAllString(text, -1) {
			links++
			checkLink(t, name, target)
		}
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		for _, m := range markdownLink.FindAllStringSubmatch(fencedBlock.ReplaceAllString(text, ""), -1) {
			target := m[1]
			switch {
			case strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:"):
				continue
			case strings.HasPrefix(target, "#"):
				target = name + target
			default:
				target = path.Join(path.Dir(name), target)
			}
			links++
			checkLink(t, name, target)
		}
	}
	if links < 100 {
		t.Errorf("expected at least 100 links in the pages; found %d", links)
	}
}

// checkLink looks for a file of the repository and a heading in it.
func checkLink(t *testing.T, from, target string) {
	t.Helper()
	file, anchor, _ := strings.Cut(target, "#")
	content, err := os.ReadFile(filepath.Join("..", file))
	if err != nil && anchor == "" {
		_, err = os.Stat(filepath.Join("..", file)) // a folder
	}
	if err != nil {
		t.Errorf("%s links to %s, but there is no such file", from, target)
		return
	}
	if anchor == "" {
		return
	}
	for _, m := range heading.FindAllStringSubmatch(fencedBlock.ReplaceAllString(string(content), ""), -1) {
		if anchorOf(m[1]) == anchor {
			return
		}
	}
	t.Errorf("%s links to %s, but there is no such heading", from, target)
}

// anchorOf returns the anchor that a heading has on GitHub and GitLab.
func anchorOf(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '-':
			return '-'
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}
