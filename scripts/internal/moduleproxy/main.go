// Command moduleproxy makes a folder that the go command can use as a module proxy (go.dev/ref/mod#goproxy-protocol). The
// folder has one version of one module, made from the files of another folder.
//
// scripts/build --release uses it to build with the patched server as a version of its module. If go.mod replaces the module
// by a folder instead, the build information of the binary names the folder, and vulnerability scanners cannot tell which
// version of nats-server the binary contains.
//
//	moduleproxy MODULE VERSION FOLDER PROXY
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: moduleproxy MODULE VERSION FOLDER PROXY")
		os.Exit(2)
	}
	version := module.Version{Path: os.Args[1], Version: os.Args[2]}
	if err := write(version, os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "moduleproxy:", err)
		os.Exit(1)
	}
}

// write writes the files with which a proxy answers requests for the version.
func write(version module.Version, source, proxy string) error {
	path, err := module.EscapePath(version.Path)
	if err != nil {
		return err
	}
	dir := filepath.Join(proxy, filepath.FromSlash(path), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]string{"Version": version.Version})
	if err != nil {
		return err
	}
	for suffix, content := range map[string][]byte{".mod": mod, ".info": info} {
		if err := os.WriteFile(filepath.Join(dir, version.Version+suffix), content, 0o644); err != nil {
			return err
		}
	}
	archive, err := os.Create(filepath.Join(dir, version.Version+".zip"))
	if err != nil {
		return err
	}
	if err := zip.CreateFromDir(archive, version, source); err != nil {
		_ = archive.Close() // the error above is the one to report
		return err
	}
	return archive.Close()
}
