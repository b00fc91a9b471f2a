package test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"stamp/test/docpage"
	"stamp/test/harness"
)

// pages are the Markdown files that readers of the software get, by their paths in the repository.
func pages(t *testing.T) []string {
	t.Helper()
	names := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "browser/README.md"}
	files, err := filepath.Glob("../docs/*.md")
	if err != nil || len(files) < 10 {
		t.Fatalf("expected at least 10 pages in ../docs; found %d, error %v", len(files), err)
	}
	for _, file := range files {
		names = append(names, "docs/"+filepath.Base(file))
	}
	return names
}

// pageText returns the text of a page, and its blocks.
func pageText(t *testing.T, name string) (string, []docpage.Block) {
	t.Helper()
	text := string(must(os.ReadFile(filepath.Join("..", name))))
	blocks, err := docpage.Blocks(text)
	if err != nil {
		t.Fatalf("cannot read the blocks of %s: %v", name, err)
	}
	return text, blocks
}

// onlyShown are the commands and the code that no test runs, with the reasons that the pages give. Whatever can be run is
// not in this list.
var onlyShown = []string{
	"CONTRIBUTING.md: runs all tests, this one too",
	"README.md: needs a container engine; scripts/image tests the image",
	"README.md: tests run in a clone that is built",
	"docs/callout-sources.md: what an application of the reader's own gets and answers",
	"docs/callout.md: the test starts the server in its own way",
	"docs/callout.md: what an application of the reader's own gets and answers",
	"docs/claim.md: changes a program of the reader's own; a test builds one",
	"docs/commands.md: the test of this command does it, with a stock server",
	"docs/configuration.md: a line of a log; TestProvenanceOverALeafnode* have it",
	"docs/conformance.md: takes hours",
	"docs/patching.md: needs the upstream module or changes the series; test/upstreamtree tests the command",
	"docs/proofs.md: a formula",
	"docs/releases.md: makes or installs a whole release",
	"docs/tutorial.md: tests run in a clone that is built",
	"docs/upgrade.md: the tests that the page names do it, with three servers",
}

// Each block of the pages is of a kind that is run or checked, or the page says why it is not.
func TestPageBlocks(t *testing.T) {
	elsewhere := map[string]string{
		"docs/claim.md": "go js python json", // TestDocs in claim
		// browser/test/package/run.mjs compiles these.
		"docs/browser.md": "js ts tsx", "browser/README.md": "js ts tsx",
	}
	var shown []string
	for _, name := range pages(t) {
		text, blocks := pageText(t, name)
		for _, line := range indentedBlocks(text) {
			if name == "docs/browser.md" {
				break // browser/test/package/snippets.mjs reads its indented pieces
			}
			t.Errorf("%s:%d: an indented block: use a fence, so that it is run or checked", name, line)
		}
		for _, block := range blocks {
			where := fmt.Sprintf("%s:%d", name, block.Line)
			if block.NotRun != "" {
				if entry := name + ": " + block.NotRun; !slices.Contains(shown, entry) {
					shown = append(shown, entry)
				}
				continue
			}
			if strings.Contains(" "+elsewhere[name]+" ", " "+block.Language+" ") {
				continue
			}
			switch block.Language {
			case "mermaid", "console", "hcl", "html", "go": // the other tests of pages, and readers of diagrams
			case "js":
				if block.Name != "console" {
					checkJavaScript(t, where, block)
				}
			case "json":
				if !validJSON(block) {
					t.Errorf("%s: expected JSON", where)
				}
			default:
				t.Errorf("%s: a block of the language %q is neither run nor checked; say why in <!-- not run: REASON -->", where, block.Language)
			}
		}
	}
	slices.Sort(shown)
	if !slices.Equal(shown, onlyShown) {
		t.Errorf("only shown:\n%s\nexpected:\n%s", strings.Join(shown, "\n"), strings.Join(onlyShown, "\n"))
	}
}

// validJSON reports whether a block is JSON, in which "…, " stands for what is left out.
func validJSON(block docpage.Block) bool {
	texts := []string{wrapped(block.In, jsonWraps, block.Text)}
	if block.In == "lines" {
		texts = strings.Split(strings.TrimSpace(block.Text), "\n")
	}
	return !slices.ContainsFunc(texts, func(text string) bool { return !json.Valid([]byte(strings.ReplaceAll(text, "…, ", ""))) })
}

// jsonWraps are what JSON of a page can be a part of.
var jsonWraps = map[string]string{"object": "{ @ }"}

// wrapped returns text in the place of the @ of what it is a part of.
func wrapped(in string, wraps map[string]string, text string) string {
	wrap, ok := wraps[in]
	if !ok {
		return text
	}
	before, after, _ := strings.Cut(wrap, "@")
	return before + text + after
}

