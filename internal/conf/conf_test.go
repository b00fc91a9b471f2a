package conf_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stamp/internal/conf"
)

type inner struct {
	Kind string `conf:"kind,required"`
}

type block struct {
	inner                       // an embedded struct's fields are the block's
	Name   string               `conf:"name"`
	On     bool                 `conf:"on"`
	Count  int                  `conf:"count"`
	Wait   time.Duration        `conf:"wait"`
	List   []string             `conf:"list"`
	Secret conf.Secret          `conf:"secret"`
	Any    conf.Node            `conf:"any"`
	Many   []conf.Node          `conf:"many"`
	Map    map[string]conf.Node `conf:"map"`
	Sub    *inner               `conf:"sub"`
}

func decode(t *testing.T, text string) (block, error) {
	t.Helper()
	n, err := conf.ParseString(text)
	if err != nil {
		t.Fatal(err)
	}
	var b block
	var faults conf.Faults
	n.Decode(&b, &faults)
	return b, faults.Err()
}

func TestDecode(t *testing.T) {
	b, err := decode(t, `
		kind: a, NAME: n, on: true, count: 3, wait: "1m30s", list: one
		secret: hush, any: [1, {x: y}], many: {z: 1}, map {k: v}, sub {kind: s}
	`)
	if err != nil {
		t.Fatal(err)
	}
	if b.Kind != "a" || b.Name != "n" || !b.On || b.Count != 3 || b.Wait != 90*time.Second {
		t.Errorf("the block was decoded as %+v", b)
	}
	if len(b.List) != 1 || b.List[0] != "one" || b.Secret.Reveal() != "hush" || b.Sub.Kind != "s" {
		t.Errorf("list, secret or inner block were decoded otherwise: %+v", b)
	}
	if got := fmt.Sprint(b.Any.Plain()); got != "[1 map[x:y]]" {
		t.Errorf("the field any is %s, want [1 map[x:y]]", got)
	}
	if len(b.Many) != 1 || b.Map["k"].Plain() != "v" {
		t.Errorf("the list of blocks is %v and the map %v", b.Many, b.Map)
	}
}

func TestFaultsAllAtOnceWithPlaces(t *testing.T) {
	_, err := decode(t, "name: 1\nnmae: x\n  on: maybe\ncount {x: 1}\nwait: soon\nlist: [a, true]\nsub {kind: s, more: 1}\n")
	if err == nil {
		t.Fatal("the faulty block was accepted")
	}
	for _, want := range []string{
		"configuration:1:1: name: expected a string; found a number (hint: put it in quotes)",
		`configuration:2:1: unknown field "nmae"; did you mean "name"?`,
		"configuration:3:3: on: expected true or false; found a string",
		"configuration:4:1: count: expected a whole number; found a block",
		`configuration:5:1: wait: expected a duration with the units ms, s, m or h, such as "5m" or "1h30m"; found a string without them`,
		"list: expected a string; found a boolean (hint: put it in quotes)",
		`configuration:7:15: sub: unknown field "more"; expected one of kind`,
		"configuration:1:1: field \"kind\" is missing",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q in\n%v", want, err)
		}
	}
}

// A fault must not say that what it found is what it expected.
func TestFaultsSayWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"count: 1.5":   "count: expected a whole number; found a number with a fraction",
		"count: x":     "count: expected a whole number; found a string",
		"name: 1.5":    "name: expected a string; found a number with a fraction (hint: put it in quotes)",
		"name: [a, b]": "name: expected a string; found an array",
		"name {a: 1}":  "name: expected a string; found a block",
		"sub: s":       "sub: expected a block; found a string",
		"sub {a: 1}":   `configuration:1:1: sub: field "kind" is missing`,
	} {
		if _, err := decode(t, text+"\nkind: s\n"); err == nil || !strings.HasSuffix(strings.SplitN(err.Error(), "\n", 2)[0], want) {
			t.Errorf("%s: found %v, want %s", text, err, want)
		}
	}
}

