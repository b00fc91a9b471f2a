//go:build unix

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file the owner and the group that another one has. It changes nothing if they are the same, since only root may.
func keepOwner(of fs.FileInfo, path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	want, ok := of.Sys().(*syscall.Stat_t)
	has, ok2 := info.Sys().(*syscall.Stat_t)
	if !ok || !ok2 || want.Uid == has.Uid && want.Gid == has.Gid {
		return nil
	}
	return os.Lchown(path, int(want.Uid), int(want.Gid))
}
