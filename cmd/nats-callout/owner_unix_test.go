//go:build unix

package main

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The file that replaces a key file can be read by the service whose file it was.
func TestRolledKeysKeepTheirOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to another user")
	}
	dir := t.TempDir()
	old, made := filepath.Join(dir, "proof.nk"), filepath.Join(dir, "proof.nk.new")
	for _, path := range []string{old, made} {
		if err := writeSecret(path, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(old, 1234, 4321); err != nil {
		t.Fatal(err)
	}
	if err := keepAccess(old, made); err != nil {
		t.Fatal(err)
	}
	wantAccess(t, made, 0o600)
}

// After root has rolled the xkey, the service of another user can still read both files.
func TestRolledXkeyKeepsItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to another user")
	}
	dir := t.TempDir()
	out := &streams{out: io.Discard}
	if err := (&keysMake{Directory: dir}).Run(out); err != nil {
		t.Fatal(err)
	}
	xkey := filepath.Join(dir, xkeyFile)
	if err := os.Chown(xkey, 1234, 4321); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(xkey, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := (&keysRoll{Directory: dir}).Run(out); err != nil {
		t.Fatal(err)
	}
	wantAccess(t, xkey, 0o640)
	wantAccess(t, filepath.Join(dir, xkeysFile), 0o640)
	if _, err := os.Lstat(xkey + ".new"); !os.IsNotExist(err) {
		t.Errorf("expected no %s.new after the roll; found one, or %v", xkey, err)
	}
}

// wantAccess reports a file that has another owner than 1234:4321, or another mode.
func wantAccess(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if has := info.Sys().(*syscall.Stat_t); has.Uid != 1234 || has.Gid != 4321 || info.Mode().Perm() != mode {
		t.Errorf("%s: expected the owner 1234:4321 and the mode %o, found %d:%d and %o", path, mode, has.Uid, has.Gid, info.Mode().Perm())
	}
}
