package conf_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stamp/server/conf"
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
		t.Errorf("got %+v", b)
	}
	if len(b.List) != 1 || b.List[0] != "one" || b.Secret.Reveal() != "hush" || b.Sub.Kind != "s" {
		t.Errorf("got %+v", b)
	}
	if got := fmt.Sprint(b.Any.Plain()); got != "[1 map[x:y]]" {
		t.Errorf("any is %s", got)
	}
	if len(b.Many) != 1 || b.Map["k"].Plain() != "v" {
		t.Errorf("many %v, map %v", b.Many, b.Map)
	}
}

func TestFaultsAllAtOnceWithPlaces(t *testing.T) {
	_, err := decode(t, "name: 1\nnmae: x\n  on: maybe\ncount {x: 1}\nwait: soon\nlist: [a, true]\nsub {kind: s, more: 1}\n")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"configuration:1:1: name: expected a string; found a number",
		`configuration:2:1: unknown field "nmae"; expected one of kind, name,`,
		"configuration:3:3: on: expected true or false; found a string",
		"configuration:4:1: count: expected a number; found a block",
		`configuration:5:1: wait: expected a duration in quotes, such as "5m"; found a string`,
		"list: expected a string; found a boolean",
		`configuration:7:15: unknown field "more"; expected one of kind`,
		`field "kind" is missing`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}

func TestVariables(t *testing.T) {
	b, err := decode(t, "APP: app\nkind: $APP\nname: $APP\n")
	if err != nil || b.Kind != "app" {
		t.Errorf("%q, %v", b.Kind, err)
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
			t.Errorf("%s: %s, %v", text, b.Wait, err)
		}
	}
}

// A number with m and no quotes is reported once, with the duration that was meant.
func TestDurationsWithoutQuotes(t *testing.T) {
	for text, want := range map[string]string{
		"15m":     `configuration:2:1: wait: expected a duration in quotes, such as "15m"; found the number 15000000 (without quotes, m means million)`,
		"1500000": `configuration:2:1: wait: expected a duration in quotes, such as "5m"; found the number 1500000 (without quotes, m means million)`,
		"-1":      `configuration:2:1: wait: expected a duration in quotes, such as "5m"; found a number`,
	} {
		if _, err := decode(t, "kind: k\nwait: "+text+"\n"); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	b, err := decode(t, "kind: k, secret: hush")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%v %+v %#v %s", b, b, b, b.Secret); strings.Contains(got, "hush") {
		t.Errorf("printed: %s", got)
	}
	_, err = decode(t, "kind: k, secret: {hush: hush}, name: [hush], count: hush")
	if err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("the error is %v", err)
	}
}

func TestSecretFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hush\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := decode(t, fmt.Sprintf("kind: k, secret_file: %q", file))
	if err != nil || b.Secret.Reveal() != "hush" {
		t.Errorf("got %d characters, %v", len(b.Secret), err)
	}
	for _, text := range []string{
		"kind: k, secret: a, secret_file: " + file,
		"kind: k, secret_file: /nowhere/at/all",
		"kind: k, name_file: " + file,
		"kind: k, secret_file: /dev/null",
	} {
		if _, err := decode(t, text); err == nil {
			t.Errorf("%s: no fault", text)
		}
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
		t.Errorf("the error is %v", err)
	}
	if _, err := conf.ParseFile(file + "x"); err == nil {
		t.Error("a missing file is no error")
	}
	if err := os.WriteFile(file, []byte("list: [401, 404]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = conf.ParseFile(file)
	if err == nil || !strings.HasPrefix(err.Error(), file+": Parse error") || !strings.HasSuffix(err.Error(), "as in [401, 404 ]") {
		t.Errorf("the error is %v", err)
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
