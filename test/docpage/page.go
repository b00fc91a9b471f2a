// Package docpage reads what a page of the documentation tells its reader to do, and compares what comes out with
// what the page shows. In the Markdown
//
//   - a fenced block whose info string is a language and a file name is that file;
//   - a block "console" has commands behind "$ ", for one shell in one folder, and what each of them prints;
//   - a block "js console" is for the console of the browser's page; its last line is the value, as a comment;
//   - a comment "<!-- browser: open URL; click TEXT; expect TEXT; tab N -->" is what the text asks the reader
//     to do in the browser;
//   - a comment that begins with the line "<!-- run" has shell commands that the reader does not see: what the page takes
//     for granted, such as a server that runs;
//   - a comment "<!-- not run: REASON -->" says why the next block of commands or code is only shown;
//   - a comment "<!-- in: NAME -->" says what the next block is a part of.
//
// In what is expected, "…" stands for any text within a line, and a line that holds nothing else for any lines.
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
	// File has Name and Text; Command has Text and Want; Script has Text and Want; Browser and Hidden have Text.
	Name, Text, Want string
}

// Kind says what a Step is.
type Kind int

// The kinds of steps. A Hidden step is commands that the page does not show.
const (
	File Kind = iota
	Command
	Script
	Browser
	Hidden
)

// Block is a fenced block of a page. Line is that of its fence.
type Block struct {
	Line           int
	Language, Name string
	Text           string
	NotRun         string // the reason why it is only shown
	In             string // what it is a part of
}

var (
	// A fence may be indented: it is a part of a list then.
	fence   = regexp.MustCompile("^( *)```(\\S*) ?(.*)$")
	comment = regexp.MustCompile(`^ *<!-- (browser|not run|in): (.*) -->$`)
)

// hiddenBegin is the first line of a comment with commands.
const hiddenBegin = "<!-- run"

// Parse returns the steps of a page.
func Parse(page string) ([]Step, error) {
	steps, _, err := parse(page)
	return steps, err
}

// Blocks returns the fenced blocks of a page.
func Blocks(page string) ([]Block, error) {
	_, blocks, err := parse(page)
	return blocks, err
}

func parse(page string) (steps []Step, blocks []Block, err error) {
	lines := strings.Split(page, "\n")
	var notRun, in string // what the comments before the next block say
	for i := 0; i < len(lines); i++ {
		if m := comment.FindStringSubmatch(lines[i]); m != nil {
			switch m[1] {
			case "browser":
				for action := range strings.SplitSeq(m[2], "; ") {
					steps = append(steps, Step{Line: i + 1, Kind: Browser, Text: action})
				}
			case "not run":
				notRun = m[2]
			case "in":
				in = m[2]
			}
			continue
		}
		begin := i + 1
		if lines[i] == hiddenBegin {
			end := endOf(lines, i, "-->")
			if end < 0 {
				return nil, nil, fmt.Errorf("line %d: a comment without an end", begin)
			}
			steps = append(steps, Step{Line: begin + 1, Kind: Hidden, Text: strings.Join(lines[begin:end], "\n")})
			i = end
			continue
		}
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		end := endOf(lines, i, m[1]+"```")
		if end < 0 {
			return nil, nil, fmt.Errorf("line %d: a block without an end", begin)
		}
		var body []string
		for _, line := range lines[begin:end] {
			body = append(body, strings.TrimPrefix(line, m[1]))
		}
		i = end
		block := Block{Line: begin, Language: m[2], Name: m[3], Text: strings.Join(body, "\n") + "\n", NotRun: notRun, In: in}
		notRun, in = "", ""
		blocks = append(blocks, block)
		if block.NotRun != "" {
			continue
		}
		switch {
		case block.Language == "console":
			steps = append(steps, commands(begin+1, body)...)
		case block.Name == "console":
			if len(body) < 2 || !strings.HasPrefix(body[len(body)-1], "// ") {
				return nil, nil, fmt.Errorf("line %d: expected the value as a comment in the last line", begin)
			}
			last := len(body) - 1
			steps = append(steps, Step{begin, Script, "", strings.Join(body[:last], "\n"), strings.TrimPrefix(body[last], "// ")})
		case block.Name != "":
			steps = append(steps, Step{Line: begin, Kind: File, Name: block.Name, Text: block.Text})
		}
	}
	return steps, blocks, nil
}

// endOf returns the index of the first line after begin that is end, or -1.
func endOf(lines []string, begin int, end string) int {
	for i := begin + 1; i < len(lines); i++ {
		if lines[i] == end {
			return i
		}
	}
	return -1
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

// Matches reports whether what was printed is what the page shows.
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