// indentedBlocks returns the lines in which blocks of code without a fence begin.
func indentedBlocks(text string) (found []int) {
	fenced, list, blank := false, false, true
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			fenced = !fenced
		case fenced:
		case trimmed != "" && !strings.HasPrefix(line, " "):
			list = strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "* ") || strings.Contains("0123456789", line[:1])
		case trimmed != "" && blank && (!list && strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "       ")):
			found = append(found, i+1)
		}
		blank = trimmed == ""
	}
	return found
}

// checkJavaScript has Node.js parse a block, as a module.
func checkJavaScript(t *testing.T, where string, block docpage.Block) {
	t.Helper()
	cmd := exec.Command("node", "--input-type=module", "--check", "-")
	cmd.Stdin = strings.NewReader(block.Text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: Node.js cannot parse this block: %v\n%s", where, err, out)
	}
}

// A block of a page's configuration is a whole file, or a part of one.
const (
	someAccount = "accounts { APP { jetstream: enabled, users: [ { user: app, password: app } ] } }\njetstream: enabled\n"
	someGrant   = "grants: [ { account: APP, publish: [], subscribe: [] } ]\n"
	someKeys    = "issuer_file: \"keys/issuer.nk\"\n"
)

// confWraps are what a configuration of a page can be a part of, after the word "in".
var confWraps = map[string]string{
	"a faulty file":            "@",
	"":                         "@",
	"server with account APP":  someAccount + "@",
	"users":                    "accounts { APP { users: [ @ ] } }",
	"websocket":                "websocket { listen: \"127.0.0.1:8080\", no_tls: true, allowed_origins: [\"https://app.example\"]\n@ }",
	"callout":                  someAccount + "callout {\n@\n" + someGrant + "}",
	"callout without grants":   someAccount + "callout {\n@ }",
	"lines of a grant":         someAccount + "callout { sessions: [ { kind: kv, name: users, bucket: sessions, account: APP }, { kind: kv, name: oidc, bucket: others, account: APP } ]\ngrants: [ { account: APP, subscribe: []\n@\n } ] }",
	"login source":             someAccount + "callout { sessions: [ { kind: login, listen: \"127.0.0.1:8090\", public_url: \"https://app.example/auth\", issuer: \"https://login.example\", client_id: app, client_secret_file: \"secrets/oidc\", bucket: logins, account: APP, key_file: \"secrets/login.key\"\n@ } ]\n" + someGrant + "}",
	"redis source":             someAccount + "callout { sessions: [ { kind: redis, url: \"redis://127.0.0.1\"\n@ } ]\n" + someGrant + "}",
	"leafnodes with operators": "include resolver.conf\nleafnodes {\n@ }",
	"callout of nats-callout":  "callout {\n" + someKeys + "sessions: [ { kind: users, file: \"users.conf\" } ]\n@\n" + someGrant + "}",
	"callout of nats-callout with operators": "callout {\n" + someKeys + "issuer_account: AAMFN7VYNBIGFWQBNAADV42FJKUM3FUTMW37E4AOTDJNL63EE7ZS5WYO\n" +
		"signing_keys { APP: { account: ABNSX43RO4CJ6FAXHM6ODF2B4VY2DN7MRXLGQTOWYQIHNJBEHWYB63ZJ, seed_file: \"nsc/app-signing.nk\" } }\n@\n" + someGrant + "}",
}

