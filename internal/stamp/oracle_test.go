package stamp

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// decoded is the result of an outside parser for one block.
type decoded struct {
	Error   string  `json:"error"`
	Headers []named `json:"headers"`
}

type named struct {
	name   string
	values []string
}

func (n *named) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &[]any{&n.name, &n.values}) }

// run sends the blocks in base64 to a command, which answers each with one line of
// JSON.
func run(t *testing.T, blocks [][]byte, name string, args ...string) []decoded {
	t.Helper()
	var in, stderr bytes.Buffer
	for _, b := range blocks {
		fmt.Fprintln(&in, base64.StdEncoding.EncodeToString(b))
	}
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s failed: %v: %s", name, err, stderr.String())
	}
	var results []decoded
	for scan := bufio.NewReader(bytes.NewReader(out)); ; {
		l, err := scan.ReadBytes('\n')
		if err != nil {
			break
		}
		var d decoded
		if err := json.Unmarshal(l, &d); err != nil {
			t.Fatal(err)
		}
		results = append(results, d)
	}
	if len(results) != len(blocks) {
		t.Fatalf("%s gave %d answers to %d blocks", name, len(results), len(blocks))
	}
	return results
}

// stampedCorpus returns the result of Append for all hostileBlocks and all entries
// of the fuzzers' corpora, and what readers must see in each.
func stampedCorpus(t *testing.T) (blocks [][]byte, want [][]Header) {
	t.Helper()
	for _, headers := range claims {
		s := mustCompile(t, headers)
		for _, subject := range []string{"api.a", "other"} {
			for _, in := range rawCorpus(t) {
				if out, err := s.Append(nil, []byte(subject), in); err == nil && len(out) > 0 {
					blocks = append(blocks, out)
					want = append(want, wanted(headers, subject))
				}
			}
		}
	}
	return blocks, want
}

var corpusBytes = regexp.MustCompile(`(?m)^\[\]byte\((".*")\)$`)

func rawCorpus(t *testing.T) (blocks [][]byte) {
	t.Helper()
	for _, b := range hostileBlocks {
		blocks = append(blocks, []byte(b))
	}
	files, err := filepath.Glob("testdata/fuzz/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range corpusBytes.FindAllSubmatch(text, -1) {
			b, err := strconv.Unquote(string(m[1]))
			if err != nil {
				t.Fatalf("cannot read the bytes in %s: %v", file, err)
			}
			blocks = append(blocks, []byte(b))
		}
	}
	return blocks
}

// nodeDir is where the JavaScript client is installed. If it is not, the test is
// skipped, unless STAMP_TEST_ALL is set.
func nodeDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("..", "..", "test", "js")
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "node_modules", "@nats-io", "nats-core"))
	}
	switch {
	case err == nil:
		return dir
	case os.Getenv("STAMP_TEST_ALL") != "":
		t.Fatalf("node or the packages of test/js are missing: %v (hint: npm ci in test/js)", err)
	default:
		t.Skipf("node or the packages of test/js are missing: %v (hint: npm ci in test/js)", err)
	}
	return ""
}

// TestNodeReader lets the JavaScript client read the results of Append.
func TestNodeReader(t *testing.T) {
	script := filepath.Join(nodeDir(t), "decode.mjs")
	blocks, want := stampedCorpus(t)
	for i, d := range run(t, blocks, "node", script) {
		if d.Error != "" {
			t.Errorf("block %q: the client throws: %s", blocks[i], d.Error)
		}
		for _, h := range want[i] {
			if err := sees(d.lines(), h); err != nil {
				t.Errorf("the JavaScript client reads something else in block %q: %v", blocks[i], err)
			}
		}
	}
	t.Logf("%d blocks", len(blocks))
}

// TestNodeModel compares the model of the JavaScript client, which the fuzzers use,
// with the client itself.
func TestNodeModel(t *testing.T) {
	script := filepath.Join(nodeDir(t), "decode.mjs")
	stamped, _ := stampedCorpus(t)
	compareModel(t, readNatsJS, append(stamped, rawCorpus(t)...), "node", script)
}

// TestPythonModel does the same for the model of nats.py, which uses the header
// parser of the standard library.
func TestPythonModel(t *testing.T) {
	if err := exec.Command("python3", "--version").Run(); err != nil {
		t.Skipf("python3 is missing: %v", err)
	}
	stamped, _ := stampedCorpus(t)
	compareModel(t, readNatsPy, append(stamped, rawCorpus(t)...), "python3", filepath.Join("testdata", "natspy.py"))
}

func compareModel(t *testing.T, model func([]byte) ([]line, error), blocks [][]byte, command ...string) {
	t.Helper()
	for i, d := range run(t, blocks, command[0], command[1:]...) {
		got, err := model(blocks[i])
		if (err != nil) != (d.Error != "") {
			t.Errorf("block %q: the model has error %v, the parser %q", blocks[i], err, d.Error)
			continue
		}
		if err == nil && !reflect.DeepEqual(group(got), group(d.lines())) {
			t.Errorf("block %q: the model reads %q, the parser %q", blocks[i], group(got), group(d.lines()))
		}
	}
	t.Logf("%d blocks", len(blocks))
}

func (d decoded) lines() (out []line) {
	for _, n := range d.Headers {
		for _, v := range n.values {
			out = append(out, line{n.name, v})
		}
	}
	return out
}

var replaced = regexp.MustCompile("\ufffd+")

// group orders headers by name. It unifies the ways in which bad UTF-8 is replaced.
func group(all []line) []string {
	m := map[string]string{}
	for _, l := range all {
		m[l.name] += "\x00" + replaced.ReplaceAllString(strings.ToValidUTF8(l.value, "\ufffd"), "\ufffd")
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, name+m[name])
	}
	return out
}