func TestVariables(t *testing.T) {
	b, err := decode(t, "APP: app\nkind: $APP\nname: $APP\n")
	if err != nil || b.Kind != "app" {
		t.Errorf("expected the value of the variable, app; found %q, error %v", b.Kind, err)
	}
	if _, err := decode(t, "UNUSED: app\nkind: k\n"); err == nil {
		t.Error("a variable that nobody uses is no fault")
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`"5m"`: 5 * time.Minute, `5`: 5 * time.Second, `0`: 0, `1.5`: 1500 * time.Millisecond,
		`5m`: -1, `"-1s"`: -1, `soon`: -1, `true`: -1,
	} {
		b, err := decode(t, "kind: k\nwait: "+text+"\n")
		if (err == nil) != (want >= 0) || err == nil && b.Wait != want {
			t.Errorf("wait: %s gives %s, error %v; want %s", text, b.Wait, err, want)
		}
	}
}

// A number with m and no quotes is reported once, with the duration that was meant.
func TestDurationsWithoutQuotes(t *testing.T) {
	for text, want := range map[string]string{
		"15m":     `configuration:2:1: wait: expected a duration in quotes, such as "15m"; found the number 15000000 (without quotes, m means million)`,
		"1500000": `configuration:2:1: wait: expected a duration in quotes, such as "5m"; found the number 1500000 (without quotes, m means million)`,
		"-1":      `configuration:2:1: wait: expected a duration in quotes, such as "5m"; found the number -1`,
		"-1.5":    `configuration:2:1: wait: expected a duration in quotes, such as "5m"; found the number -1.5`,
	} {
		if _, err := decode(t, "kind: k\nwait: "+text+"\n"); err == nil || err.Error() != want {
			t.Errorf("wait: %s: found %v, want %s", text, err, want)
		}
	}
}

// A text in quotes that is not a duration gets the units, not the advice to use quotes.
func TestDurationsInQuotes(t *testing.T) {
	for text, found := range map[string]string{
		`"5 minutes"`: "a string without them", `"1d"`: "a string without them", `5x`: "a string without them",
		`"-5s"`: "a negative duration",
	} {
		want := `configuration:2:1: wait: expected a duration with the units ms, s, m or h, such as "5m" or "1h30m"; found ` + found
		if _, err := decode(t, "kind: k\nwait: "+text+"\n"); err == nil || err.Error() != want {
			t.Errorf("wait: %s: found %v, want %s", text, err, want)
		}
	}
}

// In a block with free names, two names may differ in case only, and the exact name counts. In other blocks they are
// duplicates. A file has the same faults whenever it is read.
func TestNamesThatDifferInCase(t *testing.T) {
	for range 50 {
		n, err := conf.ParseString("X-A: 1\nx-a: 2\nX-a: 3\n")
		if err != nil {
			t.Fatal(err)
		}
		for name, line := range map[string]int{"X-A": 1, "x-a": 2, "X-a": 3, "x-A": 1} {
			if got := n.Get(name).Place().Line; got != line {
				t.Fatalf("%s is that of line %d, want %d", name, got, line)
			}
		}
		const want = `configuration:2:1: duplicate field "kind": it is set at configuration:1:1 already`
		if _, err := decode(t, "Kind: a\nkind: b\n"); err == nil || err.Error() != want {
			t.Fatalf("found error %v, want %s", err, want)
		}
	}
}

func TestSuggestions(t *testing.T) {
	for unknown, want := range map[string]string{
		"secert": `did you mean "secret"?`, "Secrets": `did you mean "secret"?`, "secret_fil": `did you mean "secret_file"?`,
		"count1": `did you mean "count"?`, "wiat": `did you mean "wait"?`, "naem": `did you mean "name"?`,
		"onn": "expected one of kind, name, on,", "nothing": "secret, secret_file,",
	} {
		if _, err := decode(t, "kind: k\n"+unknown+": x\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("unknown field %s: found %v, want %s", unknown, err, want)
		}
	}
}

