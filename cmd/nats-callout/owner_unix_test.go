//go:build unix

package main

import (
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
	info, err := os.Stat(made)
	if err != nil {
		t.Fatal(err)
	}
	if has := info.Sys().(*syscall.Stat_t); has.Uid != 1234 || has.Gid != 4321 || info.Mode().Perm() != 0o600 {
		t.Errorf("expected the owner 1234:4321 and the mode 600, found %d:%d and %o", has.Uid, has.Gid, info.Mode().Perm())
	}
}
