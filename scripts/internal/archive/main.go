// Command archive packs a folder. The same files give the same archive, byte for byte, wherever and whenever it runs: names are
// sorted, times come from the argument, owners are left out, and permissions depend only on the executable bit.
//
//	archive FOLDER FILE.tar.gz|FILE.zip UNIX-SECONDS
package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "archive:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 3 {
		return errors.New("usage: archive FOLDER FILE.tar.gz|FILE.zip UNIX-SECONDS")
	}
	seconds, err := strconv.ParseInt(arguments[2], 10, 64)
	if err != nil {
		return fmt.Errorf("UNIX-SECONDS: expected a whole number of seconds since 1970, found %q", arguments[2])
	}
	out, err := os.Create(arguments[1])
	if err != nil {
		return err
	}
	pack := packTar
	if strings.HasSuffix(arguments[1], ".zip") {
		pack = packZip
	}
	return errors.Join(pack(out, arguments[0], time.Unix(seconds, 0).UTC()), out.Close())
}

// mode is 0755 for folders and for files that may be executed, and 0644 for others. So it does not depend on the umask.
func mode(info fs.FileInfo) fs.FileMode {
	if info.IsDir() || info.Mode()&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

// walk calls add for the folder and for everything in it, sorted by name. Each name begins with the name of the folder.
func walk(folder string, add func(name, file string, info fs.FileInfo) error) error {
	parent := filepath.Dir(filepath.Clean(folder))
	return filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if !info.IsDir() && !info.Mode().IsRegular() {
			return fmt.Errorf("%s: expected a regular file or a folder, found one with the mode %v", file, info.Mode())
		}
		name, err := filepath.Rel(parent, file)
		if err != nil {
			return err
		}
		return add(filepath.ToSlash(name), file, info)
	})
}

func packTar(out io.Writer, folder string, when time.Time) error {
	compressed, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	packed := tar.NewWriter(compressed)
	err = walk(folder, func(name, file string, info fs.FileInfo) error {
		header := &tar.Header{Name: name, Mode: int64(mode(info)), ModTime: when, Format: tar.FormatPAX, Typeflag: tar.TypeReg, Size: info.Size()}
		if info.IsDir() {
			header.Name, header.Typeflag, header.Size = name+"/", tar.TypeDir, 0
			return packed.WriteHeader(header)
		}
		if err := packed.WriteHeader(header); err != nil {
			return err
		}
		return copyFile(packed, file)
	})
	return errors.Join(err, packed.Close(), compressed.Close())
}

func packZip(out io.Writer, folder string, when time.Time) error {
	packed := zip.NewWriter(out)
	err := walk(folder, func(name, file string, info fs.FileInfo) error {
		if info.IsDir() {
			return nil
		}
		header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: when}
		header.SetMode(mode(info))
		w, err := packed.CreateHeader(header)
		if err != nil {
			return err
		}
		return copyFile(w, file)
	})
	return errors.Join(err, packed.Close())
}

func copyFile(to io.Writer, name string) error {
	from, err := os.Open(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, from.Close())
}
