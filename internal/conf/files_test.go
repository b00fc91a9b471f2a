package conf

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// writeFiles writes files into a folder of their own, and returns it.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A file that includes itself, directly or not, is refused. A file may be included twice.
func TestIncludes(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		fault string
	}{
		"itself":         {map[string]string{"main": "include main"}, "main includes itself"},
		"in a block":     {map[string]string{"main": "a { b: 1, include \"./main\" }"}, "includes itself"},
		"by another":     {map[string]string{"main": "include 'one.conf'", "one.conf": "x: 1; include x/two.conf", "x/two.conf": "include ../main"}, "includes itself"},
		"in a row":       {map[string]string{"main": "a: 1 include main"}, "includes itself"},
		"with an equal":  {map[string]string{"main": "INCLUDE = main"}, "includes itself"},
		"twice":          {map[string]string{"main": "a { include one }, b { include one }", "one": "x: 1"}, ""},
		"in a text":      {map[string]string{"main": `a: "x include nowhere y"`}, ""},
		"in a comment":   {map[string]string{"main": "a: 1 # include nowhere"}, ""},
		"not there":      {map[string]string{"main": "include nowhere"}, "nowhere"},
		"a field's name": {map[string]string{"main": "included: main"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseFile(filepath.Join(writeFiles(t, c.files), "main"))
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("found error %v, want %q", err, c.fault)
			}
		})
	}
}

// Only regular files are read, whether a field names the file, or a command, or an include.
func TestFilesThatCannotBeRead(t *testing.T) {
	dir := writeFiles(t, map[string]string{"main": "include pipe", "users": "secret_file: pipe"})
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{pipe, "/dev/zero", dir} {
		if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), "expected a regular file") {
			t.Errorf("ReadFile(%s): expected that it asks for a regular file; found %v", path, err)
		}
		if _, err := ParseFile(path); err == nil || !strings.Contains(err.Error(), "expected a regular file") {
			t.Errorf("ParseFile(%s): expected that it asks for a regular file; found %v", path, err)
		}
		if _, err := LoadCertPool(path); err == nil {
			t.Errorf("LoadCertPool(%s) read certificates", path)
		}
		if _, err := LoadKeyPair(path, path); err == nil {
			t.Errorf("LoadKeyPair(%s) read a key", path)
		}
	}
	if _, err := ParseFile(filepath.Join(dir, "main")); err == nil || !strings.Contains(err.Error(), "named pipe") {
		t.Errorf("expected that an include of a named pipe is refused; found %v", err)
	}
}

// A file that never ends, or is very large, is not read into memory.
func TestLargeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Truncate(MaxFile + 1); err != nil { // it takes no room
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), "at most 64 MiB") {
		t.Errorf("expected a bound of 64 MiB; found error %v", err)
	}
}
