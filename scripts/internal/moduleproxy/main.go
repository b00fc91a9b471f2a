// Command moduleproxy makes a folder that the go command takes for a module proxy (go.dev/ref/mod#goproxy-protocol), with
// one version of one module in it, whose source is a folder.
//
// It lets bin/ be built with the patched server as a version of its module. With a replace by a folder, the build
// information of the binary names the folder, and scanners for vulnerabilities do not find out which version of
// nats-server the binary is made of.
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

// write writes what a proxy answers about the version.
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
		_ = archive.Close() // the first error counts
		return err
	}
	return archive.Close()
}
