package conf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// MaxFile is the size in bytes up to which a file that a configuration names is read.
const MaxFile = 64 << 20

// ReadFile reads a file that a configuration names. A configuration is read at a reload too, where nothing may hold the
// server up or fill its memory, so anything but a regular file of at most MaxFile bytes is an error: a named pipe, a device.
//
// A relative path counts from the working directory of the process, which the reader of the error may not know, so the
// error names it.
func ReadFile(path string) ([]byte, error) {
	text, err := readFile(path)
	if errors.Is(err, os.ErrNotExist) && !filepath.IsAbs(path) {
		if from, wdErr := os.Getwd(); wdErr == nil {
			return nil, fmt.Errorf("%w (a relative path counts from the working directory, %s)", err, from)
		}
	}
	return text, err
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened, which waits for a writer where it is a named pipe
	if at := (*os.PathError)(nil); errors.As(err, &at) {
		at.Op = "open" // what it is wanted for
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: expected a regular file; found a %s", path, kindOfFile(info.Mode()))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	if len(text) > MaxFile {
		return nil, fmt.Errorf("%s: expected a file of at most %d MiB", path, MaxFile>>20)
	}
	return text, nil
}

func kindOfFile(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "folder"
	case mode&os.ModeNamedPipe != 0:
		return "named pipe"
	case mode&os.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// LoadCertPool reads a file of certificates in PEM.
func LoadCertPool(path string) (*x509.CertPool, error) {
	text, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: expected certificates in PEM; found none", path)
	}
	return pool, nil
}

// LoadKeyPair reads a certificate and its key, in PEM.
func LoadKeyPair(certificate, key string) (tls.Certificate, error) {
	certText, err := ReadFile(certificate)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyText, err := ReadFile(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certText, keyText)
}

// include finds what the parser may take for an include: it does so at the beginning of any field.
var include = regexp.MustCompile(`(?i)(?:^|[\s{,;])include[ \t]*[:=]?[ \t]*(?:"([^"\r\n]*)"|'([^'\r\n]*)'|([^\s"';}#]+))`)

// maxIncludes is how many files one configuration may consist of.
const maxIncludes = 1000

// checkIncludes reads the files that a file includes, and so on, and refuses one that includes itself: the parser would
// follow that until the process has no memory left. It may find an include where the parser finds none, in a text for
// example; then a file that is not there is no fault.
func checkIncludes(file string) error {
	files := map[string]bool{} // those that are done
	var visit func(path string, above []string) error
	visit = func(path string, above []string) error {
		path = filepath.Clean(path)
		for i, other := range above {
			if other == path {
				return fmt.Errorf("%s includes itself: %s", path, strings.Join(append(above[i:], path), " includes "))
			}
		}
		if files[path] {
			return nil
		}
		if len(files) >= maxIncludes {
			return fmt.Errorf("more than %d files are included", maxIncludes)
		}
		files[path] = true
		text, err := readFile(path)
		if err != nil {
			if len(above) > 0 && errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		above = append(above[:len(above):len(above)], path)
		for _, found := range include.FindAllStringSubmatch(string(text), -1) {
			name := found[1] + found[2] + found[3]
			if !filepath.IsAbs(name) {
				name = filepath.Join(filepath.Dir(path), name)
			}
			if err := visit(name, above); err != nil {
				return err
			}
		}
		return nil
	}
	return visit(file, nil)
}
