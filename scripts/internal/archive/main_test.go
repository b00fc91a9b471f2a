package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Two folders with the same files make the same archive, whatever their times and permissions, and it can be unpacked.
func TestSameFilesSameBytes(t *testing.T) {
	for _, suffix := range []string{".tar.gz", ".zip"} {
		var first []byte
		for i, perm := range []os.FileMode{0o644, 0o600} {
			dir := t.TempDir()
			folder := filepath.Join(dir, "stamp")
			for name, text := range map[string]string{"b/x": "1", "a": "22", "run": "#!/bin/sh"} {
				file := filepath.Join(folder, name)
				mode := perm
				if name == "run" {
					mode |= 0o100
				}
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), mode); err != nil {
					t.Fatal(err)
				}
				at := time.Unix(int64(1000*i), 0)
				if err := os.Chtimes(file, at, at); err != nil {
					t.Fatal(err)
				}
			}
			out := filepath.Join(dir, "x"+suffix)
			if err := run([]string{folder, out, "1700000000"}); err != nil {
				t.Fatal(err)
			}
			packed, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = packed
			}
			if !bytes.Equal(first, packed) {
				t.Errorf("two archives %s of the same files differ", suffix)
			}
			if suffix == ".tar.gz" {
				listed, err := exec.Command("tar", "-tvzf", out).CombinedOutput()
				if err != nil || !bytes.Contains(listed, []byte("-rwxr-xr-x")) || bytes.Count(listed, []byte("-rw-r--r--")) != 2 {
					t.Errorf("expected one executable and two other files in the archive; tar lists %s, error %v", listed, err)
				}
			}
		}
	}
}

func TestWrongArguments(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, arguments := range [][]string{nil, {dir, filepath.Join(t.TempDir(), "x.zip"), "now"}, {dir, filepath.Join(t.TempDir(), "x.zip"), "0"}} {
		if run(arguments) == nil {
			t.Errorf("the wrong arguments %q were accepted", arguments)
		}
	}
}