// The configurations in the pages are what the commands accept. One with the name of a file in docs/examples/callout is that file.
func TestPageConfigurations(t *testing.T) {
	folder := exampleFolder(t)
	shown := map[string]bool{}
	var at sync.WaitGroup
	running := make(chan struct{}, 4)
	for _, name := range pages(t) {
		_, blocks := pageText(t, name)
		for _, block := range blocks {
			if block.Language != "hcl" || block.NotRun != "" {
				continue
			}
			where := fmt.Sprintf("%s:%d", name, block.Line)
			if _, ok := confWraps[block.In]; !ok {
				t.Errorf("%s: this test does not know where a block in %q belongs", where, block.In)
				continue
			}
			if example, err := os.ReadFile(filepath.Join("../docs/examples/callout", block.Name)); block.Name != "" && err == nil && name != "docs/tutorial.md" { // which has files of its own
				shown[block.Name] = true
				if string(example) != block.Text {
					t.Errorf("%s differs from docs/examples/callout/%s", where, block.Name)
				}
			}
			texts := []string{block.Text}
			if block.In == "lines of a grant" {
				texts = strings.Split(strings.TrimSpace(block.Text), "\n")
				for i, text := range texts {
					if !strings.HasPrefix(text, "publish:") {
						texts[i] = text + "\npublish: []" // which a grant needs
					}
				}
			}
			if block.Name == "users.conf" || block.In == "a faulty file" {
				continue // a part of others; a command of the page shows the faults
			}
			for i, text := range texts {
				file := fmt.Sprintf("%s-%d-%d.conf", strings.NewReplacer("/", "-", ".md", "").Replace(name), block.Line, i)
				if err := os.WriteFile(filepath.Join(folder, file), []byte(wrapped(block.In, confWraps, text)), 0o600); err != nil {
					t.Fatal(err)
				}
				at.Go(func() {
					running <- struct{}{}
					defer func() { <-running }()
					checkConfiguration(t, where, folder, file)
				})
			}
		}
	}
	at.Wait()
	examples, err := filepath.Glob("../docs/examples/callout/*.conf")
	if err != nil || len(examples) < 10 {
		t.Fatalf("expected at least 10 configurations in ../docs/examples/callout; found %d, error %v", len(examples), err)
	}
	for _, file := range examples {
		if !shown[filepath.Base(file)] {
			checkConfiguration(t, "docs/examples/callout/"+filepath.Base(file), folder, filepath.Base(file))
		}
	}
}

// checkConfiguration has the command for which a configuration is check it.
func checkConfiguration(t *testing.T, where, folder, file string) {
	t.Helper()
	text := string(must(os.ReadFile(filepath.Join(folder, file))))
	cmd := exec.Command(absolute(t, harness.Binary(t)), "-t", "-c", file)
	if strings.Contains(text, "connect {") { // only a handler has it
		cmd = exec.Command(absolute(t, harness.CalloutBinary(t)), "check", "-c", file)
	}
	cmd.Dir, cmd.Env = folder, append(os.Environ(), exampleVariables...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: the command refuses this configuration: %v\n%s", where, err, out)
	}
}

// The Go in the pages compiles. It is a function, or the body of one.
func TestPageGo(t *testing.T) {
	modules := publicModules(t)
	receivers := modules["receivers/go"]
	dir, folder := t.TempDir(), absolute(t, "../docs/examples/pages") // which is not there
	overlay := map[string]string{}
	for _, name := range pages(t) {
		if name == "docs/claim.md" {
			continue // TestDocs in claim
		}
		_, blocks := pageText(t, name)
		for _, block := range blocks {
			if block.Language != "go" || block.NotRun != "" {
				continue
			}
			text := fmt.Sprintf("//line %s:%d\n%s", name, block.Line+1, block.Text)
			if !strings.HasPrefix(block.Text, "func ") {
				text = "func _() {\n" + text
				for _, m := range regexp.MustCompile(`(?m)^(\w+(?:, \w+)*) :=`).FindAllStringSubmatch(block.Text, -1) {
					text += strings.Repeat("_, ", strings.Count(m[1], ",")) + "_ = " + m[1] + "\n"
				}
				text += "}\n"
			}
			file := fmt.Sprintf("block%d.go", len(overlay))
			overlay[filepath.Join(folder, file)] = filepath.Join(dir, file)
			source := "package pages\n\nimport (\n"
			for _, path := range []string{modules["claim"], receivers, receivers + "/natsmsg", "context", "crypto/rand", "encoding/json", "fmt", "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream", "time"} {
				if strings.Contains(block.Text, cmp.Or(goPackageNames[filepath.Base(path)], filepath.Base(path))+".") {
					source += fmt.Sprintf("\t%q\n", path)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, file), []byte(source+")\n\n"+text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(overlay) < 4 {
		t.Errorf("expected at least 4 blocks of Go in the pages; found %d", len(overlay))
	}
	overlay[filepath.Join(folder, "given.go")] = filepath.Join(dir, "given.go")
	const given = "package pages\n\nimport (\n\t\"github.com/nats-io/jwt/v2\"\n\t\"github.com/nats-io/nats.go\"\n\t\"github.com/nats-io/nkeys\"\n)\n\n" +
		"// What a reader has already.\nvar (\n\tm *nats.Msg\n\tuser *jwt.UserClaims\n\tid string\n\taccountKey nkeys.KeyPair\n)\n"
	if err := os.WriteFile(filepath.Join(dir, "given.go"), []byte(given), 0o600); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, must(json.Marshal(map[string]any{"Replace": overlay})), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", list, "./docs/examples/pages")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("the Go in the pages does not compile: %v\n%s", err, out)
	}
}

// goPackageNames are the names of packages whose paths end with something else.
var goPackageNames = map[string]string{"nats.go": "nats", "go": "stamp"}
