// Package docpage runs what a page of the documentation tells its reader to do, and compares what comes out with
// what the page shows. In the Markdown
//
//   - a fenced block whose info string is a language and a file name is that file;
//   - a block "console" has commands behind "$ ", for one shell in one folder, and what each of them prints;
//   - a block "js console" is for the console of the browser's page; its last line is the value, as a comment;
//   - a comment "<!-- browser: open URL; click TEXT; expect TEXT; tab N -->" is what the text asks the reader
//     to do in the browser.
//
// In what is expected, "…" stands for any text within a line, and a line that holds nothing else for any lines. Blocks
// of other kinds are not run.
package docpage

import (
	"fmt"
	"regexp"
	"strings"
)

// Step is one thing to do. Line is where it begins in the page.
type Step struct {
	Line int
	Kind Kind
	// File has Name and Text; Command has Text and Want; Script has Text and Want; Browser has Text.
	Name, Text, Want string
}

// Kind says what a Step is.
type Kind int

// The kinds of steps.
const (
	File Kind = iota
	Command
	Script
	Browser
)

var (
	fence   = regexp.MustCompile("^```(\\S*) ?(.*)$")
	comment = regexp.MustCompile(`^<!-- browser: (.*) -->$`)
)

// Parse returns the steps of a page.
func Parse(page string) ([]Step, error) {
	var steps []Step
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		if m := comment.FindStringSubmatch(lines[i]); m != nil {
			for action := range strings.SplitSeq(m[1], "; ") {
				steps = append(steps, Step{Line: i + 1, Kind: Browser, Text: action})
			}
			continue
		}
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		begin := i + 1
		for i++; i < len(lines) && lines[i] != "```"; i++ {
		}
		if i == len(lines) {
			return nil, fmt.Errorf("line %d: a block without an end", begin)
		}
		body := lines[begin:i]
		switch language, name := m[1], m[2]; {
		case language == "console":
			steps = append(steps, commands(begin+1, body)...)
		case name == "console":
			if len(body) < 2 || !strings.HasPrefix(body[len(body)-1], "// ") {
				return nil, fmt.Errorf("line %d: expected the value as a comment in the last line", begin)
			}
			last := len(body) - 1
			steps = append(steps, Step{begin, Script, "", strings.Join(body[:last], "\n"), strings.TrimPrefix(body[last], "// ")})
		case name != "":
			steps = append(steps, Step{Line: begin, Kind: File, Name: name, Text: strings.Join(body, "\n") + "\n"})
		}
	}
	return steps, nil
}

// commands returns those of a console block that begins at that line. A command goes on after a backslash.
func commands(line int, body []string) (steps []Step) {
	for i, text := range body {
		if command, ok := strings.CutPrefix(text, "$ "); ok {
			steps = append(steps, Step{Line: line + i, Kind: Command, Text: command})
			continue
		}
		if len(steps) == 0 {
			continue
		}
		last := &steps[len(steps)-1]
		if last.Want == "" && strings.HasSuffix(last.Text, `\`) {
			last.Text += "\n" + text
			continue
		}
		last.Want += text + "\n"
	}
	return steps
}

// Matches tells whether what was printed is what the page shows.
func Matches(want, got string) bool {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for line := range strings.SplitAfterSeq(want, "\n") {
		switch {
		case strings.TrimSpace(line) == "…":
			pattern.WriteString(`(?s:.*)`)
		default:
			pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", `[^\n]*`))
		}
	}
	pattern.WriteString(`\z`)
	return regexp.MustCompile(pattern.String()).MatchString(got)
}
