// Command imagefiles writes the files of the image that come from others: time zones from the Go toolchain, and certificates of
// authorities from golang.org/x/crypto/x509roots (Mozilla's list). go.mod pins the versions of both. So the image needs no
// packages of a distribution, and the same commit gives the same image wherever it is built.
//
//	imagefiles FOLDER
package main

import (
	"archive/zip"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: imagefiles FOLDER")
		os.Exit(2)
	}
	err := errors.Join(
		writeCertificates(filepath.Join(os.Args[1], "etc/ssl/certs/ca-certificates.crt")),
		writeZones(filepath.Join(os.Args[1], "usr/share/zoneinfo")),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "imagefiles:", err)
		os.Exit(1)
	}
}

// writeCertificates leaves out authorities that are trusted only under a condition, for example for certificates made before a
// certain date, because a PEM file cannot express the condition.
func writeCertificates(name string) error {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		certificate, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return fmt.Errorf("a certificate of x509roots: %w", err)
		}
		fmt.Fprintf(&out, "# %s\n", certificate.Subject)
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return err
		}
	}
	return write(name, out.Bytes())
}

func writeZones(dir string) error {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	zones, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(goroot)), "lib/time/zoneinfo.zip"))
	if err != nil {
		return fmt.Errorf("time zones of the Go toolchain: %w", err)
	}
	err = fs.WalkDir(zones, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		zone, err := fs.ReadFile(zones, name)
		if err != nil {
			return err
		}
		return write(filepath.Join(dir, filepath.FromSlash(name)), zone)
	})
	return errors.Join(err, zones.Close())
}

func write(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, content, 0o644)
}
