package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// streams is standard input, output and error.
type streams struct {
	in       io.Reader
	out, err io.Writer

	taken string // the flag for which standard input was read
}

// maxSecret is the greatest length of a value in bytes, which is more than servers accept in a
// CONNECT.
const maxSecret = 1 << 20

// source says from where a value that may be secret is read: "-" is standard input, "@FILE" a file,
// "env:NAME" an environment variable. The value itself is not accepted, because ps shows arguments
// to every user of the machine, and shells store them.
type source string

// isSource reports whether a text says from where a value is read.
func isSource(text source) bool {
	return text == "-" || strings.HasPrefix(string(text), "@") || strings.HasPrefix(string(text), "env:")
}

// read returns the value, without a newline at its end. flag is for errors, which do not contain
// the value.
func (s *streams) read(from source, flag string) (string, error) {
	text, err := s.readAll(from, flag)
	if err != nil {
		return "", err
	}
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return "", fmt.Errorf("%s: the value is empty", flag)
	}
	return text, nil
}

func (s *streams) readAll(from source, flag string) (string, error) {
	path, isFile := strings.CutPrefix(string(from), "@")
	name, isEnv := strings.CutPrefix(string(from), "env:")
	switch {
	case from == "-":
		if s.taken != "" {
			return "", usage(fmt.Errorf("%s: standard input is read for %s already", flag, s.taken), "")
		}
		s.taken = flag
		return limited(s.in, flag)
	case isFile:
		file, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", flag, err)
		}
		defer file.Close()
		return limited(file, flag)
	case isEnv:
		text, ok := os.LookupEnv(name)
		if !ok {
			return "", fmt.Errorf("%s: environment variable %s is not set", flag, name)
		}
		return text, nil
	}
	return "", usage(fmt.Errorf("%s: a secret among the arguments can be seen by every user of this machine", flag),
		fmt.Sprintf("%s - reads it from standard input, %[1]s @FILE from a file, %[1]s env:NAME from the environment", flag))
}

func limited(r io.Reader, flag string) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err == nil && len(text) > maxSecret {
		err = errors.New("more than 1 MiB")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return string(text), nil
}