// The parser's own errors name no file, and some do not say what to do.
func TestHintsForTheParser(t *testing.T) {
	for text, want := range map[string]string{
		"list: [401, 404]\n":                   "hint: put a space between a number and ], as in [401, 404 ]",
		"list: [a, b\nkind: [a]\n":             "hint: put a comma or a line break between the elements of a list, and ] at its end",
		"kind { list: [a] on: true }\n":        "hint: put a comma or a line break between the fields of a block",
		"many: [{kind: a} {kind: b}]\n":        "hint: put a comma or a line break between the elements of a list",
		"kind: $STAMP_NO_SUCH_VARIABLE_HERE\n": "hint: set the environment variable STAMP_NO_SUCH_VARIABLE_HERE",
	} {
		file := filepath.Join(t.TempDir(), "test.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := conf.ParseFile(file)
		if err == nil || !strings.HasPrefix(err.Error(), file+": ") || !strings.Contains(err.Error(), "\n"+want) {
			t.Errorf("%q: found error %v, want %s after the file's name", text, err, want)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	b, err := decode(t, "kind: k, secret: hush")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%v %+v %#v %s", b, b, b, b.Secret); strings.Contains(got, "hush") {
		t.Errorf("the printed block shows the secret: %s", got)
	}
	_, err = decode(t, "kind: k, secret: {hush: hush}, name: [hush], count: hush")
	if err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("expected an error that does not show the values; found %v", err)
	}
}

func TestSecretFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hush\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := decode(t, fmt.Sprintf("kind: k, secret_file: %q", file))
	if err != nil || b.Secret.Reveal() != "hush" {
		t.Errorf("the secret from the file has %d characters, want hush; error %v", len(b.Secret), err)
	}
	for _, text := range []string{
		"kind: k, secret: a, secret_file: " + file,
		"kind: k, secret_file: /nowhere/at/all",
		"kind: k, name_file: " + file,
		"kind: k, secret_file: /dev/null",
	} {
		if _, err := decode(t, text); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

// Whoever reads the error may not know from which directory the process was started.
func TestRelativePathsOfFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	from, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	want := "configuration:1:10: secret_file: open keys/none: no such file or directory (a relative path counts from the working directory, " + from + ")"
	if _, err := decode(t, `kind: k, secret_file: "keys/none"`); err == nil || err.Error() != want {
		t.Errorf("found error %v, want %s", err, want)
	}
	if _, err := decode(t, `kind: k, secret_file: "/nowhere"`); err == nil || strings.Contains(err.Error(), "working directory") {
		t.Errorf("an absolute path: expected an error without the working directory; found %v", err)
	}
	if _, err := conf.ReadFile("none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("expected os.ErrNotExist; found %v", err)
	}
}

func TestParseFileNamesTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.conf")
	if err := os.WriteFile(file, []byte("\nkind: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := conf.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b block
	var faults conf.Faults
	n.Decode(&b, &faults)
	if err := faults.Err(); err == nil || !strings.HasPrefix(err.Error(), file+":2:1: ") {
		t.Errorf("expected an error at %s:2:1; found %v", file, err)
	}
	if _, err := conf.ParseFile(file + "x"); err == nil {
		t.Error("a missing file is no error")
	}
	if err := os.WriteFile(file, []byte("list: [401, 404]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = conf.ParseFile(file)
	if err == nil || !strings.HasPrefix(err.Error(), file+": Parse error") || !strings.HasSuffix(err.Error(), "as in [401, 404 ]") {
		t.Errorf("expected a parse error with a hint; found %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("kind: a, list: [b, {c: d}], wait: 1s, sub {kind: x}")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := conf.ParseString(text)
		if err != nil {
			return
		}
		var b block
		var faults conf.Faults
		n.Decode(&b, &faults) // must not panic
		n.Plain()
	})
}
